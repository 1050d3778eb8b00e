//! Tells one broker how the gateway is, for as long as a connection lives: states from the present, notices in their order.
//!
//! Invariant: a bounded number of messages is on its way, whatever the broker does. A state that finds no room is told later as
//! it is then; a notice waits in the outbox, which is bounded itself.

use super::outlet::Outlet;
use crate::board::Board;
use crate::platform::BoxFuture;
use crate::store::Store;
use futures_util::stream::{FuturesOrdered, FuturesUnordered, StreamExt};
use gateway_core::delivery::{Reason, ReasonCode};
use gateway_core::monitoring::{Bulletin, Publication, Status};
use gateway_core::time::{Mono, Now};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// An acknowledgement that takes longer than this does not come any more.
pub(super) const ACK_SECONDS_MAX: u64 = 30;
/// States on their way at once.
const STATES_MAX: usize = 64;
/// Notices on their way at once.
const NOTICES_MAX: usize = 16;
/// Bytes that MQTT adds around topic and payload, at most.
pub(super) const PACKET_OVERHEAD_BYTES: usize = 16;
/// Between two looks at what has changed.
const LOOK_MS_MIN: u64 = 250;

/// One connection's share of it.
pub(super) struct Telling {
    reader: &'static str,
    store: Store,
    board: Arc<Board>,
    bulletin: Bulletin,
    /// The whole retained topics that the store knows to be at this broker.
    remembered: BTreeSet<String>,
    /// Of these: to be cleared.
    stale: Vec<String>,
    /// With the topic if it takes that away.
    states: FuturesUnordered<BoxFuture<'static, Result<Option<String>, Reason>>>,
    /// Acknowledged in the order of their numbers.
    notices: FuturesOrdered<BoxFuture<'static, Result<u64, Reason>>>,
    next_notice: u64,
    /// Something may have changed since the last look.
    news: bool,
    look_at: Mono,
    /// Whether a message too long for this broker was mentioned.
    too_long_said: bool,
    packet_bytes_max: usize,
    /// When the broker last acknowledged anything, or when waiting for it began.
    progress: Mono,
}

impl Telling {
    /// For a new connection of this broker, `mqtt` or `monitoring`. `interval` is `monitoring.interval_seconds`; every topic
    /// stands behind the root, and no packet is longer than `packet_bytes_max`.
    pub(super) async fn begin(
        reader: &'static str,
        store: &Store,
        board: &Arc<Board>,
        interval: Duration,
        now: Now,
        (root, packet_bytes_max): (&str, usize),
    ) -> Telling {
        // A store that cannot be read now must not keep the box from saying so.
        let remembered: BTreeSet<String> =
            store.retained_topics(reader).await.unwrap_or_default().into_iter().collect();
        let wanted: BTreeSet<String> =
            topics_of(board, now).into_iter().map(|topic| format!("{root}{topic}")).collect();
        Telling {
            reader,
            store: store.clone(),
            board: Arc::clone(board),
            bulletin: Bulletin::new(interval),
            stale: remembered.difference(&wanted).cloned().collect(),
            remembered,
            states: FuturesUnordered::new(),
            notices: FuturesOrdered::new(),
            next_notice: board.notice_place(reader),
            news: true,
            look_at: Mono(0),
            too_long_said: false,
            packet_bytes_max,
            progress: now.mono,
        }
    }

    /// Something has changed: [`Telling::say`] will find it.
    pub(super) fn ask(&mut self) {
        self.news = true;
    }

    /// Takes away further topics, given whole.
    pub(super) fn clear(&mut self, topics: impl IntoIterator<Item = String>) {
        for topic in topics {
            if !self.stale.contains(&topic) {
                self.stale.push(topic);
            }
        }
    }

    /// When to say something again although nothing is heard of meanwhile.
    pub(super) fn wake(&self) -> Mono {
        match (self.has_room(), self.news || !self.stale.is_empty()) {
            // An acknowledgement comes first.
            (false, _) => Mono(u64::MAX),
            (true, true) => self.look_at,
            (true, false) => self.bulletin.wake().max(self.look_at),
        }
    }

    /// Whether [`Telling::say`] may find something.
    pub(super) fn is_due(&self, now: Mono) -> bool {
        self.news || now >= self.wake()
    }

