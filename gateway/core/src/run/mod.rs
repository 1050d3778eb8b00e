//! A running test as seed 000 tells it: one object a message, its data cumulative. Here it becomes events that each carry
//! what is new, whether the objects came as lines over a port or as webhooks.
//!
//! A test lasts from `TEST_STARTED` to `TEST_FINISHED`; a message about a test whose start was not heard begins one too, and
//! so does one whose data is not the continuation of what was heard.

mod report;

pub use report::{Fault, Report};

use crate::event::*;
use crate::session::RunningTest;
use crate::time::Now;

/// The tests of one analyzer, one after the other, as far as they were heard.
#[derive(Default)]
pub struct Runs {
    /// The last one heard: some messages leave it out.
    pub device: Option<Device>,
    /// Whether silence would be a stall.
    pub testing: bool,
    running: Option<RunningTest>,
    /// How many tests began here.
    started: u64,
}

impl Runs {
    /// Goes on with the test that was running when the analyzer was last heard.
    pub fn resume(&mut self, running: &RunningTest) {
        self.device.clone_from(&running.device);
        self.running = Some(running.clone());
        self.testing = true;
    }

    /// The event that a message states; `bytes` are the message, which tell a new test's id from others'.
    pub fn state(&mut self, now: Now, bytes: &[u8], report: Report) -> EventKind {
        // An object without a word in it says nothing about who is there.
        if report.device.as_ref().is_some_and(|device| *device != Device::default()) {
            // Another serial number here: what was running belongs to an analyzer that is not here any more.
            if self.is_other_device(&report) {
                self.running = None;
            }
            self.device.clone_from(&report.device);
        }
        let device = self.device.clone();
        if report.is_about_device() {
            return EventKind { device, ..report.into_kind(Id([0; 16]), None) };
        }
        let run = self.run_for(now, bytes, &report);
        let id = run.id;
        let data = take(run, &report);
        let finished = report.name == EventName::TestFinished;
        self.testing = !finished && report.state == TestState::Testing;
        if finished {
            self.running = None;
        }
        EventKind { device, ..report.into_kind(id, data) }
    }

    fn is_other_device(&self, report: &Report) -> bool {
        let serial = |device: &Option<Device>| device.as_ref().and_then(|device| device.sn.clone());
        serial(&self.device).zip(serial(&report.device)).is_some_and(|(before, now)| before != now)
    }

    /// Whether the message goes on with this test.
    fn goes_on(run: &RunningTest, report: &Report) -> bool {
        let empty = report.temperatures.is_empty() && report.samples.is_empty();
        // Only NEW_DATA says with empty arrays that there is no data; the others may leave the data out.
        let silent = empty && report.name != EventName::NewData;
        let grown = report.temperatures.len() >= run.temperatures && report.samples.len() >= run.samples;
        report.name != EventName::TestStarted && (grown || silent)
    }

    /// The test that a message is about: a new one if it starts one, if none is known, or if its data is no longer the
    /// continuation of what was heard.
    fn run_for(&mut self, now: Now, bytes: &[u8], report: &Report) -> &mut RunningTest {
        if !self.running.as_ref().is_some_and(|run| Runs::goes_on(run, report)) {
            self.started += 1;
            let parts = [bytes, &now.wall.0.to_be_bytes(), &now.mono.0.to_be_bytes(), &self.started.to_be_bytes()];
            self.running = Some(RunningTest { id: Id::derived(&parts), device: None, temperatures: 0, samples: 0 });
        }
        self.running.as_mut().expect("a run was put there if there was none")
    }
}

/// The part of the cumulative arrays that has not been passed on; nothing if there is none, but `NEW_DATA` always carries
/// its offsets.
fn take(run: &mut RunningTest, report: &Report) -> Option<RunDelta> {
    let delta = RunDelta {
        temperatures_from: run.temperatures,
        samples_from: run.samples,
        temperatures: report.temperatures.get(run.temperatures..).unwrap_or_default().to_vec(),
        samples: report.samples.get(run.samples..).unwrap_or_default().to_vec(),
    };
    run.temperatures += delta.temperatures.len();
    run.samples += delta.samples.len();
    let empty = delta.temperatures.is_empty() && delta.samples.is_empty();
    (!empty || report.name == EventName::NewData).then_some(delta)
}

