//! Settings that come as a text from somewhere else than the card: checked whole, and put onto the card when they are kept.
//!
//! Invariants: `***` where the settings in force have a secret means that secret, so that whoever changes one line need not know
//! it; a secret that the settings file takes from a file of its own (`secret_file`) stays there; what is written is the text that came, with its comments, and replaces the file in one step.

use super::last_good::IN_FILES;
use super::{Failure, Loaded, Source, file, read_text, yaml};
use crate::platform::replace::{can_be_replaced, replace};
use gateway_core::appliance::pushed::{SETTINGS_BYTES_MAX, fingerprint};
use gateway_core::config::{Entry, MASK, Mistake, Node, Place, Value};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Good settings that came as a text.
#[derive(Clone)]
pub struct Pushed {
    pub loaded: Loaded,
    /// The file that they go into when they are kept.
    pub path: PathBuf,
    /// What will stand in it. Holds secrets.
    pub text: String,
    /// The [`fingerprint`] of the file that they replace; `None`: there was none.
    pub replaces: Option<String>,
}

impl Pushed {
    /// Whether somebody has changed the file since they came.
    pub fn is_outdated(&self) -> bool {
        present(&self.path) != self.replaces
    }
}

/// Checks a text as if it stood in the settings file. `in_force` are the settings whose secrets `***` stands for.
pub fn check_pushed(source: &Source, text: &str, in_force: &Loaded) -> Result<Pushed, Failure> {
    let path = place(source);
    let wrong = |problem: &str, suggestion: &str| Failure {
        path: Some(path.clone()),
        mistakes: vec![Mistake::new(Place::Whole, "", problem, suggestion)],
    };
    if text.len() > SETTINGS_BYTES_MAX {
        return Err(wrong("is larger than 1 MiB, so it is not a settings file", "send the settings alone"));
    }
    let replaces = present(&path);
    let parsed = |text: &str| yaml::parse(text).map_or_else(|_| None, |(tree, _)| Some(tree));
    let known = parsed(&in_force.text);
    let card = file::text(&path).ok().and_then(|text| parsed(&text));
    let mut filled = Vec::new();
    let loaded = read_text(source, Some(path.clone()), Some(text), |tree| {
        let mut mistakes = Vec::new();
        fill(tree, (known.as_ref(), card.as_ref()), "", &mut filled, &mut mistakes);
        mistakes
    });
    let loaded = loaded.map_err(|(failure, _)| failure)?;
    if loaded.config.gateway.state_dir != in_force.config.gateway.state_dir {
        let suggestion = "leave `gateway.state_dir` as it is; it is changed on the box, and takes effect at a start";
        return Err(wrong("would move the state folder, and with it every event that is stored", suggestion));
    }
    let text = written(text, filled).ok_or_else(|| {
        wrong("has `***` in a place where it cannot be replaced", "write each `***` alone in \"quotes\", on one line")
    })?;
    Ok(Pushed { loaded, path, text, replaces })
}

/// Checks a text as if it stood in this file.
pub fn check_text(source: &Source, path: &Path, text: &str) -> Result<Loaded, Failure> {
    read_text(source, Some(path.to_owned()), Some(text), |_| Vec::new()).map_err(|(failure, _)| failure)
}

fn present(path: &Path) -> Option<String> {
    fs::read(path).ok().map(|bytes| fingerprint(&bytes))
}

/// Puts the text in the file's place.
pub fn keep_pushed(pushed: &Pushed) -> io::Result<()> {
    let target = fs::canonicalize(&pushed.path).unwrap_or_else(|_| pushed.path.clone());
    let old = fs::metadata(&target).ok();
    // The boot partition knows neither modes nor owners; where there are some they stay.
    replace(&target, pushed.text.as_bytes(), old.as_ref().map_or(0o600, |old| old.mode() & 0o777))?;
    let _ = old.map(|old| std::os::unix::fs::chown(&target, Some(old.uid()), Some(old.gid())));
    Ok(())
}

