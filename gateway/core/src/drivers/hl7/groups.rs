//! The tests of a message: each OBR group with its results, comments and whom it is of.
//!
//! Set ids are not trusted: a group is what follows its OBR. OBX without OBR make a test of their own. By the standard a
//! specimen stands before its orders in OUL^R21 to R23 and behind them in ORU^R01 and OUL^R24 (2.5.1 chapter 7); analyzers do
//! it the other way too, so what a message begins with counts: an SPM taken for the wrong order is another patient's.

use super::super::values::{local_time, names_a_control, tells_runs_apart};
use super::header::Header;
use super::syntax::{Message, Segment};
use super::values::{PictureRoom, control, result};
use crate::event::{Device, Personal, ResultValue, Test, TestId, TestState};
use crate::reading::{FieldPlace, Reading};
use std::collections::HashMap;
use std::rc::Rc;

/// Comments of a message, a patient or a specimen are repeated in each of its orders as far as so many bytes in all.
const INHERITED_BYTES_MAX: usize = 1 << 20;

/// What a comment would belong to.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Level {
    Message,
    Patient,
    Specimen,
    Order,
    Result,
}

/// An order while its results are being collected.
#[derive(Default)]
pub(super) struct Draft {
    /// What surrounds the results: MSH, PID, PV1, SPM, SAC, ORC, OBR.
    context: Vec<Rc<Segment>>,
    results: Vec<ResultValue>,
    /// What the profile says tells equal codes apart, for each result.
    apart: Vec<String>,
    comments: Vec<Personal>,
    /// The whole of OBX-14, OBX-19 and so on are not kept, only what they say together.
    tells_runs_apart: bool,
}

/// A walk over the segments of one message.
struct Walk<'a> {
    reading: &'a Reading,
    picture_bytes_max: usize,
    room: PictureRoom,
    /// Whether a specimen stands before its orders.
    specimen_first: bool,
    /// Whether ORC stands behind its OBR.
    order_control_last: bool,
    drafts: Vec<Draft>,
    /// What the next order inherits, each with its level.
    around: Vec<(Level, Rc<Segment>)>,
    outer_comments: Vec<(Level, Personal)>,
    /// How much of these may still be repeated.
    inheritable_bytes: usize,
    order_open: bool,
    level: Level,
}

/// The orders of a message with their results.
pub(super) fn drafts(message: &Message, header: &Header, reading: &Reading, picture_bytes_max: usize) -> Vec<Draft> {
    let mut walk = Walk {
        reading,
        picture_bytes_max,
        room: PictureRoom(picture_bytes_max),
        specimen_first: specimen_first(message),
        order_control_last: header.code == "OUL",
        drafts: Vec::new(),
        around: Vec::new(),
        outer_comments: Vec::new(),
        inheritable_bytes: INHERITED_BYTES_MAX,
        order_open: false,
        level: Level::Message,
    };
    for segment in &message.segments {
        walk.take(segment);
    }
    for draft in walk.drafts.iter_mut().filter(|draft| draft.results.is_empty() && header.kind == "2") {
        let value = draft.find("OBR").and_then(control);
        draft.results.extend(value);
    }
    walk.drafts
}

fn specimen_first(message: &Message) -> bool {
    let names = message.segments.iter().map(|segment| segment.name.as_str());
    names.into_iter().find(|name| matches!(*name, "SPM" | "SAC" | "OBR")).is_some_and(|name| name != "OBR")
}

