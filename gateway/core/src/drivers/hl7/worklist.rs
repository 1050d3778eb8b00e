//! The answer to a question, in the form in which it was asked.

use super::answer::Writer;
use super::header::Header;
use super::inquiry::{Form, Inquiry};
use super::message::Error;
use super::outbox::Order;
use crate::event::{Id, Personal};
use crate::hl7::Segment;
use crate::reading::is_loinc;
use crate::registration::{OrderedTest, Patient};
use crate::time::Now;
use crate::worklist::{OrderAction, Question, WorkOrder};

/// How often an order is sent that gets no answer (IHE LAW leaves the number to the sender).
const TRIES_MAX: u32 = 3;
/// The lines of a DSR^Q03 before the first test.
const DISPLAY_LINES: usize = 28;

/// What is sent: at once, and then order by order.
pub(super) struct Reply {
    pub at_once: Vec<u8>,
    pub orders: Vec<Order>,
    /// Whether orders are in `at_once`: nothing acknowledges that.
    pub has_orders: bool,
}

/// How a question fared before it could be looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    Stored,
    NotStored,
}

/// One message while it is put together.
struct Draft<'a> {
    header: &'a Header,
    text: String,
}

pub(super) fn reply(
    inquiry: &Inquiry,
    header: &Header,
    heard: Heard,
    orders: &[WorkOrder],
    writer: &mut Writer,
    now: Now,
) -> Reply {
    let error = match (heard, inquiry.is_clear) {
        (Heard::NotStored, _) => Error::Internal,
        (Heard::Stored, false) => Error::FieldMissing,
        (Heard::Stored, true) => Error::Accepted,
    };
    // An order that is taken back has no form but LAW's.
    let open = orders.iter().filter(|order| inquiry.form == Form::Law || order.action != OrderAction::Cancel);
    let open: Vec<&WorkOrder> =
        open.filter(|order| !order.tests.is_empty() || order.action == OrderAction::Cancel).collect();
    let mut out = Out { inquiry, header, error, writer, now };
    match inquiry.form {
        Form::Law => out.law(&open),
        Form::Embedded => out.embedded(&open),
        Form::Display => out.display(&open),
        Form::Order => out.order(&open),
    }
}

struct Out<'a> {
    inquiry: &'a Inquiry,
    header: &'a Header,
    error: Error,
    writer: &'a mut Writer,
    now: Now,
}

