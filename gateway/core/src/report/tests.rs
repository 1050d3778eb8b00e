//! The page of a test: what is on it in which state, and that text from outside stays text.

use super::*;
use crate::event::{AnalyzerId, Device, EventKind, Id, Seq, TestState};
use crate::time::Mono;

fn finished(seq: i64, test: Test) -> Event {
    let device = Device { model: Some("<b>XP</b>".to_owned()), sn: Some("A&1".to_owned()), ..Device::default() };
    Event {
        seq: Seq(seq),
        id: Id([seq as u8; 16]),
        analyzer: AnalyzerId("blood".to_owned()),
        received_at: Timestamp(1_795_291_200_000 + seq),
        clock: ClockQuality::Unset,
        boot: Id([0; 16]),
        mono: Mono(0),
        sequence: None,
        erased: false,
        kind: EventKind::about_test(EventName::TestFinished, Some(device), test),
    }
}

fn test_of(value: &str) -> Test {
    let result = ResultValue {
        code: "WBC".to_owned(),
        value: Personal::new(value),
        unit: "10*3/uL".to_owned(),
        reference: "4 - 10".to_owned(),
        flags: vec!["H".to_owned()],
        comments: vec![Personal::new("clotted <img src=x>")],
        ..ResultValue::default()
    };
    let sample_id = Some(Personal::new("\"><script>alert(1)</script>"));
    Test { results: vec![result], sample_id, ..Test::new(Id([2; 16]), TestState::Done) }
}

fn page(history: &[Event], registration: Option<&Registration>, language: Language) -> String {
    let report = Report {
        gateway: "clinic-7",
        history,
        curve: None,
        registration,
        made_at: Timestamp(1_795_291_200_000),
        made_by: "page:erika",
    };
    html(&report, language).expect("a page")
}

#[test]
fn a_page_says_what_it_is_of_and_runs_nothing() {
    let page_text = page(&[finished(1, test_of("15.5"))], None, Language::English);
    for wanted in [
        "<tr class=\"flagged\"><th scope=\"row\">WBC</th><td class=\"number\">15.5</td><td>10*3/uL</td><td>4 - 10</td><td>H</td>",
        "Comments: clotted &lt;img src=x&gt;",
        "<dd>&lt;b&gt;XP&lt;/b&gt;</dd>",
        "<dd>A&amp;1</dd>",
        "<dd>2026-11-21 20:00:00 UTC</dd>",
        "not set: do not rely on this time",
        "Gateway clinic-7 · Made 2026-11-21 20:00:00 UTC by page:erika",
    ] {
        assert!(page_text.contains(wanted), "{wanted}\n{page_text}");
    }
    for bad in ["<script", "<img", "http:", "https:", "src=", "href="] {
        assert!(!page_text.contains(bad) || page_text.contains("&lt;img src="), "{bad}");
    }
    assert!(!page_text.contains("<script") && !page_text.contains("<img"));
    assert!(
        !page_text.contains("class=\"marks\"") && !page_text.contains("Versions"),
        "nothing is remarkable about it"
    );
}

#[test]
fn what_is_remarkable_is_marked() {
    let mut corrected = test_of("5.5");
    corrected.version = 2;
    corrected.corrected = vec!["WBC".to_owned()];
    let both = page(&[finished(1, test_of("15.5")), finished(2, corrected)], None, Language::English);
    assert!(both.contains("<li>Corrected: this replaces an earlier report</li>"), "{both}");
    assert!(both.contains("Version 2: 2026-11-21 20:00:00 UTC – corrected WBC") && both.contains("H corrected"));
    let mut odd = finished(1, Test { qc: true, calibration: true, ..test_of("1") });
    odd.erased = true;
    odd.kind.name = EventName::NewData;
    let odd = page(&[odd], None, Language::German);
    for mark in [
        "<html lang=\"de\">",
        "Qualitätskontrolle: kein Ergebnis eines Patienten",
        "Kalibrierung",
        "Vorläufig: der Test ist nicht beendet",
        "Daten einer Person gelöscht",
        "<h2>Ergebnisse</h2>",
    ] {
        assert!(odd.contains(mark), "{mark}");
    }
}

#[test]
fn only_the_verified_results_are_shown_as_verified() {
    let registration = |result: i64| -> Registration {
        serde_json::from_value(serde_json::json!({
            "number": 1, "id": "1234-5678", "sample_ids": [], "patient": { "family_name": "O'Muster" }, "lab_id": "L-9",
            "created_at": "2026-11-21T00:00:00Z", "completed_at": null, "sample_received_at": null, "results_at": null,
            "result": result, "verified_at": "2026-11-21T21:00:00Z", "verified_by": "staff-7", "retest_of": null,
        }))
        .expect("a registration")
    };
    let history = [finished(1, test_of("15.5"))];
    let verified = page(&history, Some(&registration(1)), Language::English);
    for wanted in ["2026-11-21 21:00:00 UTC by staff-7", "O&#39;Muster", "L-9", "1234-5678"] {
        assert!(verified.contains(wanted), "{wanted}");
    }
    let other = page(&history, Some(&registration(9)), Language::English);
    assert!(other.contains("Not verified by a person") && !other.contains("staff-7"));
}
