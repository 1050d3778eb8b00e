//! Asks the laboratory for its own id of each complete registration, and asks again until it gives one.
//!
//! Who still waits is read from the store, when a registration has changed or one is due again; a restart forgets only how
//! often was asked. Nothing waits for this: a laboratory that does not answer costs a line of the log and one of the status.
//! Invariant: the request holds the registration's id and nothing else.

use crate::board::Board;
use crate::platform::{Platform, SendError};
use crate::pulse::{BEAT_SECONDS, Pulse, Stop};
use crate::store::Store;
use gateway_core::config::{Registrations, Webhook};
use gateway_core::delivery::{Jitter, RetrySchedule};
use gateway_core::dialects::{HttpRequest, Request, Response};
use gateway_core::event::Id;
use gateway_core::health::Fact;
use gateway_core::registration::{Registration, is_lab_id};
use gateway_core::time::Mono;
use serde::Deserialize;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Registrations that are asked for the first time in one round.
const PAGE_MAX: usize = 100;
/// Registrations whose attempts are remembered; those behind them are asked for once these have their ids.
const REMEMBERED_MAX: usize = 10_000;

/// Assigns the laboratory's ids.
pub struct Registrar {
    pub settings: Registrations,
    pub platform: Platform,
    pub store: Store,
    pub board: Arc<Board>,
    pub pulse: Pulse,
}

/// How often was asked for one registration, and when it is due again.
struct Asked {
    times: u32,
    due: Mono,
}

impl Registrar {
    /// Runs until it is asked to stop.
    pub async fn run(self, mut stop: Stop) {
        let Some(webhook) = self.webhook() else {
            return stop.asked().await;
        };
        let schedule = RetrySchedule::standard();
        let mut asked: BTreeMap<i64, Asked> = BTreeMap::new();
        let mut registered = self.store.registered();
        loop {
            registered.borrow_and_update();
            let limit = (asked.len() + PAGE_MAX).min(REMEMBERED_MAX);
            // There may be more of them than were looked at, or nothing could be read.
            let mut is_short = true;
            match self.store.awaiting_lab_id(limit).await {
                Ok(waiting) => {
                    is_short = waiting.len() == limit && limit < REMEMBERED_MAX;
                    asked.retain(|number, _| waiting.contains(number));
                    for number in &waiting {
                        let now = self.platform.clock.now();
                        self.pulse.beat(now.mono);
                        if stop.is_asked() || asked.get(number).is_some_and(|asked| asked.due > now.mono) {
                            continue;
                        }
                        let trouble = tokio::select! {
                            biased;
                            () = stop.asked() => return,
                            asked = self.ask(&webhook, *number) => asked.err(),
                        };
                        let known = asked.entry(*number).or_insert(Asked { times: 0, due: now.mono });
                        known.times = known.times.saturating_add(1);
                        known.due = self.platform.clock.now().mono.after(self.delay(&schedule, known.times));
                        if let Some(reason) = &trouble {
                            tracing::warn!(registration = number, attempt = known.times, %reason, "no lab id");
                        }
                        self.tell(trouble);
                    }
                    if waiting.is_empty() {
                        self.tell(None);
                    }
                }
                Err(error) => tracing::error!(%error, "registrations cannot be read"),
            }
            loop {
                let now = self.platform.clock.now().mono;
                self.pulse.beat(now);
                tokio::select! {
                    biased;
                    () = stop.asked() => return,
                    () = registered.changed() => break,
                    () = self.platform.clock.sleep_until(now.after(Duration::from_secs(BEAT_SECONDS))) => {}
                }
                let now = self.platform.clock.now().mono;
                if is_short || asked.values().any(|asked| asked.due <= now) {
                    break;
                }
            }
        }
    }

    fn webhook(&self) -> Option<Webhook> {
        let mut webhook = Webhook::new("lab-ids", self.settings.lab_id_url.as_deref()?, "");
        webhook.proxy = self.settings.proxy.clone();
        if let Some(token) = &self.settings.lab_id_token {
            webhook.headers.push(("authorization".to_owned(), format!("Bearer {}", token.expose())));
        }
        Some(webhook)
    }

    /// After the last delay of the table it stays at that one: nobody else would ask.
    fn delay(&self, schedule: &RetrySchedule, times: u32) -> Duration {
        let delay = schedule.delay_after(times).or(schedule.delays.last().copied()).unwrap_or_default();
        let mut random = [0; 2];
        self.platform.entropy.fill(&mut random);
        Jitter(u16::from_be_bytes(random)).lengthen(delay)
    }

    fn tell(&self, trouble: Option<String>) {
        self.board.tell(self.platform.clock.now(), Fact::LabIds { trouble });
    }

    /// Asks once. The reason of a failure quotes nothing of the answer.
    async fn ask(&self, webhook: &Webhook, number: i64) -> Result<(), String> {
        let found = self.store.registration_numbered(number).await.map_err(|error| error.to_string())?;
        let Some(registration) = found.filter(Registration::awaits_lab_id) else { return Ok(()) };
        let body = json!({ "testregistration_id": registration.id }).to_string().into_bytes();
        let headers = vec![
            ("content-type".to_owned(), "application/json".to_owned()),
            ("idempotency-key".to_owned(), format!("lab-id-{}", registration.number)),
        ];
        let request = Request::Http(HttpRequest { headers, body });
        let answer = self.platform.http.send(webhook, request).await.map_err(|error| match error {
            SendError::NoNetwork(reason) | SendError::Passing(reason) | SendError::Configuration(reason) => {
                reason.to_string()
            }
        })?;
        let lab_id = read(&answer)?;
        let now = self.platform.clock.now();
        let cause = Id::derived(&[b"lab id", &registration.number.to_be_bytes(), lab_id.as_bytes()]);
        match self.store.assign_lab_id(&registration.id, &lab_id, now, cause).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(refused)) => Err(refused.to_string()),
            Err(error) => Err(error.to_string()),
        }
    }
}

fn read(answer: &Response) -> Result<String, String> {
    #[derive(Deserialize)]
    struct Assigned {
        lab_id: String,
    }
    if !(200..300).contains(&answer.status) {
        return Err(format!("the laboratory answered with status {}", answer.status));
    }
    let assigned: Option<Assigned> = serde_json::from_slice(&answer.body).ok();
    let lab_id = assigned.map(|assigned| assigned.lab_id.trim().to_owned()).filter(|lab_id| is_lab_id(lab_id));
    lab_id.ok_or_else(|| "the laboratory's answer holds no `lab_id`".to_owned())
}
