//! The retry table that a receiver's document writes, kept to the second by the whole gateway: eleven attempts at 0, 5 min,
//! 10 min, 30 min, 1 h, 4 h, 12 h, 1 d, 1 d 12 h, 2 d and 3 d, in each of the three ways in which such a table can be read.

use gateway_core::config::Webhook;
use gateway_core::delivery::{ReasonCode, RetryReading};
use gateway_core::event::{AnalyzerId, EventKind, EventName, Payload, Posted};
use gateway_core::time::ClockQuality;
use gateway_daemon::store::{Page, Selection};
use gateway_tests::simulation::clinic::{Clinic, Reply};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

const READINGS: [(&str, RetryReading); 3] =
    [("gaps", RetryReading::Gaps), ("offsets", RetryReading::Offsets), ("retries", RetryReading::Retries)];
/// The table in seconds.
const TABLE: [u64; 11] = [0, 300, 600, 1_800, 3_600, 14_400, 43_200, 86_400, 129_600, 172_800, 259_200];
/// Longer than the longest of them takes.
const ALL_OVER: Duration = Duration::from_secs(10 * 86_400);
const DAY: u64 = 86_400;

/// When each attempt is due, in seconds after the first.
fn expected(reading: RetryReading) -> Vec<u64> {
    match reading {
        RetryReading::Gaps => vec![0, 300, 900, 2_700, 6_300, 20_700, 63_900, 150_300, 279_900, 452_700, 711_900],
        RetryReading::Offsets => TABLE.to_vec(),
        RetryReading::Retries => vec![0, 0, 300, 900, 2_700, 6_300, 20_700, 63_900, 150_300, 279_900, 452_700, 711_900],
    }
}

fn webhooks() -> Vec<Webhook> {
    let endpoint = |(id, reading): (&str, RetryReading)| {
        let mut webhook = Webhook::new(id, "https://lab.example/hook", "lab");
        webhook.retry_reading = Some(reading);
        webhook.endpoint.public_url = Some("https://gateway.example".to_owned());
        webhook
    };
    READINGS.map(endpoint).to_vec()
}

fn an_event() -> (AnalyzerId, EventKind) {
    let payload = json!({"testregistration_id": "1234-5678", "url": "https://gateway.example/api/x/"});
    let posted = Posted {
        dialect: "lab".to_owned(),
        event: "lab_results.complete".to_owned(),
        session: None,
        payload: Payload::new(payload),
    };
    (AnalyzerId("gateway".to_owned()), EventKind::posted(posted))
}

fn virtually(test: impl Future<Output = ()>) {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true).build().expect("a runtime").block_on(test);
}

/// The seconds after the first attempt at which each was made.
fn attempts(clinic: &Clinic, id: &str) -> Vec<u64> {
    let own: Vec<_> = clinic.asked().into_iter().filter(|asked| asked.webhook == id).collect();
    let first = own.first().expect("a first attempt").at;
    for (index, asked) in own.iter().enumerate() {
        assert_eq!(asked.number("x-gateway-attempt"), index as u64 + 1, "{id}");
        assert_eq!((asked.event(), &asked.body), (own[0].event(), &own[0].body), "{id}: the same on each attempt");
    }
    own.iter().map(|asked| (asked.at - first).as_secs()).collect()
}

async fn sleep_until(clinic: &Clinic, second: u64) {
    tokio::time::sleep(Duration::from_secs(second).saturating_sub(clinic.now())).await;
}

#[test]
fn eleven_attempts_at_the_exact_times_across_restarts_and_a_clock_that_jumps() {
    virtually(async {
        let mut clinic = Clinic::new(webhooks(), Duration::ZERO, Arc::new(|_| Reply::Status(500, Vec::new())));
        let (hour, century_half_ms) = (3_600, 50 * 365 * 86_400_000);
        clinic.wall.steps = vec![
            (Duration::from_secs(2 * hour), century_half_ms, ClockQuality::Synchronized),
            (Duration::from_secs(30 * hour), 0, ClockQuality::Synchronized),
        ];
        clinic.fill(vec![an_event()]).await;
        let mut running = clinic.start();
        for restart in [200, 3 * hour, 3 * DAY + 77] {
            sleep_until(&clinic, restart).await;
            running.stop().await;
            tokio::time::sleep(Duration::from_secs(20)).await;
            running = clinic.start();
        }
        sleep_until(&clinic, ALL_OVER.as_secs()).await;
        running.stop().await;
        for (id, reading) in READINGS {
            assert_eq!(attempts(&clinic, id), expected(reading), "{id}");
        }
        let store = clinic.store().await;
        let dead = store.dead(None, &Selection::default(), &Page { after: None, limit: 10 }).await.expect("a list");
        let found: Vec<_> = dead.iter().map(|letter| (letter.reason.code, letter.attempts)).collect();
        assert_eq!(found, [11, 11, 12].map(|attempts| (ReasonCode::AttemptsExhausted, attempts)));
        assert!(dead.iter().all(|letter| letter.dead_at.is_some() && letter.name == "lab_results.complete"));
    });
}

#[test]
fn a_week_without_network_uses_up_no_attempt_and_the_table_goes_on_where_it_stood() {
    virtually(async {
        let (from, to) = (Duration::from_secs(3_000), Duration::from_secs(3_000 + 7 * DAY));
        let rule = move |asked: &gateway_tests::simulation::clinic::Asked| match (from..to).contains(&asked.at) {
            true => Reply::NoNetwork,
            false => Reply::Status(500, Vec::new()),
        };
        let clinic = Clinic::new(webhooks(), Duration::ZERO, Arc::new(rule));
        clinic.fill(vec![an_event()]).await;
        let running = clinic.start();
        tokio::time::sleep(ALL_OVER + Duration::from_secs(8 * DAY)).await;
        running.stop().await;
        for (id, reading) in READINGS {
            let (made, table) = (attempts(&clinic, id), expected(reading));
            let before = table.iter().filter(|second| **second < from.as_secs()).count();
            assert_eq!(made.len(), table.len(), "{id}: each attempt of the table, and none without a network");
            assert_eq!(made[..before], table[..before], "{id}");
            let late = made[before] - to.as_secs();
            assert!(late <= 5, "{id}: the next one came {late} s after the network did");
            let gaps = |list: &[u64]| list.windows(2).map(|pair| pair[1] - pair[0]).collect::<Vec<_>>();
            assert_eq!(gaps(&made[before..]), gaps(&table[before..]), "{id}: then by the table");
        }
    });
}

/// The names in the log are the dialect's own, so the event above is one that a filter knows.
#[test]
fn the_table_is_the_dialects_own() {
    let lab = gateway_core::dialects::dialect("lab").expect("the dialect");
    assert_eq!(lab.schedule().delays.iter().map(Duration::as_secs).collect::<Vec<_>>(), TABLE);
    assert!(lab.speaks("lab_results.complete") && lab.word(EventName::RegistrationCompleted).is_some());
}
