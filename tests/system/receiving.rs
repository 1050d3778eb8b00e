//! The webhook's receiver on this host, and what must have come to it.

use super::machine::{HOST, Machine};
use gateway_core::time::Timestamp;
use gateway_daemon::simulated::ledger::SharedLedger;
use gateway_daemon::simulated::receiver::{Answer, Options, Receiver, standard_webhooks};
use std::sync::Arc;

const SECRET: &str = "whsec_c2VjcmV0IG9mIHRoZSBib3ggdGhhdCBzdGFydHM=";
/// More than any start of the machine has time for.
const RETRIES: usize = 90;

pub fn wall() -> Timestamp {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    Timestamp(now.tv_sec * 1000 + now.tv_nsec / 1_000_000)
}

/// One that takes what is signed.
pub async fn receiver() -> Receiver {
    answering(|| Answer::Accept).await
}

/// One that is asked each time.
pub async fn answering(answer: impl Fn() -> Answer + Send + Sync + 'static) -> Receiver {
    let script = move |_: u64, _: &_| answer();
    let options = Options { verify: standard_webhooks(SECRET), script: Arc::new(script), wall: Arc::new(wall) };
    Receiver::start(options).await.expect("a port")
}

/// Its lines in the settings. It is tried again soon: no judge waits for hours.
pub fn webhook(receiver: &Receiver) -> String {
    let port = receiver.address().port();
    let retry = vec!["20s"; RETRIES].join(", ");
    format!(
        "webhooks:\n  - {{ id: lims, url: 'http://{HOST}:{port}/hook', secret: {SECRET}, allow_plain: true, retry: [0s, {retry}] }}\n"
    )
}

/// Waits for these messages; each under one id.
pub async fn arrived(machine: &Machine, place: &str, ledger: &SharedLedger, keys: &[String]) {
    let there = || keys.iter().all(|key| !ledger.lock().ids_of(key).is_empty()).then_some(());
    machine.eventually(&format!("{} messages at the {place}", keys.len()), there).await;
    for key in keys {
        assert_eq!(ledger.lock().ids_of(key).len(), 1, "a message came twice at the {place}");
    }
}
