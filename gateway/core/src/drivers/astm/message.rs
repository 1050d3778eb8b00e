//! What a LIS2-A2 message states: tests with their results, and queries. CONTRACT's rules for ids, codes and values.

use super::super::values::{self, decimal, local_time, names_a_control};
use super::assembly::{record_type, split_records};
use super::places::{self, Spot};
use super::records::{Record, parse_records};
use crate::event::*;
use crate::reading::{FieldPlace, Reading};
use crate::time::Now;
use sha2::{Digest, Sha256};
use std::rc::Rc;

/// A patient's comments are repeated in each of the orders as far as so many bytes in all.
const INHERITED_BYTES_MAX: usize = 8 << 20;

/// The facts of a whole message: one `TEST_FINISHED` an order, one `QUERY_RECEIVED` a query. A text without any record is
/// one `MESSAGE_REJECTED`.
pub(super) fn events(text: &[u8], now: Now, reading: &Reading) -> Vec<EventKind> {
    let Some(message) = Message::read(text, now, reading) else {
        let reason =
            "the frames are good, but their text holds no LIS2 record (H, P, O, R, C, Q, L): is it another protocol?";
        return vec![EventKind::rejected("not_records", reason, text.len())];
    };
    let mut facts = Vec::new();
    let mut ordinal = 0;
    let digest = digest(text);
    for test in message.tests {
        let identity = message.repeatable.then(|| Identity(fingerprint(&digest, ordinal)));
        let fact = EventKind::about_test(EventName::TestFinished, message.device.clone(), test);
        facts.push(EventKind { identity, ..fact });
        ordinal += 1;
    }
    for query in message.queries {
        let identity = message.repeatable.then(|| Identity(fingerprint(&digest, ordinal)));
        let fact = EventKind::bare(EventName::QueryReceived);
        facts.push(EventKind { identity, device: message.device.clone(), query: Some(query), ..fact });
        ordinal += 1;
    }
    facts
}

/// The device and the tests of a message that was broken off, from its whole records.
pub(super) fn partial(text: &[u8], now: Now, reading: &Reading) -> (Option<Device>, Vec<Test>) {
    Message::read(text, now, reading).map(|message| (message.device, message.tests)).unwrap_or_default()
}

struct Message {
    device: Option<Device>,
    tests: Vec<Test>,
    queries: Vec<Query>,
    /// Whether it carries a time that tells a repetition from a genuine second message.
    repeatable: bool,
}

/// What a comment would belong to.
enum Anchor {
    Nothing,
    Patient,
    Order,
    Result,
}

/// An order while its results are being collected.
struct Draft {
    order: Option<Record>,
    patient: Option<Rc<Record>>,
    results: Vec<(Record, Vec<Personal>)>,
    comments: Vec<Personal>,
}

impl Message {
    fn read(text: &[u8], now: Now, reading: &Reading) -> Option<Message> {
        let records = parse_records(text, reading.encoding);
        let header = records.iter().find(|record| record.letter == b'H');
        records.first()?;
        let control_run = header.is_some_and(|header| header.text(12).eq_ignore_ascii_case("Q"));
        let repeatable = records.iter().any(tells_runs_apart);
        let (drafts, queries) = collect(&records, reading);
        let digest = digest(text);
        let with_id = |(ordinal, draft): (usize, Draft)| {
            let hash = fingerprint(&digest, ordinal);
            let id = match repeatable {
                true => Id::derived(&[&hash]),
                false => Id::derived(&[&hash, &now.wall.0.to_be_bytes(), &now.mono.0.to_be_bytes()]),
            };
            draft.into_test(id, control_run, header, reading)
        };
        let tests = drafts.into_iter().enumerate().map(with_id).collect();
        Some(Message {
            device: header.and_then(|header| device(header, &records, reading)),
            tests,
            queries,
            repeatable,
        })
    }
}

/// Whether a time stands here that no other run of this analyzer shares: one down to the second. A message id (H.3) may be
/// the same in every message, a date in every message of a day, and midnight is what a clock shows that was never set: two
/// runs with equal values would count as one, and the second result would be lost.
fn tells_runs_apart(record: &Record) -> bool {
    let places: &[usize] = match record.letter {
        b'H' => &[14],
        b'O' => &[23],
        b'R' => &[12, 13],
        _ => &[],
    };
    places.iter().any(|place| values::tells_runs_apart(&record.text(*place)))
}