impl Walk<'_> {
    fn take(&mut self, segment: &Segment) {
        match segment.name.as_str() {
            "MSH" => self.surround(Level::Message, segment),
            "PID" => self.surround(Level::Patient, segment),
            // Of the patient whose PID came before.
            "PV1" | "PD1" => self.inherit(Level::Patient, segment),
            "SPM" | "SAC" if self.order_open && !self.specimen_first => self.join(segment),
            "SPM" => self.surround(Level::Specimen, segment),
            "SAC" => self.inherit(Level::Specimen, segment),
            "ORC" if self.order_control_last && self.lacks_order_control() => self.join(segment),
            "ORC" => {
                self.inherit(Level::Order, segment);
                self.order_open = false;
            }
            "OBR" => {
                self.begin();
                self.join(segment);
                self.around.retain(|(level, _)| *level < Level::Order);
            }
            "OBX" => self.result(segment),
            "NTE" => self.comment(segment),
            _ => {}
        }
    }

    /// A segment that holds for what follows it, until the next of its level.
    fn surround(&mut self, level: Level, segment: &Segment) {
        self.around.retain(|(known, _)| *known < level);
        self.outer_comments.retain(|(known, _)| *known < level);
        self.inherit(level, segment);
        self.level = level;
        self.order_open = false;
    }

    /// Holds for what follows, in place of one of the same name.
    fn inherit(&mut self, level: Level, segment: &Segment) {
        self.around.retain(|(known, before)| *known < level || (*known == level && before.name != segment.name));
        self.around.push((level, Rc::new(segment.clone())));
    }

    /// Whether the last order may still get its ORC: without results, and without an ORC of its own.
    fn lacks_order_control(&self) -> bool {
        let order = self.drafts.last().filter(|_| self.order_open);
        order.is_some_and(|order| order.results.is_empty() && order.find("ORC").is_none())
    }

    fn begin(&mut self) {
        let context = self.around.iter().map(|(_, segment)| Rc::clone(segment)).collect();
        let bytes: usize = self.outer_comments.iter().map(|(_, comment)| comment.expose().len() + 1).sum();
        let left = self.inheritable_bytes.checked_sub(bytes);
        self.inheritable_bytes = left.unwrap_or_default();
        let comments = self.outer_comments.iter().filter(|_| left.is_some() || self.drafts.is_empty());
        let comments = comments.map(|(_, comment)| comment.clone()).collect();
        self.drafts.push(Draft { context, comments, ..Draft::default() });
        self.room = PictureRoom(self.picture_bytes_max);
        self.order_open = true;
        self.level = Level::Order;
    }

    fn join(&mut self, segment: &Segment) {
        if let Some(draft) = self.drafts.last_mut() {
            draft.tells_runs_apart |= segment.name == "OBR" && tells_runs_apart(segment.raw(22));
            draft.context.push(Rc::new(segment.clone()));
        }
    }

    fn result(&mut self, obx: &Segment) {
        if !self.order_open {
            self.begin();
        }
        let result = result(obx, self.reading, &mut self.room);
        let apart = self.reading.told_apart_by.iter().filter_map(|number| obx.component(3, usize::from(*number)));
        let apart = apart.map(|part| format!("^{part}")).collect();
        if let Some(draft) = self.drafts.last_mut() {
            draft.tells_runs_apart |= tells_runs_apart(obx.raw(19));
            draft.apart.push(apart);
            draft.results.push(result);
            self.level = Level::Result;
        }
    }

    fn comment(&mut self, nte: &Segment) {
        let text = nte.text(3);
        if text.is_empty() {
            return;
        }
        let text = Personal::new(text);
        match (self.level, self.drafts.last_mut()) {
            (Level::Order, Some(draft)) => draft.comments.push(text),
            (Level::Result, Some(draft)) => {
                if let Some(result) = draft.results.last_mut() {
                    result.comments.push(text);
                }
            }
            (level, _) => self.outer_comments.push((level, text)),
        }
    }
}

impl Draft {
    /// Whether a time stands here that no other run of this analyzer shares. OBR-7 and OBX-14 are not looked at: they may say
    /// when the specimen was taken, which two runs share.
    pub fn tells_runs_apart(&self) -> bool {
        self.tells_runs_apart
    }

    /// The innermost segment of that name.
    fn find(&self, name: &str) -> Option<&Segment> {
        self.context.iter().rfind(|segment| segment.name == name).map(Rc::as_ref)
    }

    fn first(&self, places: &[FieldPlace]) -> Option<String> {
        places.iter().find_map(|place| self.find(&place.record)?.at(place))
    }

    fn identifier(&self, name: &str, field: usize) -> Option<String> {
        self.find(name)?.component(field, 1)
    }

