//! The health gate: whether a system that was just installed works as well as the one before.
//!
//! Invariant: what is asked of the new system is no more than what the old one did. What the box cannot help (an analyzer that was
//! switched off before, a clinic without its network) is not held against it.

use crate::event::{Id, TestState};
use crate::overview::DeviceState;
use crate::overview::Overview;
use crate::time::{Mono, Timestamp};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// So long a new system has to show that it works.
pub const PATIENCE: Duration = Duration::from_secs(600);
/// So long it has to work without a break.
pub const STEADY: Duration = Duration::from_secs(30);
/// A word of the gateway on how it is counts for so long.
const FRESH: Duration = Duration::from_secs(30);
/// A destination to which nothing had to go is taken as it is after so long.
const QUIET: Duration = Duration::from_secs(60);
/// So many starts of the gateway in one start of the system are too many.
pub const RESTARTS_MAX: u32 = 5;

/// How the gateway is, as far as the gate and an update need it: `gate.json`. Names and states, nothing of a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoxHealth {
    pub version: String,
    /// Since when the process runs: another one is another process.
    pub since: Timestamp,
    /// When it says so: in this start of the system, nanoseconds of [`Mono`].
    pub boot: Id,
    pub mono_nanos: u64,
    /// Whether the database opens and answers.
    pub store: bool,
    /// `http.listen`; `None`: there is no page.
    pub listen: Option<String>,
    pub analyzers: Vec<SeenAnalyzer>,
    pub destinations: Vec<SeenDestination>,
}

/// One analyzer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenAnalyzer {
    pub id: String,
    /// Its port is open.
    pub seen: bool,
    /// It calls the box, so nobody knows when.
    pub calls: bool,
    /// A test runs on it.
    pub testing: bool,
}

/// One broker or endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenDestination {
    pub id: String,
    pub reach: Reach,
    /// Why, in trouble.
    pub reason: String,
}

/// How well a destination is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reach {
    /// Something was delivered since the process started.
    Delivers,
    /// Nothing stands in the way, and nothing was delivered yet; or a person has paused it.
    Quiet,
    /// The box has no network.
    Offline,
    Trouble,
}

impl BoxHealth {
    /// Made from the gateway's own overview. `store`: whether the database has just answered; `boot` and `now`: when.
    pub fn of(overview: &Overview, listen: Option<&str>, store: bool, boot: Id, now: Mono) -> BoxHealth {
        let analyzers = overview.analyzers.iter().map(|one| SeenAnalyzer {
            id: one.id.clone(),
            seen: matches!(one.state, DeviceState::Ready | DeviceState::Alert | DeviceState::Sleeping),
            calls: one.port.starts_with("tcp listen "),
            testing: one.test_state == TestState::Testing,
        });
        let destinations = overview.destinations.iter().map(|one| {
            let reach = match (one.state.as_str(), one.code.as_deref()) {
                (_, Some("no_network")) => Reach::Offline,
                ("trouble", _) => Reach::Trouble,
                ("ready", _) if one.last_delivered_at.is_some() => Reach::Delivers,
                _ => Reach::Quiet,
            };
            SeenDestination { id: one.id.clone(), reach, reason: one.reason.clone().unwrap_or_default() }
        });
        let served = overview.troubles.iter().all(|trouble| trouble.code != "api_not_served");
        BoxHealth {
            version: overview.version.clone(),
            since: overview.since,
            boot,
            mono_nanos: now.0,
            store,
            listen: listen.filter(|_| served).map(str::to_owned),
            analyzers: analyzers.collect(),
            destinations: destinations.collect(),
        }
    }

    /// Whether it tells of now: what a gateway left that has died or hangs, or that ran before this start, is no health.
    pub fn is_fresh(&self, boot: Id, now: Mono) -> bool {
        self.boot == boot && self.mono_nanos <= now.0 && now.since(Mono(self.mono_nanos)) <= FRESH
    }

    /// The analyzers on which a test runs.
    pub fn testing(&self) -> Vec<&str> {
        self.analyzers.iter().filter(|one| one.testing).map(|one| one.id.as_str()).collect()
    }