    /// Publishes what is new, as far as there is room.
    pub(super) async fn say(&mut self, now: Now, mut outlet: Outlet<'_>) {
        self.say_notices(now, &mut outlet);
        if now.mono < self.look_at || !self.has_room() {
            return;
        }
        self.look_at = now.mono.after(Duration::from_millis(LOOK_MS_MIN));
        let room = STATES_MAX - self.states.len();
        let due = self.bulletin.due(now.mono, &self.board.overview(now), room);
        self.news = due.len() >= room;
        let retained = due.iter().filter(|publication| publication.retain() && !publication.payload().is_empty());
        let topics = retained.map(|publication| outlet.topic(publication)).collect();
        self.remember(topics).await;
        for publication in due {
            if self.is_too_long(&publication, &outlet) {
                continue;
            }
            self.begin_waiting(now);
            let topic = publication.payload().is_empty().then(|| outlet.topic(&publication));
            let saying = outlet.say(&publication);
            self.states.push(Box::pin(async move { saying.await.map(|()| topic) }));
        }
        while self.has_room()
            && let Some(topic) = self.stale.pop()
        {
            self.begin_waiting(now);
            let clearing = outlet.clear(topic.clone());
            self.states.push(Box::pin(async move { clearing.await.map(|()| Some(topic)) }));
        }
    }

    fn say_notices(&mut self, now: Now, outlet: &mut Outlet<'_>) {
        while self.notices.len() < NOTICES_MAX
            && let Some((number, notice)) = self.board.notice_from(self.next_notice)
        {
            self.begin_waiting(now);
            let saying = outlet.say(&notice);
            self.notices.push_back(Box::pin(async move { saying.await.map(|()| number) }));
            self.next_notice = number + 1;
        }
    }

    /// Waits for the next acknowledgement; for ever if none is on its way. May be dropped and called again.
    pub(super) async fn acknowledged(&mut self, now: impl Fn() -> Mono) -> Result<(), Reason> {
        tokio::select! {
            biased;
            Some(number) = self.notices.next(), if !self.notices.is_empty() => {
                self.board.notices_acknowledged(self.reader, number?);
                self.news = true;
            }
            Some(cleared) = self.states.next(), if !self.states.is_empty() => {
                if let Some(topic) = cleared? {
                    self.forget(&topic).await;
                }
            }
            () = std::future::pending(), if self.notices.is_empty() && self.states.is_empty() => {}
        }
        self.progress = now();
        Ok(())
    }

    /// A broker that answers pings and acknowledges nothing would otherwise be waited for in vain.
    pub(super) fn overdue(&self, now: Mono) -> Option<Reason> {
        let silent = now.since(self.progress).as_secs() >= ACK_SECONDS_MAX;
        let detail = format!("the broker has not acknowledged a message for {ACK_SECONDS_MAX} s");
        let waits = !self.states.is_empty() || !self.notices.is_empty();
        (silent && waits).then(|| Reason::new(ReasonCode::Timeout, detail))
    }

    /// Leaves a true status behind. Returns when the broker has it.
    pub(super) fn goodbye(&self, now: Now, mut outlet: Outlet<'_>) -> BoxFuture<'static, Result<(), Reason>> {
        outlet.say(&Publication::state("status", &Status::from(&self.board.overview_stopped(now))))
    }

    fn has_room(&self) -> bool {
        self.states.len() < STATES_MAX
    }

    fn begin_waiting(&mut self, now: Now) {
        if self.states.is_empty() && self.notices.is_empty() {
            self.progress = now.mono;
        }
    }

    /// Whether it would break the connection instead of arriving: a state is then left out, and the log says so.
    fn is_too_long(&mut self, publication: &Publication, outlet: &Outlet<'_>) -> bool {
        let topic = outlet.topic(publication);
        let bytes = topic.len() + publication.payload().len() + PACKET_OVERHEAD_BYTES;
        let too_long = bytes > self.packet_bytes_max;
        if too_long && !self.too_long_said {
            let bytes_max = self.packet_bytes_max;
            tracing::warn!(topic, bytes, bytes_max, "left out: longer than mqtt.packet_bytes_max");
        }
        self.too_long_said |= too_long;
        too_long
    }

    /// Notes topics before the broker is given them for the first time. On a full disk they are told all the same.
    async fn remember(&mut self, topics: Vec<String>) {
        let new: Vec<String> = topics.into_iter().filter(|topic| !self.remembered.contains(topic)).collect();
        if !new.is_empty() && self.store.note_retained(self.reader, new.clone()).await.is_ok() {
            self.remembered.extend(new);
        }
    }

    async fn forget(&mut self, topic: &str) {
        if self.remembered.contains(topic) && self.store.forget_retained(self.reader, topic).await.is_ok() {
            self.remembered.remove(topic);
        }
    }
}

/// The topics of the present, behind the root.
fn topics_of(board: &Board, now: Now) -> Vec<String> {
    let overview = board.overview(now);
    let mut topics: Vec<String> = ["status", "health", "summary"].map(str::to_owned).to_vec();
    topics.extend(overview.analyzers.iter().map(|analyzer| format!("analyzers/{}/state", analyzer.id)));
    topics.extend(overview.destinations.iter().map(|destination| format!("destinations/{}/state", destination.id)));
    topics
}
