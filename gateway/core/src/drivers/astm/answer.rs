//! What an analyzer is answered to its host query, as LIS2-A2 records and as the texts of frames.
//!
//! The answer is `H`, then `P` and `O` for each order, then `L`: in the delimiters of the query's header, with its sender and
//! receiver changed over, `O.12` the action (N new, A again, C cancel), `O.26` Q (an answer to a query), `L.3` F (the query
//! is done) or I (there is no information). Roche's analyzers, known by the comment of their header, want `O.12` A, `O.26` O
//! and `L.3` N. Invariant: no text of ours can break a record: delimiters in it are escaped, and what may not stand in a
//! frame is a blank.

use super::places::sample_asked_for;
use super::records::{Delimiters, Record, parse_records};
use crate::event::Personal;
use crate::framing::astm::CR;
use crate::reading::Reading;
use crate::registration::Patient;
use crate::worklist::{ORDERS_MAX, OrderAction, Question, WorkOrder};

/// Bytes of text in one frame, at most (E1381-95; LIS01-A2 allows more, but old receivers stand by it).
const TEXT_BYTES_MAX: usize = 240;
/// The part of a test id that is the maker's code (LIS2-A2).
const CODE_PART: u8 = 4;

/// A host query that waits for its answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Inquiry {
    pub question: Question,
    /// The last query is no longer wanted (Q.13 = A).
    pub aborts: bool,
    /// What was asked for, as it was written.
    asked: Vec<Asked>,
    delimiters: Delimiters,
    header: Header,
}

/// One repeat of Q.3.
#[derive(Debug, Clone, PartialEq)]
struct Asked {
    sample_id: Personal,
    /// O.3 and O.4 of the answer, as the analyzer writes them.
    specimen: Personal,
    instrument_specimen: Personal,
}

/// What the answer's H repeats of the query's, as received.
#[derive(Debug, Clone, PartialEq)]
struct Header {
    sender: String,
    receiver: String,
    comment: String,
    processing: String,
    version: String,
}

/// How records are laid into frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Style {
    /// A frame for each record, ended by ETX; one that is too long for it goes on in the next (LIS01-A2).
    #[default]
    Records,
    /// A frame for each record, all but the last of the message ended by ETB.
    RecordsInOne,
    /// One text for the whole message, cut wherever a frame is full.
    Packed,
}

impl Style {
    /// The style of a message so far, and its next frame: an analyzer is answered in its own.
    pub fn seen(self, text: &[u8], last: bool) -> Style {
        let records = text.iter().filter(|byte| **byte == CR).count();
        match (self, last) {
            (Style::Packed, _) => Style::Packed,
            _ if records > 1 || (records == 1 && text.last() != Some(&CR)) => Style::Packed,
            (_, false) if records == 1 => Style::RecordsInOne,
            (_, false) => Style::Packed,
            (style, true) => style,
        }
    }
}

/// The text of a frame, and whether it is ended by ETX.
pub(super) type Part = (Vec<u8>, bool);

impl Inquiry {
    /// The queries of a whole message.
    pub fn all_of(text: &[u8], reading: &Reading) -> Vec<Inquiry> {
        let records = parse_records(text, reading.encoding);
        let Some(header) = records.iter().find(|record| record.letter == b'H').map(Header::of) else {
            return Vec::new();
        };
        let queries = records.iter().filter(|record| record.letter == b'Q');
        queries.map(|query| Inquiry::of(query, &header, reading)).collect()
    }

    fn of(query: &Record, header: &Header, reading: &Reading) -> Inquiry {
        let mut asked: Vec<Asked> = Vec::new();
        for repeat in query.repeats(3) {
            asked.extend(
                Asked::of(query, repeat, reading).filter(|one| asked.len() < ORDERS_MAX && !asked.contains(one)),
            );
        }
        let all = asked.iter().any(|one| one.sample_id.expose().eq_ignore_ascii_case("ALL"));
        let question = match all {
            true => Question::All,
            false => Question::Samples(asked.iter().map(|one| one.sample_id.clone()).collect()),
        };
        // Roche's analyzers write A into the request for orders itself.
        let aborts = query.text(13).eq_ignore_ascii_case("A") && !header.asks_for_tests();
        Inquiry { question, aborts, asked, delimiters: query.delimiters, header: header.clone() }
    }

    /// The records of the answer, each with its CR.
    pub fn answer(&self, orders: &[WorkOrder], reading: &Reading) -> Vec<Vec<u8>> {
        let mut records = vec![self.header.answered(self.delimiters)];
        for (place, order) in orders.iter().enumerate() {
            records.push(self.patient(place + 1, order.patient.as_ref(), reading));
            records.extend(self.orders(order, reading));
        }
        let end = match self.header.asks_for_tests() {
            _ if orders.is_empty() => "I",
            true => "N",
            false => "F",
        };
        records.push(self.record(&["L", "1", end]));
        records.iter().map(|record| [reading.encoding.encode(record), vec![CR]].concat()).collect()
    }

    fn patient(&self, number: usize, patient: Option<&Patient>, reading: &Reading) -> String {
        let mut fields = vec![String::new(); 9];
        (fields[0], fields[1]) = ("P".to_owned(), number.to_string());
        if let Some(patient) = patient {
            let text =
                |part: &Option<Personal>| part.as_ref().map_or_else(String::new, |text| self.text(text.expose()));
            let id_place =
                reading.patient_id.iter().find(|place| place.record == "P" && (3..=5).contains(&place.field));
            fields[id_place.map_or(3, |place| place.field) - 1] = text(&patient.id);
            fields[5] = self.components(&[text(&patient.family_name), text(&patient.given_name)]);
            fields[7] = text(&patient.birth_date).replace('-', "");
            fields[8] = match patient.sex.as_ref().map(Personal::expose) {
                Some("female") => "F",
                Some("male") => "M",
                Some(_) => "U",
                None => "",
            }
            .to_owned();
        }
        self.record(&fields)
    }

