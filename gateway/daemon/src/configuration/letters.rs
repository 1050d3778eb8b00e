//! Letters that word processors, web pages and chat programs put into settings and that only look like those of YAML: other
//! blanks, quotes and dashes, and what cannot be seen at all.
//!
//! Invariant: only what YAML would take for a part of a word is looked at. Between straight quotes, under a `|` and in remarks
//! every letter may stand.

use gateway_core::config::{Mistake, Place};
use std::collections::BTreeMap;
use std::ops::Range;

/// So many lines are named; of more, their number.
const LINES_NAMED_MAX: usize = 6;

/// What a letter looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Looks {
    Blank,
    Quote,
    Dash,
    Colon,
    Invisible,
}

/// One of them, by its first byte in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Letter {
    at: usize,
    letter: char,
    looks: Looks,
}

/// General_Category Zs but for the blank, and the line ends that YAML 1.2 takes for no line ends (section 5.4); Cf and the
/// default ignorable ones (Unicode Standard Annex 44).
fn looks(letter: char) -> Option<Looks> {
    Some(match letter {
        '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}' => Looks::Blank,
        '\u{85}' | '\u{2028}' | '\u{2029}' => Looks::Blank,
        '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2064}' => Looks::Invisible,
        '\u{2066}'..='\u{2069}' | '\u{feff}' => Looks::Invisible,
        '\u{2018}'..='\u{201f}' | '\u{2032}' | '\u{2033}' | '«' | '»' | '‹' | '›' | '＂' | '＇' => Looks::Quote,
        '\u{2010}'..='\u{2015}' | '\u{2212}' | '•' | '‣' | '▪' | '◦' | '●' | '·' | '\u{f0b7}' => Looks::Dash,
        '：' | '﹕' => Looks::Colon,
        _ => return None,
    })
}

/// Those of a word without quotes, which stands at these bytes.
pub fn of_word(text: &str, word: Range<usize>) -> Vec<Letter> {
    let slice = text.get(word.clone()).unwrap_or_default();
    let seen = |(at, letter): (usize, char)| Some(Letter { at: word.start + at, letter, looks: looks(letter)? });
    let mut found: Vec<Letter> = slice.char_indices().filter_map(seen).collect();
    let inside = |c: char| !c.is_whitespace() && looks(c) != Some(Looks::Invisible);
    let first = word.start + slice.find(inside).unwrap_or(0);
    let last = word.start + slice.rfind(inside).unwrap_or(0);
    let is_quoted = slice.chars().find(|c| inside(*c)).and_then(looks) == Some(Looks::Quote);
    found.retain(|found| match found.looks {
        Looks::Blank | Looks::Invisible => true,
        Looks::Quote => is_quoted && (found.at == first || found.at == last),
        Looks::Dash => found.at == first && is_before_blank(text, found),
        Looks::Colon => false,
    });
    found
}

/// Those of these lines, which no one can read: the remarks in them are left out.
pub fn of_lines(text: &str, lines: Range<usize>) -> Vec<Letter> {
    let mut found = Vec::new();
    let mut start = lines.start;
    for line in text.get(lines).unwrap_or_default().split_inclusive('\n') {
        let code = if line.trim_start().starts_with('#') { "" } else { line.split(" #").next().unwrap_or_default() };
        let first = code.find(|c: char| !c.is_whitespace()).map(|at| start + at);
        let seen = |(at, letter): (usize, char)| Some(Letter { at: start + at, letter, looks: looks(letter)? });
        let of_line = code.char_indices().filter_map(seen);
        found.extend(
            of_line.filter(|found| {
                found.looks != Looks::Dash || (Some(found.at) == first && is_before_blank(text, found))
            }),
        );
        start += line.len();
    }
    found
}

fn is_before_blank(text: &str, letter: &Letter) -> bool {
    let rest = &text[letter.at + letter.letter.len_utf8()..];
    rest.starts_with(|c: char| c.is_whitespace())
}

