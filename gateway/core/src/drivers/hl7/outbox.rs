//! Orders on their way to an analyzer: one at a time, each until it is answered or has been sent often enough.

use crate::event::EventKind;
use crate::time::{Mono, Now};
use std::collections::VecDeque;
use std::time::Duration;

/// How long an answer is waited for.
const ANSWER: Duration = Duration::from_secs(30);
/// Orders that may wait here.
const ORDERS_MAX: usize = 256;

/// One message that wants an answer.
#[derive(Debug, Clone)]
pub(super) struct Order {
    pub bytes: Vec<u8>,
    /// Its MSH-10.
    pub control_id: String,
    /// How often it may still be sent.
    pub tries_left: u32,
    /// Whether somebody waits for it to be done: if it is refused or never answered, a person is told.
    pub is_order: bool,
    /// Whether the question counts as answered only with it.
    pub is_counted: bool,
}

#[derive(Debug, Default)]
pub(super) struct Outbox {
    waiting: VecDeque<Order>,
    /// The one that was sent, and until when its answer is waited for.
    sent: Option<(Order, Mono)>,
    /// How many of the orders that answer the latest question are not accepted yet. `None`: there were none, or one of them
    /// was refused.
    missing: Option<usize>,
}

/// What an answer to an order comes to.
#[derive(Debug, Default)]
pub(super) struct Answered {
    pub alarm: Option<EventKind>,
    /// Whether the analyzer has all that it asked for last.
    pub is_last: bool,
}

impl Outbox {
    /// The orders that answer a question. Those of an earlier one stay, but what becomes of them is not counted any more.
    pub fn add(&mut self, orders: Vec<Order>) {
        let earlier = self.waiting.iter_mut().chain(self.sent.iter_mut().map(|(order, _)| order));
        earlier.for_each(|order| order.is_counted = false);
        let counted = orders.iter().filter(|order| order.is_counted).count();
        let room = ORDERS_MAX.saturating_sub(self.waiting.len());
        self.missing = (counted > 0 && orders.len() <= room).then_some(counted);
        self.waiting.extend(orders.into_iter().take(room));
    }

    /// What is to be sent now, if nothing is on its way.
    pub fn next(&mut self, now: Now) -> Option<Vec<u8>> {
        if self.sent.is_some() {
            return None;
        }
        let mut order = self.waiting.pop_front()?;
        order.tries_left = order.tries_left.saturating_sub(1);
        let bytes = order.bytes.clone();
        self.sent = Some((order, now.mono.after(ANSWER)));
        Some(bytes)
    }

    /// The analyzer has answered `code` (MSA-1) to the message with this id. An acceptance (CA) is not the answer yet.
    pub fn answered(&mut self, code: &str, control_id: &str) -> Answered {
        let is_ours = |(order, _): &mut (Order, Mono)| control_id.is_empty() || order.control_id == control_id;
        let answer = Answered::default();
        if code == "CA" {
            return answer;
        }
        let Some((order, _)) = self.sent.take_if(is_ours) else { return answer };
        let accepted = code == "AA";
        if order.is_counted {
            self.missing = self.missing.filter(|_| accepted).map(|missing| missing - 1);
        }
        let reason = "the analyzer refused an order that it had asked for (its MSA-1 is not AA, or its ORC-1 is UA): are the codes of the ordered \
                      tests those that it knows?";
        let is_last = order.is_counted && self.missing.take_if(|missing| *missing == 0).is_some();
        let alarm = (order.is_order && !accepted).then(|| EventKind::alarm("order_refused", reason));
        Answered { alarm, is_last }
    }

    pub fn due(&self) -> Option<Mono> {
        self.sent.as_ref().map(|(_, due)| *due)
    }

    /// The answer is overdue: the order is sent again, or given up with an alarm.
    pub fn overdue(&mut self, now: Now) -> Option<EventKind> {
        let (order, _) = self.sent.take_if(|(_, due)| *due <= now.mono)?;
        if order.tries_left > 0 {
            self.waiting.push_front(order);
            return None;
        }
        if order.is_counted {
            self.missing = None;
        }
        let reason = "the analyzer asked for orders and never acknowledged one that it was sent";
        order.is_order.then(|| EventKind::alarm("order_unanswered", reason))
    }

    /// The line is gone: whoever asked asks again.
    pub fn clear(&mut self) {
        *self = Outbox::default();
    }
}
