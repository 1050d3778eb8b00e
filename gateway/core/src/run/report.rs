//! The object of seed 000, read as widely as its writers write it. Invariant: no fault quotes any of it.

use crate::event::*;
use serde_json::{Map, Value};

/// The triggers of seed 000.
const TRIGGERS: [EventName; 6] = [
    EventName::TestStarted,
    EventName::ContinueTest,
    EventName::TestFinished,
    EventName::NewData,
    EventName::DeviceReady,
    EventName::AlreadyTesting,
];

const STATES: [TestState; 6] = [
    TestState::Uninitialized,
    TestState::Idle,
    TestState::Testing,
    TestState::Done,
    TestState::BlockedAlreadyTesting,
    TestState::BlockedNotReady,
];

/// What a message says.
#[derive(Clone)]
pub struct Report {
    pub name: EventName,
    pub device: Option<Device>,
    pub state: TestState,
    /// Cumulative, as received.
    pub temperatures: Vec<Value>,
    /// Cumulative, as received.
    pub samples: Vec<Value>,
    pub result: Option<Value>,
}

/// Why a message cannot be read. Never holds any of it.
#[derive(Debug)]
pub struct Fault {
    /// `bad_json` or `not_test_v0`.
    pub code: &'static str,
    pub reason: String,
}

impl Report {
    /// Reads a message; `what` names it in a fault: `line`, `body`.
    pub fn read(bytes: &[u8], what: &str) -> Result<Report, Fault> {
        let wrong = |reason: &str| Fault { code: "not_test_v0", reason: reason.to_owned() };
        let Value::Object(mut object) = parse(bytes, what)? else {
            return Err(wrong(&format!("the {what} is JSON, but not an object")));
        };
        let word = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
        if object.get("version").is_some_and(|version| version.as_u64() != Some(0)) {
            return Err(wrong("`version` is not 0"));
        }
        let event = word(object.get("event"));
        let name = TRIGGERS.into_iter().find(|name| name.as_str() == event);
        let name = name.ok_or_else(|| wrong("`event` is none of the six triggers"))?;
        let Some(Value::Object(mut test)) = object.remove("test") else {
            return Err(wrong("`test` is missing or not an object"));
        };
        let state = word(test.get("state"));
        let state = STATES.into_iter().find(|known| known.as_str() == state);
        let state = state.ok_or_else(|| wrong("`test.state` is none of the six states"))?;
        let mut data = match test.remove("data") {
            Some(Value::Object(data)) => data,
            None | Some(Value::Null) => Map::new(),
            Some(_) => return Err(wrong("`test.data` is not an object")),
        };
        let mut list = |key: &str| match data.remove(key) {
            Some(Value::Array(list)) => Ok(list),
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(_) => Err(wrong(&format!("`test.data.{key}` is not an array"))),
        };
        let temperatures = list("temperatureSamples")?;
        let samples = list("samples")?;
        let device = match object.remove("device") {
            Some(Value::Object(device)) => Some(read_device(device)),
            None | Some(Value::Null) => None,
            Some(_) => return Err(wrong("`device` is not an object")),
        };
        let result = test.remove("result").filter(|result| !result.is_null());
        Ok(Report { name, device, state, temperatures, samples, result })
    }

    /// Whether it is about the analyzer and not about a test: giving such a message a test would make one up.
    pub fn is_about_device(&self) -> bool {
        matches!(self.name, EventName::DeviceReady | EventName::AlreadyTesting)
    }

    /// The event of this message, of that test and with that part of its data.
    pub fn into_kind(self, id: TestId, data: Option<RunDelta>) -> EventKind {
        if self.is_about_device() {
            let details = serde_json::json!({ "state": self.state });
            return EventKind { device: self.device, details: Some(details), ..EventKind::bare(self.name) };
        }
        let finished = self.name == EventName::TestFinished;
        let test = Test {
            results: if finished { self.results() } else { Vec::new() },
            data,
            result: self.result.filter(|_| finished),
            ..Test::new(id, self.state)
        };
        EventKind::about_test(self.name, self.device, test)
    }

    /// The event with all of its data, of a test that has no id yet: what [`super::take_new`] takes.
    pub fn into_cumulative(mut self) -> EventKind {
        let (temperatures, samples) = (std::mem::take(&mut self.temperatures), std::mem::take(&mut self.samples));
        let data = RunDelta { temperatures_from: 0, samples_from: 0, temperatures, samples };
        self.into_kind(Id([0; 16]), Some(data))
    }

    /// The reverse of [`Report::into_cumulative`]; another kind of event is given back.
    pub(super) fn of_kind(kind: EventKind) -> Result<Report, Box<EventKind>> {
        let state = kind.details.as_ref().and_then(|details| details.get("state")).and_then(Value::as_str);
        let state = state.and_then(|state| STATES.into_iter().find(|known| known.as_str() == state));
        let (state, test) = match (state, kind.test) {
            (_, Some(test)) if TRIGGERS.contains(&kind.name) => (test.state, Some(test)),
            (Some(state), None) if TRIGGERS.contains(&kind.name) => (state, None),
            (_, test) => return Err(Box::new(EventKind { test, ..kind })),
        };
        let (data, result) = test.map(|test| (test.data.unwrap_or_default(), test.result)).unwrap_or_default();
        let RunDelta { temperatures, samples, .. } = data;
        Ok(Report { name: kind.name, device: kind.device, state, temperatures, samples, result })
    }

