//! Analyzers and receivers that do not exist: the peers of the demo, of the process tests and of the simulation.
//!
//! They stand outside of the gateway and share no protocol code with it, so that a mistake cannot cancel itself out: the
//! frames, checksums and signatures here are written a second time, from the standards. What a peer was promised is kept
//! in [`Told`], what a destination has heard in [`ledger::Ledger`], and [`verdict::judge`] compares the two; the gateway's
//! own opinion is never asked. Everything is fixed by a seed.

pub mod asking;
pub mod astm;
pub mod ledger;
pub mod messages;
pub mod mqtt_judge;
pub mod receiver;
pub mod seeded;
pub mod test_v0;
pub mod verdict;
pub mod wire;

use std::time::Duration;

/// What an analyzer knows at the end: which messages were promised to be kept, and what it had to do for it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Told {
    /// Messages that the analyzer had to say, by key (see [`ledger::key_of`]). A key may occur several times.
    pub sent: Vec<String>,
    /// Messages whose last frame got its ACK; lines that were written whole. A subset of `sent`.
    pub acknowledged: Vec<String>,
    /// Frames sent again, for whatever reason.
    pub retransmitted: u64,
    /// Frames sent with damage on purpose.
    pub damaged: u64,
    /// Damaged frames that were acknowledged all the same: a fault of the receiver.
    pub accepted_damaged: u64,
    /// Messages given up in the middle and repeated whole later.
    pub abandoned: u64,
}

/// How fast bytes are written: `piece` bytes at a time with `gap` between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    pub piece: usize,
    pub gap: Duration,
}

impl Pace {
    /// Everything in one write.
    pub const AT_ONCE: Pace = Pace { piece: usize::MAX, gap: Duration::ZERO };
}
