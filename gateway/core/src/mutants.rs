//! Planted bugs. A simulation that has never failed proves nothing, so each of these must make it fail.
//!
//! Without the `mutants` feature [`planted`] is the constant `false` and the compiler removes every branch behind it; the
//! shipped binary is built without it (docs/decisions tells why it is done here and not by patching the source).

/// One deliberate bug, named by the promise that it breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// The driver answers ACK before the commit has succeeded.
    AckBeforeCommit,
    /// A failed commit is answered with ACK instead of NAK.
    AckAfterFailedCommit,
    /// A retransmitted frame is taken for a new one.
    DuplicateFrameStored,
    /// The checksum of a frame is not looked at.
    ChecksumIgnored,
    /// A publish counts as delivered when it is handed to the client, before PUBACK.
    DeliveredBeforePuback,
    /// A webhook counts as delivered whatever the status.
    AnyStatusDelivers,
    /// The cursor moves in one transaction and the rows of what it passed in none.
    CursorWithoutRows,
    /// Every attempt carries a new event id.
    NewIdEachAttempt,
    /// A lane goes on past an event that still waits for its retry.
    LaneOvertakes,
    /// A retry fires one step of its table too early.
    RetryTooEarly,
    /// The message is committed without what was decoded from it.
    CaptureWithoutEvents,
    /// After a restart the frames already acknowledged are forgotten.
    UnfinishedForgotten,
    /// A live event goes before an earlier one of its lane that still stands in the backlog.
    LiveOvertakesBacklog,
    /// The backlog counts as sent as soon as its last event was looked at.
    BacklogForgotten,
}

/// All of them, for the test that tries each.
pub const ALL: &[Mutant] = &[
    Mutant::AckBeforeCommit,
    Mutant::AckAfterFailedCommit,
    Mutant::DuplicateFrameStored,
    Mutant::ChecksumIgnored,
    Mutant::DeliveredBeforePuback,
    Mutant::AnyStatusDelivers,
    Mutant::CursorWithoutRows,
    Mutant::NewIdEachAttempt,
    Mutant::LaneOvertakes,
    Mutant::RetryTooEarly,
    Mutant::CaptureWithoutEvents,
    Mutant::UnfinishedForgotten,
    Mutant::LiveOvertakesBacklog,
    Mutant::BacklogForgotten,
];

#[cfg(feature = "mutants")]
thread_local! {
    static PLANTED: std::cell::Cell<Option<Mutant>> = const { std::cell::Cell::new(None) };
}

/// Plants one bug in this thread (the simulation runs on one), or removes it.
#[cfg(feature = "mutants")]
pub fn plant(mutant: Option<Mutant>) {
    PLANTED.with(|planted| planted.set(mutant));
}

/// Whether this bug is planted here.
#[cfg(feature = "mutants")]
pub fn planted(mutant: Mutant) -> bool {
    PLANTED.with(|planted| planted.get() == Some(mutant))
}

/// Never: the bugs are not compiled in.
#[cfg(not(feature = "mutants"))]
#[inline(always)]
pub const fn planted(_: Mutant) -> bool {
    false
}
