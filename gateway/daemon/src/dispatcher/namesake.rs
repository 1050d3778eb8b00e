//! Whether somebody else goes by our name at a broker: two boxes with one `gateway.id` push each other out, and each sees only
//! that its connection breaks.
//!
//! Two things prove it. With MQTT 5 a broker may say so when it ends a connection (reason 0x8E; mosquitto 2.0 often does not). In any
//! version another box has its status where ours was: `status` names boot and start of the process, and nobody but us says it
//! once we have.

use crate::board::Board;
use crate::platform::{Message, MqttConnection};
use gateway_core::delivery::{Reason, ReasonCode};
use gateway_core::health::Fact;
use gateway_core::monitoring::Status;
use gateway_core::time::{Mono, Now, Timestamp};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// After so long without a sign of the other, it is gone: longer than any pause between two attempts to connect.
const QUIET_SECONDS_MIN: u64 = 300;

/// What is known of the other, over all connections to one broker.
pub(super) struct Namesake {
    broker: &'static str,
    board: Arc<Board>,
    /// Boot and start of this process.
    own: (String, Timestamp),
    /// The broker has told us our own status, so what stood there before us is gone.
    has_heard_own: bool,
    seen: Option<Mono>,
}

impl Namesake {
    pub(super) fn at(broker: &'static str, board: &Arc<Board>, now: Now) -> Namesake {
        let own = board.overview(now);
        let own = (own.boot, own.since);
        Namesake { broker, board: Arc::clone(board), own, has_heard_own: false, seen: None }
    }

    /// Asks for what is said in our name. `root`: what stands before every topic of ours.
    pub(super) fn listen(connection: &mut dyn MqttConnection, root: &str) -> mpsc::Receiver<Message> {
        connection.subscribe_kept(format!("{root}status"))
    }

    /// Takes in a status that was published in our name.
    pub(super) fn hear(&mut self, now: Now, message: &Message) {
        let Ok(Status { boot, since, .. }) = serde_json::from_slice(&message.payload) else { return };
        match (boot, since) == self.own {
            true => self.has_heard_own = true,
            // Before our own first word it may be that of an earlier life of this box.
            false if self.has_heard_own => self.see(now),
            false => {}
        }
    }

    /// Takes in why a connection has ended.
    pub(super) fn lost(&mut self, now: Now, reason: &Reason) {
        if reason.code == ReasonCode::SameIdTwice {
            self.see(now);
        }
    }

    /// Whether somebody was seen of late.
    pub(super) fn is_seen(&self) -> bool {
        self.seen.is_some()
    }

    /// Forgets one who has not been seen for long. To be called now and then.
    pub(super) fn look(&mut self, now: Now) {
        let quiet = Duration::from_secs(QUIET_SECONDS_MIN);
        if self.seen.is_some_and(|seen| now.mono.since(seen) >= quiet) {
            self.seen = None;
            tracing::info!(destination = self.broker, "nobody else uses this gateway's id at the broker any more");
            self.tell(now, false);
        }
    }

    fn see(&mut self, now: Now) {
        if self.seen.replace(now.mono).is_none() {
            let next_step = ReasonCode::SameIdTwice.next_step();
            tracing::warn!(destination = self.broker, next_step, "another box uses the same gateway.id at the broker");
        }
        self.tell(now, true);
    }

    fn tell(&self, now: Now, taken: bool) {
        self.board.tell(now, Fact::NameTaken { broker: self.broker.to_owned(), taken });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gateway_core::config::Config;
    use gateway_core::event::Id;
    use gateway_core::overview::Overview;

    fn status(overview: &Overview) -> Message {
        let payload = serde_json::to_vec(&Status::from(overview)).expect("plain fields");
        Message { payload, ..Message::default() }
    }

    #[test]
    fn another_status_is_somebody_else_once_ours_was_heard_and_he_is_forgotten_when_he_is_quiet() {
        let now = Now::default();
        let board = Arc::new(Board::new(&Config::default(), Id::derived(&[b"boot"]), now));
        let ours = board.overview(now);
        let other = Overview { since: Timestamp(1), ..ours.clone() };
        let mut namesake = Namesake::at("mqtt", &board, now);
        namesake.hear(now, &status(&other));
        assert!(!namesake.is_seen(), "it may be ours, of an earlier life");
        namesake.hear(now, &status(&ours));
        namesake.hear(now, &Message::default());
        assert!(!namesake.is_seen());
        namesake.hear(now, &status(&other));
        assert!(namesake.is_seen() && board.overview(now).troubles.iter().any(|one| one.code == "same_id_twice"));
        let later = Now { mono: now.mono.after(Duration::from_secs(QUIET_SECONDS_MIN)), ..now };
        namesake.look(later);
        assert!(!namesake.is_seen() && board.overview(now).troubles.is_empty());
    }

    #[test]
    fn mqtt_5_says_it_by_itself() {
        let board = Arc::new(Board::new(&Config::default(), Id::derived(&[b"boot"]), Now::default()));
        let mut namesake = Namesake::at("monitoring", &board, Now::default());
        namesake.lost(Now::default(), &Reason::new(ReasonCode::ConnectionLost, "cut"));
        assert!(!namesake.is_seen());
        namesake.lost(Now::default(), &Reason::new(ReasonCode::SameIdTwice, "taken over"));
        assert!(namesake.is_seen());
    }
}
