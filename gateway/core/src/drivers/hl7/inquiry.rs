//! What an analyzer asks: QBP^Q11 (2.5.1 chapter 5, IHE LAB-27), QRY^Q02 and ORM^O01 with ORC-1 RF (Mindray's host interface
//! manuals).

use super::header::Header;
use super::syntax::{Message, Segment};
use crate::event::{Personal, Query};
use crate::worklist::Question;

/// Samples in one question, at most.
const SAMPLES_MAX: usize = 256;

/// The form in which the answer is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// RSP^K11 says that the question was heard; the orders follow in OML^O33, also where there are none (IHE LAW, LAB-27 and
    /// LAB-28).
    Law,
    /// RSP^K11 with the orders in it.
    Embedded,
    /// QCK^Q02, and a DSR^Q03 a sample (Mindray's chemistry analyzers).
    Display,
    /// ORR^O02 (Mindray's hematology analyzers).
    Order,
}

/// One question.
#[derive(Debug, Clone)]
pub(super) struct Inquiry {
    pub form: Form,
    /// `None`: it takes an earlier question back, or it cannot be answered.
    pub question: Option<Question>,
    /// Whether it names what it wants in a way that is known.
    pub is_clear: bool,
    /// QPD-2, as received.
    pub tag: String,
    /// QPD-1, as received.
    pub name: String,
    /// The segments that the answer repeats, as received.
    pub echo: Vec<String>,
}

impl Inquiry {
    /// The question of a message; `None` if it is none.
    pub fn read(message: &Message, header: &Header) -> Option<Inquiry> {
        match (header.code.as_str(), header.trigger.as_str()) {
            ("QBP", _) => Some(by_parameter(message.segment("QPD")?, header)),
            ("QRY", "Q01" | "Q02" | "") => Some(by_display(message, message.segment("QRD")?)),
            ("ORM", _) => {
                let orders = message.segments.iter().filter(|segment| segment.name == "ORC");
                let asking: Vec<&Segment> = orders.filter(|orc| orc.text(1).eq_ignore_ascii_case("RF")).collect();
                (!asking.is_empty()).then(|| by_order(&asking))
            }
            _ => None,
        }
    }

    /// What it says as an event. The status is LIS2-A2's: `O` orders are wanted, `A` an earlier question is taken back.
    pub fn event(&self) -> Query {
        let sample_ids = match &self.question {
            Some(Question::Samples(ids)) => ids.clone(),
            _ => Vec::new(),
        };
        let taken_back = self.is_clear && self.question.is_none();
        Query { sample_ids, status: if taken_back { "A" } else { "O" }.to_owned() }
    }
}

fn ids<'a>(fields: impl Iterator<Item = (&'a Segment, &'a str)>) -> Vec<Personal> {
    let first =
        |(segment, repeat): (&Segment, &str)| segment.components(repeat).into_iter().find(|part| !part.is_empty());
    fields.filter_map(first).take(SAMPLES_MAX).map(Personal::new).collect()
}

/// LAW names what it asks by: WOS by the specimen in QPD-3, WOS_ALL, WOS_BY_RACK and so on. Where a specimen stands is not
/// known here.
fn by_parameter(qpd: &Segment, header: &Header) -> Inquiry {
    let named = ids(qpd.repeats(3).map(|repeat| (qpd, repeat)));
    let name = qpd.component(1, 1).unwrap_or_default().to_ascii_uppercase();
    let question = match (named.is_empty(), name.as_str()) {
        (false, _) => Some(Question::Samples(named)),
        (true, "WOS_ALL") => Some(Question::All),
        (true, _) => None,
    };
    let other_profile = !header.profile.is_empty() && !header.profile.to_ascii_uppercase().contains("LAB-27");
    let is_law = name.starts_with("WOS") && !other_profile;
    Inquiry {
        form: if is_law { Form::Law } else { Form::Embedded },
        is_clear: question.is_some(),
        question,
        tag: qpd.raw(2).to_owned(),
        name: qpd.raw(1).to_owned(),
        echo: vec![qpd.line()],
    }
}

/// QRD-8 is the sample's id, empty for all of a day; QRD-9 is CAN where an earlier question is taken back.
fn by_display(message: &Message, qrd: &Segment) -> Inquiry {
    let named = ids(qrd.repeats(8).map(|repeat| (qrd, repeat)));
    let question = match (named.is_empty(), qrd.text(9).eq_ignore_ascii_case("CAN")) {
        (_, true) => None,
        (false, _) => Some(Question::Samples(named)),
        (true, _) => Some(Question::All),
    };
    let echo = ["QRD", "QRF"].into_iter().filter_map(|name| message.segment(name)).map(Segment::line).collect();
    Inquiry { form: Form::Display, question, is_clear: true, tag: String::new(), name: String::new(), echo }
}

/// ORC-3 is the sample's id.
fn by_order(asking: &[&Segment]) -> Inquiry {
    let place = |orc: &&Segment| if orc.text(3).is_empty() { 2 } else { 3 };
    let named = ids(asking.iter().map(|orc| (*orc, orc.repeats(place(orc)).next().unwrap_or_default())));
    let question = (!named.is_empty()).then_some(Question::Samples(named));
    let is_clear = question.is_some();
    Inquiry { form: Form::Order, question, is_clear, tag: String::new(), name: String::new(), echo: Vec::new() }
}
