//! The JSON Schema of the file, for editors and for the reader: what [`super::File`]'s types and doc comments say, and the
//! words that the registered drivers, dialects and events give. It names no null: an optional key is left out.

use super::File;
use crate::dialects::DIALECTS;
use crate::drivers::DRIVERS;
use crate::event::EventName;
use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, Transform};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use std::collections::BTreeSet;

/// The JSON Schema of the whole file (draft 2020-12), for editors.
pub fn schema() -> Schema {
    let mut schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<File>();
    without_null(&mut schema);
    schema
}

/// The same of one part, without references: what the reader asks for its keys.
pub fn schema_of<T: JsonSchema>() -> serde_json::Value {
    let inline = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let mut schema = inline.into_generator().into_root_schema_for::<T>();
    without_null(&mut schema);
    schema.to_value()
}

/// An optional key is left out, not written as null: takes the nulls that `Option` brings out of the schema.
fn without_null(schema: &mut Schema) {
    let null = serde_json::json!({ "type": "null" });
    RecursiveTransform(|schema: &mut Schema| {
        if let Some(serde_json::Value::Array(types)) = schema.get_mut("type") {
            types.retain(|word| word != "null");
            if let [only] = types.as_slice() {
                let only = only.clone();
                schema.insert("type".to_owned(), only);
            }
        }
        if let Some(serde_json::Value::Array(words)) = schema.get_mut("enum") {
            words.retain(|word| !word.is_null());
        }
        let choices = schema.get("anyOf").and_then(|choices| choices.as_array()).cloned().unwrap_or_default();
        if let [only, other] = choices.as_slice()
            && *other == null
            && let Some(only) = only.as_object()
        {
            schema.remove("anyOf");
            for (key, value) in only {
                if schema.get(key).is_none() {
                    schema.insert(key.clone(), value.clone());
                }
            }
        }
    })
    .transform(schema);
}

/// A text that is one of these words; any text if there are none.
fn one_of(words: Vec<&str>) -> Schema {
    match words.is_empty() {
        true => json_schema!({ "type": "string" }),
        false => json_schema!({ "type": "string", "enum": words }),
    }
}

pub(super) fn driver_names(_: &mut SchemaGenerator) -> Schema {
    one_of(DRIVERS.iter().map(|driver| driver.name()).collect())
}

/// A name, or a whole profile.
pub(super) fn profile_or_name(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "anyOf": [
        { "type": "string", "pattern": "^[a-z0-9][a-z0-9-]{0,63}$" },
        schema_of::<super::Profile>()
    ] })
}

pub(super) fn dialect_names(_: &mut SchemaGenerator) -> Schema {
    one_of(DIALECTS.iter().map(|dialect| dialect.name()).collect())
}

pub(super) fn source_dialects(_: &mut SchemaGenerator) -> Schema {
    one_of(DIALECTS.iter().filter(|dialect| dialect.receives()).map(|dialect| dialect.name()).collect())
}

pub(super) fn event_words(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "items": one_of(all_events()) })
}

pub(super) fn audiences(_: &mut SchemaGenerator) -> Schema {
    one_of(all_audiences())
}

pub(super) fn statuses(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "items": { "anyOf": [
        { "type": "integer", "minimum": 200, "maximum": 599 },
        { "type": "string", "pattern": "^[2-5][0-9]{2}(-[2-5][0-9]{2})?$" }
    ] } })
}

/// Every word that a filter may name at some endpoint: the gateway's names, then those of the catalogues.
pub(in crate::config) fn all_events() -> Vec<&'static str> {
    let own = EventName::ALL.iter().map(|name| name.as_str());
    let posted = DIALECTS.iter().flat_map(|dialect| dialect.catalogue()).map(|entry| entry.event);
    unique(own.chain(posted))
}

/// Every audience that a catalogue names.
pub(in crate::config) fn all_audiences() -> Vec<&'static str> {
    let entries = DIALECTS.iter().flat_map(|dialect| dialect.catalogue());
    unique(entries.flat_map(|entry| entry.audiences).copied())
}

fn unique(words: impl Iterator<Item = &'static str>) -> Vec<&'static str> {
    let mut seen = BTreeSet::new();
    words.filter(|word| seen.insert(*word)).collect()
}
