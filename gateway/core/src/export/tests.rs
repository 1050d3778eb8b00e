//! Results as rows, cell by cell.

use super::*;
use crate::event::{AnalyzerId, Device, EventKind, EventName, Id, Omitted, Seq, TestState};
use crate::time::{ClockQuality, Mono, Timestamp};

fn event(test: Test) -> Event {
    let device = Device { model: Some("XP".to_owned()), sn: Some("A1".to_owned()), ..Device::default() };
    Event {
        seq: Seq(5),
        id: Id([1; 16]),
        analyzer: AnalyzerId("blood".to_owned()),
        received_at: Timestamp(1_795_291_200_000),
        clock: ClockQuality::Synchronized,
        boot: Id([0; 16]),
        mono: Mono(0),
        sequence: None,
        erased: false,
        kind: EventKind::about_test(EventName::TestFinished, Some(device), test),
    }
}

#[test]
fn a_value_is_a_row_and_the_columns_fit() {
    let mut test = Test::new(Id([2; 16]), TestState::Done);
    test.sample_id = Some(Personal::new("=cmd|' /C calc'!A0"));
    test.corrected = vec!["HGB".to_owned()];
    test.version = 2;
    let value = |code: &str, value: &str| ResultValue {
        code: code.to_owned(),
        value: Personal::new(value),
        unit: "g/dL".to_owned(),
        flags: vec!["H".to_owned(), "A".to_owned()],
        ..ResultValue::default()
    };
    let mut picture = value("IMG", "");
    let (media_type, encoding) = ("image/bmp".to_owned(), "base64".to_owned());
    picture.omitted = Some(Omitted { media_type, encoding, bytes: 9, sha256: String::new() });
    test.results = vec![value("WBC", "-1^0.282"), value("HGB", "13,5"), picture];
    let rows = rows("clinic-7", &event(test.clone()));
    let rows: Vec<&str> = rows.lines().collect();
    assert_eq!(rows.len(), 3);
    let about = "5,01010101-0101-0101-0101-010101010101,02020202-0202-0202-0202-020202020202,2,clinic-7,blood,XP,A1,\
                 2026-11-21T20:00:00.000Z,synchronized,,,'=cmd|' /C calc'!A0,,,false,false,false";
    assert_eq!(rows[0], format!("{about},WBC,,,,'-1^0.282,g/dL,,H A,,,,false"));
    assert_eq!(rows[1], format!("{about},HGB,,,,\"13,5\",g/dL,,H A,,,,true"));
    assert!(rows[2].contains("IMG,,,,\"(image/bmp, 9 bytes)\","), "{}", rows[2]);
    assert_eq!(rows[0].split(',').count(), COLUMNS.len());
    test.results.clear();
    let bare = super::rows("clinic-7", &event(test));
    assert_eq!(bare.trim_end().split(',').count(), COLUMNS.len(), "a test without results has a row");
    assert_eq!(head().trim_end().split(',').count(), COLUMNS.len());
}