/// Whether the file could be written now: tried, not guessed.
pub fn try_to_keep(pushed: &Pushed) -> io::Result<()> {
    let target = fs::canonicalize(&pushed.path).unwrap_or_else(|_| pushed.path.clone());
    can_be_replaced(&target)
}

/// The file in force, or the one that would be looked for last if there is none yet.
fn place(source: &Source) -> PathBuf {
    let usual = || source.usual.last().cloned().unwrap_or_else(|| PathBuf::from("gateway.yaml"));
    file::find(source).unwrap_or_else(usual)
}

/// What takes the place of stars: where they begin, and what stands there instead.
struct Filled {
    line: usize,
    column: usize,
    text: String,
    key: Option<OtherKey>,
}

/// A key that becomes another one, with the place where it begins.
struct OtherKey {
    line: usize,
    column: usize,
    from: &'static str,
    to: &'static str,
}

/// Replaces each `***` by what stands in the same place of the first of `known`, the settings in force; where the second, the file
/// of now, names a file for it, the name stays. Items of lists are the same if their ids are, or, without ids, their places.
fn fill(
    node: &mut Node,
    (known, card): (Option<&Node>, Option<&Node>),
    path: &str,
    filled: &mut Vec<Filled>,
    mistakes: &mut Vec<Mistake>,
) {
    match &mut node.value {
        Value::Nothing => {}
        Value::Text(text) if text == MASK => match (known.and_then(Node::as_text), node.text_at) {
            (Some(secret), Some((line, column))) if secret != MASK => {
                secret.clone_into(text);
                filled.push(Filled { line, column, text: secret.to_owned(), key: None });
            }
            _ => {
                let problem = "`***` stands for the secret that is in force, and here is none";
                let suggestion = "write the secret itself";
                mistakes.push(Mistake::new(node.place.clone(), path, problem, suggestion));
            }
        },
        Value::Text(_) => {}
        Value::List(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                let others = (same_item(known, item, index), same_item(card, item, index));
                fill(item, others, &format!("{path}[{index}]"), filled, mistakes);
            }
        }
        Value::Group(entries) => {
            for entry in entries {
                if let Some(kept) = keep_file(entry, card) {
                    filled.push(kept);
                    continue;
                }
                let Entry { key, node, .. } = entry;
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                let others = (known.and_then(|known| known.get(key)), card.and_then(|card| card.get(key)));
                fill(node, others, &path, filled, mistakes);
            }
        }
    }
}

/// The item of another list that is this one.
fn same_item<'a>(list: Option<&'a Node>, item: &Node, index: usize) -> Option<&'a Node> {
    let Value::List(others) = &list?.value else { return None };
    match item.get("id").and_then(Node::as_text) {
        Some(id) => others.iter().find(|other| other.get("id").and_then(Node::as_text) == Some(id)),
        None => others.get(index),
    }
}

/// Stars whose secret the file of now takes from a file: the entry names that file again.
fn keep_file(entry: &mut Entry, card: Option<&Node>) -> Option<Filled> {
    let (to, from) = IN_FILES.into_iter().find(|(_, key)| *key == entry.key)?;
    let name = card?.get(to)?.as_text()?;
    if entry.node.as_text() != Some(MASK) {
        return None;
    }
    let ((line, column), Place::At { line: key_line, column: key_column }) = (entry.node.text_at?, &entry.place) else {
        return None;
    };
    let key = Some(OtherKey { line: *key_line, column: *key_column, from, to });
    to.clone_into(&mut entry.key);
    entry.node.value = Value::Text(name.to_owned());
    Some(Filled { line, column, text: name.to_owned(), key })
}

