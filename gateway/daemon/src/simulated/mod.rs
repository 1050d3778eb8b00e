//! Analyzers and receivers that do not exist: the peers of the demo, of the process tests and of the simulation.
//!
//! They stand outside of the gateway and share no protocol code with it, so that a mistake cannot cancel itself out: the
//! frames, checksums and signatures here are written a second time, from the standards. What a peer was promised is kept
//! in [`Told`], what a destination has heard in [`ledger::Ledger`], and [`verdict::judge`] compares the two; the gateway's
//! own opinion is never asked. Everything is fixed by a seed.

pub mod asking;
pub mod astm;
pub mod cable;
pub mod capture;
pub mod fleet;
pub mod hl7;
pub mod ledger;
pub mod messages;
pub mod model;
pub mod mqtt_judge;
pub mod poct1a;
pub mod printout;
pub mod receiver;
pub mod seeded;
pub mod test_v0;
pub mod verdict;
pub mod wire;

use gateway_core::time::Mono;
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

/// An analyzer as a machine without hands: whatever protocol it speaks, `wire::converse` can put it on a stream.
pub trait Peer {
    /// Takes one input, gives back what should be done about it.
    fn handle(&mut self, now: Mono, input: astm::PeerInput<'_>) -> Vec<astm::PeerAction>;
    /// When `DeadlineReached` is due.
    fn deadline(&self) -> Option<Mono>;
    /// Whether every message has got its last answer.
    fn is_done(&self) -> bool;
    /// What was promised so far.
    fn told(&self) -> &Told;
}

impl Peer for astm::Sender {
    fn handle(&mut self, now: Mono, input: astm::PeerInput<'_>) -> Vec<astm::PeerAction> {
        astm::Sender::handle(self, now, input)
    }

    fn deadline(&self) -> Option<Mono> {
        astm::Sender::deadline(self)
    }

    fn is_done(&self) -> bool {
        astm::Sender::is_done(self)
    }

    fn told(&self) -> &Told {
        astm::Sender::told(self)
    }
}
