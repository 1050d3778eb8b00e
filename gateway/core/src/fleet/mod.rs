//! Many gateways, as somebody sees them who only hears what they publish: which need a person, why, and since when.
//!
//! A fold over retained `status` and `summary` messages. A message that the broker had kept says nothing of when it was sent,
//! so silence and wrong clocks are judged by what is heard live, and by a kept one only where it leaves no doubt.
//!
//! Invariant: bounded, whatever is published. So many gateways, so many troubles of each, so many letters of each text; and
//! nothing in a text can steer a terminal.

mod judge;
mod known;
#[cfg(test)]
mod tests;

use crate::overview::DeviceState;
use crate::time::{Mono, Now, Timestamp};
use crate::trouble::{Trouble, Urgency};
use known::Known;
use serde::Serialize;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

/// Gateways beyond these are counted and not shown.
pub const GATEWAYS_MAX: usize = 100_000;
/// A longer payload is not read.
pub const PAYLOAD_BYTES_MAX: usize = 64 * 1024;
/// Troubles kept of one gateway: the most urgent.
pub const TROUBLES_MAX: usize = 16;
/// A summary is late after so many intervals.
const INTERVALS_MAX: u32 = 3;

/// What is usual in this fleet.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// The gateways' `monitoring.interval_seconds`.
    pub interval: Duration,
    /// How far a gateway's clock may be from that of this machine.
    pub clock_off_max: Duration,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules { interval: Duration::from_secs(60), clock_off_max: Duration::from_secs(60) }
    }
}

impl Rules {
    fn silence_max(&self) -> Duration {
        self.interval * INTERVALS_MAX
    }
}

/// One message of a gateway.
#[derive(Debug, Clone, Copy)]
pub struct News<'a> {
    /// The part of the topic behind the prefix: `clinic-7/status`.
    pub topic: &'a str,
    pub payload: &'a [u8],
    /// The broker had kept it from before.
    pub retained: bool,
}

/// All gateways that were heard of.
#[derive(Debug)]
pub struct Fleet {
    rules: Rules,
    gateways: BTreeMap<String, Known>,
    usual: Usual,
    /// Since when the broker is listened to; `None` while it is not.
    listening: Option<Mono>,
    left_out: u64,
}

/// What more than half of the fleet have in common, as last counted.
#[derive(Debug, Default)]
struct Usual {
    version: Option<String>,
    configuration: Option<String>,
    /// Most clocks are wrong in the same eyes: then it is those eyes.
    own_clock_doubtful: bool,
}

/// One gateway, judged.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Standing {
    pub gateway: String,
    /// Of the first of `troubles`; absent if all is well.
    pub urgency: Option<Urgency>,
    /// Since when, by this machine's clock as far as that can be told.
    pub since: Option<Timestamp>,
    /// The most urgent first. `code` is one of the summary's, or `gone`, `silent`, `stopped`, `clock_wrong`, `two_boxes`,
    /// `unreadable`, `version_differs`, `settings_differ`.
    pub troubles: Vec<Trouble>,
    pub state: Option<DeviceState>,
    pub version: Option<String>,
    /// The hash of its settings.
    pub configuration: Option<String>,
    /// When it last told how it is, by its own clock.
    pub last_heard: Option<Timestamp>,
    /// How far its clock is ahead, in seconds; negative: behind. Until it was heard live, absent, or at least how far what
    /// the broker had kept is dated ahead.
    pub clock_off_seconds: Option<i64>,
}

impl Standing {
    /// Whether somebody should do something today.
    pub fn needs_a_person(&self) -> bool {
        self.urgency.is_some_and(|urgency| urgency <= Urgency::Today)
    }
}

/// The fleet in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Census {
    pub gateways: usize,
    /// How many have their first trouble of each urgency.
    pub now: usize,
    pub today: usize,
    pub watch: usize,
    pub well: usize,
    /// The version that more than half of them run.
    pub usual_version: Option<String>,
    /// More than half of the clocks disagree with this machine's.
    pub own_clock_doubtful: bool,
    /// Messages of gateways beyond the bound.
    pub left_out: u64,
}

