//! The settings as they were written: a tree in which every part knows where it stands.
//!
//! A plain value keeps its text as typed (`0123`, `no`, `9600`), so that a serial number or a password means what a person
//! sees; what it has to be is decided by the reader, not by YAML.

use super::ConfigError;
use std::fmt;

/// Where something was written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// The file as a whole.
    Whole,
    /// A line and a column of the file, both from 1.
    At { line: usize, column: usize },
    /// The same of another file than the settings' own: a profile.
    In { file: String, line: usize, column: usize },
    /// An environment variable or an argument, by name.
    Variable(String),
}

/// One mistake and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    pub place: Place,
    pub error: ConfigError,
}

impl Mistake {
    pub fn new(place: Place, path: impl Into<String>, problem: impl Into<String>, suggestion: &str) -> Mistake {
        let suggestion = (!suggestion.is_empty()).then(|| suggestion.to_owned());
        Mistake { place, error: ConfigError { path: path.into(), problem: problem.into(), suggestion } }
    }
}

/// A part of the tree.
#[derive(Clone, PartialEq)]
pub struct Node {
    pub value: Value,
    pub place: Place,
    /// Line and column of a text's first character, from 1: after a quote, under a `|`. `None`: not from a file.
    pub text_at: Option<(usize, usize)>,
}

#[derive(Clone, PartialEq)]
pub enum Value {
    /// Nothing after the colon, `~` or `null`.
    Nothing,
    Text(String),
    List(Vec<Node>),
    /// In the order of the file; a key that is there twice stands here twice.
    Group(Vec<Entry>),
}

#[derive(Clone, PartialEq)]
pub struct Entry {
    pub key: String,
    pub place: Place,
    pub node: Node,
}

/// Shows no content: it may be a secret.
impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Node({:?})", self.place)
    }
}

impl Node {
    pub fn new(value: Value, place: Place) -> Node {
        Node { value, place, text_at: None }
    }

    pub fn text(text: impl Into<String>, place: Place) -> Node {
        Node::new(Value::Text(text.into()), place)
    }

    /// The value of that key, if this is a group that has it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        let Value::Group(entries) = &self.value else { return None };
        entries.iter().find(|entry| entry.key == key).map(|entry| &entry.node)
    }

    pub fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        let Value::Group(entries) = &mut self.value else { return None };
        entries.iter_mut().find(|entry| entry.key == key).map(|entry| &mut entry.node)
    }

    /// The text, if it is one.
    pub fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The tree as YAML that reads back as the same tree: blocks, every text in double quotes.
    pub fn to_yaml(&self) -> String {
        let mut out = String::new();
        self.write_yaml(0, &mut out);
        out
    }

    fn write_yaml(&self, indent: usize, out: &mut String) {
        let pad = " ".repeat(indent);
        match &self.value {
            Value::Nothing => out.push_str("null\n"),
            Value::Text(text) => {
                out.push_str(&quoted(text));
                out.push('\n');
            }
            Value::List(items) if items.is_empty() => out.push_str("[]\n"),
            Value::Group(entries) if entries.is_empty() => out.push_str("{}\n"),
            Value::List(items) => {
                for item in items {
                    out.push_str(&format!("{pad}-{}", item.gap()));
                    item.write_yaml(indent + 2, out);
                }
            }
            Value::Group(entries) => {
                for entry in entries {
                    out.push_str(&format!("{pad}{}:{}", quoted(&entry.key), entry.node.gap()));
                    entry.node.write_yaml(indent + 2, out);
                }
            }
        }
    }

    /// What stands between the colon or dash and the value: a new line before anything that needs one.
    fn gap(&self) -> &'static str {
        match &self.value {
            Value::List(items) if !items.is_empty() => "\n",
            Value::Group(entries) if !entries.is_empty() => "\n",
            _ => " ",
        }
    }
}

/// A JSON string is a double-quoted YAML scalar.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
