//! From the text of a YAML file to the tree, with the place of every part.
//!
//! Taken from the events of the parser below serde-saphyr, because the settings need the place of every key and value and
//! all mistakes at once. Anchors and aliases are refused, so no text can grow when it is read; depth and number of parts
//! are bounded.

use super::broken::broken;
use super::letters::{self, Letter};
use gateway_core::config::{Entry, Mistake, Node, Place, Value};
use serde_saphyr::granit_parser::{self, Event, Parser, ScalarStyle, Span};
use std::borrow::Cow;
use std::ops::Range;

/// Nothing in the schema is deeper than 5.
const DEPTH_MAX: usize = 16;
/// Keys, values and items of one file.
const PARTS_MAX: usize = 50_000;
/// How often a text is read anew with letters mended: each time uncovers what they hid.
const MENDED_MAX: usize = 20;

/// Reads a file's text. What the tree could not take is among the mistakes; without a tree there is nothing to go on with.
pub fn parse(text: &str) -> Result<(Node, Vec<Mistake>), Vec<Mistake>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if let Some(at) = text.find('\0') {
        let problem = "this file is damaged: it holds zero bytes, as after a power cut";
        let line = text[..at].matches('\n').count() + 1;
        let column = text[..at].chars().rev().take_while(|c| *c != '\n').count() + 1;
        let place = if at == 0 { Place::Whole } else { Place::At { line, column } };
        return Err(vec![Mistake::new(place, "", problem, "copy it to the box again, or from a backup")]);
    }
    let mut found = letters::Found::default();
    let mut mended = Cow::from(text);
    for _ in 0..MENDED_MAX {
        let (read, letters) = pass(&mended);
        if letters.is_empty() {
            return match (read, found.is_empty()) {
                (read, true) => read,
                (Ok((tree, mistakes)), false) => Ok((tree, found.mistakes().into_iter().chain(mistakes).collect())),
                // What is broken besides may come from what these letters hide.
                (Err(_), false) => Err(found.mistakes()),
            };
        }
        mended = found.mend(&mended, &letters).into();
    }
    Err(found.mistakes())
}

type Read = Result<(Node, Vec<Mistake>), Vec<Mistake>>;

/// Reads the text as it stands, and says which letters in it only look like YAML's.
fn pass(text: &str) -> (Read, Vec<Letter>) {
    let mut builder = Builder { open: Vec::new(), root: None, documents: 0, parts: 0, mistakes: Vec::new() };
    let options =
        granit_parser::options! { emit_comments: false, emit_unresolved_aliases: true, disallow_directives: true };
    let mut letters = Vec::new();
    let mut since = 0;
    for event in Parser::new_from_str_with_options(text, options) {
        let step = match event {
            Ok((event, span)) => {
                let bytes = span.byte_range().unwrap_or(since..since);
                since = since.max(bytes.end);
                if matches!(event, Event::Scalar(_, ScalarStyle::Plain, ..)) {
                    letters.extend(letters::of_word(text, bytes));
                }
                builder.take(event, place(&span))
            }
            Err(error) => {
                let mistake = broken(text, &error, since);
                // Where a person has to mend it, if that is further up: an open quote takes in all that follows.
                let last = match mistake.place {
                    Place::At { line, .. } => line.min(error.marker().line()),
                    _ => error.marker().line(),
                };
                letters.extend(letters::of_lines(text, lines(text, since, last.max(line_of(text, since)))));
                Err(mistake)
            }
        };
        if let Err(mistake) = step {
            builder.mistakes.push(mistake);
            return (Err(builder.mistakes), letters);
        }
    }
    let read = match builder.root {
        Some(root) if root.value != Value::Nothing => Ok((root, builder.mistakes)),
        _ => {
            let suggestion = "write your settings, or only `version: 1` if every default is right";
            builder.mistakes.push(Mistake::new(Place::Whole, "", "there is nothing in this file", suggestion));
            Err(builder.mistakes)
        }
    };
    (read, letters)
}

