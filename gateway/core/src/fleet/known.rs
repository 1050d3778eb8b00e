//! What is known of one gateway of a fleet: the last that it said, and when it was heard.

use super::{News, PAYLOAD_BYTES_MAX, Rules, TROUBLES_MAX};
use crate::overview::DeviceState;
use crate::time::{ClockQuality, Mono, Now, Timestamp};
use crate::trouble::Trouble;
use serde::Deserialize;
use std::time::Duration;

const TEXT_CHARS_MAX: usize = 300;
const WORD_CHARS_MAX: usize = 64;
/// Earlier lives of a box that are remembered.
const LIVES_MAX: usize = 4;
/// Two boxes are told of for so long after they were last seen to take turns.
const TURNS_SECONDS: u64 = 900;

/// Of a [`crate::monitoring::Status`] what is needed here, so that an older or a newer gateway can be read too.
#[derive(Deserialize)]
struct Status {
    gateway: String,
    state: DeviceState,
    since: Timestamp,
    version: String,
    boot: String,
    configuration: Settings,
}

#[derive(Deserialize)]
struct Settings {
    hash: String,
}

/// Of a [`crate::monitoring::Summary`] likewise.
#[derive(Deserialize)]
struct Summary {
    gateway: String,
    version: String,
    at: Timestamp,
    clock: ClockQuality,
    troubles: Vec<Trouble>,
}

/// The boot and the start of a process: no other process has both.
type Life = (String, Timestamp);

/// One gateway.
#[derive(Debug)]
pub(super) struct Known {
    pub version: Option<String>,
    pub configuration: Option<String>,
    pub state: Option<DeviceState>,
    /// Since when it is in that state, by our clock.
    pub state_since: Timestamp,
    /// What it says is wrong; `since` by our clock.
    pub said: Vec<Trouble>,
    /// When its last summary was put together, by its own clock.
    pub at: Option<Timestamp>,
    pub clock: ClockQuality,
    /// How far its clock was ahead of ours when it was last heard.
    pub off_ms: Option<i64>,
    /// Since when it is that far off.
    pub off_since: Timestamp,
    /// When it was last heard, or first heard of.
    pub heard: Mono,
    pub heard_live: bool,
    /// The newest last.
    lives: Vec<Life>,
    /// Until when it counts as two boxes, and since when.
    pub taking_turns: Option<(Mono, Timestamp)>,
    /// Since when its messages cannot be read, and why.
    pub unreadable: Option<(Timestamp, &'static str)>,
}

impl Known {
    pub fn new(now: Now) -> Known {
        Known {
            version: None,
            configuration: None,
            state: None,
            state_since: now.wall,
            said: Vec::new(),
            at: None,
            clock: ClockQuality::Unset,
            off_ms: None,
            off_since: now.wall,
            heard: now.mono,
            heard_live: false,
            lives: Vec::new(),
            taking_turns: None,
            unreadable: None,
        }
    }

    /// Both of its topics were cleared: it has left the fleet.
    pub fn is_cleared(&self) -> bool {
        self.state.is_none() && self.at.is_none() && self.unreadable.is_none()
    }

    pub fn is_clock_off(&self, rules: &Rules) -> bool {
        self.off_ms.is_some_and(|off| Duration::from_millis(off.unsigned_abs()) > rules.clock_off_max)
    }

    pub fn take_status(&mut self, id: &str, now: Now, news: &News<'_>, rules: &Rules) {
        if news.payload.is_empty() {
            (self.state, self.unreadable) = (None, None);
            return;
        }
        let Some(status) = self.read::<Status>(now, news) else { return };
        if status.gateway != id {
            self.unreadable.get_or_insert((now.wall, "it calls itself by another gateway's id"));
            return;
        }
        // The broker says `lost` in its place.
        if !news.retained && status.state != DeviceState::Lost {
            self.note_heard(now);
        }
        if status.state != DeviceState::Lost {
            self.note_life((word(&status.boot), status.since), now);
        }
        self.version = Some(word(&status.version));
        self.configuration = Some(word(&status.configuration.hash)).filter(|hash| !hash.is_empty());
        if self.state != Some(status.state) {
            // Of a state that the broker had kept nobody says since when it is so; it told of itself last before that.
            let before = self.at.map(|at| self.ours(at, rules)).filter(|_| news.retained);
            self.state_since = before.unwrap_or(now.wall);
        }
        self.state = Some(status.state);
    }

