//! Text for Notepad: lines of at most 80 columns that end as Windows has them.
//!
//! Invariant: no text from outside can end a line or turn its direction.

use super::faults::in_words;
use crate::plain::plain;

const COLUMNS_MAX: usize = 80;

/// A text that grows from top to bottom.
#[derive(Debug, Default)]
pub struct Lines(String);

impl Lines {
    pub fn line(&mut self, text: &str) {
        self.0.push_str(text.trim_end());
        self.0.push_str("\r\n");
    }

    pub fn heading(&mut self, text: &str) {
        self.line("");
        self.line(text);
    }

    /// Words, broken between them, and the system's faults in words of ours. The first line begins with `first`, the others with as many blanks as `indent`. A word that
    /// is too long for any line, such as an address, stays whole.
    pub fn words(&mut self, first: &str, indent: usize, text: &str) {
        let mut line = first.to_owned();
        let mut is_empty = true;
        for word in in_words(text).split_whitespace().map(plain) {
            if !is_empty && line.chars().count() + 1 + word.chars().count() > COLUMNS_MAX {
                self.line(&line);
                line = " ".repeat(indent);
                is_empty = true;
            }
            if !is_empty {
                line.push(' ');
            }
            line.push_str(&word);
            is_empty = false;
        }
        self.line(&line);
    }

    /// Lines to copy: not broken, for they would mean something else.
    pub fn pasted(&mut self, text: &str) {
        for line in text.lines() {
            self.line(&plain(line));
        }
    }

    /// The whole. A text with letters beyond ASCII begins with the mark by which older editors know UTF-8.
    pub fn finish(self) -> String {
        if self.0.is_ascii() { self.0 } else { format!("\u{feff}{}", self.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_sentences_are_broken_and_nothing_from_outside_ends_a_line() {
        let mut lines = Lines::default();
        lines.words("1. ", 3, &"twelve chars ".repeat(12));
        lines.words("  ", 2, &format!("http://{}/ a\u{1b}[2Jb\u{202e}", "x".repeat(90)));
        lines.pasted("- id: a\n  port: \u{7}b");
        let text = lines.finish();
        assert!(text.starts_with("1. twelve chars") && text.contains("\r\n   twelve"), "{text}");
        assert!(text.split("\r\n").all(|line| line.chars().count() <= 80 || line.contains("http://")), "{text}");
        assert!(text.contains("a?[2Jb?") && text.ends_with("- id: a\r\n  port: ?b\r\n"), "{text:?}");
    }

    #[test]
    fn a_mark_comes_first_only_where_an_editor_needs_it() {
        let text = |words: &str| {
            let mut lines = Lines::default();
            lines.words("", 0, words);
            lines.finish()
        };
        assert_eq!((text("cafe").as_str(), text("café").as_str()), ("cafe\r\n", "\u{feff}café\r\n"));
    }
}
