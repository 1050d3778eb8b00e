//! `docs/dialects.md`, written from the code: what each receiver gets, how it is signed, what its answers mean.

use crate::catalogues::{SECRET, probe};
use crate::expect;
use crate::notes::{SIGNATURES, notes};
use gateway_core::delivery::{Outcome, RetrySchedule};
use gateway_core::dialects::catalogue::{Entry, Key, Kind, Severity};
use gateway_core::dialects::{DIALECTS, Dialect, Endpoint, PersonalData, Request, Response, Secret};
use gateway_core::event::{Event, EventName};
use gateway_tests::cases::NOW;
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

const INTRODUCTION: &str = "\
# What each receiver gets

For whoever writes or runs the other side of a webhook. This page is written from the code: a test compares it, and
`UPDATE=1 cargo test -p gateway-tests --test dialects` rewrites it.

`webhooks[].dialect` chooses the form of the requests. Every request is a POST, and whatever the dialect, these headers come with it:

| header | what it says |
|---|---|
| `x-gateway-event-id` | the event's id, the same on every attempt: drop what you have seen |
| `x-gateway-ordinal` | counts the events of this webhook from 1 without holes: a number that is missing is an event that is missing |
| `x-gateway-ordinals` | of several events in one request: the number of each, in their order, with commas |
| `x-gateway-attempt` | 1 for the first attempt |
| `x-gateway-redriven: true` | a person has sent it again |
| `x-gateway-historical: true` | it comes out of a backlog, later than newer events |
| `x-gateway-erased: true` | a person's data was taken out since it was stored |
| `x-gateway-test: true` | `webhook test` tries the endpoint out: answer as usual and keep nothing |

The body of an event is the same on every attempt. Redirects are not followed. `success_statuses`, `retry`, `retry_reading`,
`headers` and `signatures` of a webhook change what is said below.
";

const NUMBERS: &str = "
## Numbers with gaps

`sequence` in the dialect `session` counts the events of one session from 0. It is given when an event is stored and never again:
no retry, no restart and no filter changes it. So a webhook whose `events:` leaves some out sees gaps in `sequence`, and an event that is
tried again later may come after one with a higher number. To find out whether anything is missing look at `x-gateway-ordinal`,
which counts what this webhook is meant to get and has no gaps. An event that has no form in this dialect takes no number in either.

A test that an analyzer ran is a session of its own: its id is `sessionId` and `measurementId`.
";

#[test]
fn the_page_says_what_the_code_does() {
    let mut wrong = Vec::new();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the project").join("docs/dialects.md");
    expect(&file, page().as_bytes(), &mut wrong);
    assert!(wrong.is_empty(), "docs/dialects.md is not as the code has it (UPDATE=1 rewrites it)");
}

fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    page.push_str(&own_events());
    for dialect in DIALECTS.iter().copied() {
        page.push_str(&section(dialect));
    }
    page.push_str(SIGNATURES);
    page.push_str(NUMBERS);
    page
}

/// A row of a table.
fn row(cells: &[String]) -> String {
    format!("| {} |\n", cells.join(" | "))
}

fn table(head: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let head: Vec<String> = head.iter().map(|cell| (*cell).to_owned()).collect();
    let rule = format!("|{}\n", "---|".repeat(head.len()));
    row(&head) + &rule + &rows.map(|cells| row(&cells)).collect::<String>()
}

fn code(word: &str) -> String {
    format!("`{word}`")
}

fn own_events() -> String {
    let head: Vec<&str> = ["event"].into_iter().chain(DIALECTS.iter().map(|dialect| dialect.name())).collect();
    let names =
        EventName::ALL.iter().copied().filter(|name| ![EventName::WebhookTest, EventName::Posted].contains(name));
    let word = |name: EventName, dialect: &dyn Dialect| match dialect.word(name) {
        Some(word) if word == name.as_str() => "the same".to_owned(),
        Some(word) => code(word),
        None => String::new(),
    };
    let cells = |name: EventName| {
        let words = DIALECTS.iter().map(|dialect| word(name, *dialect));
        [code(name.as_str())].into_iter().chain(words).collect()
    };
    let table = table(&head, names.map(cells));
    format!(
        "\n## The gateway's own events, in each dialect's words\n\nAn empty field: the dialect has no form for it, and nothing is \
         sent.\n\n{table}"
    )
}

fn section(dialect: &dyn Dialect) -> String {
    let mut text = format!("\n## `{}`\n\n{}.\n\n", dialect.name(), dialect.about());
    let mut fact = |what: &str, said: String| writeln!(text, "- {what}: {said}").expect("a String takes everything");
    if let Ok(Request::Http(request)) = probe(dialect, &[Secret::new(SECRET)]) {
        let own = request.headers.iter().map(|(name, _)| name.as_str()).filter(|name| !name.starts_with("x-gateway-"));
        fact("Headers", own.map(code).collect::<Vec<_>>().join(", "));
    }
    let secret = match (dialect.check_secret(None).is_ok(), dialect.takes_one_secret()) {
        (true, _) => "optional; without one nothing is signed. While one is replaced, each of them signs",
        (false, true) => {
            "required. While one is replaced, the newest is used, and the older one if the receiver refuses it"
        }
        (false, false) => "required",
    };
    fact("Secret", secret.to_owned());
    for (what, statuses) in statuses(dialect) {
        fact(what, statuses);
    }
    fact("Retry table", schedule(&dialect.schedule()));
    let personal = match dialect.personal_data() {
        PersonalData::None => {
            "none: an event with a personal key goes only to a webhook with `personal_data: documented`"
        }
        PersonalData::Documented => "what the form has a place for, unless `personal_data: none`",
        PersonalData::All => "everything that was read",
    };
    fact("Personal data", personal.to_owned());
    text + notes(dialect.name()) + &catalogue(dialect)
}

