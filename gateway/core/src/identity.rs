//! Which analyzer has spoken: the serial number that it reports itself decides, the port is a hint.
//!
//! Two analyzers whose cables were swapped keep their names, because each says who it is. A number that two of them report at
//! once says nothing about either: then the port decides. Behind a port that reports several numbers in turn stands another
//! computer, and the port decides too. Invariant: results go to another name than their port's only where the settings say
//! whose number it is, or where both analyzers were known by one number of their own before.
//! An alarm is raised once for as long as nothing changes.

use crate::event::{Alarm, AnalyzerId};
use std::collections::{BTreeMap, BTreeSet};

/// The codes of the alarms about which analyzer is where.
pub const ALARMS: [&str; 5] = ["swapped", "known_elsewhere", "other_serial_number", "replaced", "cloned"];

/// What is known of every analyzer's number, and who speaks at which port now.
#[derive(Debug, Default)]
pub struct Identities {
    /// Of the settings.
    pinned: BTreeMap<AnalyzerId, String>,
    /// Heard at its port before.
    learnt: BTreeMap<AnalyzerId, String>,
    /// Every number that was taken for the port's own.
    own: BTreeMap<AnalyzerId, BTreeSet<String>>,
    /// What has been heard since the port was opened.
    speaking: BTreeMap<AnalyzerId, String>,
    /// What an alarm has been raised about.
    told: BTreeSet<(AnalyzerId, &'static str, String)>,
}

/// Numbers of one port after which nobody is told of another one: a computer stands there that speaks for many.
const NUMBERS_MAX: usize = 8;

/// Who has spoken.
#[derive(Debug, PartialEq)]
pub struct Heard {
    /// Whose results these are.
    pub whose: AnalyzerId,
    pub alarm: Option<Alarm>,
    /// Whether this number should be the one that the port's analyzer is known by: [`Identities::learn`] it once what was
    /// heard is stored.
    pub learnt: bool,
}

impl Identities {
    /// `learnt`: what earlier lives of the gateway have heard.
    pub fn new(learnt: BTreeMap<AnalyzerId, String>) -> Identities {
        let own = learnt.iter().map(|(name, number)| (name.clone(), BTreeSet::from([number.clone()]))).collect();
        Identities { learnt, own, ..Identities::default() }
    }

    /// The numbers in the settings.
    pub fn pin(&mut self, pinned: BTreeMap<AnalyzerId, String>) {
        self.pinned = pinned;
    }

    /// The port of this analyzer was closed: who speaks there next may be another.
    pub fn closed(&mut self, port: &AnalyzerId) {
        self.speaking.remove(port);
    }

    /// The serial number that a message at the port of `port` has named. Every message that names one is told.
    pub fn hear(&mut self, port: &AnalyzerId, serial_number: &str) -> Heard {
        let own = |whose: &AnalyzerId, alarm, learnt| Heard { whose: whose.clone(), alarm, learnt };
        if says_nothing(serial_number) {
            return own(port, None, false);
        }
        self.speaking.insert(port.clone(), serial_number.to_owned());
        let expected = self.number_of(port).map(str::to_owned);
        if expected.as_deref() == Some(serial_number) {
            // Here all is well; another port may report the same number all the same.
            let alarm = match self.twin(port, serial_number) {
                Some(twin) => self.cloned(port, &twin, serial_number),
                None => {
                    self.told.retain(|(told, ..)| told != port);
                    None
                }
            };
            return own(port, alarm, false);
        }
        if let Some(twin) = self.twin(port, serial_number) {
            let alarm = self.cloned(port, &twin, serial_number);
            return own(port, alarm, false);
        }
        if self.own.get(port).is_some_and(|numbers| numbers.contains(serial_number)) {
            return own(port, None, false);
        }
        let owner = self.owner(port, serial_number);
        let single = |name: &AnalyzerId| self.own.get(name).is_some_and(|numbers| numbers.len() == 1);
        let proven = |owner: &AnalyzerId| self.pinned.contains_key(owner) || (single(owner) && single(port));
        match owner {
            Some(owner) if proven(&owner) => {
                let reason = format!(
                    "here speaks `{owner}` (serial number {serial_number}): its results are stored under its own name; plug \
                     the cables back, or change the ports in the settings"
                );
                let alarm = self.tell(port, "swapped", serial_number, reason);
                own(&owner, alarm, false)
            }
            Some(owner) => {
                let reason = format!(
                    "the serial number {serial_number} is the one that `{owner}` reported before: if it was plugged in here, \
                     change its port in the settings; its results are stored under the name of this port"
                );
                let alarm = self.tell(port, "known_elsewhere", serial_number, reason);
                own(port, alarm, false)
            }
            None if self.pinned.contains_key(port) => {
                let expected = expected.unwrap_or_default();
                let reason = format!(
                    "the settings expect serial number {expected} here, and {serial_number} has reported: its results are \
                     stored with that number; plug in the right one, or correct `serial_number`"
                );
                let alarm = self.tell(port, "other_serial_number", serial_number, reason);
                own(port, alarm, false)
            }
            None if self.own.get(port).is_some_and(|numbers| numbers.len() >= NUMBERS_MAX) => own(port, None, false),
            None => {
                let alarm = expected.and_then(|expected| {
                    let reason =
                        format!("serial number {serial_number} has reported here, until now it was {expected}");
                    self.tell(port, "replaced", serial_number, reason)
                });
                own(port, alarm, true)
            }
        }
    }

