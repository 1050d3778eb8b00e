//! docs/mqtt.md and docs/mqtt-schemas.json, written from the list of topics. `UPDATE=1` rewrites what stands between the page's
//! two marks, and the schemas.

use gateway_core::monitoring::{Audience, Direction, NoticeCode, TOPICS, Topic};
use serde_json::{Map, Value};
use std::fmt::Write;
use std::path::{Path, PathBuf};

const BEGIN: &str = "<!-- topics: written from the code -->\n";
const END: &str = "<!-- end of topics -->\n";

fn document(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the project").join("docs").join(name)
}

/// Whether the file is as it should be, or was made so by `UPDATE`.
fn holds(name: &str, wanted: &str) -> bool {
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(document(name), wanted).expect("written");
    }
    std::fs::read_to_string(document(name)).is_ok_and(|text| text == wanted)
}

#[test]
fn the_page_says_what_the_code_says() {
    let page = std::fs::read_to_string(document("mqtt.md")).expect("the page");
    let (before, rest) = page.split_once(BEGIN).expect("the first mark");
    let (_, after) = rest.split_once(END).expect("the second mark");
    let wanted = format!("{before}{BEGIN}{}{END}{after}", topics());
    assert!(holds("mqtt.md", &wanted), "docs/mqtt.md is not as the code has it (UPDATE=1 rewrites it)");
}

#[test]
fn the_schemas_are_those_of_the_code() {
    let schemas: Map<String, Value> = TOPICS.iter().map(|topic| (topic.pattern.to_owned(), (topic.schema)())).collect();
    let text = serde_json::to_string_pretty(&schemas).expect("plain JSON") + "\n";
    assert!(
        holds("mqtt-schemas.json", &text),
        "docs/mqtt-schemas.json is not as the code has it (UPDATE=1 rewrites it)"
    );
}

fn topics() -> String {
    let mut page = "\n| topic | kept by the broker | who may hear it |\n|---|---|---|\n".to_owned();
    for topic in TOPICS {
        let retained = if topic.retained { "yes (retained)" } else { "no" };
        writeln!(page, "| `{}` | {retained} | {} |", topic.pattern, audience(topic)).expect("text");
    }
    for topic in TOPICS {
        let example = serde_json::to_string_pretty(&(topic.example)()).expect("plain JSON");
        write!(
            page,
            "\n### `{}`\n\n{} {}\n\n```json\n{example}\n```\n\n{}",
            topic.pattern,
            topic.about,
            topic.when,
            fields(&(topic.schema)())
        )
        .expect("text");
        if topic.pattern.starts_with("notices/") {
            page.push_str("\n| code | when it is told |\n|---|---|\n");
            for code in NoticeCode::ALL {
                writeln!(page, "| `{}` | {} |", code.as_str(), code.about()).expect("text");
            }
        }
    }
    page + "\n"
}

fn audience(topic: &Topic) -> &'static str {
    match (topic.audience, topic.direction) {
        (Audience::Everyone, _) => "everybody: also the second broker",
        (Audience::Clinic, Direction::FromGateway) => "the clinic's broker only",
        (Audience::Clinic, Direction::ToGateway) => "sent to the gateway, at the clinic's broker only",
    }
}

/// A table of the payload's own fields; what is inside of them is in the schemas.
fn fields(schema: &Value) -> String {
    let mut table = "| field | type | what it says |\n|---|---|---|\n".to_owned();
    let properties = schema["properties"].as_object().expect("an object");
    for (name, field) in properties {
        let said = field["description"].as_str().unwrap_or_default().replace('\n', " ");
        writeln!(table, "| `{name}` | {} | {said} |", kind(field, schema)).expect("text");
    }
    table
}

fn kind(field: &Value, root: &Value) -> String {
    if let Some(value) = field.get("const") {
        return format!("`{value}`");
    }
    if let Some(path) = field["$ref"].as_str() {
        let target = root.pointer(path.trim_start_matches('#')).expect("a definition");
        return kind(target, root);
    }
    if let Some(words) =
        field["enum"].as_array().or_else(|| field["oneOf"].as_array().or_else(|| field["anyOf"].as_array()))
    {
        let mut words: Vec<String> = words.iter().flat_map(|word| choices(word, root)).collect();
        words.dedup();
        return words.join(", ");
    }
    match &field["type"] {
        Value::String(name) if name == "array" => format!("list of {}", kind(&field["items"], root)),
        Value::String(name) => name.clone(),
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" or "),
        _ => "any".to_owned(),
    }
}

fn choices(word: &Value, root: &Value) -> Vec<String> {
    match word {
        Value::String(word) => vec![format!("`{word}`")],
        Value::Object(_) if word.get("enum").is_some() || word.get("const").is_some() || word.get("$ref").is_some() => {
            vec![kind(word, root).replace('"', "")]
        }
        Value::Object(_) => vec![kind(word, root)],
        other => vec![other.to_string()],
    }
}
