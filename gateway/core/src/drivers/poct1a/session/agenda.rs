//! What we want of a device, in order, and what it has not yet answered.

use super::super::answers;
use super::super::clock;
use super::{Asking, Conversation};
use crate::event::{EventKind, Personal};
use crate::session::Action;
use crate::time::{Mono, Now};
use crate::worklist::{OrderAction, Question, WorkOrder};
use std::time::Duration;

/// How long a device that was too busy for our message is left alone.
const BUSY: Duration = Duration::from_secs(30);
/// How often it is asked again.
const REFUSALS_MAX: u32 = 10;
/// Room for a list's envelope and header, in bytes.
const FRAME_BYTES: usize = 400;

/// One thing to do with the device.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    /// REQ.R01 ROBS: send the observations that you hold.
    Observations,
    /// REQ.R01 RDEV: send the events that you hold.
    Events,
    /// DTV.R02 SET_TIME.
    SetTime,
    /// The list of patients, as far as the registrations have one.
    Patients,
    /// PTL.R01 with these patients.
    PatientList(String),
    /// EOT.R01 behind the list.
    EndOfPatients,
    /// DTV.R01 START_CONTINUOUS.
    Continuous,
    /// END.R01
    End,
}

/// Our message that the device has not yet answered.
#[derive(Debug)]
pub(super) struct Outstanding {
    pub step: Step,
    pub control_id: u64,
    pub due: Mono,
    /// Whether the device has begun to answer.
    pub heard: bool,
    /// How often the device was too busy.
    pub refusals: u32,
    /// Sent again at `due`: the device was too busy.
    pub again: bool,
}

impl Conversation {
    /// What the device's state makes worth doing: at the beginning of a conversation, after its DST.
    pub(super) fn plan(&mut self, now: Now, observations: bool, events: bool, stamps: &[&str]) {
        self.agenda.clear();
        self.outstanding = None;
        let Some(hello) = &self.hello else {
            self.agenda.extend(observations.then_some(Step::Observations));
            return;
        };
        let wrong = stamps.iter().find(|stamp| !stamp.is_empty());
        let wrong = wrong.is_some_and(|stamp| clock::is_wrong(stamp, now, &self.zone));
        let set_time = self.options.set_clock && wrong && hello.takes("SET_TIME");
        let last = if hello.takes("START_CONTINUOUS") { Step::Continuous } else { Step::End };
        let steps = [
            observations.then_some(Step::Observations),
            events.then_some(Step::Events),
            set_time.then_some(Step::SetTime),
            hello.takes_patients().then_some(Step::Patients),
            Some(last),
        ];
        self.agenda.extend(steps.into_iter().flatten());
    }

    /// The next step of the agenda, if nothing is outstanding.
    pub(super) fn go_on(&mut self, now: Now, actions: &mut Vec<Action>) {
        if self.outstanding.is_some() {
            return;
        }
        match self.agenda.pop_front() {
            Some(Step::Patients) => {
                self.asking = Some(Asking::List);
                actions.push(Action::Ask(Question::All));
            }
            Some(step) => self.send_step(now, step, 0, actions),
            None => {}
        }
    }

    fn send_step(&mut self, now: Now, step: Step, refusals: u32, actions: &mut Vec<Action>) {
        let (root, body) = match &step {
            Step::Observations => ("REQ.R01", answers::request("ROBS")),
            Step::Events => ("REQ.R01", answers::request("RDEV")),
            Step::SetTime => ("DTV.R02", answers::set_time(&clock::written(now, &self.zone))),
            Step::PatientList(patients) => ("PTL.R01", patients.clone()),
            Step::EndOfPatients => ("EOT.R01", answers::end_of_topic("PTL")),
            Step::Continuous => ("DTV.R01", answers::directive("START_CONTINUOUS")),
            Step::End => ("END.R01", answers::end()),
            // Is looked up first.
            Step::Patients => return,
        };
        let control_id = self.send(now, root, &body, actions);
        let due = now.mono.after(self.timeout());
        self.outstanding = Some(Outstanding { step, control_id, due, heard: false, refusals, again: false });
    }

    fn timeout(&self) -> Duration {
        self.hello.as_ref().map_or(Duration::from_secs(60), |hello| hello.timeout)
    }

    /// The device works on what we asked for: its time runs anew, long enough for it to miss an answer of ours and repeat.
    pub(super) fn heard_of(&mut self, now: Now) {
        let due = now.mono.after(2 * self.timeout());
        if let Some(outstanding) = self.outstanding.as_mut().filter(|outstanding| outstanding.is_request()) {
            (outstanding.due, outstanding.heard) = (due, true);
        }
    }

