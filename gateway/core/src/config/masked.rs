//! Settings that may be shown: the tree as it was written, without its secrets.
//!
//! Invariant: what is a secret is said by the schema (`x-secret`, see [`super::file`]), and what the schema does not know is
//! shown to nobody.

use super::file::{File, schema_of};
use super::tree::{Entry, Node, Value};
use serde_json::Value as Json;
use url::Url;

/// What stands in place of a secret.
pub const MASK: &str = "***";

/// The same tree with every secret masked.
pub fn masked(tree: &Node) -> Node {
    mask(tree, &[&schema_of::<File>()])
}

fn mask(node: &Node, schemas: &[&Json]) -> Node {
    let fits = |schema: &&&Json| match (&node.value, schema["type"].as_str()) {
        (Value::List(_), kind) => matches!(kind, None | Some("array")),
        (Value::Group(_), kind) => matches!(kind, None | Some("object")),
        (_, kind) => !matches!(kind, Some("array" | "object")),
    };
    let schemas: Vec<&Json> = schemas.iter().filter(fits).copied().collect();
    let known = !schemas.is_empty();
    let secrecy = schemas.iter().find_map(|schema| schema["x-secret"].as_str());
    if !known || secrecy == Some("whole") {
        return whole(node);
    }
    let value = match &node.value {
        Value::Nothing => Value::Nothing,
        Value::Text(text) if secrecy == Some("address") => Value::Text(host_alone(text)),
        Value::Text(text) => Value::Text(text.clone()),
        Value::List(items) => {
            let inner: Vec<&Json> = schemas.iter().filter_map(|schema| schema.get("items")).flat_map(forms).collect();
            Value::List(items.iter().map(|item| mask(item, &inner)).collect())
        }
        Value::Group(entries) => Value::Group(
            entries.iter().map(|entry| with_node(entry, mask(&entry.node, &of_key(&schemas, &entry.key)))).collect(),
        ),
    };
    Node { value, ..node.clone() }
}

/// Every text below is masked; keys stay.
fn whole(node: &Node) -> Node {
    let value = match &node.value {
        Value::Nothing => Value::Nothing,
        Value::Text(_) => Value::Text(MASK.to_owned()),
        Value::List(items) => Value::List(items.iter().map(whole).collect()),
        Value::Group(entries) => {
            Value::Group(entries.iter().map(|entry| with_node(entry, whole(&entry.node))).collect())
        }
    };
    Node { value, ..node.clone() }
}

fn with_node(entry: &Entry, node: Node) -> Entry {
    Entry { node, ..entry.clone() }
}

/// What the schemas of a group say of one of its keys.
fn of_key<'a>(schemas: &[&'a Json], key: &str) -> Vec<&'a Json> {
    let named = schemas.iter().filter_map(|schema| schema["properties"].get(key));
    let named: Vec<&Json> = named.flat_map(forms).collect();
    if !named.is_empty() {
        return named;
    }
    let any = schemas.iter().filter_map(|schema| schema.get("additionalProperties"));
    any.filter(|schema| schema.is_object()).flat_map(forms).collect()
}

/// The schema itself and each form that it may take.
fn forms(schema: &Json) -> Vec<&Json> {
    let choices = ["anyOf", "oneOf", "allOf"].iter().filter_map(|key| schema[key].as_array()).flatten();
    std::iter::once(schema).chain(choices.flat_map(forms)).collect()
}

/// Scheme, host and port: keys stand in users, paths and queries.
fn host_alone(text: &str) -> String {
    let Some((url, host)) = Url::parse(text).ok().and_then(|url| Some((url.clone(), url.host_str()?.to_owned())))
    else {
        return MASK.to_owned();
    };
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let rest = if matches!(url.path(), "" | "/") && url.query().is_none() { "/" } else { "/***" };
    format!("{}://{host}{port}{rest}", url.scheme())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Place;

    fn text(text: &str) -> Node {
        Node::text(text, Place::Whole)
    }

    fn group(entries: Vec<(&str, Node)>) -> Node {
        let entry = |(key, node): (&str, Node)| Entry { key: key.to_owned(), place: Place::Whole, node };
        Node::new(Value::Group(entries.into_iter().map(entry).collect()), Place::Whole)
    }

    fn list(items: Vec<Node>) -> Node {
        Node::new(Value::List(items), Place::Whole)
    }

    #[test]
    fn secrets_are_masked_wherever_the_schema_has_them_and_the_rest_is_shown() {
        let dated = group(vec![("secret", text("CANARY")), ("valid_until", text("2027-01-31"))]);
        let webhook = group(vec![
            ("id", text("lims")),
            ("url", text("https://user:CANARY@lims.example:8443/CANARY?key=CANARY")),
            ("secret", text("CANARY")),
            ("secrets", list(vec![text("CANARY"), dated])),
            ("headers", group(vec![("x-key", text("CANARY"))])),
            ("proxy", text("http://user:CANARY@proxy.example:3128")),
            ("signatures", list(vec![group(vec![("mac", text("x-mac")), ("secret", text("CANARY"))])])),
            ("template", group(vec![("body", text("CANARY")), ("headers", group(vec![("a", text("CANARY"))]))])),
            ("timeout", text("30s")),
        ]);
        let source = group(vec![("id", text("station")), ("secrets", list(vec![text("CANARY")]))]);
        let tree = group(vec![
            ("gateway", group(vec![("id", text("clinic-7"))])),
            ("mqtt", group(vec![("user", text("box")), ("password", text("CANARY"))])),
            ("monitoring", group(vec![("password", text("CANARY"))])),
            ("sparkplug", group(vec![("password", text("CANARY"))])),
            ("webhooks", list(vec![webhook])),
            ("sources", list(vec![source])),
            ("registrations", group(vec![("lab_id_token", text("CANARY")), ("lab_id_url", text("CANARY"))])),
            ("of_a_newer_version", group(vec![("key", text("CANARY"))])),
        ]);
        let shown = masked(&tree).to_yaml();
        assert!(!shown.contains("CANARY"), "{shown}");
        for part in ["clinic-7", "lims.example:8443/***", "proxy.example:3128/", "2027-01-31", "x-mac", "30s", "box"] {
            assert!(shown.contains(part), "{part} in {shown}");
        }
    }

    /// A key that sounds like a secret has to be marked, or to be the name of a file.
    #[test]
    fn every_key_that_sounds_secret_is_marked() {
        fn look(schema: &Json, path: &str, unmarked: &mut Vec<String>) {
            for (key, inner) in schema["properties"].as_object().into_iter().flatten() {
                let path = format!("{path}.{key}");
                let sounds = ["secret", "password", "token", "passphrase", "hash", "headers", "standard_webhooks"];
                let marked = forms(inner).iter().any(|form| form.get("x-secret").is_some());
                let inside = inner["items"].is_object();
                if sounds.iter().any(|word| key.contains(word)) && !key.ends_with("_file") && !marked && !inside {
                    unmarked.push(path.clone());
                }
                for form in forms(inner) {
                    look(form, &path, unmarked);
                    if let Some(items) = form.get("items") {
                        forms(items).into_iter().for_each(|item| look(item, &path, unmarked));
                    }
                }
            }
        }
        let mut unmarked = Vec::new();
        look(&schema_of::<File>(), "", &mut unmarked);
        assert!(unmarked.is_empty(), "{unmarked:?}");
    }
}