    pub fn take_summary(&mut self, id: &str, now: Now, news: &News<'_>, rules: &Rules) {
        if news.payload.is_empty() {
            (self.at, self.off_ms, self.unreadable) = (None, None, None);
            self.said.clear();
            return;
        }
        let Some(summary) = self.read::<Summary>(now, news) else { return };
        if summary.gateway != id {
            self.unreadable.get_or_insert((now.wall, "it calls itself by another gateway's id"));
            return;
        }
        // Kept by the broker and said while we were away: it is alive, and nothing follows for its clock.
        let missed = self.at.is_some_and(|at| at != summary.at);
        if !news.retained || missed {
            self.note_heard(now);
        }
        let off = summary.at.0.saturating_sub(now.wall.0);
        // No message was kept before it was sent, so what is dated ahead is wrong for certain.
        if !news.retained || off > 0 {
            let was_off = self.is_clock_off(rules);
            self.off_ms = Some(off);
            if !was_off && self.is_clock_off(rules) {
                self.off_since = now.wall;
            }
        }
        if self.state == Some(DeviceState::Lost) && news.retained && self.at.is_none() {
            self.state_since = self.ours(summary.at, rules);
        }
        self.at = Some(summary.at);
        self.clock = summary.clock;
        self.version = Some(word(&summary.version));
        self.take_troubles(
            summary.troubles,
            if news.retained { self.ours(summary.at, rules) } else { now.wall },
            rules,
        );
        self.unreadable = None;
    }

    fn take_troubles(&mut self, mut told: Vec<Trouble>, first_heard: Timestamp, rules: &Rules) {
        told.sort_by_key(|trouble| trouble.urgency);
        told.truncate(TROUBLES_MAX);
        let clean = told.into_iter().map(|trouble| {
            let (code, subject) = (word(&trouble.code), word(&trouble.subject));
            let before = self.said.iter().find(|one| one.code == code && one.subject == subject);
            let since = match (trouble.since, before) {
                (Some(since), _) => Some(self.ours(since, rules)),
                (None, Some(before)) => before.since,
                (None, None) => Some(first_heard),
            };
            let (reason, next_step) = (text(&trouble.reason), text(&trouble.next_step));
            Trouble { code, subject, reason, next_step, since, urgency: trouble.urgency }
        });
        self.said = clean.collect();
    }

    fn read<T: serde::de::DeserializeOwned>(&mut self, now: Now, news: &News<'_>) -> Option<T> {
        let why = match news.payload.len() {
            ..=PAYLOAD_BYTES_MAX => match serde_json::from_slice(news.payload) {
                Ok(read) => return Some(read),
                Err(_) => "what it publishes cannot be read",
            },
            _ => "what it publishes is far too long",
        };
        self.unreadable.get_or_insert((now.wall, why));
        None
    }

    fn note_heard(&mut self, now: Now) {
        self.heard = now.mono;
        self.heard_live = true;
    }

    /// A process that comes back after another one had its id was never gone: there are two.
    fn note_life(&mut self, life: Life, now: Now) {
        if self.lives.last() == Some(&life) {
            return;
        }
        if let Some(place) = self.lives.iter().position(|one| *one == life) {
            let since = self.taking_turns.map_or(now.wall, |(_, since)| since);
            self.taking_turns = Some((now.mono.after(Duration::from_secs(TURNS_SECONDS)), since));
            self.lives.remove(place);
        }
        self.lives.push(life);
        if self.lives.len() > LIVES_MAX {
            self.lives.remove(0);
        }
    }

    /// A moment of its clock on ours.
    fn ours(&self, at: Timestamp, rules: &Rules) -> Timestamp {
        match self.off_ms {
            Some(off) if self.is_clock_off(rules) => at.shifted(-off),
            _ => at,
        }
    }
}

fn word(said: &str) -> String {
    plain(said, WORD_CHARS_MAX)
}

fn text(said: &str) -> String {
    plain(said, TEXT_CHARS_MAX)
}

/// Letters only: nothing that ends a line, steers a terminal or turns its writing round (Unicode's bidirectional controls).
fn plain(said: &str, chars_max: usize) -> String {
    let steers = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    said.chars().filter(|c| !steers(*c)).take(chars_max).collect()
}
