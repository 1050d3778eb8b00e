//! The environment over the file: `ANALYZER_GATEWAY__WEBHOOKS__LIMS__SECRET` is `webhooks`, the item with the id `lims`,
//! `secret`. Which words are keys and which are ids is taken from the schema.

use super::file::{File, schema_of};
use super::group::{instead, known_keys, nearest};
use super::tree::{Entry, Mistake, Node, Place, Value};

/// Keys of which only one may be written: setting one from outside takes the others of the file away. `serial` belongs to
/// `usb`, so it goes with it.
const ONE_OF: [&[&str]; 7] = [
    &["secret", "secret_file", "secrets"],
    &["password", "password_file"],
    &["lab_id_token", "lab_id_token_file"],
    &["otlp_token", "otlp_token_file"],
    &["body", "body_file"],
    &["path", "by_path", "tcp", "usb", "serial", "input"],
    &["listen", "connect"],
];

/// A setting from outside the file.
#[derive(Clone)]
pub struct Variable {
    /// What errors call it: the variable's or the argument's name.
    pub name: String,
    /// Its words in lower case: `["webhooks", "lims", "secret"]`.
    pub words: Vec<String>,
    pub value: String,
}

/// Lays the variables over the tree, or says which of them name nothing.
pub fn overlay(tree: &mut Node, variables: &[Variable]) -> Vec<Mistake> {
    let schema = schema_of::<File>();
    let mut mistakes = Vec::new();
    for variable in variables {
        if let Err(mistake) = descend(tree, &schema, &variable.words, String::new(), variable) {
            mistakes.push(mistake);
        }
    }
    mistakes
}

fn wrong(variable: &Variable, path: String, problem: &str, suggestion: &str) -> Mistake {
    Mistake::new(Place::Variable(variable.name.clone()), path, problem, suggestion)
}

/// One word deeper.
fn descend(
    node: &mut Node,
    schema: &serde_json::Value,
    words: &[String],
    path: String,
    variable: &Variable,
) -> Result<(), Mistake> {
    let join = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    let is_group = schema["type"] == "object";
    let is_items = schema["type"] == "array" && schema["items"]["type"] == "object";
    let Some((word, rest)) = words.split_first() else {
        if is_group || is_items {
            let suggestion = "add `__` and a key to the variable's name";
            return Err(wrong(variable, path, "is a group, not a value", suggestion));
        }
        set(node, schema, variable);
        return Ok(());
    };
    if is_items {
        let index = item(node, word)
            .map_err(|suggestion| wrong(variable, path.clone(), "the file has no item with this id", &suggestion))?;
        let Value::List(items) = &mut node.value else { return Ok(()) };
        return descend(&mut items[index], &schema["items"], rest, format!("{path}[{index}]"), variable);
    }
    if !is_group {
        return Err(wrong(variable, path, "is a value, not a group", "remove what follows it in the variable's name"));
    }
    let known = known_keys(schema);
    let (key, deeper) = match known.iter().find(|key| **key == word.as_str()) {
        Some(key) => ((*key).to_owned(), &schema["properties"][*key]),
        None if schema["additionalProperties"].is_object() => (word.replace('_', "-"), &schema["additionalProperties"]),
        None => {
            let suggestion = match nearest(word, &known) {
                Some(near) => format!("write `{}` in the variable's name", near.to_uppercase()),
                None => format!("remove it; the keys known here are {}", known.join(", ")),
            };
            return Err(wrong(variable, join(word), "there is no such key", &suggestion));
        }
    };
    if node.value == Value::Nothing {
        node.value = Value::Group(Vec::new());
    }
    let Value::Group(entries) = &mut node.value else { return Ok(()) };
    let place = Place::Variable(variable.name.clone());
    if rest.is_empty() {
        let rivals = ONE_OF.iter().find(|keys| keys.contains(&key.as_str()) && key != "serial");
        let from_file = |entry: &Entry| !matches!(entry.place, Place::Variable(_));
        entries.retain(|entry| {
            entry.key == key || !from_file(entry) || !rivals.is_some_and(|keys| keys.contains(&entry.key.as_str()))
        });
    }
    let found = entries.iter().position(|entry| entry.key.eq_ignore_ascii_case(&key));
    let index = found.unwrap_or_else(|| {
        entries.push(Entry { key: key.clone(), place: place.clone(), node: Node::new(Value::Nothing, place.clone()) });
        entries.len() - 1
    });
    if rest.is_empty() {
        entries[index].place = place;
    }
    descend(&mut entries[index].node, deeper, rest, join(&key), variable)
}

/// The item whose id is this word; dashes cannot stand in a variable's name, so `_` means them as well.
fn item(list: &Node, word: &str) -> Result<usize, String> {
    let items = match &list.value {
        Value::List(items) => items.as_slice(),
        _ => &[],
    };
    let id = |node: &Node| node.get("id").and_then(Node::as_text).map(str::to_owned);
    let found = items.iter().position(|node| id(node).is_some_and(|id| id.replace('-', "_") == word.replace('-', "_")));
    found.ok_or_else(|| {
        let ids: Vec<String> = items.iter().filter_map(id).collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        match ids.is_empty() {
            true => "write the item into the file first".to_owned(),
            false => format!("{} in the variable's name", instead(word, &ids)),
        }
    })
}

/// Puts the value there. A list of plain values is separated by commas.
fn set(node: &mut Node, schema: &serde_json::Value, variable: &Variable) {
    let place = Place::Variable(variable.name.clone());
    *node = match schema["type"] == "array" {
        true => {
            let parts = variable.value.split(',').map(|part| Node::text(part.trim(), place.clone()));
            Node::new(Value::List(parts.collect()), place)
        }
        false => Node::text(variable.value.clone(), place),
    };
}
