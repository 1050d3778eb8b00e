//! `text:` of a profile: the rules of an analyzer that writes plain text.

use crate::config::file;
use crate::config::group::{Field, Group, either, instead};
use crate::config::tree::Value;
use crate::reading::Pattern;
use crate::text_rules::*;
use std::collections::BTreeMap;
use std::time::Duration;

/// The control characters by their names (ECMA-48, 5.2).
const CONTROLS: &[&str] = &[
    "NUL", "SOH", "STX", "ETX", "EOT", "ENQ", "ACK", "BEL", "BS", "HT", "LF", "VT", "FF", "CR", "SO", "SI", "DLE",
    "DC1", "DC2", "DC3", "DC4", "NAK", "SYN", "ETB", "CAN", "EM", "SUB", "ESC", "FS", "GS", "RS", "US",
];

const OF_TEST: &[&str] =
    &["sample", "instrument_sample", "patient", "serial", "model", "at", "date", "time", "comment"];
const OF_RESULT: &[&str] = &[
    "code",
    "name",
    "value",
    "unit",
    "flag",
    "flag2",
    "flag3",
    "reference",
    "low",
    "high",
    "status",
    "at",
    "date",
    "time",
    "comment",
];
const OF_REFERENCE: &[&str] = &["code", "reference", "low", "high"];

/// `None`: nothing is written there, or it cannot be used, which has been said.
pub fn rules(profile: &Group<'_>) -> Option<TextRules> {
    profile.get("text")?;
    let group = &profile.group::<file::Text>("text");
    let bounds = bounds(group);
    let rules = TextRules {
        skip: patterns(group, "skip", &[]),
        checksum: group.get("checksum").and_then(|field| checksum(&field)),
        answers: answers(group, &bounds),
        times: group.list("times").iter().filter_map(time).collect(),
        flags: flags(group),
        qc: group.pattern("qc").map(by_line),
        calibration: group.pattern("calibration").map(by_line),
        ignore: group.pattern("ignore").map(by_line),
        layout: layout(group)?,
        bounds,
    };
    Some(rules)
}

fn bounds(group: &Group<'_>) -> Bounds {
    let idle =
        group.get("idle").and_then(|field| field.duration(Duration::from_millis(100)..=Duration::from_secs(600)));
    let bounds = Bounds {
        begin: group.get("begin").and_then(|field| byte(&field)),
        begin_line: group.pattern("begin_line"),
        end: group.get("end").and_then(|field| byte(&field)),
        trailer_bytes: group.number("trailer_bytes", 0),
        end_line: group.pattern("end_line"),
        idle,
    };
    let written = |key| group.get(key).is_some();
    if !written("end") && !written("end_line") && !written("idle") {
        group.wrong(
            "",
            "does not say where a message ends",
            "write `end: ETX`, `end_line:` and a pattern, or `idle: 2s`",
        );
    }
    if written("begin") && written("begin_line") {
        group.wrong("begin_line", "a message begins with a byte or with a line", "remove one of begin and begin_line");
    }
    if bounds.trailer_bytes > 0 && !written("end") {
        group.wrong(
            "trailer_bytes",
            "there is no end byte that they could follow",
            "write `end:` too, or remove this line",
        );
    }
    bounds
}

fn checksum(field: &Field<'_>) -> Option<Checksum> {
    let group = field.group::<file::Checksum>();
    let rules = [
        ("sum", ChecksumRule::Sum),
        ("xor", ChecksumRule::Xor),
        ("crc16-modbus", ChecksumRule::Crc16Modbus),
        ("crc16-ccitt", ChecksumRule::Crc16Ccitt),
    ];
    let written = [("hex", Written::Hex), ("decimal", Written::Decimal), ("bytes", Written::Bytes)];
    let rule = group.need("rule", "write `rule: sum`, `xor`, `crc16-modbus` or `crc16-ccitt`");
    let rule = rule.and_then(|field| field.choice(&rules));
    let written = group.choice("written", &written, Written::default());
    let example = r"write where it stands, such as `pattern: '\x1d(?<sum>[0-9a-fA-F]{2})'`";
    let pattern = group.need("pattern", example).and_then(|field| {
        let pattern = field.pattern()?;
        if names(&pattern).all(|name| name != "sum") {
            field.wrong("has no group `sum`", example);
            return None;
        }
        Some(pattern)
    });
    Some(Checksum { rule: rule?, written, pattern: pattern? })
}