    /// What the new system does not do that the old one did, as the end of a sentence; `None`: all is well.
    pub fn lacks(&self, before: Option<&BoxHealth>, age: Duration) -> Option<String> {
        if !self.store {
            return Some("its database does not answer".to_owned());
        }
        let before = before?;
        if before.listen.is_some() && self.listen.is_none() {
            return Some("its page is not served".to_owned());
        }
        let lost = before.analyzers.iter().filter(|one| one.seen && !one.calls);
        // One that is no longer in the settings is not missed.
        let now = |id: &str| self.analyzers.iter().find(|one| one.id == id);
        let lost: Vec<&str> =
            lost.map(|one| one.id.as_str()).filter(|id| now(id).is_some_and(|one| !one.seen)).collect();
        if !lost.is_empty() {
            return Some(format!("it does not see {}, which was there before", lost.join(", ")));
        }
        self.undelivered(before, age)
    }

    /// One delivery, or an honest word that there is no network.
    fn undelivered(&self, before: &BoxHealth, age: Duration) -> Option<String> {
        let reached = |one: &&SeenDestination| {
            let was = before.destinations.iter().find(|other| other.id == one.id);
            was.is_some_and(|was| matches!(was.reach, Reach::Delivers | Reach::Quiet))
        };
        let asked: Vec<&SeenDestination> = self.destinations.iter().filter(reached).collect();
        let any = |reach: Reach| asked.iter().any(|one| one.reach == reach);
        if asked.is_empty() || any(Reach::Delivers) || asked.iter().all(|one| one.reach == Reach::Offline) {
            return None;
        }
        if let Some(one) = asked.iter().find(|one| one.reach == Reach::Trouble) {
            return Some(format!("nothing is delivered; {}: {}", one.id, one.reason));
        }
        (age < QUIET).then(|| "nothing has been delivered yet".to_owned())
    }
}

/// What the gate says at one look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Not known yet; what is still missing.
    Wait(String),
    Good,
    Bad(String),
}

/// The gate over time.
#[derive(Debug, Clone)]
pub struct Gate {
    before: Option<BoxHealth>,
    began: Mono,
    patience: Duration,
    /// Since when all is well, and the process that is.
    well: Option<(Mono, Timestamp)>,
}

impl Gate {
    /// `before`: how the box was under the old system.
    pub fn new(before: Option<BoxHealth>, began: Mono, patience: Duration) -> Gate {
        Gate { before, began, patience, well: None }
    }