impl Fleet {
    pub fn new(rules: Rules) -> Fleet {
        Fleet { rules, gateways: BTreeMap::new(), usual: Usual::default(), listening: None, left_out: 0 }
    }

    /// The broker is listened to from now on, or cannot be for now. Nobody is silent while nobody listens.
    pub fn listen(&mut self, since: Option<Now>) {
        self.listening = since.map(|now| now.mono);
    }

    /// Takes in a message. Returns whose it was, if it was of use.
    pub fn hear(&mut self, now: Now, news: News<'_>) -> Option<String> {
        let (id, kind) = news.topic.split_once('/')?;
        if !is_id(id) || !matches!(kind, "status" | "summary") {
            return None;
        }
        if !self.gateways.contains_key(id) {
            if news.payload.is_empty() {
                return None;
            }
            if self.gateways.len() >= GATEWAYS_MAX {
                self.left_out += 1;
                return None;
            }
        }
        let known = self.gateways.entry(id.to_owned()).or_insert_with(|| Known::new(now));
        match kind {
            "status" => known.take_status(id, now, &news, &self.rules),
            _ => known.take_summary(id, now, &news, &self.rules),
        }
        if known.is_cleared() {
            self.gateways.remove(id);
        }
        Some(id.to_owned())
    }

    /// One gateway, judged; `None` if it was taken away from the broker.
    pub fn standing(&self, id: &str, now: Now) -> Option<Standing> {
        let known = self.gateways.get(id)?;
        Some(judge::standing(id, known, &self.rules, &self.usual, self.listening, now))
    }

    /// All of them, those first that need somebody most, then those that have waited longest.
    pub fn standings(&mut self, now: Now) -> Vec<Standing> {
        self.count();
        let judged = self
            .gateways
            .iter()
            .map(|(id, known)| judge::standing(id, known, &self.rules, &self.usual, self.listening, now));
        let mut all: Vec<Standing> = judged.collect();
        all.sort_by(|a, b| rank(a).cmp(&rank(b)));
        all
    }

    /// The numbers of these standings.
    pub fn census(&self, standings: &[Standing]) -> Census {
        let of = |urgency| standings.iter().filter(|one| one.urgency == urgency).count();
        Census {
            gateways: standings.len(),
            now: of(Some(Urgency::Now)),
            today: of(Some(Urgency::Today)),
            watch: of(Some(Urgency::Watch)),
            well: of(None),
            usual_version: self.usual.version.clone(),
            own_clock_doubtful: self.usual.own_clock_doubtful,
            left_out: self.left_out,
        }
    }

    fn count(&mut self) {
        let all = || self.gateways.values();
        let heard = all().filter_map(|known| known.off_ms).count();
        let off = all().filter(|known| known.is_clock_off(&self.rules)).count();
        self.usual = Usual {
            version: usual(all().filter_map(|known| known.version.as_deref())),
            configuration: usual(all().filter_map(|known| known.configuration.as_deref())),
            own_clock_doubtful: heard >= MAJORITY_OF_MIN && off * 2 > heard,
        };
    }
}

/// Fewer have no majority.
const MAJORITY_OF_MIN: usize = 3;

/// What more than half of them say.
fn usual<'a>(words: impl Iterator<Item = &'a str>) -> Option<String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    words.for_each(|word| *counts.entry(word).or_default() += 1);
    let all: usize = counts.values().sum();
    let (word, count) = counts.into_iter().max_by_key(|(_, count)| *count)?;
    (all >= MAJORITY_OF_MIN && count * 2 > all).then(|| word.to_owned())
}

fn rank(one: &Standing) -> (bool, Option<Urgency>, Option<Timestamp>, Reverse<usize>, &str) {
    (one.urgency.is_none(), one.urgency, one.since, Reverse(one.troubles.len()), &one.gateway)
}

/// What `gateway.id` may be.
fn is_id(word: &str) -> bool {
    let good = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    (1..=32).contains(&word.len()) && word.bytes().all(good) && !word.starts_with('-')
}
