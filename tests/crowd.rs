//! Many events to many endpoints, some of which fail in every way: nobody waits for anybody else, nothing is missed, and what a
//! person sends again is sent once.

use gateway_core::config::{DatedSecret, Secret, Webhook};
use gateway_core::delivery::ReasonCode;
use gateway_core::event::{AnalyzerId, EventKind, EventName, Payload, Posted};
use gateway_core::time::ClockQuality;
use gateway_daemon::store::{DestinationId, Missing, Page, Selection};
use gateway_tests::simulation::clinic::{Asked, Clinic, Reply};
use gateway_tests::simulation::ports::TRUE_START;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const EVENTS: usize = 10_000;
const HEALTHY: usize = 15;
const ANALYZERS: usize = 40;

fn virtually(test: impl Future<Output = ()>) {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true).build().expect("a runtime").block_on(test);
}

fn events(count: usize, analyzers: usize) -> Vec<(AnalyzerId, EventKind)> {
    let event = |number| {
        let analyzer = AnalyzerId(format!("analyzer-{}", number % analyzers));
        (analyzer, EventKind::bare(EventName::DeviceReady))
    };
    (0..count).map(event).collect()
}

/// Five ways to fail.
fn answer(asked: &Asked) -> Reply {
    match asked.webhook.as_str() {
        "broken" => Reply::Status(500, Vec::new()),
        "silent" => Reply::Hang,
        "busy" => Reply::Status(429, vec![("retry-after".to_owned(), "60".to_owned())]),
        "strange" => Reply::Status(401, Vec::new()),
        "gone" if asked.number("x-gateway-ordinal").is_multiple_of(2) => Reply::Drop,
        "gone" => Reply::Refuse,
        _ => Reply::Status(204, Vec::new()),
    }
}