/// What to store of a received `test-v0` webhook: the event with what is new in it, as an event of the test that runs, or of
/// a new one. Before it comes a `GAP` where its data is shorter than what was heard, though no test was started: the end of
/// the one and the start of the other were not heard. `running`: what the store knows of this analyzer's test. The calls
/// for one analyzer must follow each other, each after the commit of the one before.
pub fn take_new(kind: EventKind, running: Option<&RunningTest>, now: Now) -> Vec<EventKind> {
    let identity = kind.identity;
    let content = serde_json::to_vec(&kind).expect("these types have only string keys");
    let report = match Report::of_kind(kind) {
        Ok(report) => report,
        Err(other) => return vec![*other],
    };
    let mut runs = Runs::default();
    if let Some(running) = running {
        runs.resume(running);
    }
    let shrunk = |run: &&RunningTest| {
        let other = report.device.is_some() && runs.is_other_device(&report);
        !other && report.name != EventName::TestStarted && !report.is_about_device() && !Runs::goes_on(run, &report)
    };
    let gap = running.filter(shrunk).map(|run| {
        let reason = "the data of the running test begins anew: its end and the start of the next were not heard";
        let gap = Gap { reason: reason.to_owned(), from: None, to: Some(now.wall) };
        let details = serde_json::json!({ "test": run.id });
        let device = run.device.clone();
        EventKind { gap: Some(gap), details: Some(details), device, ..EventKind::bare(EventName::Gap) }
    });
    let event = runs.state(now, &content, report);
    gap.into_iter().chain([EventKind { identity, ..event }]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cumulative(event: &str, state: &str, temperatures: usize, samples: usize) -> EventKind {
        let body = serde_json::json!({"version": 0, "event": event, "device": {"sn": 7}, "test": {"state": state, "data": {
            "temperatureSamples": vec![serde_json::json!({"temp": 63.1}); temperatures],
            "samples": vec![serde_json::json!({"firstChannelResult": 64}); samples],
        }}});
        let report = Report::read(body.to_string().as_bytes(), "body").expect("a good body");
        report.into_cumulative()
    }

    fn known(events: &[EventKind], before: Option<RunningTest>) -> Option<RunningTest> {
        events.iter().fold(before, |running, event| {
            let Some(test) = &event.test else { return running };
            if event.name == EventName::TestFinished {
                return None;
            }
            let data = test.data.clone().unwrap_or_default();
            let before = running.filter(|run| run.id == test.id);
            let (temperatures, samples) = before.map_or((0, 0), |run| (run.temperatures, run.samples));
            Some(RunningTest {
                id: test.id,
                device: event.device.clone(),
                temperatures: temperatures + data.temperatures.len(),
                samples: samples + data.samples.len(),
            })
        })
    }

    #[test]
    fn cumulative_webhooks_become_what_is_new_of_one_test() {
        let mut running = None;
        let mut offsets = Vec::new();
        let mut ids = std::collections::BTreeSet::new();
        for (event, state, temperatures, samples) in [
            ("TEST_STARTED", "TESTING", 0, 0),
            ("NEW_DATA", "TESTING", 3, 7),
            ("CONTINUE_TEST", "TESTING", 0, 0),
            ("NEW_DATA", "TESTING", 5, 14),
            ("TEST_FINISHED", "DONE", 5, 15),
        ] {
            let events = take_new(cumulative(event, state, temperatures, samples), running.as_ref(), Now::default());
            assert_eq!(events.len(), 1, "{event}");
            running = known(&events, running);
            let test = events[0].test.clone().expect("a test");
            ids.insert(test.id);
            offsets.extend(test.data.map(|data| (data.temperatures_from, data.samples_from, data.samples.len())));
        }
        assert_eq!((ids.len(), running), (1, None));
        assert_eq!(offsets, [(0, 0, 7), (3, 7, 7), (5, 14, 1)]);
    }

    #[test]
    fn data_that_shrinks_is_a_gap_and_a_new_test() {
        let first = take_new(cumulative("NEW_DATA", "TESTING", 9, 14), None, Now::default());
        let running = known(&first, None);
        let second = take_new(cumulative("NEW_DATA", "TESTING", 2, 7), running.as_ref(), Now::default());
        let names: Vec<EventName> = second.iter().map(|event| event.name).collect();
        assert_eq!(names, [EventName::Gap, EventName::NewData]);
        let test = second[1].test.clone().expect("a test");
        assert_ne!(Some(test.id), running.as_ref().map(|run| run.id));
        assert_eq!(test.data.map(|data| (data.samples_from, data.samples.len())), Some((0, 7)));
        // A start says itself that something new begins, and of the analyzer's own state nothing follows.
        for event in ["TEST_STARTED", "DEVICE_READY"] {
            assert_eq!(take_new(cumulative(event, "IDLE", 0, 0), running.as_ref(), Now::default()).len(), 1);
        }
    }

    #[test]
    fn another_kind_of_event_stays_as_it_is() {
        let alarm = EventKind::alarm("stalled", "words");
        assert_eq!(take_new(alarm.clone(), None, Now::default()), [alarm]);
    }
}
