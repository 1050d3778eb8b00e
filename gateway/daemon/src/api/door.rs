//! The part that serves the API: the TCP port, the control socket and the requests over MQTT, until it is stopped. What somebody
//! reads on the SD card comes from here too.
//!
//! Invariant: a port that cannot be opened is told and tried again; it never ends the gateway.

use super::auth::Door;
use super::over_mqtt;
use super::{Api, Front};
use crate::board::Board;
use crate::calls::Inbox;
use crate::card;
use crate::platform::{Platform, Serving};
use crate::pulse::{BEAT_SECONDS, Pulse, Stop};
use crate::store::Store;
use crate::supervision::Supervisor;
use futures_util::future::join4;
use gateway_core::config::Config;
use gateway_core::health::Fact;
use std::sync::Arc;
use std::time::Duration;

/// Between two tries to open a port.
const AGAIN_SECONDS: u64 = 5;

/// Serves everywhere.
pub struct DoorWorker {
    pub config: Config,
    pub platform: Platform,
    pub store: Store,
    pub board: Arc<Board>,
    pub inbox: Inbox,
    pub supervisor: Supervisor,
    pub front: Front,
    pub pulse: Pulse,
}

impl DoorWorker {
    /// Runs until it is asked to stop.
    pub async fn run(&self, stop: Stop) {
        let (store, board) = (self.store.clone(), Arc::clone(&self.board));
        let (config, platform, front) = (self.config.clone(), self.platform.clone(), self.front.clone());
        let supervisor = self.supervisor.clone();
        let api = Api::with_front(config, platform, store, board, supervisor, stop.clone(), front);
        let has_page = self.config.http.page && self.config.http.listen.is_some();
        if has_page {
            // What goes wrong is in the log; whoever pairs is told too.
            let _ = api.pairing_code().await;
            api.restore_sessions().await;
        }
        let socket = Serving::Socket(self.config.gateway.state_dir.join("control.sock"));
        let network = self.config.http.listen.clone().map(Serving::Tcp);
        let serving = join4(
            self.keep_serving(network, &api, Door::Network, stop.clone()),
            self.keep_serving(Some(socket), &api, Door::Socket, stop.clone()),
            over_mqtt::answer(&api, &self.inbox, stop.clone()),
            card::keep(&api, stop),
        );
        tokio::pin!(serving);
        loop {
            let now = self.platform.clock.now().mono;
            self.pulse.beat(now);
            tokio::select! {
                biased;
                _ = &mut serving => break,
                () = self.platform.clock.sleep_until(now.after(Duration::from_secs(BEAT_SECONDS))) => {}
            }
        }
        if has_page {
            api.keep_sessions().await;
        }
    }

    async fn keep_serving(&self, at: Option<Serving>, api: &Arc<Api>, door: Door, mut stop: Stop) {
        let Some(at) = at else {
            self.tell(door, None);
            return;
        };
        let mut said = None;
        loop {
            let serving = self.platform.server.serve(&at, api.router(door), stop.clone());
            let mut serving = std::pin::pin!(serving);
            // What cannot begin fails at once; what lasts longer is open.
            let settled = self.platform.clock.now().mono.after(Duration::from_secs(1));
            let ended = tokio::select! {
                biased;
                ended = &mut serving => ended,
                () = self.platform.clock.sleep_until(settled) => {
                    self.tell(door, None);
                    said = None;
                    serving.await
                }
            };
            match ended {
                Ok(()) => return,
                Err(reason) => {
                    if said.as_ref() != Some(&reason) {
                        tracing::warn!(%reason, "the API is not served there, trying again");
                        self.tell(door, Some(reason.to_string()));
                        said = Some(reason);
                    }
                }
            }
            let due = self.platform.clock.now().mono.after(Duration::from_secs(AGAIN_SECONDS));
            tokio::select! {
                biased;
                () = stop.asked() => return,
                () = self.platform.clock.sleep_until(due) => {}
            }
        }
    }

    /// The board shows the network's side; the socket's is in the log.
    fn tell(&self, door: Door, trouble: Option<String>) {
        if door == Door::Network {
            self.board.tell(self.platform.clock.now(), Fact::DoorTried { trouble });
        }
    }
}