/// What was found in a text so far, to be told once for each look.
#[derive(Debug, Default)]
pub struct Found(BTreeMap<Looks, Vec<(usize, usize, char)>>);

impl Found {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Notes them and gives the text with what was meant in their place, so that the rest can be read.
    pub fn mend(&mut self, text: &str, letters: &[Letter]) -> String {
        let mut mended = String::with_capacity(text.len());
        let letters: BTreeMap<usize, &Letter> = letters.iter().map(|letter| (letter.at, letter)).collect();
        let (mut line, mut column) = (1, 1);
        for (at, c) in text.char_indices() {
            match letters.get(&at) {
                Some(Letter { looks, letter, .. }) => {
                    self.0.entry(*looks).or_default().push((line, column, *letter));
                    mended.push_str(match looks {
                        Looks::Blank => " ",
                        Looks::Quote => "\"",
                        Looks::Dash => "-",
                        Looks::Colon => ":",
                        Looks::Invisible => "",
                    });
                }
                None => mended.push(c),
            }
            (line, column) = if c == '\n' { (line + 1, 1) } else { (line, column + 1) };
        }
        mended
    }

    pub fn mistakes(mut self) -> Vec<Mistake> {
        self.0.values_mut().for_each(|places| places.sort_unstable());
        let mut mistakes: Vec<Mistake> = self.0.iter().filter_map(|(looks, places)| told(*looks, places)).collect();
        mistakes.sort_by(|a, b| a.place.cmp(&b.place));
        mistakes
    }
}

/// Sorted by their places.
fn told(looks: Looks, places: &[(usize, usize, char)]) -> Option<Mistake> {
    let (line, column, letter) = *places.first()?;
    let mut others: Vec<usize> = places.iter().map(|(line, ..)| *line).filter(|other| *other != line).collect();
    others.dedup();
    let name = name(letter);
    let (problem, suggestion) = match looks {
        Looks::Blank => (
            format!("here stands a {name}, which only looks like a blank"),
            "type an ordinary blank in its place; word processors, web pages and chat programs put such ones in",
        ),
        Looks::Quote => (
            format!("here stands a {name}, which is not the quote of settings"),
            "type the straight quote `\"` on both sides, or no quotes; Word and chat programs put such ones in",
        ),
        Looks::Dash => (
            format!("here stands a {name}, which is not the dash of a list"),
            "type `-` and a blank; Word and chat programs put such ones in",
        ),
        Looks::Colon => (format!("here stands a {name}, which is not the colon of settings"), "type `:` and a blank"),
        Looks::Invisible => (
            format!("here stands a letter that cannot be seen ({name})"),
            "delete the line and type it again; word processors, web pages and chat programs put such ones in",
        ),
    };
    let problem = match others.as_slice() {
        [] => problem,
        [one] => format!("{problem}; also in line {one}"),
        several if several.len() <= LINES_NAMED_MAX => {
            let lines: Vec<String> = several.iter().map(usize::to_string).collect();
            format!("{problem}; also in lines {}", lines.join(", "))
        }
        many => format!("{problem}; also in {} other lines", many.len()),
    };
    Some(Mistake::new(Place::At { line, column }, "", problem, suggestion))
}

/// As the Unicode Standard calls it, where people call it so too.
fn name(letter: char) -> String {
    let name = match letter {
        '\u{a0}' => "no-break space ",
        '\u{202f}' => "narrow no-break space ",
        '\u{2018}'..='\u{201f}' | '«' | '»' | '‹' | '›' => "typographic quote ",
        '\u{2013}' => "long dash ",
        '\u{2014}' => "very long dash ",
        '•' | '‣' | '▪' | '◦' | '●' | '·' | '\u{f0b7}' => "bullet ",
        '：' => "wide colon ",
        _ => match looks(letter) {
            Some(Looks::Invisible) => "",
            _ => "letter ",
        },
    };
    let code = format!("U+{:04X}", u32::from(letter));
    if name.is_empty() { code } else { format!("{name}({code})") }
}
