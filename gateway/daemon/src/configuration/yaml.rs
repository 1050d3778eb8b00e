//! From the text of a YAML file to the tree, with the place of every part.
//!
//! Taken from the events of the parser below serde-saphyr, because the settings need the place of every key and value and
//! all mistakes at once. Anchors and aliases are refused, so no text can grow when it is read; depth and number of parts
//! are bounded.

use gateway_core::config::{Entry, Mistake, Node, Place, Value};
use serde_saphyr::granit_parser::{self, ErrorKind, Event, Parser, ScalarStyle, ScanError, Span};

/// Nothing in the schema is deeper than 5.
const DEPTH_MAX: usize = 16;
/// Keys, values and items of one file.
const PARTS_MAX: usize = 50_000;

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
    let mut builder = Builder { open: Vec::new(), root: None, documents: 0, parts: 0, mistakes: Vec::new() };
    let options =
        granit_parser::options! { emit_comments: false, emit_unresolved_aliases: true, disallow_directives: true };
    for event in Parser::new_from_str_with_options(text, options) {
        let step =
            event.map_err(|error| broken(text, &error)).and_then(|(event, span)| builder.take(event, place(&span)));
        if let Err(mistake) = step {
            builder.mistakes.push(mistake);
            return Err(builder.mistakes);
        }
    }
    match builder.root {
        Some(root) if root.value != Value::Nothing => Ok((root, builder.mistakes)),
        _ => {
            let suggestion = "write your settings, or only `version: 1` if every default is right";
            builder.mistakes.push(Mistake::new(Place::Whole, "", "there is nothing in this file", suggestion));
            Err(builder.mistakes)
        }
    }
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

/// What the parser could not follow, in plain words. Its own words may quote nothing of the file, and do not.
fn broken(text: &str, error: &ScanError) -> Mistake {
    let line = error.marker().line();
    for (letter, problem, suggestion) in WRONG_BLANKS {
        if let Some((line, column)) = in_indentation(letter, text, line) {
            return Mistake::new(Place::At { line, column }, "", problem, suggestion);
        }
    }
    let column = error.marker().col() + 1;
    let (problem, suggestion) = in_words(error.kind());
    Mistake::new(Place::At { line, column }, "", problem, suggestion)
}

/// The parser's error for somebody who has never heard of a mapping, and what to do.
fn in_words(kind: &ErrorKind) -> (String, &'static str) {
    let (problem, suggestion) = match kind {
        ErrorKind::UnexpectedCharacter { .. } => {
            ("a value cannot begin with this character", "put the value in \"quotes\"")
        }
        ErrorKind::UnclosedFlowCollection { open: '[' } | ErrorKind::ExpectedFlowSequenceSeparator => {
            ("a list in [brackets] is not closed, or lacks a comma", "write it as `[one, two]`")
        }
        ErrorKind::UnclosedFlowCollection { .. } | ErrorKind::ExpectedFlowMappingSeparator => {
            ("a group in {braces} is not closed, or lacks a comma", "write it as `{ one: 1, two: 2 }`")
        }
        ErrorKind::UnclosedQuotedScalar | ErrorKind::InvalidQuotedScalarIndent => {
            ("the \"quotes\" of a value are not closed", "close them, here or in a line above")
        }
        ErrorKind::InvalidTrailingSingleQuotedScalar | ErrorKind::InvalidTrailingDoubleQuotedScalar => {
            ("something follows after the closing quotes", "put the whole value in quotes, or remove what follows")
        }
        ErrorKind::UnknownQuotedScalarEscape | ErrorKind::InvalidQuotedScalarHexEscape => {
            ("a \\ in \"quotes\" has a meaning of its own", "put the value in 'single quotes' instead")
        }
        ErrorKind::MappingKeyNotAllowed | ErrorKind::MappingValueNotAllowed | ErrorKind::InvalidColonPlacement => {
            ("there is a colon too many in this line", "put a value that has a colon in it in \"quotes\"")
        }
        ErrorKind::ExpectedBlockMappingKey
        | ErrorKind::ExpectedDocumentStart
        | ErrorKind::ExpectedBlockSequenceEntry
        | ErrorKind::InvalidIndentation
        | ErrorKind::BlockSequenceEntryNotAllowed => (
            "this line does not fit to the ones above it",
            "indent it by as many spaces as the lines that it belongs to, with the dash under the dashes",
        ),
        ErrorKind::SimpleKeyExpected | ErrorKind::InvalidSimpleKey => {
            ("this line is no key with a colon", "write `key: value`, with a space after the colon")
        }
        ErrorKind::BomInsideDocument => ("there is an invisible mark (BOM) in this line", "type the line again"),
        // The parser's own words quote nothing of the file.
        other => {
            let suggestion = "look at this line and the one above it: colons, spaces in front, quotes";
            return (format!("this is not YAML: {other}"), suggestion);
        }
    };
    (problem.to_owned(), suggestion)
}

/// What looks like a blank in front of a line and is none.
const WRONG_BLANKS: [(char, &str, &str); 2] = [
    ('\t', "this line is indented with a tab, which YAML does not allow", "write spaces in place of the tab"),
    (
        '\u{a0}',
        "this line is indented with a hard blank, as web pages and word processors have them",
        "write ordinary spaces in its place",
    ),
];

/// The first line up to `last` that has this letter in its indentation, and where.
fn in_indentation(letter: char, text: &str, last: usize) -> Option<(usize, usize)> {
    text.lines().take(last + 1).enumerate().find_map(|(index, line)| {
        let indentation = &line[..line.len() - line.trim_start_matches([' ', '\t', '\u{a0}']).len()];
        let content = !line.trim().is_empty() && !line.trim_start().starts_with('#');
        let column = indentation.chars().position(|c| c == letter).filter(|_| content)?;
        Some((index + 1, column + 1))
    })
}