    /// One look at the gateway: what it says, what the page answered (`Err`: why it did not), how often it was started.
    pub fn look(&mut self, now: Mono, health: Option<&BoxHealth>, page: Result<(), String>, restarts: u32) -> Verdict {
        let missing = match health {
            None => Some("its gateway does not start".to_owned()),
            Some(health) => {
                let age = now.since(self.began);
                health.lacks(self.before.as_ref(), age).or_else(|| page.err())
            }
        };
        if restarts >= RESTARTS_MAX {
            return Verdict::Bad(format!("its gateway was started {restarts} times and did not stay"));
        }
        match (missing, health) {
            (None, Some(health)) => {
                let since = match self.well {
                    Some((since, process)) if process == health.since => since,
                    _ => now,
                };
                self.well = Some((since, health.since));
                if now.since(since) >= STEADY {
                    return Verdict::Good;
                }
                Verdict::Wait("it works, and must go on for a while".to_owned())
            }
            (missing, _) => {
                self.well = None;
                let missing = missing.unwrap_or_default();
                if now.since(self.began) >= self.patience {
                    let minutes = self.patience.as_secs().div_ceil(60);
                    return Verdict::Bad(format!("{missing}, after {minutes} minutes"));
                }
                Verdict::Wait(missing)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health() -> BoxHealth {
        let analyzer = |id: &str, seen, calls| SeenAnalyzer { id: id.to_owned(), seen, calls, testing: false };
        let destination = |id: &str, reach| SeenDestination { id: id.to_owned(), reach, reason: String::new() };
        BoxHealth {
            version: "1.0.0".to_owned(),
            since: Timestamp(1),
            boot: Id([1; 16]),
            mono_nanos: 0,
            store: true,
            listen: Some("0.0.0.0:8080".to_owned()),
            analyzers: vec![
                analyzer("one", true, false),
                analyzer("off", false, false),
                analyzer("caller", true, true),
            ],
            destinations: vec![destination("mqtt", Reach::Delivers), destination("webhook:lims", Reach::Delivers)],
        }
    }

    fn with(change: impl FnOnce(&mut BoxHealth)) -> BoxHealth {
        let mut health = health();
        change(&mut health);
        health
    }

    fn lacks(now: BoxHealth) -> Option<String> {
        now.lacks(Some(&health()), Duration::from_secs(5))
    }

    #[test]
    fn what_worked_before_must_work_again() {
        assert_eq!(lacks(health()), None);
        assert!(lacks(with(|now| now.store = false)).unwrap().contains("database"));
        assert!(lacks(with(|now| now.listen = None)).unwrap().contains("page"));
        assert!(lacks(with(|now| now.analyzers[0].seen = false)).unwrap().contains("does not see one,"));
        assert!(with(|now| now.store = false).lacks(None, STEADY).is_some(), "a database it needs in any case");
    }

    #[test]
    fn what_the_box_cannot_help_is_not_held_against_it() {
        assert_eq!(lacks(with(|now| now.analyzers[2].seen = false)), None, "an analyzer that calls");
        assert_eq!(
            lacks(with(|now| {
                now.analyzers.remove(0);
            })),
            None,
            "one that has left the settings"
        );
        assert_eq!(with(|_| ()).lacks(None, Duration::ZERO), None, "nothing is known of before");
        let no_page = with(|now| now.listen = None);
        assert_eq!(no_page.lacks(Some(&no_page), Duration::ZERO), None);
    }

    #[test]
    fn one_delivery_or_an_honest_offline() {
        let reaches = |mqtt, lims| with(|now| (now.destinations[0].reach, now.destinations[1].reach) = (mqtt, lims));
        use Reach::*;
        for (mqtt, lims, well) in [
            (Delivers, Trouble, true),
            (Offline, Offline, true),
            (Trouble, Trouble, false),
            (Offline, Trouble, false),
            (Quiet, Quiet, false),
        ] {
            assert_eq!(lacks(reaches(mqtt, lims)).is_none(), well, "{mqtt:?} {lims:?}");
        }
        assert_eq!(reaches(Quiet, Quiet).lacks(Some(&health()), QUIET), None, "there may be nothing to deliver");
        let before = reaches(Trouble, Offline);
        assert_eq!(reaches(Trouble, Trouble).lacks(Some(&before), Duration::ZERO), None, "it was so before");
    }

    fn at(seconds: u64) -> Mono {
        Mono(0).after(Duration::from_secs(seconds))
    }

    #[test]
    fn a_word_of_another_start_or_of_long_ago_is_none() {
        let health = BoxHealth { mono_nanos: at(100).0, ..health() };
        assert!(health.is_fresh(Id([1; 16]), at(100)) && health.is_fresh(Id([1; 16]), at(130)));
        assert!(!health.is_fresh(Id([1; 16]), at(131)) && !health.is_fresh(Id([1; 16]), at(99)));
        assert!(!health.is_fresh(Id([2; 16]), at(100)));
    }

    #[test]
    fn it_is_good_once_it_was_well_for_a_while_in_one_process() {
        let mut gate = Gate::new(Some(health()), at(0), PATIENCE);
        assert!(matches!(gate.look(at(0), None, Ok(()), 0), Verdict::Wait(_)));
        assert!(matches!(gate.look(at(10), Some(&health()), Ok(()), 0), Verdict::Wait(_)));
        let other = with(|now| now.since = Timestamp(2));
        assert!(matches!(gate.look(at(39), Some(&other), Ok(()), 1), Verdict::Wait(_)), "another process begins anew");
        assert!(matches!(gate.look(at(68), Some(&other), Ok(()), 1), Verdict::Wait(_)));
        assert_eq!(gate.look(at(69), Some(&other), Ok(()), 1), Verdict::Good);
    }

    #[test]
    fn it_is_bad_when_time_is_up_or_the_gateway_does_not_stay() {
        let mut gate = Gate::new(Some(health()), at(0), PATIENCE);
        let page = || Err("its page does not answer".to_owned());
        assert!(matches!(gate.look(at(599), Some(&health()), page(), 0), Verdict::Wait(_)));
        let verdict = gate.look(at(600), Some(&health()), page(), 0);
        assert_eq!(verdict, Verdict::Bad("its page does not answer, after 10 minutes".to_owned()));
        assert!(matches!(gate.look(at(20), Some(&health()), Ok(()), RESTARTS_MAX), Verdict::Bad(_)));
        assert_eq!(
            gate.look(at(600), None, page(), 0),
            Verdict::Bad("its gateway does not start, after 10 minutes".to_owned())
        );
    }
}