    /// A number that is only remembered, in a fact of the gateway's own: it says who that is about if it has been heard since
    /// the port was opened, and else nothing. Cables may have been swapped in between.
    pub fn mention(&mut self, port: &AnalyzerId, serial_number: &str) -> Heard {
        match self.speaking.get(port).is_some_and(|heard| heard == serial_number) {
            true => self.hear(port, serial_number),
            false => Heard { whose: port.clone(), alarm: None, learnt: false },
        }
    }

    /// From now on the port's analyzer is known by this number.
    pub fn learn(&mut self, port: &AnalyzerId, serial_number: String) {
        self.own.entry(port.clone()).or_default().insert(serial_number.clone());
        self.learnt.insert(port.clone(), serial_number);
    }

    /// The alarm about this port was not stored: it is raised again.
    pub fn untold(&mut self, port: &AnalyzerId) {
        self.told.retain(|(told, ..)| told != port);
    }

    fn number_of(&self, analyzer: &AnalyzerId) -> Option<&str> {
        self.pinned.get(analyzer).or_else(|| self.learnt.get(analyzer)).map(String::as_str)
    }

    /// Another analyzer that is known by this number, and only one.
    fn owner(&self, port: &AnalyzerId, serial_number: &str) -> Option<AnalyzerId> {
        let names = self.pinned.keys().chain(self.learnt.keys());
        let mut owners: Vec<&AnalyzerId> = names
            .filter(|name| *name != port && self.number_of(name) == Some(serial_number))
            .filter(|name| self.speaking.get(*name).is_none_or(|heard| heard != serial_number))
            .collect();
        owners.dedup();
        match owners.as_slice() {
            [only] => Some((*only).clone()),
            _ => None,
        }
    }

    /// Another port at which the same number speaks at this time.
    fn twin(&self, port: &AnalyzerId, serial_number: &str) -> Option<AnalyzerId> {
        let same = self.speaking.iter().find(|(other, heard)| *other != port && *heard == serial_number);
        same.map(|(other, _)| other.clone())
    }

    fn cloned(&mut self, port: &AnalyzerId, twin: &AnalyzerId, serial_number: &str) -> Option<Alarm> {
        let reason = format!(
            "`{twin}` reports the same serial number, {serial_number}: results are stored by their ports; give each analyzer \
             a number of its own in its menu"
        );
        self.tell(port, "cloned", serial_number, reason)
    }

