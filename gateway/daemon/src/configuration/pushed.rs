//! Settings that come as a text from somewhere else than the card: checked whole, and put onto the card when they are kept.
//!
//! Invariants: `***` where the settings in force have a secret means that secret, so that whoever changes one line need not know
//! it; what is written is the text that came, with its comments, and replaces the file in one step.

use super::{Failure, Loaded, Source, file, read_text, yaml};
use gateway_core::config::{Entry, Mistake, Node, Place, Value};
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// What stands for a secret wherever settings are shown.
pub const SECRET: &str = "***";
/// As many bytes as a settings file may have.
const TEXT_BYTES_MAX: usize = 1 << 20;

/// Good settings that came as a text.
#[derive(Clone)]
pub struct Pushed {
    pub loaded: Loaded,
    /// The file that they go into when they are kept.
    pub path: PathBuf,
    /// What will stand in it. Holds secrets.
    pub text: String,
}

/// Checks a text as if it stood in the settings file. `in_force` are the settings whose secrets `***` stands for.
pub fn check_pushed(source: &Source, text: &str, in_force: &Loaded) -> Result<Pushed, Failure> {
    let path = place(source);
    let wrong = |problem: &str, suggestion: &str| Failure {
        path: Some(path.clone()),
        mistakes: vec![Mistake::new(Place::Whole, "", problem, suggestion)],
    };
    if text.len() > TEXT_BYTES_MAX {
        return Err(wrong("is larger than 1 MiB, so it is not a settings file", "send the settings alone"));
    }
    let known = yaml::parse(&in_force.text).map_or_else(|_| None, |(tree, _)| Some(tree));
    let mut filled = Vec::new();
    let loaded = read_text(source, Some(path.clone()), Some(text), |tree| {
        let mut mistakes = Vec::new();
        fill(tree, known.as_ref(), "", &mut filled, &mut mistakes);
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
    Ok(Pushed { loaded, path, text })
}

/// Puts the text in the file's place: a new file, on disk, then renamed over the old one.
pub fn keep_pushed(pushed: &Pushed) -> io::Result<()> {
    let target = fs::canonicalize(&pushed.path).unwrap_or_else(|_| pushed.path.clone());
    let new = beside(&target);
    let _ = fs::remove_file(&new);
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    if let Ok(old) = fs::metadata(&target) {
        // The boot partition knows neither modes nor owners; where there are some they stay.
        let _ = file.set_permissions(fs::Permissions::from_mode(old.mode() & 0o777));
        let _ = std::os::unix::fs::chown(&new, Some(old.uid()), Some(old.gid()));
    }
    let written = file.write_all(pushed.text.as_bytes()).and_then(|()| file.sync_all());
    if let Err(error) = written.and_then(|()| fs::rename(&new, &target)) {
        let _ = fs::remove_file(&new);
        return Err(error);
    }
    target.parent().map_or(Ok(()), |folder| fs::File::open(folder)?.sync_all())
}

/// Whether the file could be written now: tried, not guessed.
pub fn try_to_keep(pushed: &Pushed) -> io::Result<()> {
    let target = fs::canonicalize(&pushed.path).unwrap_or_else(|_| pushed.path.clone());
    let new = beside(&target);
    let _ = fs::remove_file(&new);
    fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    fs::remove_file(&new)
}

fn beside(target: &Path) -> PathBuf {
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    target.with_file_name(name)
}

/// The file in force, or the one that would be looked for last if there is none yet.
fn place(source: &Source) -> PathBuf {
    let usual = || source.usual.last().cloned().unwrap_or_else(|| PathBuf::from("gateway.yaml"));
    file::find(source).unwrap_or_else(usual)
}

/// A secret in the place of its stars: where the text begins, and what stands there instead.
struct Filled {
    line: usize,
    column: usize,
    secret: String,
}

/// Replaces each `***` by what stands in the same place of `known`. Items of lists are the same if their ids are, or, without
/// ids, their places.
fn fill(node: &mut Node, known: Option<&Node>, path: &str, filled: &mut Vec<Filled>, mistakes: &mut Vec<Mistake>) {
    match &mut node.value {
        Value::Nothing => {}
        Value::Text(text) if text == SECRET => match (known.and_then(Node::as_text), node.text_at) {
            (Some(secret), Some((line, column))) if secret != SECRET => {
                secret.clone_into(text);
                filled.push(Filled { line, column, secret: secret.to_owned() });
            }
            _ => {
                let problem = "`***` stands for the secret that is in force, and here is none";
                let suggestion = "write the secret itself";
                mistakes.push(Mistake::new(node.place.clone(), path, problem, suggestion));
            }
        },
        Value::Text(_) => {}
        Value::List(items) => {
            let others = match known.map(|known| &known.value) {
                Some(Value::List(others)) => others.as_slice(),
                _ => &[],
            };
            for (index, item) in items.iter_mut().enumerate() {
                let id = item.get("id").and_then(Node::as_text);
                let other = match id {
                    Some(id) => others.iter().find(|other| other.get("id").and_then(Node::as_text) == Some(id)),
                    None => others.get(index),
                };
                fill(item, other, &format!("{path}[{index}]"), filled, mistakes);
            }
        }
        Value::Group(entries) => {
            for Entry { key, node, .. } in entries {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                fill(node, known.and_then(|known| known.get(key)), &path, filled, mistakes);
            }
        }
    }
}

/// The text with the secrets in it, each in double quotes; `None` if the stars do not stand where they should.
fn written(text: &str, mut filled: Vec<Filled>) -> Option<String> {
    filled.sort_by_key(|one| std::cmp::Reverse((one.line, one.column)));
    let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
    for Filled { line, column, secret } in filled {
        let line = lines.get_mut(line.checked_sub(1)?)?;
        let (start, _) = line.char_indices().nth(column.checked_sub(1)?)?;
        let quote = line[..start].chars().next_back().filter(|quote| matches!(quote, '"' | '\''))?;
        let end = start + SECRET.len();
        if !line.get(start..)?.starts_with(SECRET) || !line[end..].starts_with(quote) {
            return None;
        }
        line.replace_range(start - 1..=end, &serde_json::Value::from(secret).to_string());
    }
    Some(lines.concat())
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
        fill(&mut tree(text), Some(&tree(known)), "", &mut filled, &mut mistakes);
        (written(text, filled), mistakes.len())
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
