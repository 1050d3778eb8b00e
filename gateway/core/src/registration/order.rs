//! What a registration orders of an analyzer that asks.
//!
//! | how far it has come | what is ordered |
//! |---|---|
//! | it has no results | its tests; in a retest's registration they are asked for again |
//! | some of its tests have results | the others |
//! | all have, or none of the results has the code of an ordered test | nothing |
//! | it was cancelled | to forget its tests, until an analyzer has taken that; its rerun orders them again |
//! | no tests are ordered, or the person's data was erased | nothing |

use super::{OrderedTest, Refused, Registration};
use crate::event::{EventKind, EventName};
use crate::time::Timestamp;
use crate::worklist::OrderAction;

impl Registration {
    /// What an analyzer is to do with its sample; `None`: nothing. `has_result` tells whether a test has a result here.
    pub fn ordered(&self, has_result: impl Fn(&str) -> bool) -> Option<(OrderAction, Vec<OrderedTest>)> {
        if self.erased_at.is_some() || self.tests.is_empty() {
            return None;
        }
        if self.cancelled_at.is_some() {
            return self.orders_taken_at.is_none().then(|| (OrderAction::Cancel, self.tests.clone()));
        }
        let action = if self.retest_of.is_some() { OrderAction::Rerun } else { OrderAction::New };
        let left: Vec<OrderedTest> = self.tests.iter().filter(|test| !has_result(&test.code)).cloned().collect();
        // Results under none of the ordered codes are those of a panel: it was done.
        let done = left.is_empty() || (self.results_at.is_some() && left.len() == self.tests.len());
        (!done).then_some((action, left))
    }

    /// Whether an analyzer that asks for all that waits is told of it.
    pub fn awaits_analyzer(&self) -> bool {
        self.results_at.is_none() && self.orders_taken_at.is_none() && self.ordered(|_| false).is_some()
    }

    /// An analyzer has its orders.
    pub fn take_orders(&mut self, at: Timestamp) {
        self.orders_taken_at = Some(at);
    }

    /// Its tests are not wanted any more. Nothing follows the second time.
    pub fn cancel(&mut self, at: Timestamp) -> Result<Option<EventKind>, Refused> {
        self.still_there()?;
        if self.results_at.is_some() {
            return Err(Refused::HasResults);
        }
        if self.cancelled_at.is_some() {
            return Ok(None);
        }
        (self.cancelled_at, self.orders_taken_at) = (Some(at), None);
        Ok(Some(self.event(EventName::RegistrationUpdated)))
    }

    /// Whether its tests can be ordered again: they were run, or they were cancelled and are wanted after all.
    pub fn can_be_rerun(&self) -> Result<(), Refused> {
        self.still_there()?;
        if self.results_at.is_some() || self.cancelled_at.is_some() { Ok(()) } else { Err(Refused::NotRunYet) }
    }
}