impl Out<'_> {
    /// MSA-1.
    fn code(&self) -> &'static str {
        match self.error {
            Error::Accepted => "AA",
            Error::Internal => "AE",
            _ => "AR",
        }
    }

    fn begin(&mut self, kind: &[&str; 3]) -> Draft<'_> {
        let id = self.writer.id(self.now);
        let text = self.header.answer(kind, &id, self.now) + &self.header.msa(self.code(), self.error);
        Draft { header: self.header, text }
    }

    fn bytes(&self, text: &str) -> Vec<u8> {
        self.writer.bytes(self.header, text)
    }

    /// LAB-27 is answered with RSP^K11 in any case, LAB-28 follows: an OML^O33 a specimen, for one without work with ORC-1 DC
    /// ("negative query response").
    fn law(&mut self, orders: &[&WorkOrder]) -> Reply {
        let nothing = matches!(self.inquiry.question, Some(Question::All)) && orders.is_empty();
        let response = self.response(if nothing { "NF" } else { "OK" });
        let at_once = self.bytes(&response);
        let mut sent: Vec<Order> = orders.iter().map(|order| self.specimen_order(order)).collect();
        if let (Some(Question::Samples(asked)), Error::Accepted) = (&self.inquiry.question, self.error) {
            let without = asked.iter().filter(|id| orders.iter().all(|order| order.sample_id != **id));
            let negative: Vec<Order> = without.map(|id| self.nothing_for(id)).collect();
            sent.extend(negative);
        }
        Reply { at_once, orders: sent, has_orders: false }
    }

    fn response(&mut self, status: &str) -> String {
        let (inquiry, code) = (self.inquiry, self.code());
        let status = if code == "AA" { status } else { code };
        let mut draft = self.begin(&["RSP", "K11", "RSP_K11"]);
        draft.add("QAK", |qak| qak.raw(1, &inquiry.tag).raw(2, status).raw(3, &inquiry.name));
        draft.echo(&inquiry.echo);
        draft.text
    }

    fn specimen_order(&mut self, order: &WorkOrder) -> Order {
        let id = self.writer.id(self.now);
        let text = self.header.own(&["OML", "O33", "OML_O33"], &id, self.now, "LAB-28");
        let moment = self.header.moment(self.now);
        let mut draft = Draft { header: self.header, text };
        draft.patient(order.patient.as_ref(), ["F", "M", "O", "U"]);
        draft.specimen(&order.sample_id, ["P", "Patient", "HL70369"]);
        draft.tests(order, &moment);
        Order {
            bytes: self.bytes(&draft.text),
            control_id: id,
            tries_left: TRIES_MAX,
            is_order: true,
            is_counted: true,
        }
    }

    fn nothing_for(&mut self, sample: &Personal) -> Order {
        let id = self.writer.id(self.now);
        let text = self.header.own(&["OML", "O33", "OML_O33"], &id, self.now, "LAB-28");
        let moment = self.header.moment(self.now);
        let mut draft = Draft { header: self.header, text };
        draft.specimen(sample, ["U", "Unknown", "HL70369"]);
        draft.add("ORC", |orc| orc.raw(1, "DC").raw(9, moment));
        Order {
            bytes: self.bytes(&draft.text),
            control_id: id,
            tries_left: TRIES_MAX,
            is_order: false,
            is_counted: false,
        }
    }

    fn embedded(&mut self, orders: &[&WorkOrder]) -> Reply {
        let mut text = self.response(if orders.is_empty() { "NF" } else { "OK" });
        let moment = self.header.moment(self.now);
        let mut draft = Draft { header: self.header, text: std::mem::take(&mut text) };
        for order in orders {
            draft.patient(order.patient.as_ref(), ["F", "M", "O", "U"]);
            draft.specimen(&order.sample_id, ["P", "Patient", "HL70369"]);
            draft.tests(order, &moment);
        }
        Reply { at_once: self.bytes(&draft.text), orders: Vec::new(), has_orders: !orders.is_empty() }
    }

    /// Mindray, BS-200 and BS-400 host interface manuals: QCK^Q02 says whether there is something, then a DSR^Q03 for each
    /// sample brings it. Line 29 of the display is the first test.
    fn display(&mut self, orders: &[&WorkOrder]) -> Reply {
        let (code, taken_back) = (self.code(), self.inquiry.question.is_none());
        let status = match code {
            "AA" if orders.is_empty() && !taken_back => "NF",
            "AA" => "OK",
            code => code,
        };
        let number = self.error.number();
        let mut draft = self.begin(&["QCK", "Q02", "QCK_Q02"]);
        draft.add("ERR", |err| err.raw(1, number));
        draft.add("QAK", |qak| qak.raw(1, "SR").raw(2, status));
        let at_once = draft.text;
        let at_once = self.bytes(&at_once);
        let mut sent = Vec::new();
        for (place, order) in orders.iter().enumerate() {
            // DSC-1 counts on while another sample follows.
            let more = if place + 1 < orders.len() { (place + 1).to_string() } else { String::new() };
            sent.push(self.display_of(order, more));
        }
        Reply { at_once, orders: sent, has_orders: false }
    }

    fn display_of(&mut self, order: &WorkOrder, more: String) -> Order {
        let id = self.writer.id(self.now);
        let text =
            self.header.answer(&["DSR", "Q03", "DSR_Q03"], &id, self.now) + &self.header.msa(self.code(), self.error);
        let mut draft = Draft { header: self.header, text };
        draft.add("ERR", |err| err.raw(1, "0"));
        draft.add("QAK", |qak| qak.raw(1, "SR").raw(2, "OK"));
        draft.echo(&self.inquiry.echo);
        let mut lines = vec![String::new(); DISPLAY_LINES];
        if let Some(patient) = &order.patient {
            let part = |part: &Option<Personal>| part.as_ref().map_or("", Personal::expose).to_owned();
            lines[0] = part(&patient.id);
            lines[2] = [part(&patient.given_name), part(&patient.family_name)].join(" ").trim().to_owned();
            lines[3] = patient.birth_date.as_ref().map_or(String::new(), |date| digits(date) + "000000");
            lines[4] = sex(patient, ["F", "M", "O", "U"]).to_owned();
        }
        lines[20] = order.sample_id.expose().to_owned();
        lines[23] = "N".to_owned();
        for (place, line) in lines.iter().enumerate() {
            draft.add("DSP", |dsp| dsp.raw(1, (place + 1).to_string()).text(3, line));
        }
        for (place, test) in order.tests.iter().enumerate() {
            let number = (DISPLAY_LINES + 1 + place).to_string();
            let separator = self.header.delimiters.component;
            let code = self.header.delimiters.escaped(&test.code);
            draft.add("DSP", |dsp| dsp.raw(1, number).raw(3, format!("{code}{separator}{separator}{separator}")));
        }
        draft.add("DSC", |dsc| dsc.raw(1, more));
        Order { bytes: self.bytes(&draft.text), control_id: id, tries_left: 1, is_order: false, is_counted: true }
    }

    /// Mindray, BC-5380 operator's manual, appendix C: ORR^O02 with ORC-1 AF; what is to be counted stands in an OBX. Where
    /// there is nothing, MSA-1 is AR.
    fn order(&mut self, orders: &[&WorkOrder]) -> Reply {
        let id = self.writer.id(self.now);
        let head = self.header.answer(&["ORR", "O02", "ORR_O02"], &id, self.now);
        let Some(order) = orders.first().filter(|_| self.error == Error::Accepted) else {
            let msa = Segment::with(self.header.delimiters, "MSA");
            let code = if self.error == Error::Internal { "AE" } else { "AR" };
            let mut text = head;
            msa.raw(1, code).raw(2, &self.header.control_id).write(&mut text);
            return Reply { at_once: self.bytes(&text), orders: Vec::new(), has_orders: false };
        };
        let mut draft = Draft { header: self.header, text: head + &self.header.msa("AA", Error::Accepted) };
        draft.patient(order.patient.as_ref(), ["Female", "Male", "Other", "Unknown"]);
        draft.add("PV1", |pv1| pv1.raw(1, "1"));
        draft.add("ORC", |orc| orc.raw(1, "AF").text(2, order.sample_id.expose()));
        draft.add("OBR", |obr| {
            let obr = obr.raw(1, "1").text(2, order.sample_id.expose());
            obr.components(4, &["00001", "Automated Count", "99MRC"]).raw(24, "HM")
        });
        for (place, test) in orders.iter().flat_map(|order| &order.tests).enumerate() {
            draft.add("OBX", |obx| {
                let obx = obx.raw(1, (place + 1).to_string()).raw(2, "IS");
                obx.components(3, &["08003", "Test Mode", "99MRC"]).text(5, &test.code).raw(11, "F")
            });
        }
        Reply { at_once: self.bytes(&draft.text), orders: Vec::new(), has_orders: true }
    }
}