    /// The device has no more of what we asked for.
    pub(super) fn topic_ended(&mut self) {
        if self.outstanding.as_ref().is_some_and(Outstanding::is_request) {
            self.outstanding = None;
        }
    }

    /// An ACK.R01 for the message with that control id; empty if it does not say which.
    pub(super) fn acknowledged(&mut self, now: Now, taken: bool, control_id: &str) {
        let Some(outstanding) = &self.outstanding else { return };
        let named = control_id.parse::<u64>().ok();
        // It is for an earlier one. A device that counts otherwise means the only one that is outstanding.
        let other = named.is_some_and(|id| id != outstanding.control_id && (1..=self.control_id).contains(&id));
        if other || outstanding.again {
            return;
        }
        if taken && outstanding.is_request() {
            return self.heard_of(now);
        }
        if let Some(Outstanding { step: Step::Continuous, .. }) = self.outstanding.take() {
            self.continuous = taken;
            if !taken {
                self.agenda.push_back(Step::End);
            }
        }
    }

    /// An ESC.R01: the device cannot do now what we asked for. What it holds for us is asked for again after a while.
    pub(super) fn escaped(&mut self, now: Now) {
        let Some(outstanding) = &mut self.outstanding else { return };
        if outstanding.is_request() && outstanding.refusals < REFUSALS_MAX {
            outstanding.refusals += 1;
            outstanding.again = true;
            outstanding.due = now.mono.after(BUSY);
        } else if let Some(Outstanding { step: Step::Continuous, .. }) = self.outstanding.take() {
            self.agenda.push_back(Step::End);
        }
    }

    /// The device has not answered in the time that it set itself, or was too busy and is asked again. Who does not even
    /// answer when asked for results is asked for nothing else.
    pub(super) fn give_up(&mut self, now: Now, actions: &mut Vec<Action>) {
        let Some(Outstanding { step, heard, refusals, again, .. }) = self.outstanding.take() else { return };
        if again {
            return self.send_step(now, step, refusals, actions);
        }
        if step == Step::Observations && !heard {
            self.agenda.clear();
            let reason = "the analyzer holds results and did not answer when it was asked for them";
            let device = self.hello.as_ref().map(|hello| hello.device.clone());
            let alarm = EventKind { device, ..EventKind::alarm("no_answer", reason) };
            self.commit(Vec::new(), vec![alarm], super::After::Nothing, actions);
        }
    }

    /// The patients who wait, in as many messages as the device's longest one asks for. Nobody waits: nothing is sent.
    pub(super) fn list(&mut self, orders: &[WorkOrder]) {
        let room = self.hello.as_ref().map_or(usize::MAX, |hello| hello.message_bytes_max).saturating_sub(FRAME_BYTES);
        let mut lists: Vec<String> = Vec::new();
        for order in orders.iter().filter(|order| order.action != OrderAction::Cancel) {
            let id = order.patient.as_ref().and_then(|patient| patient.id.as_ref()).unwrap_or(&order.sample_id);
            let patient = answers::patient(id, order.patient.as_ref());
            match lists.last_mut() {
                Some(list) if list.len() + patient.len() <= room => list.push_str(&patient),
                _ => lists.push(patient),
            }
        }
        if !lists.is_empty() {
            self.agenda.push_front(Step::EndOfPatients);
        }
        lists.into_iter().rev().for_each(|list| self.agenda.push_front(Step::PatientList(list)));
    }

    /// The device asks for one patient (REQ.R01 RPAT).
    pub(super) fn ask_for(&mut self, id: Personal, actions: &mut Vec<Action>) {
        self.asking = Some(Asking::Patient);
        actions.push(Action::Ask(Question::Samples(vec![id])));
    }

    /// A PTL.R01 with the patient that the device has asked for, under the id that it knows; empty if nobody is known.
    pub(super) fn tell_patient(&mut self, now: Now, orders: &[WorkOrder], actions: &mut Vec<Action>) {
        let order = orders.iter().find(|order| order.action != OrderAction::Cancel);
        let body = order.map(|order| answers::patient(&order.sample_id, order.patient.as_ref())).unwrap_or_default();
        self.send(now, "PTL.R01", &body, actions);
    }
}

impl Outstanding {
    /// Whether the device answers with documents of its own and ends them with EOT.R01.
    fn is_request(&self) -> bool {
        matches!(self.step, Step::Observations | Step::Events)
    }
}