/// The message's records without their framing. Not its L: a repetition may have one where the first try had lost it.
fn digest(text: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for record in split_records(text).into_iter().filter(|record| record_type(record) != Some(b'L')) {
        hash.update(record);
        hash.update(b"\r");
    }
    hash.finalize().into()
}

/// One fact of a message: the message, which of its facts this is.
fn fingerprint(digest: &[u8], ordinal: usize) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(digest);
    hash.update((ordinal as u64).to_be_bytes());
    hash.finalize().into()
}

fn collect(records: &[Record], reading: &Reading) -> (Vec<Draft>, Vec<Query>) {
    let mut drafts: Vec<Draft> = Vec::new();
    let mut queries = Vec::new();
    let mut patient: Option<Rc<Record>> = None;
    let mut patient_comments: Vec<Personal> = Vec::new();
    let mut inheritable_bytes = INHERITED_BYTES_MAX;
    let mut order_open = false;
    let mut anchor = Anchor::Nothing;
    for record in records {
        match record.letter {
            b'P' => {
                patient = Some(Rc::new(record.clone()));
                patient_comments.clear();
                order_open = false;
                anchor = Anchor::Patient;
            }
            b'O' | b'R' => {
                let is_order = record.letter == b'O';
                if is_order || !order_open {
                    drafts.push(Draft {
                        order: is_order.then(|| record.clone()),
                        patient: patient.clone(),
                        results: Vec::new(),
                        comments: inherited(&patient_comments, &mut inheritable_bytes),
                    });
                    order_open = true;
                }
                anchor = Anchor::Order;
                if let (false, Some(draft)) = (is_order, drafts.last_mut()) {
                    draft.results.push((record.clone(), Vec::new()));
                    anchor = Anchor::Result;
                }
            }
            b'C' => comment(record, &anchor, drafts.last_mut(), &mut patient_comments),
            b'Q' => {
                queries.push(query(record, reading));
                order_open = false;
                anchor = Anchor::Nothing;
            }
            // M and S have no level of their own: a comment behind them belongs to what they belong to.
            _ => {}
        }
    }
    (drafts, queries)
}

/// The comments of a patient, once more while there is room.
fn inherited(comments: &[Personal], room: &mut usize) -> Vec<Personal> {
    let bytes: usize = comments.iter().map(|comment| comment.expose().len() + 1).sum();
    let left = room.checked_sub(bytes);
    *room = left.unwrap_or_default();
    left.map_or_else(Vec::new, |_| comments.to_vec())
}

fn comment(record: &Record, anchor: &Anchor, draft: Option<&mut Draft>, patient_comments: &mut Vec<Personal>) {
    let text = record.text(4);
    if text.is_empty() {
        return;
    }
    let text = Personal::new(text);
    match (anchor, draft) {
        (Anchor::Patient, _) => patient_comments.push(text),
        (Anchor::Order, Some(draft)) => draft.comments.push(text),
        (Anchor::Result, Some(draft)) => {
            if let Some((_, comments)) = draft.results.last_mut() {
                comments.push(text);
            }
        }
        _ => {}
    }
}

fn query(record: &Record, reading: &Reading) -> Query {
    let sample = |repeat: &str| {
        let parts = record.components_of(repeat);
        places::sample_asked_for(&parts, reading).map(|place| Personal::new(parts[place].clone()))
    };
    let sample_ids = record.repeats(3).into_iter().filter_map(sample).collect();
    Query { sample_ids, status: record.text(13) }
}