    /// One O with all tests; one for each where the header declares nothing to repeat a field by.
    fn orders(&self, order: &WorkOrder, reading: &Reading) -> Vec<String> {
        let tests: Vec<String> = order.tests.iter().map(|test| self.test(&test.code, reading)).collect();
        let tests = match self.delimiters.repeat {
            Some(repeat) => vec![tests.join(&repeat.to_string())],
            None => tests,
        };
        let asked = self.asked.iter().find(|asked| asked.sample_id == order.sample_id);
        let own = self.text(order.sample_id.expose());
        let specimen = asked.map_or(own.as_str(), |asked| asked.specimen.expose());
        let instrument_specimen = asked.map_or("", |asked| asked.instrument_specimen.expose());
        let (of_roche, report) = if self.header.asks_for_tests() { (true, "O") } else { (false, "Q") };
        let action = match order.action {
            OrderAction::New if !of_roche => "N",
            OrderAction::New | OrderAction::Rerun => "A",
            OrderAction::Cancel => "C",
        };
        let one = |(place, tests): (usize, String)| {
            let number = (place + 1).to_string();
            let mut fields = vec![""; 26];
            fields[..6].copy_from_slice(&["O", &number, specimen, instrument_specimen, &tests, "R"]);
            (fields[11], fields[25]) = (action, report);
            self.record(&fields)
        };
        tests.into_iter().enumerate().map(one).collect()
    }

    /// A code that is itself a whole test id (it holds the component delimiter) is sent as it is.
    fn test(&self, code: &str, reading: &Reading) -> String {
        let Some(component) = self.delimiters.component else { return self.text(code) };
        let parts: Vec<String> = code.split(component).map(|part| self.text(part)).collect();
        let before = match parts.len() {
            1 => usize::from(reading.code.first().copied().unwrap_or(CODE_PART)) - 1,
            _ => 0,
        };
        [component.to_string().repeat(before), parts.join(&component.to_string())].concat()
    }

    fn components(&self, parts: &[String]) -> String {
        let joined = parts.join(&self.delimiters.component.unwrap_or(' ').to_string());
        joined.trim_end_matches([' ', self.delimiters.component.unwrap_or(' ')]).to_owned()
    }

    /// Fields without the empty ones at the end.
    fn record(&self, fields: &[impl AsRef<str>]) -> String {
        let used = fields.iter().rposition(|field| !field.as_ref().is_empty()).map_or(0, |last| last + 1);
        let fields: Vec<&str> = fields[..used].iter().map(AsRef::as_ref).collect();
        fields.join(&self.delimiters.field.to_string())
    }

    fn text(&self, text: &str) -> String {
        self.delimiters.escape(text)
    }
}

impl Asked {
    fn of(query: &Record, repeat: &str, reading: &Reading) -> Option<Asked> {
        let parts = query.components_of(repeat);
        let place = sample_asked_for(&parts, reading)?;
        let raw = query.raw_components_of(repeat);
        let component = query.delimiters.component.map_or_else(String::new, String::from);
        // Before the sample's id stands the patient's (LIS2-A2), or where the tube is: that is wanted back.
        let (specimen, rest) = match raw[..place].iter().any(|part| !part.trim().is_empty()) && place > 1 {
            true => (repeat.to_owned(), String::new()),
            false => (raw[place].to_owned(), raw[place + 1..].join(&component)),
        };
        let rest = rest.trim_end_matches(&component).to_owned();
        let (specimen, instrument_specimen) = (Personal::new(specimen), Personal::new(rest));
        Some(Asked { sample_id: Personal::new(parts[place].clone()), specimen, instrument_specimen })
    }
}

impl Header {
    fn of(record: &Record) -> Header {
        let field = |number| record.raw(number).to_owned();
        Header { sender: field(5), receiver: field(10), comment: field(11), processing: field(12), version: field(13) }
    }

    /// The header comment of Roche's analyzers: a request for the selection of tests, answered by `TSDWN^REPLY` (cobas e 411
    /// host interface manual, message types).
    fn asks_for_tests(&self) -> bool {
        self.comment.starts_with("TSREQ")
    }

    fn answered(&self, delimiters: Delimiters) -> String {
        let or = |text: &str, default: &str| if text.is_empty() { default.to_owned() } else { text.to_owned() };
        let declared: String = [delimiters.repeat, delimiters.component, delimiters.escape].iter().flatten().collect();
        let comment = match (self.asks_for_tests(), delimiters.component) {
            (true, Some(component)) => format!("TSDWN{component}REPLY"),
            _ => String::new(),
        };
        let sender = or(&self.receiver, "analyzer-gateway");
        let (processing, version) = (or(&self.processing, "P"), or(&self.version, "LIS2-A2"));
        let fields = ["H", &declared, "", "", &sender, "", "", "", "", &self.sender, &comment, &processing, &version];
        fields.join(&delimiters.field.to_string())
    }
}

/// The texts of the frames that carry these records.
pub(super) fn parts(records: &[Vec<u8>], style: Style) -> Vec<Part> {
    let texts = match style {
        Style::Packed => vec![records.concat()],
        Style::Records | Style::RecordsInOne => records.to_vec(),
    };
    let mut parts: Vec<Part> = Vec::new();
    for text in &texts {
        parts.extend(text.chunks(TEXT_BYTES_MAX).map(|part| (part.to_vec(), false)));
        if let Some(last) = parts.last_mut().filter(|_| style == Style::Records) {
            last.1 = true;
        }
    }
    if let Some(last) = parts.last_mut() {
        last.1 = true;
    }
    parts
}