    /// The result of each subgroup (code = its name), then the overall one (code = `detectionResult`).
    pub fn results(&self) -> Vec<ResultValue> {
        let Some(result) = &self.result else { return Vec::new() };
        let text = |value: Option<&Value>| value.map(as_text).unwrap_or_default();
        let groups = result.get("subGroupResults").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let mut values: Vec<ResultValue> =
            groups.iter().map(|group| result_value(text(group.get("name")), &text(group.get("result")))).collect();
        if let Some(overall) = result.get("detectionResult") {
            values.push(result_value("detectionResult".to_owned(), &as_text(overall)));
        }
        values
    }
}

fn result_value(code: String, value: &str) -> ResultValue {
    ResultValue { code, value: Personal::new(value.trim_matches([' ', '\t'])), ..ResultValue::default() }
}

fn read_device(mut device: Map<String, Value>) -> Device {
    let text = |value: Value| Some(as_text(&value)).filter(|text| !value.is_null() && !text.is_empty());
    let model = device.remove("deviceModel").and_then(text);
    let sn = device.remove("sn").and_then(text);
    Device { model, sn, details: device }
}

/// A string's text, or a number in the digits in which it was received.
fn as_text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The message as JSON; if it is none because of numbers like `0000000000`, as what was meant.
fn parse(line: &[u8], what: &str) -> Result<Value, Fault> {
    // The parser counts columns from the last line feed.
    let line = line.trim_ascii_end();
    if let Ok(value) = serde_json::from_slice(line) {
        return Ok(value);
    }
    let (mended, added) = mend_leading_zeros(line);
    serde_json::from_slice(&mended).map_err(|error| {
        let place = error.column().saturating_sub(1);
        let place = place - added.iter().filter(|quote| **quote < place).count();
        let problem = if error.is_eof() { "it ends too early" } else { "it is not JSON" };
        Fault { code: "bad_json", reason: format!("the {what} cannot be read: {problem}, at byte {place}") }
    })
}

/// Makes numbers with leading zeros readable: a serial number becomes a string, which keeps it as it was received; in all
/// others blanks take the zeros' place. Also gives the places where a byte was added.
fn mend_leading_zeros(line: &[u8]) -> (Vec<u8>, Vec<usize>) {
    let mut mended: Vec<u8> = Vec::with_capacity(line.len() + 2);
    let mut added = Vec::new();
    let mut in_string = false;
    let mut at = 0;
    while at < line.len() {
        let byte = line[at];
        if in_string {
            mended.push(byte);
            if byte == b'\\' && at + 1 < line.len() {
                at += 1;
                mended.push(line[at]);
            }
            in_string = byte != b'"';
            at += 1;
            continue;
        }
        let is_number = |byte: &u8| byte.is_ascii_digit() || matches!(*byte, b'.' | b'-' | b'+' | b'e' | b'E');
        let length = if byte == b'-' || byte.is_ascii_digit() {
            line[at..].iter().position(|byte| !is_number(byte)).unwrap_or(line.len() - at)
        } else {
            0
        };
        if length == 0 {
            in_string = byte == b'"';
            mended.push(byte);
            at += 1;
            continue;
        }
        let number = &line[at..at + length];
        let digits = usize::from(number[0] == b'-');
        let zeros = number[digits..].iter().take_while(|byte| **byte == b'0').count();
        let more = number.get(digits + zeros).is_some_and(u8::is_ascii_digit);
        let spare = if more { zeros } else { zeros.saturating_sub(1) };
        if spare > 0 && is_serial_number(&mended) {
            added.push(mended.len());
            mended.push(b'"');
            mended.extend_from_slice(number);
            added.push(mended.len());
            mended.push(b'"');
        } else {
            mended.resize(mended.len() + spare, b' ');
            mended.extend_from_slice(&number[..digits]);
            mended.extend_from_slice(&number[digits + spare..]);
        }
        at += length;
    }
    (mended, added)
}

/// Whether the value that comes next is that of the key `sn`.
fn is_serial_number(before: &[u8]) -> bool {
    let before = before.trim_ascii_end();
    before.strip_suffix(b":").is_some_and(|before| before.trim_ascii_end().ends_with(b"\"sn\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Report {
        Report::read(line.as_bytes(), "line").expect("a good line")
    }

    fn fault(line: &str) -> Fault {
        Report::read(line.as_bytes(), "line").err().expect("a bad line")
    }

    #[test]
    fn serial_numbers_stay_as_received() {
        for (sent, kept) in
            [("0000000000", "0000000000"), ("18446744073709551615", "18446744073709551615"), ("\"07 A\"", "07 A")]
        {
            let line = format!(
                r#"{{"event":"DEVICE_READY","device":{{"sn" : {sent},"currentTemp":63.10}},"test":{{"state":"IDLE"}}}}"#
            );
            let device = read(&line).device.expect("a device");
            assert_eq!(device.sn.as_deref(), Some(kept));
            assert_eq!(device.details["currentTemp"].to_string(), "63.10");
        }
    }

    #[test]
    fn faults_say_where_and_never_what() {
        let bad = fault(r#"{"event":"NEW_DATA","device":{"sn":007},"test":{secret}}"#);
        assert_eq!(
            (bad.code, bad.reason.as_str()),
            ("bad_json", "the line cannot be read: it is not JSON, at byte 48")
        );
        assert_eq!(fault("[1]").code, "not_test_v0");
        assert_eq!(fault(r#"{"event":"SECRET","test":{"state":"IDLE"}}"#).code, "not_test_v0");
        assert!(fault(r#"{"event":"NEW_DATA","#).reason.contains("ends too early"));
    }

    #[test]
    fn zeros_are_mended_outside_of_strings_only() {
        let (mended, _) = mend_leading_zeros(br#"{"a":"00\"01","b":-007.50,"c":[00,0,0.5],"sn":001}"#);
        assert_eq!(String::from_utf8_lossy(&mended), r#"{"a":"00\"01","b":  -7.50,"c":[ 0,0,0.5],"sn":"001"}"#);
    }
}