impl Draft {
    fn into_test(self, id: TestId, control_run: bool, header: Option<&Record>, reading: &Reading) -> Test {
        let instrument_sample_id = self.order.as_ref().and_then(|order| order.first_component(4));
        let spot = |spots: &[Spot], used: Option<Spot>| {
            places::first_of(spots, used, |letter| match letter {
                b'H' => header,
                b'P' => self.patient.as_deref(),
                b'O' => self.order.as_ref(),
                b'R' => self.results.first().map(|(record, _)| record),
                _ => None,
            })
        };
        let says_control = reading.is_control(|place| spot(&[Spot::of(place)], None).map(|(_, text)| text));
        let (used, sample_id) = spot(&places::of_sample(reading), None).unzip();
        // The field that serves as the sample's id says nothing about the patient.
        let patient_id = spot(&places::of_patient(reading), used).map(|(_, id)| id);
        let action = self.order.as_ref().map(|order| order.text(12)).unwrap_or_default();
        let times = |number| self.results.iter().filter_map(move |(record, _)| local_time(&record.text(number)));
        let reported = || self.order.as_ref().and_then(|order| local_time(&order.text(23)));
        let qc = control_run
            || says_control
            || action.contains(['Q', 'q'])
            || sample_id.as_deref().is_some_and(names_a_control);
        Test {
            sample_id: sample_id.map(Personal::new),
            instrument_sample_id: instrument_sample_id.map(Personal::new),
            patient_id: patient_id.map(Personal::new),
            qc,
            started_at: times(12).min(),
            finished_at: times(13).max().or_else(reported),
            results: result_values(self.results, reading),
            comments: self.comments,
            ..Test::new(id, TestState::Done)
        }
    }
}

/// The parts of R.3 in which the code is looked for where the profile does not say.
const CODE_PARTS: &[u8] = &[4, 5, 1, 2, 3];

/// CONTRACT: the first of the code's parts of R.3 that holds something; codes that repeat inside one order become the whole
/// field without its trailing delimiters, or what the profile says tells them apart.
fn result_values(records: Vec<(Record, Vec<Personal>)>, reading: &Reading) -> Vec<ResultValue> {
    let code_parts = if reading.code.is_empty() { CODE_PARTS } else { &reading.code };
    let mut values: Vec<(ResultValue, String)> = Vec::with_capacity(records.len());
    let mut seen = std::collections::HashMap::<String, usize>::new();
    for (record, comments) in records {
        let parts = record.components(3);
        let part = |number: usize| parts.get(number - 1).map(String::as_str).filter(|part| !part.is_empty());
        let first =
            |parts: &[u8]| parts.iter().map(|number| usize::from(*number)).find(|number| part(*number).is_some());
        let place = first(code_parts);
        let code = place.and_then(part).unwrap_or_default().to_owned();
        let name_place = first(if reading.test_name.is_empty() { &[2] } else { &reading.test_name });
        let name = name_place.filter(|_| name_place != place).and_then(part).unwrap_or_default().to_owned();
        let whole = match reading.told_apart_by.as_slice() {
            [] => {
                let trailing = |sign: char| sign == ' ' || Some(sign) == record.delimiters.component;
                record.delimiters.unescape(record.raw(3).trim_end_matches(trailing))
            }
            apart => {
                let apart = apart.iter().filter_map(|number| part(usize::from(*number)));
                [code.as_str()].into_iter().chain(apart).collect::<Vec<_>>().join("^")
            }
        };
        *seen.entry(code.clone()).or_default() += 1;
        values.push((result_value(&record, code, name, comments), whole));
    }
    let resolve = |(mut value, whole): (ResultValue, String)| {
        if seen.get(&value.code).is_some_and(|times| *times > 1) {
            value.code = whole;
        }
        value
    };
    values.into_iter().map(resolve).collect()
}

fn result_value(record: &Record, code: String, name: String, comments: Vec<Personal>) -> ResultValue {
    let value = record.text(4);
    let at_text = [13, 12].into_iter().map(|number| record.text(number)).find(|text| !text.is_empty());
    let at_text = at_text.unwrap_or_default();
    let flags = record.repeats(7).into_iter().map(|flag| record.components_of(flag).join("^"));
    ResultValue {
        code,
        name,
        number: decimal(&value),
        value: Personal::new(value),
        unit: record.text(5),
        reference: record.text(6),
        flags: flags.filter(|flag| !flag.is_empty()).collect(),
        status: record.text(9),
        at: local_time(&at_text),
        at_text,
        comments,
        ..ResultValue::default()
    }
}