fn answers(group: &Group<'_>, bounds: &Bounds) -> Answers {
    let Some(_) = group.get("answers") else { return Answers::default() };
    let group = group.group::<file::Answers>("answers");
    let mut handshake = Vec::new();
    for item in group.list("handshake") {
        let item = item.group::<file::Handshake>();
        let pattern = item.need("pattern", r"write the line, such as `'^CONNECT'`, or `'\x05'`");
        let pattern = pattern.and_then(|field| field.pattern()).map(by_line);
        // What needs no answer is part of the handshake, and no stray line.
        let send = item.get("send").map_or(Some(Vec::new()), |field| spoken(&field));
        handshake.extend(pattern.zip(send));
    }
    if !handshake.is_empty() && bounds.begin.is_none() && bounds.begin_line.is_none() {
        let problem = "what stands between messages is only known where the beginning of a message is";
        group.wrong("handshake", problem, "write `begin:` or `begin_line:` too");
    }
    let answer = |key| group.get(key).and_then(|field| spoken(&field));
    Answers { accepted: answer("accepted"), rejected: answer("rejected"), handshake }
}

fn flags(group: &Group<'_>) -> BTreeMap<String, String> {
    let Some(field) = group.get("flags") else { return BTreeMap::new() };
    let text = |entry: &crate::config::tree::Entry| match &entry.node.value {
        Value::Nothing => Some(String::new()),
        Value::Text(text) if text.is_empty() => Some(String::new()),
        _ => {
            let value = field.below(&entry.node, format!("{}.{}", field.path, entry.key));
            value.text().map(str::to_owned)
        }
    };
    field.free_entries().iter().filter_map(|entry| Some((entry.key.clone(), text(entry)?))).collect()
}

fn layout(group: &Group<'_>) -> Option<Layout> {
    let all = ["patterns", "columns", "table"].map(|key| group.get(key));
    match &all {
        [Some(field), None, None] => of_patterns(field).map(Layout::Patterns),
        [None, Some(_), None] => Some(Layout::Columns(group.list("columns").iter().filter_map(column).collect())),
        [None, None, Some(field)] => of_table(field).map(Layout::Table),
        _ => {
            let suggestion = "write exactly one of `patterns:`, `columns:` and `table:`";
            group.wrong("", "does not say what stands where, or says it twice", suggestion);
            None
        }
    }
}

fn of_patterns(field: &Field<'_>) -> Option<Patterns> {
    let group = field.group::<file::Patterns>();
    let results = group.need("results", r"write at least one, such as `- '(?m)^(?<code>\S+) +(?<value>\S+)$'`");
    let known = Patterns {
        test_begins: group.pattern("test_begins").map(by_line),
        details: patterns(&group, "details", OF_TEST),
        results: patterns(&group, "results", OF_RESULT),
        references: patterns(&group, "references", OF_REFERENCE),
    };
    for (item, pattern) in group.list("results").iter().zip(&known.results) {
        let has = |wanted: &[&str]| names(pattern).any(|name| wanted.contains(&name));
        if !has(&["code"]) || !has(&["value", "flag"]) {
            item.wrong("needs a group `code` and a group `value`", r"write them as `(?<code>\S+)` and `(?<value>\S+)`");
        }
    }
    results.map(|_| known)
}

fn column(field: &Field<'_>) -> Option<Column> {
    let group = field.group::<file::Column>();
    let part = group.get("is").and_then(|field| part(&field, OF_TEST));
    let code = group.text("code");
    let from = group.need("from", "write the place of its first character, from 1");
    let width = group.need("width", "write how many characters it has");
    let (from, width) = (from.map(|_| group.number("from", 1)), width.map(|_| group.number("width", 1)));
    let decimals = group.number("decimals", 0);
    let flag_from = group.get("flag_from").map(|_| group.number("flag_from", 1));
    let is = match (group.get("is").is_some(), code) {
        (true, None) => part.map(ColumnIs::Part),
        (false, Some(code)) => Some(ColumnIs::Result(code)),
        _ => {
            group.wrong("", "must say what it is", "write either `is: sample` or `code: WBC`");
            None
        }
    };
    Some(Column { is: is?, from: from?, width: width?, decimals, flag_from })
}