    /// A code that comes more than once in an order is followed by what tells it apart.
    fn tell_codes_apart(&mut self) {
        let mut times = HashMap::<String, usize>::new();
        self.results.iter().for_each(|result| *times.entry(result.code.clone()).or_default() += 1);
        for (result, apart) in self.results.iter_mut().zip(&self.apart) {
            if times.get(&result.code).is_some_and(|times| *times > 1) {
                result.code.push_str(apart);
            }
        }
    }

    pub fn into_test(mut self, id: TestId, header: &Header, reading: &Reading) -> Test {
        self.tell_codes_apart();
        let is_bare_control = header.kind == "2" && self.find("OBR").is_some_and(|obr| !obr.raw(20).is_empty());
        let order = [("OBR", 3), ("SPM", 2), ("SAC", 3), ("OBR", 2), ("PID", 2)];
        let mut found = order.into_iter().map(|(name, field)| (name, self.identifier(name, field)));
        let (place, usual) = found.find(|(_, id)| id.is_some()).unwrap_or_default();
        let written = self.first(&reading.sample_id);
        let from_patient = written.is_none() && place == "PID";
        // There OBR-3 is the name of the test, and OBR-13 that of the control.
        let control_name = is_bare_control.then(|| self.identifier("OBR", 13)).flatten();
        let sample_id = written.or(control_name).or(usual);
        let instrument = self.identifier("OBR", 3).filter(|id| !is_bare_control && Some(id) != sample_id.as_ref());
        let patient_id = self.first(&reading.patient_id).or_else(|| self.identifier("PID", 3));
        let patient_id = patient_id.or_else(|| self.identifier("PID", 2).filter(|_| !from_patient));
        let (control_role, calibrator_role) = self.roles();
        let by_field = reading.is_control(|place| self.find(&place.record)?.at(place));
        let qc = header.is_control() || control_role || by_field || sample_id.as_deref().is_some_and(names_a_control);
        let order_time = |field| self.find("OBR").and_then(|obr| local_time(obr.raw(field)));
        let measured = self.results.iter().filter_map(|result| result.at.clone()).max();
        let finished = measured.or_else(|| order_time(22)).or_else(|| order_time(8));
        // Where nothing else is said, OBR-7 is all there is to know about the run.
        let started_at = if finished.is_some() { order_time(7) } else { None };
        Test {
            sample_id: sample_id.map(Personal::new),
            instrument_sample_id: instrument.map(Personal::new),
            patient_id: patient_id.map(Personal::new),
            qc,
            calibration: header.is_calibration() || calibrator_role,
            started_at,
            finished_at: finished.or_else(|| order_time(7)),
            results: self.results,
            comments: self.comments,
            ..Test::new(id, TestState::Done)
        }
    }

    /// Whether the specimen is a control's (also an electronic one), or a calibrator's (also one that verifies): SPM-11 or
    /// OBR-15.7 (table 0369).
    fn roles(&self) -> (bool, bool) {
        let role = [self.identifier("SPM", 11), self.find("OBR").and_then(|obr| obr.component(15, 7))];
        let is = |word: &str| role.iter().flatten().any(|role| role.eq_ignore_ascii_case(word));
        (is("Q") || is("E"), is("C") || is("V"))
    }
}

/// Who sent the message: MSH-3, else MSH-4; its serial number from EQU-1 or OBX-18, which in IHE LAW holds the model first
/// and the serial number second. A profile may say otherwise.
pub(super) fn device(message: &Message, reading: &Reading) -> Option<Device> {
    let header = message.segments.first()?;
    let at = |place: &FieldPlace| message.segment(&place.record).and_then(|segment| segment.at(place));
    let written = reading.model_at.as_ref().and_then(at);
    let model = written.or_else(|| header.component(3, 1)).or_else(|| header.component(4, 1));
    let sn = match &reading.serial_number {
        Some(place) => at(place),
        None => message.segment("EQU").and_then(|equ| equ.component(1, 1)).or_else(|| {
            let mut instances =
                message.segments.iter().filter(|segment| segment.name == "OBX" && !segment.raw(18).is_empty());
            let obx = instances.next()?;
            let ids = obx.repeats(18).map(|repeat| obx.components(repeat).swap_remove(0));
            ids.take(2).last().filter(|id| !id.is_empty())
        }),
    };
    (model.is_some() || sn.is_some()).then(|| Device { model, sn, details: Default::default() })
}