impl Draft<'_> {
    fn add(&mut self, name: &'static str, fill: impl FnOnce(Segment) -> Segment) {
        fill(Segment::with(self.header.delimiters, name)).write(&mut self.text);
    }

    fn echo(&mut self, lines: &[String]) {
        for line in lines {
            self.text.extend([line.as_str(), "\r"]);
        }
    }

    fn patient(&mut self, patient: Option<&Patient>, sexes: [&'static str; 4]) {
        let Some(patient) = patient.filter(|patient| !patient.is_empty()) else { return };
        let part = |part: &Option<Personal>| part.as_ref().map_or("", Personal::expose).to_owned();
        let (id, family, given) = (part(&patient.id), part(&patient.family_name), part(&patient.given_name));
        self.add("PID", |pid| {
            let pid = pid.raw(1, "1");
            let pid = if id.is_empty() { pid } else { pid.components(3, &[&id, "", "", "", "MR"]) };
            let pid = pid.components(5, &[&family, &given]);
            pid.raw(7, patient.birth_date.as_ref().map(digits).unwrap_or_default()).raw(8, sex(patient, sexes))
        });
    }

    /// What kind of sample it is nobody has said.
    fn specimen(&mut self, sample: &Personal, role: [&str; 3]) {
        self.add("SPM", |spm| {
            let spm = spm.raw(1, "1").text(2, sample.expose());
            spm.components(4, &["UNK", "Unknown", "NULLFL"]).components(11, &role)
        });
        self.add("SAC", |sac| sac.text(3, sample.expose()));
    }

    fn tests(&mut self, order: &WorkOrder, moment: &str) {
        let control = if order.action == OrderAction::Cancel { "CA" } else { "NW" };
        for (place, test) in order.tests.iter().enumerate() {
            self.add("ORC", |orc| orc.raw(1, control).raw(9, moment));
            self.add("TQ1", |tq1| tq1.components(9, &["R", "Routine", "HL70485"]));
            let id = step_id(order, test);
            let system = if is_loinc(&test.code) { "LN" } else { "L" };
            self.add("OBR", |obr| {
                let obr = obr.raw(1, (place + 1).to_string()).raw(2, id);
                let obr = obr.components(4, &[&test.code, &test.name, system]);
                // Table 0065: tests are added to a specimen that is already there.
                if order.action == OrderAction::Rerun { obr.raw(11, "A") } else { obr }
            });
        }
    }
}

/// OBR-2: the id of one analytical work order step. A cancellation names the same step as its order, a rerun another one.
fn step_id(order: &WorkOrder, test: &OrderedTest) -> String {
    let kind = if order.action == OrderAction::Rerun { "rerun" } else { "order" };
    let parts = [kind, order.sample_id.expose(), &test.code].map(str::as_bytes);
    let Id(bytes) = Id::derived(&parts);
    bytes[..8].iter().map(|byte| format!("{byte:02X}")).collect()
}

fn digits(date: &Personal) -> String {
    date.expose().chars().filter(char::is_ascii_digit).collect()
}

/// The words of FHIR, as a registration has them, in those of an analyzer: female, male, other, unknown.
fn sex(patient: &Patient, words: [&'static str; 4]) -> &'static str {
    let known = ["female", "male", "other", "unknown"];
    let said = patient.sex.as_ref().map(Personal::expose);
    known.iter().zip(words).find(|(known, _)| said == Some(**known)).map_or("", |(_, word)| word)
}
