//! What a dialect knows of the events that other programs may post: names, severity, audience, payload shape, personal data.

use super::RenderError;
use crate::event::Posted;
use serde_json::{Map, Value, json};

/// One event of a dialect.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Entry {
    /// Its name in this dialect.
    pub event: &'static str,
    /// What it tells, in a sentence.
    pub about: &'static str,
    /// `session` only; [`Severity::Info`] elsewhere.
    pub severity: Severity,
    /// Who gets it, in dialects that name audiences; empty: everybody.
    pub audiences: &'static [&'static str],
    /// The keys of its payload. No keys: it has no payload.
    pub payload: &'static [Key],
    /// Whether the payload's shape stands in the receiver's document; otherwise it is ours, after its nearest relative.
    pub documented: bool,
}

/// `severity` of a session's event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Severity {
    #[default]
    Info,
    Warn,
    Error,
}

impl Severity {
    /// The word in the JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Info => "INFO",
            Severity::Warn => "WARN",
            Severity::Error => "ERROR",
        }
    }
}

/// One key of a payload, or of an object in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    pub name: &'static str,
    pub kind: Kind,
    /// A key that need not be there may also be null.
    pub required: bool,
    /// Whether its value tells who somebody is or how to reach them.
    pub personal: bool,
}

/// What a key's value must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Integer,
    Number,
    /// Text that is not empty.
    Text,
    /// An absolute http or https URL.
    Url,
    /// RFC 3339 with an offset.
    Moment,
    /// `2020-11-16 10:00:00+00`
    SpacedMoment,
    TextList,
    OneOf(&'static [&'static str]),
    /// An object with these keys.
    Object(&'static [Key]),
    /// A list of such objects.
    Objects(&'static [Key]),
}

/// Something wrong with a payload. Neither part quotes a value.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
pub struct Fault {
    /// Where, as a JSON pointer: `/payload/sampleId`.
    pub path: String,
    pub problem: String,
}

impl Key {
    /// A key that must be there.
    pub const fn required(name: &'static str, kind: Kind) -> Key {
        Key { name, kind, required: true, personal: false }
    }

    /// A key that may be left out.
    pub const fn optional(name: &'static str, kind: Kind) -> Key {
        Key { name, kind, required: false, personal: false }
    }

    /// The same, required.
    pub const fn needed(self) -> Key {
        Key { required: true, ..self }
    }

    /// The same with a value that tells who somebody is or how to reach them.
    pub const fn personal(self) -> Key {
        Key { personal: true, ..self }
    }
}

impl Entry {
    /// Every fault of a payload (`None` or null: none was posted); `at` is the JSON pointer of the payload itself.
    pub fn check(&self, payload: Option<&Value>, at: &str) -> Vec<Fault> {
        let mut faults = Vec::new();
        match payload.filter(|payload| !payload.is_null()) {
            None if self.payload.iter().any(|key| key.required) => {
                let names: Vec<&str> = self.payload.iter().filter(|key| key.required).map(|key| key.name).collect();
                faults.push(fault(at, format!("is missing; this event needs {}", names.join(", "))));
            }
            None => {}
            Some(_) if self.payload.is_empty() => faults.push(fault(at, "must not be there: this event has none")),
            Some(payload) => check_object(payload, self.payload, at, &mut faults),
        }
        faults
    }

    /// Whether any key of its payload is personal.
    pub fn is_personal(&self) -> bool {
        self.payload.iter().any(|key| key.personal)
    }

    /// The JSON Schema (2020-12) of its payload; `{"type": "null"}` where it has none.
    pub fn schema(&self) -> Value {
        match self.payload {
            [] => json!({"type": "null", "description": self.about}),
            keys => {
                let mut schema = object_schema(keys);
                schema["description"] = self.about.into();
                schema
            }
        }
    }

    /// The payload of a posted event as JSON, in the order of the catalogue's keys and with no others; `{}` if there is none.
    pub(super) fn posted(&self, posted: &Posted) -> Result<String, RenderError> {
        let payload = posted.payload.expose();
        let lacks = |key: &Key| key.required && payload.get(key.name).is_none_or(Value::is_null);
        if self.payload.iter().any(lacks) {
            return Err(RenderError::ours("what its payload must have was erased, so that it cannot be sent"));
        }
        Ok(self.write(payload))
    }

    /// The same for a payload of our own making.
    pub(super) fn write(&self, payload: &Value) -> String {
        payload.as_object().map_or_else(|| "{}".to_owned(), |fields| write_object(fields, self.payload))
    }
}

fn fault(path: &str, problem: impl Into<String>) -> Fault {
    Fault { path: path.to_owned(), problem: problem.into() }
}

/// RFC 6901 section 3.
fn pointer(at: &str, key: &str) -> String {
    format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"))
}

fn check_object(value: &Value, keys: &[Key], at: &str, faults: &mut Vec<Fault>) {
    let Some(fields) = value.as_object() else {
        return faults.push(fault(at, "must be an object"));
    };
    for key in keys {
        let path = pointer(at, key.name);
        match fields.get(key.name) {
            None if key.required => faults.push(fault(&path, "is missing")),
            None => {}
            Some(Value::Null) if !key.required => {}
            Some(value) => key.kind.check(value, &path, faults),
        }
    }
    for unknown in fields.keys().filter(|name| keys.iter().all(|key| key.name != name.as_str())) {
        let names: Vec<&str> = keys.iter().map(|key| key.name).collect();
        faults.push(fault(&pointer(at, unknown), format!("is unknown; known are {}", names.join(", "))));
    }
}

impl Kind {
    /// What a value must be, as it follows "must be".
    pub fn wanted(self) -> String {
        match self {
            Kind::Integer => "an integer".to_owned(),
            Kind::Number => "a number".to_owned(),
            Kind::Text => "text that is not empty".to_owned(),
            Kind::Url => "an absolute http or https URL".to_owned(),
            Kind::Moment => "a time with its offset, like 2023-06-01T14:52:32+01:00".to_owned(),
            Kind::SpacedMoment => "a time like 2020-11-16 10:00:00+00".to_owned(),
            Kind::TextList => "a list of texts".to_owned(),
            Kind::OneOf(words) => format!("one of {}", words.join(", ")),
            Kind::Object(_) => "an object".to_owned(),
            Kind::Objects(_) => "a list of objects".to_owned(),
        }
    }

    fn check(self, value: &Value, at: &str, faults: &mut Vec<Fault>) {
        match (self, value) {
            (Kind::Object(keys), value) => return check_object(value, keys, at, faults),
            (Kind::Objects(keys), Value::Array(values)) => {
                let each = values.iter().enumerate();
                return each.for_each(|(index, value)| check_object(value, keys, &format!("{at}/{index}"), faults));
            }
            (Kind::TextList, Value::Array(values)) => {
                let each = values.iter().enumerate();
                return each.for_each(|(index, value)| Kind::Text.check(value, &format!("{at}/{index}"), faults));
            }
            _ => {}
        }
        let text = value.as_str().unwrap_or_default();
        let good = match self {
            Kind::Integer => value.is_i64() || value.is_u64(),
            Kind::Number => value.is_number(),
            Kind::Text => !text.is_empty(),
            Kind::Url => url::Url::parse(text).is_ok_and(|url| ["http", "https"].contains(&url.scheme())),
            Kind::Moment => is_moment(text, b'T'),
            Kind::SpacedMoment => is_moment(text, b' '),
            Kind::OneOf(words) => words.contains(&text),
            Kind::TextList | Kind::Object(_) | Kind::Objects(_) => false,
        };
        if !good {
            faults.push(fault(at, format!("must be {}", self.wanted())));
        }
    }

    fn schema(self) -> Value {
        match self {
            Kind::Integer => json!({"type": "integer"}),
            Kind::Number => json!({"type": "number"}),
            Kind::Text => json!({"type": "string", "minLength": 1}),
            Kind::Url => json!({"type": "string", "format": "uri", "pattern": "^https?://"}),
            Kind::Moment => json!({"type": "string", "format": "date-time"}),
            Kind::SpacedMoment => json!({"type": "string", "pattern": SPACED_MOMENT}),
            Kind::TextList => json!({"type": "array", "items": Kind::Text.schema()}),
            Kind::OneOf(words) => json!({"type": "string", "enum": words}),
            Kind::Object(keys) => object_schema(keys),
            Kind::Objects(keys) => json!({"type": "array", "items": object_schema(keys)}),
        }
    }
}

const SPACED_MOMENT: &str =
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?[+-][0-9]{2}(:[0-9]{2})?$";

/// Whether it is a date, the separator, a time down to the second, and an offset: RFC 3339 with `T`, and with a blank what
/// databases print, whose offset may be hours alone but no `Z`.
fn is_moment(text: &str, separator: u8) -> bool {
    let bytes = text.as_bytes();
    let at = |index: usize| bytes.get(index).copied().unwrap_or_default();
    let offset = text.get(19..).and_then(|rest| rest.rfind(['+', '-']).map(|sign| rest.len() - sign));
    let offset_is_good = match separator {
        b' ' => matches!(offset, Some(3 | 6)),
        _ => offset == Some(6) || text.ends_with('Z'),
    };
    let shaped = at(10) == separator && at(13) == b':' && at(16) == b':' && matches!(at(19), b'+' | b'-' | b'.' | b'Z');
    shaped && offset_is_good && text.parse::<jiff::Timestamp>().is_ok()
}

fn object_schema(keys: &[Key]) -> Value {
    let property = |key: &Key| {
        let schema = key.kind.schema();
        let schema = if key.required { schema } else { json!({"anyOf": [schema, {"type": "null"}]}) };
        (key.name.to_owned(), schema)
    };
    let properties: Map<String, Value> = keys.iter().map(property).collect();
    let required: Vec<&str> = keys.iter().filter(|key| key.required).map(|key| key.name).collect();
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

/// An object with these keys alone, in their order, and so down to the objects in it. What is no object where the keys
/// want one is written as it is.
pub(super) fn write_object(fields: &Map<String, Value>, keys: &[Key]) -> String {
    let field = |key: &Key| Some(format!(r#""{}":{}"#, key.name, write(fields.get(key.name)?, key.kind)));
    format!("{{{}}}", keys.iter().filter_map(field).collect::<Vec<_>>().join(","))
}

fn write(value: &Value, kind: Kind) -> String {
    match (kind, value) {
        (Kind::Object(keys), Value::Object(fields)) => write_object(fields, keys),
        (Kind::Objects(keys), Value::Array(values)) => {
            let each: Vec<String> = values.iter().map(|value| write(value, Kind::Object(keys))).collect();
            format!("[{}]", each.join(","))
        }
        _ => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRY: Entry = Entry {
        event: "sampleShown",
        about: "An event of this test.",
        severity: Severity::Info,
        audiences: &[],
        payload: &[
            Key::required("id", Kind::Integer),
            Key::optional("at", Kind::SpacedMoment),
            Key::optional("scope", Kind::TextList),
            Key::optional("parts", Kind::Objects(&[Key::required("name", Kind::Text).personal()])),
        ],
        documented: false,
    };

    fn paths(payload: Value) -> Vec<String> {
        ENTRY.check(Some(&payload), "/payload").into_iter().map(|fault| fault.path).collect()
    }

    #[test]
    fn a_name_can_stand_in_a_topic() {
        for entry in crate::dialects::DIALECTS.iter().flat_map(|dialect| dialect.catalogue()) {
            assert!(!entry.event.is_empty() && !entry.event.contains(['/', '+', '#', '\0']), "{}", entry.event);
        }
    }

    #[test]
    fn every_fault_is_told_with_its_place_and_without_its_value() {
        assert_eq!(paths(json!({"id": 7, "at": null, "parts": [{"name": "a"}]})), [""; 0]);
        let bad =
            json!({"id": 7.5, "scope": ["a", 1], "parts": [{"name": "s3cret"}, {"nom": "s3cret"}], "a/b~c": "s3cret"});
        let expected =
            ["/payload/id", "/payload/scope/1", "/payload/parts/1/name", "/payload/parts/1/nom", "/payload/a~1b~0c"];
        assert_eq!(paths(bad.clone()), expected);
        assert!(!format!("{:?}", ENTRY.check(Some(&bad), "")).contains("s3cret"));
        assert_eq!(paths(json!("text")), ["/payload"]);
        assert_eq!(paths(json!({})), ["/payload/id"]);
        assert_eq!(ENTRY.check(None, "/payload").len(), 1);
        let without = Entry { payload: &[], ..ENTRY };
        assert_eq!(without.check(Some(&Value::Null), "/payload"), []);
        assert_eq!(without.check(Some(&json!({})), "/payload").len(), 1);
    }

    #[test]
    fn values_are_what_their_kind_says() {
        let good = |kind: Kind, value: Value| {
            let mut faults = Vec::new();
            kind.check(&value, "", &mut faults);
            faults.is_empty()
        };
        let big: Value = serde_json::from_str("4123456789123").expect("JSON");
        for (kind, value) in [
            (Kind::Integer, big),
            (Kind::Number, json!(1.5)),
            (Kind::Url, json!("https://a.example/b")),
            (Kind::Moment, json!("2023-06-01T14:52:32+01:00")),
            (Kind::Moment, json!("2023-06-01T14:52:32.120Z")),
            (Kind::SpacedMoment, json!("2020-11-16 10:00:00+00")),
            (Kind::SpacedMoment, json!("2020-11-16 10:00:00.5+05:30")),
            (Kind::OneOf(&["A", "B"]), json!("B")),
            (Kind::TextList, json!([])),
        ] {
            assert!(good(kind, value.clone()), "{kind:?} {value}");
        }
        for (kind, value) in [
            (Kind::Integer, json!("7")),
            (Kind::Integer, json!(7.0)),
            (Kind::Number, json!("1.5")),
            (Kind::Text, json!("")),
            (Kind::Text, json!(1)),
            (Kind::Url, json!("/b")),
            (Kind::Url, json!("mailto:a@b.example")),
            (Kind::Moment, json!("2023-06-01T14:52:32")),
            (Kind::Moment, json!("2023-06-01 14:52:32+01:00")),
            (Kind::Moment, json!("2023-02-30T14:52:32Z")),
            (Kind::Moment, json!("2023-06-01T14:52:32+01")),
            (Kind::SpacedMoment, json!("2020-11-16T10:00:00+00")),
            (Kind::SpacedMoment, json!("2020-11-16 10:00:00Z")),
            (Kind::SpacedMoment, json!("2020-11-16 10:00:00")),
            (Kind::SpacedMoment, json!("ä020-11-16 10:00:00+00")),
            (Kind::OneOf(&["A", "B"]), json!("C")),
            (Kind::TextList, json!("a")),
            (Kind::Objects(&[]), json!({})),
            (Kind::Text, Value::Null),
        ] {
            assert!(!good(kind, value.clone()), "{kind:?} {value}");
        }
    }

    #[test]
    fn what_is_written_has_the_catalogues_keys_in_its_order() {
        let payload = json!({"scope": ["a"], "id": 7, "extra": 1, "parts": [{"z": 1, "name": "n"}]});
        assert_eq!(ENTRY.write(&payload), r#"{"id":7,"scope":["a"],"parts":[{"name":"n"}]}"#);
        assert_eq!(ENTRY.write(&Value::Null), "{}");
        let schema = ENTRY.schema();
        assert_eq!(schema["required"], json!(["id"]));
        assert_eq!(schema["additionalProperties"], json!(false));
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_a_check_panic(text in ".*", digits in "[0-9äT:. +Z-]{0,30}") {
            for kind in [Kind::Text, Kind::Url, Kind::Moment, Kind::SpacedMoment, Kind::OneOf(&["A"]), Kind::TextList] {
                for text in [&text, &digits] {
                    let mut faults = Vec::new();
                    kind.check(&json!(text), "", &mut faults);
                    proptest::prop_assert!(faults.iter().all(|fault| text.len() < 9 || !fault.problem.contains(text)));
                }
            }
        }
    }
}
