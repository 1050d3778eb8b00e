//! Reading what was posted: every fault at once, each with its JSON pointer, none with a value.

use super::{Amendment, NewRegistration, OrderedTest, PartnerIds, Patient, SAMPLE_IDS_MAX, TESTS_MAX, TEXT_CHARS_MAX};
use crate::dialects::catalogue::Fault;
use crate::event::Personal;
use serde_json::{Map, Value};

/// Characters of a registration's id or a laboratory's, at most.
const ID_CHARS_MAX: usize = 64;
/// The words of FHIR R4's administrative-gender.
const SEXES: [&str; 4] = ["female", "male", "other", "unknown"];

impl NewRegistration {
    /// Reads a posted registration, or says everything that is wrong with it.
    pub fn from_json(value: &Value) -> Result<NewRegistration, Vec<Fault>> {
        let mut faults = Vec::new();
        let new = object(value, "", &mut faults).map(|map| {
            let mut keys = Keys::new(map, "", &["id", "sample_ids", "patient", "tests", "partner"], &mut faults);
            NewRegistration {
                id: keys.text("id", is_registration_id, "letters, digits and . _ -, at most 64, no blank"),
                sample_ids: keys.sample_ids().unwrap_or_default(),
                patient: keys.patient(),
                tests: keys.tests().unwrap_or_default(),
                partner: keys.partner().unwrap_or_default(),
            }
        });
        finished(new, faults)
    }
}

impl Amendment {
    /// Reads a posted change, or says everything that is wrong with it.
    pub fn from_json(value: &Value) -> Result<Amendment, Vec<Fault>> {
        let mut faults = Vec::new();
        let amendment = object(value, "", &mut faults).map(|map| {
            let mut keys = Keys::new(map, "", &["sample_ids", "patient", "tests", "partner"], &mut faults);
            Amendment {
                sample_ids: keys.sample_ids(),
                patient: keys.patient(),
                tests: keys.tests(),
                partner: keys.partner(),
            }
        });
        finished(amendment, faults)
    }
}

/// Whether a text can be a registration's id: `[A-Za-z0-9][A-Za-z0-9._-]{0,63}`, so that it can stand in a URL.
pub fn is_registration_id(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    text.len() <= ID_CHARS_MAX
        && text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
        && text.bytes().all(inner)
}

/// Whether a text can be a laboratory's id: one line that is not empty and not longer than 64 characters.
pub fn is_lab_id(text: &str) -> bool {
    is_line(text) && text.chars().count() <= ID_CHARS_MAX
}

fn is_line(text: &str) -> bool {
    !text.trim().is_empty() && text.chars().count() <= TEXT_CHARS_MAX && !text.chars().any(char::is_control)
}

fn is_date(text: &str) -> bool {
    text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok()
}

const LINE: &str = "text in one line, not empty, at most 200 characters";

fn finished<T>(value: Option<T>, faults: Vec<Fault>) -> Result<T, Vec<Fault>> {
    match value {
        Some(value) if faults.is_empty() => Ok(value),
        _ => Err(faults),
    }
}

fn object<'a>(value: &'a Value, at: &str, faults: &mut Vec<Fault>) -> Option<&'a Map<String, Value>> {
    let map = value.as_object();
    if map.is_none() {
        faults.push(Fault { path: at.to_owned(), problem: "must be an object".to_owned() });
    }
    map
}

/// An object whose keys are taken one by one.
struct Keys<'a> {
    map: &'a Map<String, Value>,
    at: String,
    faults: &'a mut Vec<Fault>,
}

