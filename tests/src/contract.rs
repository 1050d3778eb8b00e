//! Every message over MQTT against the list of topics that docs/mqtt.md is written from.
//!
//! The schemas let readers ignore what they do not know; here a field that no schema names is a fault.

use gateway_core::monitoring::{Direction, TOPICS, Topic, topic};
use jsonschema::Validator;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::OnceLock;

/// What is not as docs/mqtt.md has it, if anything; `retained` where the wire tells it. Topics below another prefix than
/// `analyzer-gateway` and what is sent to the gateway are not judged.
pub fn fault(whole: &str, payload: &[u8], retained: Option<bool>) -> Option<String> {
    let (_, rest) = whole.strip_prefix("analyzer-gateway/")?.split_once('/')?;
    let Some(entry) = topic(rest) else { return Some(format!("{whole}: no such topic")) };
    if entry.direction == Direction::ToGateway {
        return None;
    }
    if retained.is_some_and(|retained| retained != entry.retained) {
        return Some(format!("{whole}: retained is {retained:?}"));
    }
    if payload.is_empty() && entry.retained {
        return None;
    }
    let Ok(value) = serde_json::from_slice::<Value>(payload) else { return Some(format!("{whole}: no JSON")) };
    let wrong: Vec<String> =
        validator(entry).iter_errors(&value).map(|error| format!("{}: {error}", error.instance_path())).collect();
    (!wrong.is_empty()).then(|| format!("{whole}: {}", wrong.join("; ")))
}

fn validator(entry: &Topic) -> &'static Validator {
    static VALIDATORS: OnceLock<HashMap<&'static str, Validator>> = OnceLock::new();
    let validators = VALIDATORS.get_or_init(|| {
        let made = |entry: &Topic| {
            let mut schema = (entry.schema)();
            close(&mut schema);
            let options = jsonschema::options().should_validate_formats(true);
            (entry.pattern, options.build(&schema).expect("a good schema"))
        };
        TOPICS.iter().map(made).collect()
    });
    &validators[entry.pattern]
}

/// No field but those that are named.
fn close(schema: &mut Value) {
    if let Value::Object(map) = schema {
        if map.contains_key("properties") {
            map.entry("additionalProperties").or_insert(Value::Bool(false));
        }
        map.values_mut().for_each(close);
    } else if let Value::Array(list) = schema {
        list.iter_mut().for_each(close);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_are_good_and_what_is_missing_or_more_is_not() {
        for entry in TOPICS.iter().filter(|entry| entry.direction == Direction::FromGateway) {
            let whole = format!("analyzer-gateway/clinic-7/{}", entry.pattern);
            let example = (entry.example)();
            assert_eq!(fault(&whole, example.to_string().as_bytes(), Some(entry.retained)), None);
            assert!(fault(&whole, example.to_string().as_bytes(), Some(!entry.retained)).is_some());
            let mut more = example.clone();
            more["surplus"] = Value::Null;
            assert!(fault(&whole, more.to_string().as_bytes(), None).is_some(), "{whole}: a field that nobody names");
            assert!(fault(&whole, b"{}", None).is_some(), "{whole}: nothing in it");
        }
        assert!(fault("analyzer-gateway/clinic-7/somewhere", b"{}", None).is_some());
        assert_eq!(fault("somebody/else", b"", None), None);
    }
}