/// The text with the secrets in it, each in double quotes; `None` if the stars do not stand where they should.
fn written(text: &str, mut filled: Vec<Filled>) -> Option<String> {
    filled.sort_by_key(|one| std::cmp::Reverse((one.line, one.column)));
    let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
    for Filled { line, column, text, key } in filled {
        let (line, start) = at(&mut lines, line, column)?;
        let quote = line[..start].chars().next_back().filter(|quote| matches!(quote, '"' | '\''))?;
        let end = start + MASK.len();
        if !line.get(start..)?.starts_with(MASK) || !line[end..].starts_with(quote) {
            return None;
        }
        line.replace_range(start - 1..=end, &serde_json::Value::from(text).to_string());
        if let Some(OtherKey { line, column, from, to }) = key {
            // It stands before its value, so that place is as it was.
            let (line, start) = at(&mut lines, line, column)?;
            let end = start + from.len();
            if line.get(start..end)? != from {
                return None;
            }
            line.replace_range(start..end, to);
        }
    }
    Some(lines.concat())
}

/// A line, and the byte in it at which the character of that column begins.
fn at(lines: &mut [String], line: usize, column: usize) -> Option<(&mut String, usize)> {
    let line = lines.get_mut(line.checked_sub(1)?)?;
    let (start, _) = line.char_indices().nth(column.checked_sub(1)?)?;
    Some((line, start))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(text: &str) -> Node {
        yaml::parse(text).expect("a tree").0
    }

    /// What would be written, and how many stars stand for nothing.
    fn filled(text: &str, known: &str) -> (Option<String>, usize) {
        let (mut filled, mut mistakes) = (Vec::new(), Vec::new());
        fill(&mut tree(text), (Some(&tree(known)), None), "", &mut filled, &mut mistakes);
        (written(text, filled), mistakes.len())
    }

    #[test]
    fn a_secret_that_has_a_file_of_its_own_stays_in_it() {
        let known = "webhooks:\n  - { id: a, secret: A, url: u }\n  - id: b\n    secret: B\nmqtt:\n  password: P\n";
        let card = "webhooks:\n  - { id: b, secret_file: /etc/b.key }\n  - { id: a, secret_file: '/etc/a key' }\nmqtt: { password: P }\n";
        let text = "webhooks:\n  - { id: a, secret: \"***\", url: u }\n  - id: b\n    secret: '***'\nmqtt:\n  password: \"***\"\n";
        let wanted = "webhooks:\n  - { id: a, secret_file: \"/etc/a key\", url: u }\n  - id: b\n    secret_file: \"/etc/b.key\"\nmqtt:\n  password: \"P\"\n";
        let (mut tree_of_text, mut filled, mut mistakes) = (tree(text), Vec::new(), Vec::new());
        fill(&mut tree_of_text, (Some(&tree(known)), Some(&tree(card))), "", &mut filled, &mut mistakes);
        assert_eq!((written(text, filled).as_deref(), mistakes.len()), (Some(wanted), 0));
        assert!(tree_of_text.to_yaml().contains("secret_file"));
    }

    #[test]
    fn stars_are_the_secret_of_the_same_place_and_comments_stay() {
        let known =
            "mqtt: { password: \"p\\\"w\" }\nwebhooks:\n  - { id: a, secret: A }\n  - { id: b, secrets: [B1, B2] }\n";
        let text = "# mine\nmqtt:\n  password: '***'  # kept\nwebhooks:\n  - id: b\n    secrets: [\"***\", \"***\"]\n  - { id: a, secret: \"***\" }\n";
        let wanted = "# mine\nmqtt:\n  password: \"p\\\"w\"  # kept\nwebhooks:\n  - id: b\n    secrets: [\"B1\", \"B2\"]\n  - { id: a, secret: \"A\" }\n";
        assert_eq!(filled(text, known), (Some(wanted.to_owned()), 0));
    }

    #[test]
    fn stars_without_a_secret_in_force_are_a_mistake() {
        let known = "webhooks:\n  - { id: a, secret: A }\n";
        let text = "webhooks:\n  - { id: c, secret: \"***\" }\n";
        assert_eq!(filled(text, known).1, 1);
    }
}
