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
}

#[derive(Debug, Default)]
pub(super) struct Outbox {
    waiting: VecDeque<Order>,
    /// The one that was sent, and until when its answer is waited for.
    sent: Option<(Order, Mono)>,
}

impl Outbox {
    pub fn add(&mut self, orders: Vec<Order>) {
        let room = ORDERS_MAX.saturating_sub(self.waiting.len());
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
    pub fn answered(&mut self, code: &str, control_id: &str) -> Option<EventKind> {
        let is_ours = |(order, _): &(Order, Mono)| control_id.is_empty() || order.control_id == control_id;
        if code == "CA" || !self.sent.as_ref().is_some_and(is_ours) {
            return None;
        }
        let (order, _) = self.sent.take()?;
        let reason = "the analyzer refused an order that it had asked for (its MSA-1 is not AA): are the codes of the ordered tests \
                      those that it knows?";
        (order.is_order && code != "AA").then(|| EventKind::alarm("order_refused", reason))
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
        let reason = "the analyzer asked for orders and never acknowledged one that it was sent";
        order.is_order.then(|| EventKind::alarm("order_unanswered", reason))
    }

    /// The line is gone: whoever asked asks again.
    pub fn clear(&mut self) {
        self.waiting.clear();
        self.sent = None;
    }
}
