//! Typed readers over the tree: each takes what it can, notes what is wrong and lets the reading go on, so that one look
//! finds every mistake.
//!
//! Invariant: no message quotes a value unless its caller says that the value cannot be a secret.

use super::duration;
use super::file::{File, schema_of};
use super::outside::Outside;
use super::tree::{Entry, Mistake, Node, Place, Value};
use super::words::{begins_with, glued_to, holds_secrets, shown};
pub use super::words::{either, instead, is_id, known_keys, nearest, shown_key};
use crate::reading::Pattern;
use schemars::JsonSchema;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

/// What a whole reading shares.
pub struct Context<'a> {
    pub outside: &'a dyn Outside,
    pub mistakes: RefCell<Vec<Mistake>>,
}

impl Context<'_> {
    pub fn note(&self, mistake: Mistake) {
        self.mistakes.borrow_mut().push(mistake);
    }

    /// Whether something is wrong with the key of this path.
    pub fn is_told(&self, path: &str) -> bool {
        self.mistakes.borrow().iter().any(|mistake| mistake.error.path == path)
    }
}

/// A group of keys. In tests it fails if a key of the schema is never asked for.
pub struct Group<'a> {
    pub context: &'a Context<'a>,
    pub path: String,
    pub place: Place,
    entries: &'a [Entry],
    schema: serde_json::Value,
    /// Whether it is no group at all, which has been said: then nothing in it is missing.
    broken: bool,
    /// Whether secrets stand in it: then any value may be one that stands at the wrong key.
    guarded: bool,
    asked: RefCell<BTreeSet<&'static str>>,
}