#[test]
fn ten_thousand_events_to_twenty_endpoints_of_which_five_fail_in_five_ways() {
    virtually(async {
        let mut webhooks: Vec<Webhook> = ["broken", "silent", "busy", "strange", "gone"]
            .map(|id| Webhook::new(id, "https://receiver.example/hook", "cloudevents"))
            .to_vec();
        for number in 0..HEALTHY {
            let mut webhook =
                Webhook::new(&format!("healthy-{number}"), "https://receiver.example/hook", "cloudevents");
            webhook.concurrency = 8;
            webhook.backfill_per_second_max = None;
            webhooks.push(webhook);
        }
        let clinic = Clinic::new(webhooks, Duration::from_millis(5), Arc::new(answer));
        let ids: Vec<String> = clinic.fill(events(EVENTS, ANALYZERS)).await.iter().map(ToString::to_string).collect();
        let running = clinic.start();
        let healthy = |asked: &&Asked| asked.webhook.starts_with("healthy");
        while clinic.count() < HEALTHY * EVENTS || clinic.asked().iter().filter(healthy).count() < HEALTHY * EVENTS {
            assert!(clinic.now() < Duration::from_secs(3_600), "the healthy ones do not come to an end");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let mut tries: BTreeMap<(String, String), u32> = BTreeMap::new();
        let mut received: BTreeMap<String, Vec<(u64, String)>> = BTreeMap::new();
        for asked in clinic.asked() {
            if asked.webhook.starts_with("healthy") {
                let coming = (asked.number("x-gateway-ordinal"), asked.event().to_owned());
                received.entry(asked.webhook).or_default().push(coming);
            } else {
                *tries.entry((asked.webhook.clone(), asked.event().to_owned())).or_default() += 1;
            }
        }
        running.stop().await;
        let most = tries.values().max().expect("the others were tried");
        assert!(*most <= 2, "a failing endpoint was retried twice before the healthy ones were done");
        assert_eq!(received.len(), HEALTHY);
        for (webhook, comings) in &received {
            let mut newest = [0; ANALYZERS];
            for (ordinal, _) in comings {
                let lane = (*ordinal as usize - 1) % ANALYZERS;
                assert!(newest[lane] < *ordinal, "{webhook}: {ordinal} came after {}", newest[lane]);
                newest[lane] = *ordinal;
            }
            let mut sorted = comings.clone();
            sorted.sort();
            assert_eq!(sorted.len(), EVENTS, "{webhook}: each once");
            for (index, (ordinal, event)) in sorted.iter().enumerate() {
                assert_eq!((*ordinal, event), (index as u64 + 1, &ids[index]), "{webhook}");
            }
        }
        let counts = clinic.store().await.counts().await.expect("a store");
        for destination in counts.destinations.iter().filter(|destination| destination.id.0 != "mqtt") {
            let healthy = destination.id.0.contains("healthy");
            assert_eq!(destination.undone, if healthy { 0 } else { EVENTS as u64 }, "{:?}", destination.id);
        }
    });
}

/// What arrived: the ordinal, the event, and the marks.
fn heard(clinic: &Clinic, from: usize) -> Vec<(u64, String, bool)> {
    let coming = |asked: &Asked| {
        let redriven = asked.headers.contains_key("x-gateway-redriven");
        (asked.number("x-gateway-ordinal"), asked.event().to_owned(), redriven)
    };
    let mut all: Vec<_> = clinic.asked()[from..].iter().map(coming).collect();
    all.sort();
    all
}

#[test]
fn what_is_redriven_or_missing_is_sent_again_once_and_marked() {
    virtually(async {
        // Every tenth event is refused at its first coming.
        let rule = |asked: &Asked| {
            let refused = asked.number("x-gateway-ordinal").is_multiple_of(10)
                && !asked.headers.contains_key("x-gateway-redriven");
            Reply::Status(if refused { 422 } else { 200 }, Vec::new())
        };
        let webhooks = vec![Webhook::new("lims", "https://receiver.example/hook", "cloudevents")];
        let lims = DestinationId("webhook:lims".to_owned());
        let clinic = Clinic::new(webhooks, Duration::from_millis(5), Arc::new(rule));
        let ids = clinic.fill(events(60, 3)).await;
        let running = clinic.start();
        tokio::time::sleep(Duration::from_secs(5)).await;
        running.stop().await;
        assert_eq!(clinic.count(), 60);

        let store = clinic.store().await;
        let page = Page { after: None, limit: 4 };
        let dead = store.dead(Some(&lims), &Selection::default(), &page).await.expect("a list");
        assert_eq!(dead.iter().map(|letter| letter.ordinal).collect::<Vec<_>>(), [10, 20, 30, 40]);
        let rest = Page { after: Some((lims.clone(), dead[3].seq)), limit: 4 };
        let rest = store.dead(None, &Selection::default(), &rest).await.expect("the next page");
        assert_eq!(rest.iter().map(|letter| letter.id).collect::<Vec<_>>(), [ids[49], ids[59]]);

        let wanted = Selection { reason: Some(ReasonCode::Refused), ..Selection::default() };
        let other = Selection { reason: Some(ReasonCode::Timeout), ..Selection::default() };
        assert_eq!(store.redrive(&lims, &wanted, true).await.expect("a look").len(), 6);
        assert_eq!(store.redrive(&lims, &other, false).await.expect("nothing to do"), []);
        let one = Selection { ids: vec![ids[9]], ..Selection::default() };
        assert_eq!(store.redrive(&lims, &one, false).await.expect("sent again").len(), 1);
        assert_eq!(store.redrive(&lims, &one, false).await.expect("sent again already").len(), 1);
        let missing = Missing { ordinals: vec![(5, 10), (58, 99)], ids: vec![ids[0], ids[6]] };
        let again: Vec<_> =
            store.resend(&lims, &missing, false).await.expect("resent").iter().map(|(seq, _)| seq.0).collect();
        assert_eq!(again, [1, 5, 6, 7, 8, 9, 58, 59, 60], "10 is on its way already, 60 was dead");
        assert_eq!(store.resend(&lims, &missing, false).await.expect("nothing twice"), []);
        store.close().await.expect("an orderly end");

        let before = clinic.count();
        let running = clinic.start();
        tokio::time::sleep(Duration::from_secs(5)).await;
        running.stop().await;
        let expected: Vec<_> = [1_u64, 5, 6, 7, 8, 9, 10, 58, 59, 60]
            .map(|ordinal| (ordinal, ids[ordinal as usize - 1].to_string(), true))
            .to_vec();
        assert_eq!(heard(&clinic, before), expected);
        let store = clinic.store().await;
        let left = store.dead(None, &wanted, &Page { after: None, limit: 10 }).await.expect("a list");
        assert_eq!(left.iter().map(|letter| letter.ordinal).collect::<Vec<_>>(), [20, 30, 40, 50]);
        let story = store.deliveries_of(ids[9]).await.expect("a story");
        let lims = story.iter().find(|delivery| delivery.destination == lims).expect("it belongs there");
        assert_eq!(lims.attempts.iter().map(|note| note.status).collect::<Vec<_>>(), [Some(422), Some(200)]);
    });
}

fn secret(text: &str) -> DatedSecret {
    DatedSecret { secret: Secret::new(text), valid_until: None }
}

#[test]
fn a_box_without_a_clock_signs_by_the_receivers_own() {
    virtually(async {
        let rule = |asked: &Asked| {
            let right = TRUE_START.as_seconds().unsigned_abs() + asked.at.as_secs();
            let date = ("date".to_owned(), "Sat, 21 Nov 2026 08:00:00 GMT".to_owned());
            let status = if asked.number("webhook-timestamp").abs_diff(right) < 60 { 200 } else { 401 };
            Reply::Status(status, vec![date])
        };
        let mut webhook = Webhook::new("lims", "https://receiver.example/hook", "cloudevents");
        webhook.secrets = vec![secret("whsec_c2ltdWxhdGVkIHNlY3JldCBvZiAzMiBieXRlcyEh")];
        let mut clinic = Clinic::new(vec![webhook], Duration::from_millis(5), Arc::new(rule));
        clinic.wall.steps = vec![(Duration::ZERO, -TRUE_START.0, ClockQuality::Unset)];
        clinic.fill(events(3, 1)).await;
        let running = clinic.start();
        tokio::time::sleep(Duration::from_secs(2)).await;
        running.stop().await;
        let attempts: Vec<_> = clinic
            .asked()
            .iter()
            .map(|asked| (asked.number("x-gateway-ordinal"), asked.number("x-gateway-attempt")))
            .collect();
        assert_eq!(attempts, [(1, 1), (1, 1), (2, 1), (3, 1)], "refused once, corrected at once, and never again");
    });
}

#[test]
fn of_several_keys_the_one_that_the_receiver_accepts_is_found_at_once_and_remembered() {
    virtually(async {
        let key = |asked: &Asked| asked.headers.get("x-api-key").cloned().unwrap_or_default();
        let rule =
            move |asked: &Asked| Reply::Status(if key(asked) == "the-older-key" { 200 } else { 401 }, Vec::new());
        let mut webhook = Webhook::new("partner", "https://receiver.example/hook", "partner");
        webhook.secrets = vec![secret("the-newest-key"), secret("the-older-key")];
        let clinic = Clinic::new(vec![webhook], Duration::from_millis(5), Arc::new(rule));
        let posted = || Posted {
            dialect: "partner".to_owned(),
            event: "appointmentCreated".to_owned(),
            session: None,
            payload: Payload::new(serde_json::json!({
                "dashboardUrl": "https://dashboard.example/7", "userUrl": "https://web.example/7", "appointmentId": 7,
                "locationId": 1, "datetime": "2026-11-21 10:00:00+00", "paymentMethod": "stripe",
            })),
        };
        let events = (0..3).map(|_| (AnalyzerId("gateway".to_owned()), EventKind::posted(posted()))).collect();
        clinic.fill(events).await;
        let running = clinic.start();
        tokio::time::sleep(Duration::from_secs(2)).await;
        running.stop().await;
        let keys: Vec<_> = clinic.asked().iter().map(key).collect();
        assert_eq!(keys, ["the-newest-key", "the-older-key", "the-older-key", "the-older-key"]);
    });
}

#[test]
fn a_paused_webhook_sends_nothing_and_loses_nothing() {
    virtually(async {
        let mut webhook = Webhook::new("lims", "https://receiver.example/hook", "cloudevents");
        webhook.paused = true;
        let mut clinic = Clinic::new(vec![webhook], Duration::ZERO, Arc::new(|_| Reply::Status(200, Vec::new())));
        clinic.fill(events(5, 2)).await;
        let running = clinic.start();
        tokio::time::sleep(Duration::from_secs(60)).await;
        running.stop().await;
        assert_eq!(clinic.count(), 0);
        clinic.config.webhooks[0].paused = false;
        let running = clinic.start();
        tokio::time::sleep(Duration::from_secs(2)).await;
        running.stop().await;
        assert_eq!(clinic.count(), 5);
    });
}