fn statuses(dialect: &dyn Dialect) -> Vec<(&'static str, String)> {
    let sent: [Event; 1] = [crate::whole_run().remove(0)];
    let judge = |status: &u16| {
        let response = Response { status: *status, ..Response::default() };
        dialect.judge(&sent, &response, &Endpoint::default(), NOW)
    };
    let of = |wanted: fn(&Outcome) -> bool| ranges((200..=599).filter(|status| wanted(&judge(status))));
    let all = [
        ("Success", of(|outcome| matches!(outcome, Outcome::Delivered))),
        ("The webhook pauses and keeps everything", of(|outcome| matches!(outcome, Outcome::Held { .. }))),
        ("This event alone is given up, as a dead letter", of(|outcome| matches!(outcome, Outcome::Rejected { .. }))),
        ("Tried again", of(|outcome| matches!(outcome, Outcome::Retryable { .. }))),
    ];
    all.into_iter().filter(|(_, statuses)| !statuses.is_empty()).collect()
}

/// `200, 400 to 403`
fn ranges(numbers: impl Iterator<Item = u16>) -> String {
    let mut ranges: Vec<(u16, u16)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => ranges.push((number, number)),
        }
    }
    let told =
        |(first, last): &(u16, u16)| if first == last { first.to_string() } else { format!("{first} to {last}") };
    ranges.iter().map(told).collect::<Vec<_>>().join(", ")
}

fn schedule(schedule: &RetrySchedule) -> String {
    let delays: Vec<String> = schedule.delays.iter().map(span).collect();
    let jitter = if schedule.jittered { "each lengthened by up to a fifth" } else { "kept to the second" };
    format!("{} attempts, each after the one before: {}; {jitter}", schedule.attempts_max(), delays.join(", "))
}

fn span(delay: &Duration) -> String {
    let seconds = delay.as_secs();
    let parts = [(seconds / 86_400, "d"), (seconds / 3_600 % 24, "h"), (seconds / 60 % 60, "min"), (seconds % 60, "s")];
    let told: Vec<String> =
        parts.iter().filter(|(count, _)| *count > 0).map(|(count, unit)| format!("{count} {unit}")).collect();
    if told.is_empty() { "at once".to_owned() } else { told.join(" ") }
}

fn catalogue(dialect: &dyn Dialect) -> String {
    let entries = dialect.catalogue();
    if entries.is_empty() {
        return String::new();
    }
    let has_severity = entries.iter().any(|entry| entry.severity != Severity::Info);
    let has_audience = entries.iter().any(|entry| !entry.audiences.is_empty());
    let optional = |wanted: bool, head: &'static str| wanted.then_some(head);
    let head: Vec<&str> = [Some("event"), optional(has_severity, "severity"), optional(has_audience, "audience")]
        .into_iter()
        .chain(["payload", "shape", "meaning"].map(Some))
        .flatten()
        .collect();
    let cells = |entry: &Entry| {
        let audience = if entry.audiences.is_empty() { "all".to_owned() } else { entry.audiences.join(", ") };
        let shape = if entry.documented { "documented" } else { "ours" };
        [
            Some(code(entry.event)),
            has_severity.then(|| entry.severity.as_str().to_owned()),
            has_audience.then_some(audience),
        ]
        .into_iter()
        .chain([names(entry.payload), shape.to_owned(), entry.about.to_owned()].map(Some))
        .flatten()
        .collect()
    };
    let mut rows = Vec::new();
    entries.iter().for_each(|entry| described(entry.payload, "", &mut rows));
    format!(
        "\nOther programs post these with `POST /api/events`. A key in brackets may be left out or null; any other key is \
         refused.\n\n{}\n{}",
        table(&head, entries.iter().map(cells)),
        table(&["key", "must be", "personal"], rows.into_iter()),
    )
}

/// The names alone: what they hold stands in the table below the events.
fn names(keys: &[Key]) -> String {
    let told = |key: &Key| if key.required { code(key.name) } else { format!("[{}]", code(key.name)) };
    if keys.is_empty() { "none".to_owned() } else { keys.iter().map(told).collect::<Vec<_>>().join(" ") }
}

/// One row a key of the events, by its path in the payload.
fn described(keys: &[Key], at: &str, rows: &mut Vec<Vec<String>>) {
    for key in keys {
        let path = format!("{at}{}", key.name);
        let personal = if key.personal { "yes" } else { "no" };
        let row = vec![code(&path), key.kind.wanted(), personal.to_owned()];
        if !rows.contains(&row) {
            rows.push(row);
        }
        match key.kind {
            Kind::Object(inner) => described(inner, &format!("{path}."), rows),
            Kind::Objects(inner) => described(inner, &format!("{path}[]."), rows),
            _ => {}
        }
    }
}
