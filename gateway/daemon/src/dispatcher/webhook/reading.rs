//! What a webhook's queue is shown: the log, the backlog beside it, and what a person has sent again.
//!
//! Invariant: an event is shown with its lane and, if it is a live one, with what it must not overtake, before anything else is
//! decided.

use super::{Forwarding, entry};
use crate::store::{Row, StoreError};
use gateway_core::event::{Event, Seq};
use std::collections::VecDeque;

/// Undone events that are taken in at once beside those of the log.
const REDRIVEN_EVENTS_MAX: usize = 1_024;
/// Events that one look at a backlog reads.
const COUNTED_EVENTS_MAX: usize = 512;

impl Forwarding<'_> {
    /// Shows the queue as much of the log as it wants: what is live first.
    pub(super) async fn offer(&mut self, head: Seq) -> Result<(), StoreError> {
        while let Some(limit) = self.queue.wants_events() {
            let looked = self.queue.looked();
            if looked >= head || !self.show(looked, limit, None).await? {
                break;
            }
        }
        while let Some(limit) = self.queue.wants_backlog() {
            let looked = self.queue.looked_in_backlog();
            if !self.show(looked, limit, self.queue.split()).await? {
                break;
            }
        }
        Ok(())
    }

    /// Shows the events after `looked`, up to `end` if there is one. Returns whether there were any.
    async fn show(&mut self, looked: Seq, limit: usize, end: Option<Seq>) -> Result<bool, StoreError> {
        let worker = self.worker;
        let (members, through) = worker.store.next_events(&worker.destination, looked, limit).await?;
        let end = end.unwrap_or(through);
        let through = through.min(end);
        if through <= looked {
            return Ok(false);
        }
        let members: Vec<Event> = members.into_iter().filter(|event| event.seq <= end).collect();
        if let Some(newest) = members.last() {
            worker.shown.raise(newest.seq);
        }
        for event in members {
            if worker.dialect.has_form(&event, &worker.webhook.endpoint) {
                self.queue.offer(event.seq, worker.lane(&event), worker.now());
                self.mind_backlog(&event).await?;
                self.events.insert(event.seq, event);
            }
        }
        let changes = self.queue.skip_to(through);
        self.note_down(changes, Vec::new());
        Ok(true)
    }

    /// Tells the queue which event of the backlog a live event must not overtake.
    async fn mind_backlog(&mut self, event: &Event) -> Result<(), StoreError> {
        let worker = self.worker;
        let Some(split) = self.queue.split().filter(|split| event.seq > *split) else { return Ok(()) };
        let lane = worker.lane(event);
        let earlier = match self.earlier.get(&lane) {
            Some(known) => *known,
            None => worker.store.earlier_in_lane(event, worker.webhook.order, split).await?,
        };
        self.earlier.insert(lane, earlier);
        if let Some(earlier) = earlier {
            self.queue.wait_for(event.seq, earlier);
        }
        Ok(())
    }

    /// After a restart: live events with a row wait for what they waited for before.
    pub(super) async fn recall_lanes(&mut self) -> Result<(), StoreError> {
        for seq in self.queue.live_events() {
            if let Some(event) = self.worker.store.event(seq).await? {
                self.mind_backlog(&event).await?;
            }
        }
        Ok(())
    }

    /// Sets a long backlog apart once the endpoint is well, so that what comes now need not wait behind it.
    pub(super) async fn set_apart(&mut self, head: Seq) -> Result<(), StoreError> {
        if !self.queue.may_set_apart() {
            return Ok(());
        }
        let worker = self.worker;
        let (mut looked, mut ordinal) = (self.queue.looked(), self.queue.ordinal());
        let known = self.queue.undone() as u64;
        let first = ordinal;
        while looked < head {
            let (members, through) = worker.store.next_events(&worker.destination, looked, COUNTED_EVENTS_MAX).await?;
            let members = members.iter().filter(|event| event.seq <= head);
            ordinal += members.filter(|event| worker.dialect.has_form(event, &worker.webhook.endpoint)).count() as u64;
            if through <= looked {
                break;
            }
            looked = through;
            worker.pulse.beat(worker.now().mono);
        }
        let ahead = ordinal - first + known;
        if ahead <= worker.ahead_events_max as u64 {
            self.queue.stay_whole();
            return Ok(());
        }
        tracing::info!(destination = %worker.webhook.id, events = ahead, "a backlog is sent beside what comes now");
        let changes = self.queue.set_apart(head, ordinal);
        self.events.clear();
        self.earlier.clear();
        self.note_down(changes, Vec::new());
        Ok(())
    }

    /// Takes in what a person has sent again.
    pub(super) async fn take_redriven(&mut self) -> Result<(), StoreError> {
        let worker = self.worker;
        self.redriven.extend(VecDeque::from(self.redrives.take()));
        while self.queue.undone() < worker.ahead_events_max + REDRIVEN_EVENTS_MAX
            && let Some(seq) = self.redriven.pop_front()
        {
            if let Some(changes) = self.queue.redrive(seq) {
                self.note_down(changes, Vec::new());
                continue;
            }
            let Some(event) = worker.store.event(seq).await? else { continue };
            if let Some(row) = worker.store.delivery(&worker.destination, seq).await? {
                let lane = worker.lane(&event);
                self.queue.adopt(seq, entry(Row { lane, ..row }));
            }
        }
        Ok(())
    }
}
