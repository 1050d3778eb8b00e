//! Typed readers over the tree: each takes what it can, notes what is wrong and lets the reading go on, so that one look
//! finds every mistake.
//!
//! Invariant: no message quotes a value unless its caller says that the value cannot be a secret.

use super::duration;
use super::file::schema_of;
use super::tree::{Entry, Mistake, Node, Place, Value};
use crate::reading::Pattern;
use crate::time::Timestamp;
use schemars::JsonSchema;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What the validation has to ask about the machine. The core itself opens nothing.
pub trait Outside {
    /// The text of a secret's file, or why it cannot be had.
    fn read(&self, path: &Path) -> Result<String, String>;
    /// Whether there is such a file. A last good configuration says yes to all: it must start.
    fn is_file(&self, path: &Path) -> bool;
    /// The IANA names that this machine knows.
    fn time_zones(&self) -> Vec<String>;
    /// The profile of that name: the user's own before those that the gateway brings along; `None` if there is no such file.
    fn profile(&self, name: &str) -> Option<WrittenProfile>;
    /// The names of all profiles, sorted.
    fn profiles(&self) -> Vec<String>;
    /// The present time; `None` if what has run out shall not be judged. A last good configuration judges nothing.
    fn now(&self) -> Option<Timestamp>;
}

/// A profile's file.
pub struct WrittenProfile {
    /// What mistakes in it call it: its path, or its name among those that the gateway brings along.
    pub file: String,
    /// Its tree, or why there is none.
    pub tree: Result<Node, Vec<Mistake>>,
}

/// What a whole reading shares.
pub struct Context<'a> {
    pub outside: &'a dyn Outside,
    pub mistakes: RefCell<Vec<Mistake>>,
}

impl Context<'_> {
    pub fn note(&self, mistake: Mistake) {
        self.mistakes.borrow_mut().push(mistake);
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
            Some(_) => {
                let keys = known_keys(&schema).join(", ");
                let suggestion = format!("write keys under it, each with a colon and a value: {keys}");
                context.note(Mistake::new(place.clone(), path, "must be a group of keys", &suggestion));
                (&[], true)
            }
        };
        let asked = RefCell::default();
        let group = Group { context, path: path.to_owned(), place, entries, schema, broken, asked };
        group.look_over();
        group
    }

    fn look_over(&self) {
        let known = known_keys(&self.schema);
        for (index, entry) in self.entries.iter().enumerate() {
            let earlier = self.entries[..index].iter().find(|other| other.key == entry.key);
            if !known.contains(&entry.key.as_str()) {
                // A long unknown key may be a secret that lost its own key.
                let shown = if entry.key.chars().count() <= 32 { entry.key.as_str() } else { "..." };
                let suggestion = match nearest(&entry.key, &known) {
                    Some(word) => format!("write `{word}`"),
                    None => format!("remove it; the keys known here are {}", known.join(", ")),
                };
                let mistake = Mistake::new(entry.place.clone(), self.join(shown), "there is no such key", &suggestion);
                self.context.note(mistake);
            } else if let Some(earlier) = earlier {
                let problem = match &earlier.place {
                    Place::At { line, .. } => format!("this key is already written in line {line}"),
                    _ => "this key is written twice".to_owned(),
                };
                let mistake =
                    Mistake::new(entry.place.clone(), self.join(&entry.key), problem, "remove one of the two");
                self.context.note(mistake);
            }
        }
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
        Some(Field { context: self.context, node: &entry.node, path: self.join(key) })
    }

    /// The same; its absence is a mistake.
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
}

impl<'a> Field<'a> {
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
            u64::MAX => format!("write a whole number from {least} on, such as {least}"),
            _ => format!("write a whole number from {least} to {most}"),
        };
        let Ok(number) = text.parse::<u64>() else {
            self.wrong("must be a whole number", &suggestion);
            return None;
        };
        if !range.contains(&number) {
            self.wrong(&format!("{number} is out of range"), &suggestion);
            return None;
        }
        Some(number)
    }

    pub fn duration(&self, range: RangeInclusive<Duration>) -> Option<Duration> {
        let text = self.text()?;
        let Some(span) = duration::parse(text) else {
            let suggestion = match text.parse::<u32>() {
                Ok(number) => format!("write the unit as well: `{number}s`, `{number}m`, `{number}h`"),
                Err(_) => "write a number and a unit: 500ms, 30s, 5m, 2h or 1d".to_owned(),
            };
            self.wrong("must be a time", &suggestion);
            return None;
        };
        if !range.contains(&span) {
            let (least, most) = (duration::format(*range.start()), duration::format(*range.end()));
            let problem = format!("{} is out of range", duration::format(span));
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
        self.wrong(&format!("there is no {what} {}", shown(text)), &instead(text, &names));
        None
    }

    /// One of a few words that are the key's own.
    pub fn choice<T: Copy>(&self, words: &[(&str, T)]) -> Option<T> {
        let text = self.text()?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return Some(*value);
        }
        let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        self.wrong(&format!("{} is not possible here", shown(text)), &format!("write {}", either(&names)));
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
            self.wrong("must be a list", "write one item a line, each after a dash: `- ...`");
            return Vec::new();
        };
        let field = |(index, node)| Field { context: self.context, node, path: format!("{}[{index}]", self.path) };
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
        let better = better.trim_start_matches('-');
        let suggestion = match is_id(better) {
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
        if present && !self.context.outside.is_file(&path) {
            self.wrong("there is no such file, or it may not be read", "write the path of a file that is there");
            return None;
        }
        Some(path)
    }
}

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
fn shown(text: &str) -> String {
    let short: String = text.chars().filter(|c| !c.is_control()).take(40).collect();
    if short == text { format!("`{short}`") } else { format!("`{short}...`") }
}