    fn tell(&mut self, port: &AnalyzerId, code: &'static str, serial_number: &str, reason: String) -> Option<Alarm> {
        let is_new = self.told.insert((port.clone(), code, serial_number.to_owned()));
        is_new.then(|| Alarm { code: code.to_owned(), reason })
    }
}

/// Whether this is what analyzers report that were never given a number.
fn says_nothing(serial_number: &str) -> bool {
    serial_number.chars().all(|sign| !sign.is_ascii_alphanumeric() || sign == '0')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> AnalyzerId {
        AnalyzerId(name.to_owned())
    }

    /// Name and alarm of each number heard: `a:7` is number 7 at the port of `a`, `-a` closes it, `a:7?` only mentions it.
    fn heard(identities: &mut Identities, script: &str) -> Vec<String> {
        let mut all = Vec::new();
        for step in script.split_whitespace() {
            if let Some(port) = step.strip_prefix('-') {
                identities.closed(&id(port));
                continue;
            }
            let (port, number) = step.split_once(':').expect("port and number");
            let heard = match number.strip_suffix('?') {
                Some(number) => identities.mention(&id(port), number),
                None => identities.hear(&id(port), number),
            };
            if heard.learnt {
                identities.learn(&id(port), number.to_owned());
            }
            let alarm = heard.alarm.map_or_else(String::new, |alarm| format!(" {}", alarm.code));
            let learnt = if heard.learnt { "!" } else { "" };
            all.push(format!("{}{learnt}{alarm}", heard.whose));
        }
        all
    }

    fn check(script: &str, expected: &[&str]) {
        assert_eq!(heard(&mut Identities::default(), script), expected, "{script}");
    }

    fn check_pinned(script: &str, expected: &[&str]) {
        let mut identities = Identities::default();
        identities.pin([(id("a"), "1".to_owned()), (id("b"), "2".to_owned())].into());
        assert_eq!(heard(&mut identities, script), expected, "{script}");
    }

    #[test]
    fn the_first_number_is_learnt_and_then_known() {
        check("a:1 a:1 b:2", &["a!", "a", "b!"]);
        check("a:0 a: a:- a:000-00", &["a", "a", "a", "a"]);
    }

    #[test]
    fn swapped_cables_change_no_name() {
        check("a:1 b:2 -a -b a:2 a:2 b:1 b:1", &["a!", "b!", "b swapped", "b", "a swapped", "a"]);
        check("a:1 b:2 -a -b a:2 b:1 -a -b a:1 b:2", &["a!", "b!", "b swapped", "a swapped", "a", "b"]);
        check_pinned("a:2 b:1 -a -b a:1 b:2", &["b swapped", "a swapped", "a", "b"]);
        check_pinned("c:2", &["b swapped"]);
    }

    #[test]
    fn a_number_that_two_report_decides_nothing() {
        check("a:1 b:1 b:1 a:1", &["a!", "b cloned", "b", "a cloned"]);
        check_pinned("a:1 b:1 b:2", &["a", "b cloned", "b"]);
    }

    #[test]
    fn another_analyzer_at_the_port_is_told_once() {
        check("a:1 -a a:3 a:3 -a a:3", &["a!", "a! replaced", "a", "a"]);
        check_pinned("a:3 a:3 -a a:3 a:1 a:3", &["a other_serial_number", "a", "a", "a", "a other_serial_number"]);
    }

    #[test]
    fn a_port_with_several_numbers_in_turn_keeps_its_own_name() {
        check("a:1 a:2 a:1 a:2 b:2 b:3 b:1", &["a!", "a! replaced", "a", "a", "b cloned", "b!", "b! replaced"]);
        check("a:1 b:9 b:8 -a b:1", &["a!", "b!", "b! replaced", "b known_elsewhere"]);
    }

    #[test]
    fn a_port_that_speaks_for_many_is_not_told_of_for_ever() {
        let script: Vec<String> = (1..=20).map(|number| format!("a:{number}")).collect();
        let heard = heard(&mut Identities::default(), &script.join(" "));
        assert_eq!(heard[0], "a!");
        assert!(heard[1..8].iter().all(|told| told == "a! replaced"), "{heard:?}");
        assert!(heard[8..].iter().all(|told| told == "a"), "{heard:?}");
    }

    #[test]
    fn a_known_number_at_a_port_of_nobody_keeps_the_name_of_the_port() {
        check("a:1 -a b:1 b:1", &["a!", "b known_elsewhere", "b"]);
    }

    #[test]
    fn a_number_that_is_only_remembered_is_not_heard() {
        // Both ports begin with the test that ran there before the cables were swapped.
        check("a:1 b:2 -a -b a:1? b:2? a:2 b:1 b:1?", &["a!", "b!", "a", "b", "b swapped", "a swapped", "a"]);
    }

    #[test]
    fn what_is_not_stored_is_told_and_learnt_again() {
        let mut identities = Identities::new([(id("a"), "1".to_owned())].into());
        for _ in 0..2 {
            let heard = identities.hear(&id("a"), "3");
            assert!(heard.alarm.is_some_and(|alarm| alarm.code == "replaced") && heard.learnt);
            identities.untold(&id("a"));
        }
        assert!(identities.hear(&id("a"), "3").alarm.is_some());
        let again = identities.hear(&id("a"), "3");
        assert!(again.alarm.is_none() && again.learnt, "the alarm is stored, the result is not");
        identities.learn(&id("a"), "3".to_owned());
        assert_eq!(identities.hear(&id("a"), "3"), Heard { whose: id("a"), alarm: None, learnt: false });
    }

    #[test]
    fn what_was_learnt_holds_over_a_restart() {
        let mut identities = Identities::new([(id("a"), "1".to_owned()), (id("b"), "2".to_owned())].into());
        assert_eq!(heard(&mut identities, "b:1 a:2"), ["a swapped", "b swapped"]);
    }
}