/// The bytes from `since` to the end of the line `last`.
fn lines(text: &str, since: usize, last: usize) -> Range<usize> {
    let end: usize = text.split_inclusive('\n').take(last).map(str::len).sum();
    since..end.max(since)
}

/// From 1.
fn line_of(text: &str, byte: usize) -> usize {
    text.get(..byte).unwrap_or_default().matches('\n').count() + 1
}

fn place(span: &Span) -> Place {
    Place::At { line: span.start.line(), column: span.start.col() + 1 }
}

/// Where the first character of a text stands: quotes come before it; a block's place is its first line that is not blank.
fn text_at(value: &Value, style: ScalarStyle, place: &Place) -> Option<(usize, usize)> {
    let (Value::Text(text), Place::At { line, column }) = (value, place) else { return None };
    match style {
        ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => Some((*line, column + 1)),
        ScalarStyle::Literal | ScalarStyle::Folded => {
            let blank = text.len() - text.trim_start_matches('\n').len();
            Some((line.saturating_sub(blank), *column))
        }
        _ => Some((*line, *column)),
    }
}

/// A list or a group that is not at its end yet.
enum Open {
    List(Vec<Node>, Place),
    Group(Vec<Entry>, Option<(String, Place)>, Place),
}

struct Builder {
    open: Vec<Open>,
    root: Option<Node>,
    documents: usize,
    parts: usize,
    mistakes: Vec<Mistake>,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, place: Place) -> Result<(), Mistake> {
        let fatal = |problem: &str, suggestion: &str| Err(Mistake::new(place.clone(), "", problem, suggestion));
        self.parts += 1;
        if self.parts > PARTS_MAX || self.open.len() > DEPTH_MAX {
            return fatal(
                "this file is too deep or has too many parts for settings",
                "write fewer and flatter settings",
            );
        }
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    return fatal(
                        "a second document begins here, after `---`",
                        "put all settings into one, and remove the `---`",
                    );
                }
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_marks(anchor, tag.is_some(), &place);
                let nothing = style == ScalarStyle::Plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
                let value = if nothing { Value::Nothing } else { Value::Text(text.into_owned()) };
                let text_at = text_at(&value, style, &place);
                self.put(Node { text_at, ..Node::new(value, place) });
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.refuse_marks(anchor, tag.is_some(), &place);
                self.open.push(Open::List(Vec::new(), place));
            }
            Event::MappingStart(_, anchor, tag) => {
                self.refuse_marks(anchor, tag.is_some(), &place);
                self.open.push(Open::Group(Vec::new(), None, place));
            }
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open::List(items, place)) => self.put(Node::new(Value::List(items), place)),
                Some(Open::Group(entries, _, place)) => self.put(Node::new(Value::Group(entries), place)),
                None => {}
            },
            Event::Alias(..) | Event::UnresolvedAlias(..) => {
                self.refuse_marks(1, false, &place);
                self.put(Node::new(Value::Nothing, place));
            }
            _ => {}
        }
        Ok(())
    }

    /// `&`, `*` and `!` have a meaning in YAML that settings do not need; most often they are a password's first letter.
    fn refuse_marks(&mut self, anchor: usize, tagged: bool, place: &Place) {
        if anchor == 0 && !tagged {
            return;
        }
        let (mark, name) = if tagged { ("!", "tag") } else { ("& or *", "anchor") };
        let problem = format!("a value that begins with {mark} is a YAML {name}, which is not used in settings");
        self.mistakes.push(Mistake::new(place.clone(), "", problem, "put the value in \"quotes\""));
    }

    /// A value is complete: it goes into what is open.
    fn put(&mut self, node: Node) {
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open::List(items, _)) => items.push(node),
            Some(Open::Group(entries, key, _)) => match key.take() {
                Some((key, place)) => entries.push(Entry { key, place, node }),
                None => match node.value {
                    Value::Text(text) => *key = Some((text, node.place)),
                    _ => {
                        let problem = "a key must be a word";
                        self.mistakes.push(Mistake::new(node.place.clone(), "", problem, "write `key: value`"));
                        *key = Some(("?".to_owned(), node.place));
                    }
                },
            },
        }
    }
}
