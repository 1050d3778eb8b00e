//! Passwords that YAML cuts: from a blank and `#` on, what stands behind an unquoted value is a remark.
//!
//! Invariant: no part of a value or of a remark is told.

use gateway_core::config::{Node, Value};

/// Keys whose value may hold a `#` of its own.
const KEYS: [&str; 7] = ["ssid", "password", "secret", "secrets", "lab_id_token", "otlp_token", "standard_webhooks"];

/// A sentence for each such value with a remark behind it.
pub fn behind_secrets(text: &str, tree: &Node) -> Vec<String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    look(&lines, tree, "", &mut found);
    found
}

fn look(lines: &[&str], node: &Node, path: &str, found: &mut Vec<String>) {
    match &node.value {
        Value::Group(entries) => {
            let dot = if path.is_empty() { "" } else { "." };
            entries.iter().for_each(|entry| look(lines, &entry.node, &format!("{path}{dot}{}", entry.key), found));
        }
        Value::List(items) => {
            let items = items.iter().enumerate();
            items.for_each(|(index, item)| look(lines, item, &format!("{path}[{index}]"), found));
        }
        Value::Text(value) => {
            let key = path.rsplit('.').next().unwrap_or_default().split('[').next().unwrap_or_default();
            let line = node.text_at.filter(|_| KEYS.contains(&key) && has_remark(lines, node, value));
            found.extend(line.map(|(line, _)| {
                format!(
                    "{path} (line {line}): what stands behind # is a remark and not part of the value; if it belongs to it, put all \
                     of it in \"quotes\""
                )
            }));
        }
        Value::Nothing => {}
    }
}

/// Whether the value stands unquoted on its line, and a blank and `#` behind it. Behind a quoted one there is its quote first.
fn has_remark(lines: &[&str], node: &Node, value: &str) -> bool {
    let Some((line, column)) = node.text_at else { return false };
    let Some(line) = lines.get(line.saturating_sub(1)) else { return false };
    let rest: String = line.chars().skip(column.saturating_sub(1)).collect();
    let behind = rest.strip_prefix(value).unwrap_or_default();
    behind.starts_with([' ', '\t']) && behind.trim_start().starts_with('#')
}
