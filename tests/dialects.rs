//! What goes to a receiver, byte for byte, and what its answer means.
//!
//! The cases are described in `gateway_tests::cases`. `UPDATE=1` writes what is expected; read the diff.

#[path = "dialects/catalogues.rs"]
mod catalogues;
#[path = "dialects/notes.rs"]
mod notes;
#[path = "dialects/page.rs"]
mod page;
#[path = "dialects/test_v0.rs"]
mod test_v0;

use gateway_core::delivery::Outcome;
use gateway_core::dialects::{DIALECTS, Dialect, Endpoint, Mode, Response, dialect, standard_webhooks};
use gateway_core::event::EventName;
use gateway_core::mutants::{Mutant, plant};
use gateway_tests::cases::{NOW, cases, folder, header, told};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use test_v0::{render, whole_run};

/// Compares a file with what it should hold now, or writes it where `UPDATE` is set.
fn expect(file: &Path, now: &[u8], wrong: &mut Vec<String>) {
    if std::env::var_os("UPDATE").is_some() {
        fs::write(file, now).expect("written");
    } else if fs::read(file).ok().as_deref() != Some(now) {
        wrong.push(format!("{}:\n{}", file.display(), String::from_utf8_lossy(now)));
    }
}

#[test]
fn every_case_gives_its_request_and_its_outcome() {
    let mut wrong = Vec::new();
    for case in DIALECTS.iter().flat_map(|dialect| cases(*dialect)) {
        let (name, request) = case.written();
        expect(&case.folder.join(name), &request, &mut wrong);
        expect(&case.folder.join("outcome.txt"), case.told().as_bytes(), &mut wrong);
    }
    assert!(wrong.is_empty(), "not as expected (UPDATE=1 rewrites):\n{}", wrong.join("\n"));
}

/// Answers without any header or body.
const STATUSES: [u16; 21] =
    [100, 200, 201, 202, 204, 301, 308, 400, 401, 403, 404, 408, 410, 413, 422, 425, 429, 500, 502, 503, 504];

#[test]
fn every_status_means_what_the_dialect_says() {
    let sent = &whole_run()[..1];
    let mut wrong = Vec::new();
    for dialect in DIALECTS.iter().copied() {
        let outcome =
            |status| dialect.judge(sent, &Response { status, ..Response::default() }, &Endpoint::default(), NOW);
        let lines: String = STATUSES.iter().map(|status| format!("{status} {}", told(&outcome(*status)))).collect();
        expect(&folder(dialect).join("statuses.txt"), lines.as_bytes(), &mut wrong);
    }
    assert!(wrong.is_empty(), "not as expected (UPDATE=1 rewrites):\n{}", wrong.join("\n"));
}

/// Events of the gateway that a dialect has a word for; a probe is no event, and what others posted has its own names.
fn spoken(dialect: &dyn Dialect) -> impl Iterator<Item = EventName> {
    let no_words = [EventName::WebhookTest, EventName::Posted];
    EventName::ALL.iter().copied().filter(move |name| !no_words.contains(name) && dialect.word(*name).is_some())
}

#[test]
fn every_dialect_has_a_case_for_all_that_it_says() {
    for dialect in DIALECTS.iter().copied() {
        let cases = cases(dialect);
        let sent: Vec<_> = cases.iter().filter(|case| matches!(case.rendered(), Ok(Some(_)))).collect();
        let names: BTreeSet<&str> = sent.iter().flat_map(|case| case.batch()).map(|event| event.kind.word()).collect();
        let posted = dialect.catalogue().iter().map(|entry| entry.event);
        let missing: Vec<&str> =
            spoken(dialect).map(EventName::as_str).chain(posted).filter(|word| !names.contains(word)).collect();
        assert!(missing.is_empty(), "{}: no case for {missing:?}", dialect.name());
    }
}

#[test]
fn every_signature_verifies_with_each_of_its_secrets() {
    for case in DIALECTS.iter().flat_map(|dialect| cases(*dialect)) {
        let Some(request) = case.http() else { continue };
        let Some(signatures) = header(&request, "webhook-signature") else { continue };
        let named = |name| header(&request, name).unwrap_or_default();
        for secret in case.secrets.iter().filter(|secret| secret.expose().starts_with("whs")) {
            let headers = (named("webhook-id"), named("webhook-timestamp"), signatures);
            let verified = standard_webhooks::verify(secret, headers, &request.body, NOW.wall.as_seconds(), 0);
            assert_eq!(verified, Ok(()), "{}", case.folder.display());
        }
    }
}

#[test]
fn a_cloudevent_has_its_attributes_and_the_data_that_decode_prints() {
    for case in cases(dialect("cloudevents").expect("a dialect")) {
        let Some(request) = case.http() else { continue };
        let body: Value = serde_json::from_slice(&request.body).expect("JSON");
        let text = |name: &str| header(&request, name).map(Value::from).unwrap_or_default();
        let envelopes = match (case.endpoint.mode, &body) {
            (Mode::Binary, _) => {
                let names = ["specversion", "id", "type", "source", "time", "subject"];
                let attributes = names.map(|name| (name.to_owned(), text(&format!("ce-{name}"))));
                let data = [("data".to_owned(), body.clone())];
                vec![attributes.into_iter().chain(data).collect::<Map<String, Value>>().into()]
            }
            (Mode::Structured, Value::Array(envelopes)) => envelopes.clone(),
            (Mode::Structured, _) => vec![body.clone()],
        };
        assert_eq!(envelopes.len(), case.batch().len(), "{}", case.folder.display());
        if let [event] = case.batch() {
            // CONTRACT: `id` = `webhook-id`, signed or not.
            assert_eq!(text("webhook-id"), event.id.to_string());
        }
        for (envelope, event) in envelopes.iter().zip(case.batch()) {
            assert_eq!(envelope["specversion"], "1.0");
            assert_eq!(envelope["id"], event.id.to_string());
            assert_eq!(envelope["type"], format!("analyzer-gateway.{}", event.kind.word()));
            assert_eq!(envelope["source"], format!("/clinic-7/{}", event.analyzer));
            let visible = case.endpoint.visible(event).data_json();
            assert_eq!(envelope["data"], serde_json::from_str::<Value>(&visible).expect("JSON"));
        }
    }
}

#[test]
fn the_planted_bugs_of_this_part_can_be_seen_here() {
    let refused = Response { status: 500, ..Response::default() };
    let events = whole_run();
    let seen = || {
        let ids =
            [1, 2].map(|number| header(&render("cloudevents", &events, number, 0), "webhook-id").map(str::to_owned));
        (
            dialect("cloudevents").map(|dialect| dialect.judge(&[], &refused, &Endpoint::default(), NOW))
                == Some(Outcome::Delivered),
            ids[0] != ids[1],
        )
    };
    assert_eq!(seen(), (false, false));
    plant(Some(Mutant::AnyStatusDelivers));
    assert_eq!(seen(), (true, false));
    plant(Some(Mutant::NewIdEachAttempt));
    assert_eq!(seen(), (false, true));
    plant(None);
}
