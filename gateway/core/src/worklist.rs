//! What an analyzer is told when it asks what to do with a sample: the orders that registrations hold.
//!
//! Invariant: whom a sample is of and which id it has stand in [`Personal`] values.

use crate::event::Personal;
use crate::registration::{OrderedTest, Patient};

/// Orders in one answer, at most.
pub const ORDERS_MAX: usize = 256;

/// What an analyzer asks: all samples that wait, or these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    Samples(Vec<Personal>),
    All,
}

/// One sample and what is to be done with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkOrder {
    /// As the analyzer asked for it; for [`Question::All`], the registration's first.
    pub sample_id: Personal,
    pub patient: Option<Patient>,
    /// In the order of the registration.
    pub tests: Vec<OrderedTest>,
    pub action: OrderAction,
}

/// LIS2-A2 O.12 and its like in other protocols.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OrderAction {
    /// Do these tests (`N`).
    #[default]
    New,
    /// The sample has been there: do these again (`A`).
    Rerun,
    /// Forget the order (`C`).
    Cancel,
}