impl<'a> Keys<'a> {
    fn new(map: &'a Map<String, Value>, at: &str, known: &[&str], faults: &'a mut Vec<Fault>) -> Keys<'a> {
        for key in map.keys().filter(|key| !known.contains(&key.as_str())) {
            // The key itself was written by a stranger, but a pointer must name it.
            let path = format!("{at}/{}", escaped(key));
            faults.push(Fault { path, problem: format!("is not known here; known are {}", known.join(", ")) });
        }
        Keys { map, at: at.to_owned(), faults }
    }

    fn wrong(&mut self, key: &str, wanted: &str) {
        self.faults.push(Fault { path: format!("{}/{key}", self.at), problem: format!("must be {wanted}") });
    }

    fn text(&mut self, key: &str, fits: fn(&str) -> bool, wanted: &str) -> Option<String> {
        match self.map.get(key)? {
            Value::String(text) if fits(text) => Some(text.trim().to_owned()),
            Value::Null => None,
            _ => {
                self.wrong(key, wanted);
                None
            }
        }
    }

    fn personal(&mut self, key: &str, fits: fn(&str) -> bool, wanted: &str) -> Option<Personal> {
        self.text(key, fits, wanted).map(Personal::new)
    }

    fn integer(&mut self, key: &str) -> Option<i64> {
        let value = self.map.get(key)?;
        let number = value.as_i64().filter(|number| *number >= 0);
        if number.is_none() && !value.is_null() {
            self.wrong(key, "an integer from 0");
        }
        number
    }

    fn list(&mut self, key: &str, items_max: usize) -> Option<&'a [Value]> {
        match self.map.get(key)? {
            Value::Array(items) if items.len() <= items_max => Some(items),
            Value::Null => None,
            _ => {
                self.wrong(key, &format!("a list of at most {items_max}"));
                None
            }
        }
    }

    fn inner(&mut self, key: &str) -> Option<&'a Map<String, Value>> {
        let value = self.map.get(key).filter(|value| !value.is_null())?;
        object(value, &format!("{}/{key}", self.at), self.faults)
    }

    fn sample_ids(&mut self) -> Option<Vec<Personal>> {
        let mut ids: Vec<Personal> = Vec::new();
        for (index, item) in self.list("sample_ids", SAMPLE_IDS_MAX)?.iter().enumerate() {
            match item.as_str().filter(|text| is_line(text)).map(|text| Personal::new(text.trim())) {
                Some(id) if ids.contains(&id) => self.wrong(&format!("sample_ids/{index}"), "given once"),
                Some(id) => ids.push(id),
                None => self.wrong(&format!("sample_ids/{index}"), LINE),
            }
        }
        Some(ids)
    }

    fn tests(&mut self) -> Option<Vec<OrderedTest>> {
        let mut tests = Vec::new();
        for (index, item) in self.list("tests", TESTS_MAX)?.iter().enumerate() {
            let at = format!("{}/tests/{index}", self.at);
            let Some(map) = object(item, &at, self.faults) else { continue };
            let mut keys = Keys::new(map, &at, &["code", "name"], self.faults);
            let code = keys.text("code", is_line, LINE);
            if code.is_none() && map.get("code").is_none_or(Value::is_null) {
                keys.wrong("code", "given");
            }
            let name = keys.text("name", is_line, LINE).unwrap_or_default();
            tests.extend(code.map(|code| OrderedTest { code, name }));
        }
        Some(tests)
    }

    fn patient(&mut self) -> Option<Patient> {
        let map = self.inner("patient")?;
        let at = format!("{}/patient", self.at);
        let known = ["id", "given_name", "family_name", "birth_date", "sex", "email", "phone"];
        let mut keys = Keys::new(map, &at, &known, self.faults);
        Some(Patient {
            id: keys.personal("id", is_line, LINE),
            given_name: keys.personal("given_name", is_line, LINE),
            family_name: keys.personal("family_name", is_line, LINE),
            birth_date: keys.personal("birth_date", is_date, "a date like 1980-02-29"),
            sex: keys.personal("sex", |text| SEXES.contains(&text), "female, male, other or unknown"),
            email: keys.personal("email", |text| is_line(text) && text.contains('@'), "an e-mail address"),
            phone: keys.personal("phone", is_line, LINE),
        })
    }

    fn partner(&mut self) -> Option<PartnerIds> {
        let map = self.inner("partner")?;
        let at = format!("{}/partner", self.at);
        let mut keys = Keys::new(map, &at, &["patient", "appointment", "location", "user"], self.faults);
        Some(PartnerIds {
            patient: keys.integer("patient"),
            appointment: keys.integer("appointment"),
            location: keys.integer("location"),
            user: keys.integer("user"),
        })
    }
}

/// A key as a part of a JSON pointer (RFC 6901 section 3).
fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}