impl<'a> Group<'a> {
    /// Opens a group whose keys are the properties of `T`, and notes keys that are unknown or there twice.
    pub fn open<T: JsonSchema>(
        context: &'a Context<'a>,
        node: Option<&'a Node>,
        path: &str,
        place: Place,
    ) -> Group<'a> {
        let place = node.map_or(place, |node| node.place.clone());
        let schema = schema_of::<T>();
        let (entries, broken): (&[Entry], bool) = match node.map(|node| &node.value) {
            None | Some(Value::Nothing) => (&[], false),
            Some(Value::Group(entries)) => (entries, false),
            Some(other) => {
                let keys = known_keys(&schema);
                let suggestion = match begins_with(other, &keys) {
                    Some(key) => format!("write `{key}: ...`, with a colon and a space behind the key"),
                    None => format!("write keys under it, each with a colon and a value: {}", keys.join(", ")),
                };
                context.note(Mistake::new(place.clone(), path, "must be a group of keys", &suggestion));
                (&[], true)
            }
        };
        let guarded = holds_secrets(&schema);
        let group = Group {
            context,
            path: path.to_owned(),
            place,
            entries,
            schema,
            broken,
            guarded,
            asked: RefCell::default(),
        };
        group.look_over();
        group
    }

    fn look_over(&self) {
        let known = known_keys(&self.schema);
        for (index, entry) in self.entries.iter().enumerate() {
            let earlier = self.entries[..index].iter().find(|other| other.key == entry.key);
            let is_known = known.contains(&entry.key.as_str());
            let above = if is_known { None } else { self.belongs_above(index) };
            if let Some(key) = glued_to(&entry.key, &known) {
                let problem = format!("a blank is missing after the colon of `{key}`");
                let suggestion = format!("write `{key}: ...`, with a blank behind the colon");
                self.context.note(Mistake::new(entry.place.clone(), self.join(key), problem, &suggestion));
            } else if !is_known && above.is_none() && self.belongs_to_root(entry) {
                let suggestion = format!("`{}` belongs to the left edge: delete the blanks in front of it", entry.key);
                let problem = "this key does not belong under the one above";
                self.context.note(Mistake::new(entry.place.clone(), self.join(&entry.key), problem, &suggestion));
            } else if !is_known {
                let near = nearest(&entry.key, &known);
                // An unknown key may be a secret that lost its own key; a misspelt one is none.
                let is_safe = near.is_some() || above.is_some() || !self.guarded;
                let shown = if is_safe { shown_key(&entry.key) } else { String::new() };
                let suggestion = match (near, above) {
                    (Some(word), _) => format!("write `{word}`"),
                    (None, Some(above)) => format!("indent it by two spaces more, if it belongs to `{above}`"),
                    (None, None) => format!("remove it; the keys known here are {}", known.join(", ")),
                };
                let problem = if is_safe { "there is no such key" } else { "here stands a key that is not known" };
                self.context.note(Mistake::new(entry.place.clone(), self.join(&shown), problem, &suggestion));
            } else if let Some(earlier) = earlier {
                let problem = match &earlier.place {
                    Place::At { line, .. } => format!("this key is already written in line {line}"),
                    _ => "this key is written twice".to_owned(),
                };
                let suggestion = match entry.node.value {
                    Value::List(_) | Value::Group(_) => "write what stands under both under one of them",
                    _ => "remove one of the two",
                };
                let mistake = Mistake::new(entry.place.clone(), self.join(&entry.key), problem, suggestion);
                self.context.note(mistake);
            }
        }
    }

    /// The group without anything in it that stands above this key and knows it: the key lacks its indentation.
    fn belongs_above(&self, index: usize) -> Option<&str> {
        let known = known_keys(&self.schema);
        let above = self.entries[..index].iter().rev().find(|entry| known.contains(&entry.key.as_str()))?;
        let inner = &self.schema["properties"][&above.key]["properties"];
        (above.node.value == Value::Nothing && inner.get(&self.entries[index].key).is_some())
            .then_some(above.key.as_str())
    }

    /// Whether this unknown key is a section of the whole file that was pushed to the right. A text is none.
    fn belongs_to_root(&self, entry: &Entry) -> bool {
        !self.path.is_empty()
            && matches!(entry.node.value, Value::Group(_) | Value::List(_))
            && known_keys(&schema_of::<File>()).contains(&entry.key.as_str())
    }

    /// Whether this key is there, without the blank behind its colon.
    fn is_glued(&self, key: &str) -> bool {
        self.entries.iter().any(|entry| glued_to(&entry.key, &[key]).is_some())
    }

    /// The path of a key; of the group itself without one.
    fn join(&self, key: &str) -> String {
        match (self.path.as_str(), key) {
            ("", key) => key.to_owned(),
            (path, "") => path.to_owned(),
            (path, key) => format!("{path}.{key}"),
        }
    }

    /// The value of a key, if it is written.
    pub fn get(&self, key: &'static str) -> Option<Field<'a>> {
        self.asked.borrow_mut().insert(key);
        let entry = self.entries.iter().find(|entry| entry.key == key)?;
        Some(Field { context: self.context, node: &entry.node, path: self.join(key), guarded: self.guarded })
    }

    /// The value of a key of a group within this one, which reads itself.
    pub fn get_within(&self, group: &'static str, key: &str) -> Option<Field<'a>> {
        let field = self.get(group)?;
        let node = field.node.get(key)?;
        Some(field.below(node, format!("{}.{key}", field.path)))
    }

    /// The value of a key, whose absence is a mistake.
    pub fn need(&self, key: &'static str, suggestion: &str) -> Option<Field<'a>> {
        let field = self.get(key);
        if field.is_none() && !self.broken {
            self.wrong(key, "is missing", suggestion);
        }
        field
    }

    /// Notes a mistake about a key, at the key's value or else at the group; about the group itself without a key.
    pub fn wrong(&self, key: &str, problem: &str, suggestion: &str) {
        let entry = self.entries.iter().find(|entry| entry.key == key);
        if entry.is_none() && self.is_glued(key) {
            return;
        }
        let place = entry.map_or(&self.place, |entry| &entry.node.place);
        self.context.note(Mistake::new(place.clone(), self.join(key), problem, suggestion));
    }

    /// Notes a mistake for each of these keys that is written.
    pub fn refuse(&self, keys: &[&'static str], problem: &str, suggestion: &str) {
        for key in keys.iter().filter(|key| self.get(key).is_some()) {
            self.wrong(key, problem, suggestion);
        }
    }

    pub fn group<T: JsonSchema>(&self, key: &'static str) -> Group<'a> {
        let node = self.get(key).map(|field| field.node);
        Group::open::<T>(self.context, node, &self.join(key), self.place.clone())
    }

    /// The items of a list; none if the key is absent or empty.
    pub fn list(&self, key: &'static str) -> Vec<Field<'a>> {
        match self.get(key) {
            Some(field) if field.node.value != Value::Nothing => field.items(),
            _ => Vec::new(),
        }
    }

    /// A whole number within the range that the schema gives.
    pub fn number<N: TryFrom<u64>>(&self, key: &'static str, default: N) -> N {
        let property = &self.schema["properties"][key];
        let bound = |name: &str, other: u64| property[name].as_u64().unwrap_or(other);
        let range = bound("minimum", 0)..=bound("maximum", u64::MAX);
        self.get(key)
            .and_then(|field| field.number(range))
            .and_then(|number| N::try_from(number).ok())
            .unwrap_or(default)
    }

    pub fn flag(&self, key: &'static str) -> bool {
        self.flag_if_written(key).unwrap_or(false)
    }

    pub fn flag_if_written(&self, key: &'static str) -> Option<bool> {
        self.get(key).and_then(|field| field.choice(&[("true", true), ("false", false)]))
    }

    /// `allow_plain`. What is wrong with it is told here, and not a second time where it would have been needed.
    pub fn allows_plain(&self) -> bool {
        self.get("allow_plain").is_some() && self.flag_if_written("allow_plain").unwrap_or(true)
    }

    pub fn choice<T: Copy>(&self, key: &'static str, words: &[(&str, T)], default: T) -> T {
        self.get(key).and_then(|field| field.choice(words)).unwrap_or(default)
    }

    /// A text with something in it.
    pub fn text(&self, key: &'static str) -> Option<String> {
        self.get(key).and_then(|field| field.text()).map(str::to_owned)
    }

    /// A regular expression.
    pub fn pattern(&self, key: &'static str) -> Option<Pattern> {
        self.get(key).and_then(|field| field.pattern())
    }

    /// A whole path; with `present`, to a file that is there.
    pub fn path(&self, key: &'static str, present: bool) -> Option<PathBuf> {
        self.get(key).and_then(|field| field.path(present))
    }
}

impl Drop for Group<'_> {
    fn drop(&mut self) {
        if cfg!(debug_assertions) && !std::thread::panicking() {
            let asked = self.asked.borrow();
            let forgotten: Vec<_> = known_keys(&self.schema).into_iter().filter(|key| !asked.contains(key)).collect();
            debug_assert!(forgotten.is_empty(), "keys of {:?} that nothing reads: {forgotten:?}", self.path);
        }
    }
}

/// A value under its path.
pub struct Field<'a> {
    pub context: &'a Context<'a>,
    pub node: &'a Node,
    pub path: String,
    /// Whether its group holds secrets: then its value is never quoted.
    pub guarded: bool,
}

impl<'a> Field<'a> {
    /// Another value at or below this one.
    pub fn below(&self, node: &'a Node, path: String) -> Field<'a> {
        Field { context: self.context, node, path, guarded: self.guarded }
    }

    pub fn wrong(&self, problem: &str, suggestion: &str) {
        self.context.note(Mistake::new(self.node.place.clone(), self.path.clone(), problem, suggestion));
    }

    pub fn text(&self) -> Option<&'a str> {
        let problem = match &self.node.value {
            Value::Text(text) if !text.trim().is_empty() => return Some(text),
            Value::Text(_) | Value::Nothing => "has no value",
            Value::List(_) => "must be a single value, not a list",
            Value::Group(_) => "must be a single value, not a group of keys",
        };
        let suggestion = match &self.node.value {
            Value::Text(_) | Value::Nothing => "write a value after the colon, or remove the line",
            _ => "write one value after the colon, in quotes if it has special characters",
        };
        self.wrong(problem, suggestion);
        None
    }

    pub fn number(&self, range: RangeInclusive<u64>) -> Option<u64> {
        let text = self.text()?;
        let (least, most) = (range.start(), range.end());
        let suggestion = match *most {
            u64::MAX if self.path.ends_with("_bytes_max") => {
                format!("write a whole number of bytes from {least} on; 4 GB are `4294967296`")
            }
            u64::MAX => format!("write a whole number from {least} on, such as {least}"),
            _ => format!("write a whole number from {least} to {most}"),
        };
        let Ok(number) = text.parse::<u64>() else {
            self.wrong("must be a whole number", &suggestion);
            return None;
        };
        if !range.contains(&number) {
            let problem = if self.guarded { "is out of range" } else { &format!("{number} is out of range") };
            self.wrong(problem, &suggestion);
            return None;
        }
        Some(number)
    }

    pub fn duration(&self, range: RangeInclusive<Duration>) -> Option<Duration> {
        let text = self.text()?;
        let Some(span) = duration::parse(text) else {
            let suggestion = match text.parse::<u32>() {
                Ok(number) if !self.guarded => format!("write the unit as well: `{number}s`, `{number}m`, `{number}h`"),
                Ok(_) => "write the unit as well, as in 500ms, 30s, 5m, 2h or 1d".to_owned(),
                Err(_) => "write a number and a unit: 500ms, 30s, 5m, 2h or 1d".to_owned(),
            };
            self.wrong("must be a time", &suggestion);
            return None;
        };
        if !range.contains(&span) {
            let (least, most) = (duration::format(*range.start()), duration::format(*range.end()));
            let problem = match self.guarded {
                true => "is out of range".to_owned(),
                false => format!("{} is out of range", duration::format(span)),
            };
            self.wrong(&problem, &format!("write a time from {least} to {most}"));
            return None;
        }
        Some(span)
    }

    /// One of a few words. `what` names them in the sentence: "there is no driver `astmm`".
    pub fn word<'w, T: Copy>(&self, what: &str, words: &[(&'w str, T)]) -> Option<T> {
        let text = self.text()?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return Some(*value);
        }
        let names: Vec<&'w str> = words.iter().map(|(word, _)| *word).collect();
        let problem = match self.guarded {
            true => format!("there is no such {what}"),
            false => format!("there is no {what} {}", shown(text)),
        };
        self.wrong(&problem, &instead(text, &names));
        None
    }

    /// One of a few words that are the key's own.
    pub fn choice<T: Copy>(&self, words: &[(&str, T)]) -> Option<T> {
        let text = self.text()?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return Some(*value);
        }
        let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let what = if self.guarded { "this word".to_owned() } else { shown(text) };
        self.wrong(&format!("{what} is not possible here"), &format!("write {}", either(&names)));
        None
    }

    /// A regular expression.
    pub fn pattern(&self) -> Option<Pattern> {
        match Pattern::new(self.text()?) {
            Ok(pattern) => Some(pattern),
            Err(error) => {
                let problem = format!("is no regular expression: {}", error.replace('\n', " "));
                self.wrong(&problem, "write one such as `^QC`; a backslash before . ( [ + * ? takes them literally");
                None
            }
        }
    }

    pub fn items(&self) -> Vec<Field<'a>> {
        let Value::List(items) = &self.node.value else {
            let suggestion = match &self.node.value {
                Value::Text(_) => "write it in brackets: `[one]` or `[one, two]`; or one a line, each after a dash",
                _ => "write one item a line, each after a dash: `- ...`",
            };
            self.wrong("must be a list", suggestion);
            return Vec::new();
        };
        let field = |(index, node)| self.below(node, format!("{}[{index}]", self.path));
        items.iter().enumerate().map(field).collect()
    }

    /// The entries of a group whose keys are free.
    pub fn free_entries(&self) -> &'a [Entry] {
        match &self.node.value {
            Value::Group(entries) => entries,
            Value::Nothing => &[],
            _ => {
                self.wrong("must be a group of keys", "write `name: value` under it, one a line");
                &[]
            }
        }
    }

    pub fn group<T: JsonSchema>(&self) -> Group<'a> {
        let mut group = Group::open::<T>(self.context, Some(self.node), &self.path, self.node.place.clone());
        if self.node.value == Value::Nothing {
            self.wrong("this item is empty", "write its keys after the dash, or remove the dash");
            group.broken = true;
        }
        group
    }

    /// An id of the user's own: `[a-z0-9][a-z0-9-]{0,31}`.
    pub fn id(&self) -> Option<String> {
        let text = self.text()?;
        if is_id(text) {
            return Some(text.to_owned());
        }
        let better: String =
            text.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        let better = better.trim_matches('-');
        let suggestion = match is_id(better) && !self.guarded {
            true => format!("write `{better}`"),
            false => "write a short word such as `lab-1`".to_owned(),
        };
        self.wrong("may have small letters, digits and dashes only, at most 32, and no dash in front", &suggestion);
        None
    }

    /// A whole path; with `present`, to a file that is there. Never quoted: people write a secret here by mistake.
    pub fn path(&self, present: bool) -> Option<PathBuf> {
        let path = PathBuf::from(self.text()?);
        if !path.to_string_lossy().starts_with('/') {
            let example = match self.path.rsplit('.').next() {
                Some("state_dir") => "/var/lib/analyzer-gateway",
                Some("path") => "/dev/ttyUSB0",
                Some("input") => "/dev/input/by-id/usb-...-event-kbd",
                _ => "/etc/analyzer-gateway/...",
            };
            self.wrong("must be a whole path", &format!("write it from the root on, such as `{example}`"));
            return None;
        }
        if present && let Err(unfit) = self.context.outside.file(&path) {
            self.wrong(unfit.problem, unfit.suggestion);
            return None;
        }
        Some(path)
    }
}