/// Who sent the message (H.5). Where the serial number stands differs by maker: where the profile does not say, these guesses
/// fit the analyzers we have seen, and stay silent where none does.
fn device(header: &Record, records: &[Record], reading: &Reading) -> Option<Device> {
    let told = |place: &FieldPlace| {
        let spot = Spot::of(place);
        records.iter().find_map(|record| places::in_record(record, spot))
    };
    let model = reading.model_at.as_ref().map_or_else(|| header.first_component(5), told);
    let parts = header.components(5);
    let part = |number: usize| parts.get(number - 1).map_or("", String::as_str);
    let digits = |text: &str| text.bytes().filter(u8::is_ascii_digit).count();
    let version_like = part(2).bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-'));
    let third_fits = version_like || (digits(part(3)) >= 4 && !part(3).contains('.'));
    let guessed = match (part(3), part(6)) {
        (third, _) if !third.is_empty() && third_fits => Some(third),
        (_, sixth) if digits(sixth) > 0 => Some(sixth),
        _ => None,
    };
    let sn = match &reading.serial_number {
        Some(place) => told(place),
        None => guessed.map(str::to_owned),
    };
    (model.is_some() || sn.is_some()).then(|| Device { model, sn, details: Default::default() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reading::Encoding;

    #[test]
    fn serial_numbers_are_found_where_makers_put_them() {
        let sn = |sender: &str| {
            let records = parse_records(format!("H|\\^&|||{sender}\r").as_bytes(), Encoding::Auto);
            records
                .first()
                .and_then(|header| device(header, &records, &Reading::default()))
                .and_then(|device| device.sn)
        };
        for (sender, expected) in [
            ("XQ-200^00-13^^^^A7001^BS600001", Some("A7001")),
            ("Reader 2^^AF20050000", Some("AF20050000")),
            ("VENT^04.04.00.00^S060000", Some("S060000")),
            ("LIS^Maker^c222^4.2.2.1730^1^13000", Some("13000")),
            ("ABC^ROOM^5.10.0.46252^J number", None),
            ("abc-e4^1", None),
            ("", None),
        ] {
            assert_eq!(sn(sender).as_deref(), expected, "{sender}");
        }
    }

    #[test]
    fn only_a_time_down_to_the_second_tells_a_repetition_from_a_second_run() {
        let repeatable = |records: &str| {
            let facts = events(format!("{records}\rL|1|N\r").as_bytes(), Now::default(), &Reading::default());
            facts.iter().all(|fact| fact.identity.is_some())
        };
        for known in [
            "H|\\^&||||||||||||20260304050607\rO|1|A\rR|1|^^^B|1",
            "H|\\^&||||||||||||20260304 050607\rO|1|A",
            "H|\\^&\rO|1|A\rR|1|^^^B|1||||||||20260304050600",
            "H|\\^&\rO|1|A\rR|1|^^^B|1|||||||||20260304120000",
            "H|\\^&\rO|1|A||||||||||||||||||||20260304050607\rR|1|^^^B|1",
            "H|\\^&||||||||||||20260304050607\rQ|1|^A",
        ] {
            assert!(repeatable(known), "{known}");
        }
        for unknown in [
            "H|\\^&|MSG7\rO|1|A\rR|1|^^^B|1",
            "H|\\^&||||||||||||20260304\rO|1|A\rR|1|^^^B|1",
            "H|\\^&||||||||||||202603040506\rO|1|A\rR|1|^^^B|1",
            "H|\\^&||||||||||||20000101000000\rO|1|A\rR|1|^^^B|1",
            "H|\\^&||||||||||||20261304050607\rO|1|A\rR|1|^^^B|1",
            "H|\\^&||||||||||||now\rO|1|A\rR|1|^^^B|1|||||||||20260304000000",
            "H|\\^&|MSG7\rQ|1|^A",
        ] {
            assert!(!repeatable(unknown), "{unknown}");
        }
    }

    #[test]
    fn a_control_is_known_by_the_beginning_of_its_sample_id() {
        let facts =
            events(b"H|\\^&\rO|1|QC-LOW\rR|1|^^^B|1\rO|2|S-1\rR|1|^^^B|1\rL|1\r", Now::default(), &Reading::default());
        let qc: Vec<bool> = facts.iter().filter_map(|fact| fact.test.as_ref()).map(|test| test.qc).collect();
        assert_eq!(qc, [true, false]);
    }
}