fn of_table(field: &Field<'_>) -> Option<Table> {
    let group = field.group::<file::Table>();
    let delimiter = group.need("delimiter", "write `delimiter: tab` or the character in quotes").and_then(|field| {
        // A blank in quotes is a character like another.
        let text = if let Value::Text(text) = &field.node.value { text.as_str() } else { field.text()? };
        let mut letters = text.chars();
        match (text, letters.next(), letters.next()) {
            ("tab", _, _) => Some('\t'),
            (_, Some(letter), None) if letter != '"' => Some(letter),
            _ => {
                field.wrong("must be one character", "write `tab`, or the character in quotes such as \";\"");
                None
            }
        }
    });
    let mut columns = BTreeMap::new();
    let known: Vec<&str> = GROUPS.iter().map(|(name, _)| *name).chain(["ignore"]).collect();
    if let Some(field) = group.need("columns", "write what stands under which heading, such as `Sample ID: sample`") {
        for entry in field.free_entries() {
            let path = format!("{}.{}", field.path, entry.key);
            let value = field.below(&entry.node, path);
            if value.text() == Some("ignore") {
                columns.insert(entry.key.clone(), None);
            } else if let Some(part) = part(&value, &known) {
                columns.insert(entry.key.clone(), Some(part));
            }
        }
    }
    let heading = |key| group.get(key).and_then(|field| named(&field, &["code", "name", "unit"], Some("code")));
    let table = Table {
        header: group.pattern("header"),
        result_heading: heading("result_heading"),
        flag_heading: heading("flag_heading"),
        delimiter: delimiter?,
        columns,
    };
    let has = |part| table.columns.values().any(|held| *held == Some(part));
    if table.result_heading.is_none() && !(has(Part::Code) && has(Part::Value)) {
        let suggestion = "write which columns are `code` and `value`, or a `result_heading:`";
        group.wrong("columns", "no column holds a result", suggestion);
    }
    Some(table)
}

fn patterns(group: &Group<'_>, key: &'static str, known: &[&str]) -> Vec<Pattern> {
    group.list(key).iter().filter_map(|field| named(field, known, None)).collect()
}

/// A regular expression all of whose named groups are known, and that has the one it needs.
fn named(field: &Field<'_>, known: &[&str], needed: Option<&str>) -> Option<Pattern> {
    let pattern = field.pattern()?;
    for name in names(&pattern) {
        if !known.contains(&name) {
            field.wrong(&format!("there is no group `{name}` here"), &instead(name, known));
            return None;
        }
    }
    if let Some(needed) = needed.filter(|needed| names(&pattern).all(|name| name != *needed)) {
        field.wrong(&format!("has no group `{needed}`"), &format!("write it as `(?<{needed}>...)`"));
        return None;
    }
    Some(by_line(pattern))
}

/// The same expression with `^` and `$` at the ends of each line.
fn by_line(pattern: Pattern) -> Pattern {
    Pattern::new(&format!("(?m){}", pattern.regex().as_str())).unwrap_or(pattern)
}

fn names(pattern: &Pattern) -> impl Iterator<Item = &str> {
    pattern.regex().capture_names().flatten()
}

fn part(field: &Field<'_>, known: &[&str]) -> Option<Part> {
    let word = field.text()?;
    let part = Part::named(word).filter(|_| known.contains(&word));
    if part.is_none() {
        field.wrong("is nothing that a message can say", &instead(word, known));
    }
    part
}

/// `STX` or `0x02`.
fn byte(field: &Field<'_>) -> Option<u8> {
    let text = field.text()?;
    let byte = control(text);
    if byte.is_none() {
        let suggestion = "write its name (STX, ETX, EOT, FF, SUB, GS, CR ...) or its number such as 0x1C";
        field.wrong("is no control character", suggestion);
    }
    byte
}

fn control(name: &str) -> Option<u8> {
    let of_name = CONTROLS.iter().position(|known| *known == name).and_then(|place| u8::try_from(place).ok());
    of_name.or_else(|| u8::from_str_radix(name.strip_prefix("0x")?, 16).ok())
}

/// A text with its control characters in pointed brackets, as bytes.
fn spoken(field: &Field<'_>) -> Option<Vec<u8>> {
    let mut rest = field.text()?;
    let mut bytes = Vec::new();
    while let Some(open) = rest.find('<') {
        bytes.extend_from_slice(&rest.as_bytes()[..open]);
        let Some((byte, length)) =
            rest[open..].find('>').and_then(|end| Some((control(&rest[open + 1..open + end])?, end + 1)))
        else {
            let suggestion =
                format!("write {} and the like, or <0x3C> for the bracket itself", either(&["<ACK>", "<CR>"]));
            field.wrong("has a pointed bracket that names no control character", &suggestion);
            return None;
        };
        bytes.push(byte);
        rest = &rest[open + length..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    Some(bytes)
}

/// A form of dates, tried on a date.
fn time(field: &Field<'_>) -> Option<String> {
    let form = field.text()?;
    let tried = jiff::civil::date(2019, 11, 20).at(12, 58, 3, 0);
    let shown = jiff::fmt::strtime::format(form, tried).ok();
    let read = shown.and_then(|shown| jiff::fmt::strtime::BrokenDownTime::parse(form, shown).ok()?.to_date().ok());
    if read.is_none() {
        let suggestion = "write it with %Y or %y, %m or %b, %d, and %H:%M or %I:%M %p, such as `%d/%m/%Y %H:%M`";
        field.wrong("is no form in which a date can be read", suggestion);
    }
    read.map(|_| form.to_owned())
}
