//! Words that were meant, and words as messages may show them.

use super::tree::Value;

/// A longer key is no key, but something that lost its own.
const KEY_CHARS_MAX: usize = 32;

/// An id of the user's own.
pub fn is_id(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    (1..=32).contains(&text.len()) && text.starts_with(plain) && text.chars().all(|c| plain(c) || c == '-')
}

/// The keys of an object schema, in its order.
pub fn known_keys(schema: &serde_json::Value) -> Vec<&str> {
    schema["properties"]
        .as_object()
        .map(|properties| properties.keys().map(String::as_str).collect())
        .unwrap_or_default()
}

/// Whether one of the keys is marked as a secret.
pub fn holds_secrets(schema: &serde_json::Value) -> bool {
    let mut properties = schema["properties"].as_object().into_iter().flatten();
    properties.any(|(_, property)| property.get("x-secret").is_some())
}

/// The key that this text begins with: its colon is missing, or the space behind that.
pub fn begins_with<'k>(value: &Value, keys: &[&'k str]) -> Option<&'k str> {
    let Value::Text(text) = value else { return None };
    let word = text.trim_start_matches(['-', ' ']).split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next()?;
    keys.iter().copied().find(|key| *key == word)
}

/// The key that this one begins with, if its value stands right behind the colon: YAML takes both for one key then.
pub fn glued_to<'k>(key: &str, keys: &[&'k str]) -> Option<&'k str> {
    let (word, _) = key.split_once(':')?;
    keys.iter().copied().find(|key| *key == word)
}

/// A key of the user's own as messages may show it. What stands behind its first word may be a value that lacks its space.
pub fn shown_key(key: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
    match key.find(|c| !plain(c)) {
        _ if key.chars().count() > KEY_CHARS_MAX => "...".to_owned(),
        Some(end) => format!("{}...", &key[..end]),
        None => key.to_owned(),
    }
}

/// The candidate that was probably meant.
pub fn nearest<'w>(word: &str, candidates: &[&'w str]) -> Option<&'w str> {
    let plain = |text: &str| text.to_lowercase().replace('-', "_");
    let word = plain(word);
    let distance = |candidate: &str| strsim::osa_distance(&word, &plain(candidate));
    let best = candidates.iter().copied().min_by_key(|candidate| distance(candidate))?;
    let near = (word.chars().count().min(best.chars().count()) / 3).clamp(1, 4);
    (distance(best) <= near).then_some(best)
}

/// "write `astm`" if one is near, else all of them.
pub fn instead(word: &str, candidates: &[&str]) -> String {
    match nearest(word, candidates) {
        Some(word) => format!("write `{word}`"),
        None => format!("write {}", either(candidates)),
    }
}

/// `a`, `b` or `c`
pub fn either(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.join(""),
    }
}

/// A wrong word in quotes, cut short.
pub fn shown(text: &str) -> String {
    let short: String = text.chars().filter(|c| !c.is_control()).take(40).collect();
    if short == text { format!("`{short}`") } else { format!("`{short}...`") }
}
