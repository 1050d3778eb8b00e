//! Secrets, from the file or from a file of their own. No message here carries any part of one.

use crate::config::Value;
use crate::config::group::{Field, Group};
use crate::dialects::Secret;

/// Reads `key` or, instead, `key_file`.
pub fn one(group: &Group<'_>, key: &'static str, key_file: &'static str) -> Option<Secret> {
    let written = group.get(key);
    let file = group.get(key_file);
    if let (Some(_), Some(file)) = (&written, &file) {
        file.wrong(&format!("`{key}` is written as well"), &format!("keep one of `{key}` and `{key_file}`"));
        return None;
    }
    match (written, file) {
        (Some(field), _) => field.text().map(Secret::new),
        (None, Some(field)) => from_file(&field),
        (None, None) => None,
    }
}

/// Reads `webhooks[].secret`, `secret_file` or `secrets`, newest first.
pub fn several(group: &Group<'_>) -> Vec<Secret> {
    let single = ["secret", "secret_file"].map(|key| group.get(key).is_some());
    let Some(field) = group.get("secrets") else {
        return one(group, "secret", "secret_file").into_iter().collect();
    };
    let list = group.list("secrets");
    if single.contains(&true) {
        field.wrong("another secret is written beside this list", "keep either `secrets` or the single secret");
    } else if matches!(&field.node.value, Value::Nothing) || field.node.value == Value::List(Vec::new()) {
        field.wrong("is an empty list", "write a secret after a dash, or remove the key");
    }
    list.iter().filter_map(|item| item.text()).map(Secret::new).collect()
}

fn from_file(field: &Field<'_>) -> Option<Secret> {
    let path = field.path(false)?;
    match field.context.outside.read(&path) {
        Ok(text) if !text.trim().is_empty() => Some(Secret::new(text.trim())),
        Ok(_) => {
            field.wrong("this file is empty", "put the secret into it, on one line");
            None
        }
        Err(reason) => {
            field.wrong(
                &format!("this file cannot be read: {reason}"),
                "write the path of a file that the gateway may read",
            );
            None
        }
    }
}
