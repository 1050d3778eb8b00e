//! SIGKILL, 200 times, at random moments of traffic; and then every promise is looked up.

use super::database::{Database, Stored};
use super::home::Home;
use super::mosquitto::{self, Mosquitto};
use super::talkers::{self, Conductor, Manner};
use gateway_core::time::Timestamp;
use gateway_daemon::platform::pty::Pty;
use gateway_daemon::simulated::Told;
use gateway_daemon::simulated::astm::Style;
use gateway_daemon::simulated::ledger::Ledger;
use gateway_daemon::simulated::messages::Kind;
use gateway_daemon::simulated::mqtt_judge::MqttJudge;
use gateway_daemon::simulated::receiver::{Answer, Options, Receiver, standard_webhooks};
use gateway_daemon::simulated::seeded::Seeded;
use rustix::fs::{Mode, OFlags};
use rustix::termios::{QueueSelector, ioctl_tiocnxcl, tcflush};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

const KILLS: u32 = 200;
/// So many messages of each analyzer must come through, or the test has proved nothing.
const MESSAGES_MIN: usize = 20;
/// How long the last bytes of a dead process may take to the other end of a pseudo-terminal; later ones are dropped.
const LAST_WORDS: Duration = Duration::from_millis(10);
const SEED: u64 = 20_261_121;
const SECRET: &str = "whsec_c2VjcmV0IG9mIHRoZSBraWxsIHRlc3QgMDAwMQ==";

/// What happens to a terminal when the last program that had it open is gone: bytes on their way are dropped, in both
/// directions, and it is nobody's exclusive property any more. Here the test holds it open, so it must do that itself.
fn closed_by_everybody(terminal: &OwnedFd) {
    tcflush(terminal, QueueSelector::IOFlush).expect("a terminal");
    ioctl_tiocnxcl(terminal).expect("a terminal");
}

fn hold(path: &Path) -> OwnedFd {
    rustix::fs::open(path, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).expect("a terminal")
}

pub fn wall() -> Timestamp {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    Timestamp(now.tv_sec * 1000 + now.tv_nsec / 1_000_000)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_200_times_nothing_acknowledged_is_lost_and_every_repeat_is_the_same() {
    if !mosquitto::is_installed() {
        return;
    }
    let mut home = Home::new();
    home.set("ANALYZER_GATEWAY_LOG", "debug");
    let broker = Mosquitto::start(&home).await;
    let mut judge = MqttJudge::start("127.0.0.1", broker.port, "analyzer-gateway", "judge");
    judge.subscribed(Duration::from_secs(30)).await.expect("a subscription");
    // Now and then the receiver has taken an event and its answer is lost, or it has a fault of its own.
    let script = |number: u64, _: &_| match number % 23 {
        7 => Answer::LoseAnswer,
        15 => Answer::Refuse { status: 503, retry_after_seconds: None },
        _ => Answer::Accept,
    };
    let options = Options { verify: standard_webhooks(SECRET), script: Arc::new(script), wall: Arc::new(wall) };
    let receiver = Receiver::start(options).await.expect("a port");

    let names = ["hematology", "immunology", "amplifier-a", "amplifier-b"];
    let ptys = names.map(|_| Pty::open().expect("a pseudo-terminal"));
    let terminals: Vec<OwnedFd> = ptys.iter().map(|pty| hold(pty.path())).collect();
    let drivers = ["astm", "astm", "test-v0", "test-v0"];
    let mut settings = format!("mqtt: {{ url: '{}' }}\nanalyzers:\n", broker.url());
    for ((name, driver), pty) in names.iter().zip(drivers).zip(&ptys) {
        let path = pty.path().display();
        settings += &format!("  - {{ id: {name}, driver: {driver}, port: {{ path: {path} }} }}\n");
    }
    settings += &format!(
        "webhooks:\n  - id: lims\n    url: {}\n    secret: {SECRET}\n    retry: [0s, 100ms, 100ms, 200ms, 500ms, 1s, 1s, 1s, 1s]\n",
        receiver.url()
    );
    home.configure(&settings);

    let (conductor, signals) = Conductor::new();
    let [one, two, three, four] = ptys;
    let (one_told, one_progress) = watch::channel(0);
    let (two_told, two_progress) = watch::channel(0);
    let hematology = Manner { kind: Kind::Hematology, style: Style::Cut(240), seed: SEED, messages_per_session: 3 };
    let immunology =
        Manner { kind: Kind::Immunoassay, style: Style::RecordPerFrame, seed: SEED + 1, messages_per_session: 1 };
    let hematology = tokio::spawn(talkers::astm(one, hematology, signals.clone(), one_told));
    let immunology = tokio::spawn(talkers::astm(two, immunology, signals.clone(), two_told));
    let runs = [
        tokio::spawn(talkers::test_v0(three, SEED, 3_100_000_000, signals.clone())),
        tokio::spawn(talkers::test_v0(four, SEED + 7, 3_200_000_000, signals)),
    ];

    let mut moments = Seeded::new(SEED);
    let mut busy_lives = 0;
    for kill in 0..KILLS {
        let acknowledged = *one_progress.borrow() + *two_progress.borrow();
        let gateway = home.start();
        // One death in five falls into the start itself.
        if kill % 5 != 0 {
            home.ready(&gateway).await;
        }
        tokio::time::sleep(Duration::from_millis(50 + moments.below(650))).await;
        gateway.kill().await;
        // What it said last still arrives.
        tokio::time::sleep(LAST_WORDS).await;
        terminals.iter().for_each(closed_by_everybody);
        conductor.died();
        home.eventually("both senders to give up", || (conductor.resigned() == 2 * (kill + 1)).then_some(())).await;
        busy_lives += u32::from(*one_progress.borrow() + *two_progress.borrow() > acknowledged);
    }

    let gateway = home.start_ready().await;
    conductor.stop();
    let mut told = vec![hematology.await.expect("an analyzer"), immunology.await.expect("an analyzer")];
    let mut lines = BTreeMap::new();
    for run in runs {
        lines.extend(run.await.expect("an analyzer"));
    }
    let database = Database::open(&home.state_dir());
    home.eventually("the backlog to be delivered", || {
        (database.undone("mqtt") == 0 && database.undone("webhook:lims") == 0).then_some(())
    })
    .await;
    gateway.stop().await;

    database.check();
    let events = database.events();
    // The broker has acknowledged everything; what it hands on may still be on its way to the subscriber.
    home.eventually("the subscriber", || (judge.ledger().lock().len() >= events.len()).then_some(())).await;
    let (mqtt, webhook) = (judge.ledger().lock().clone(), receiver.ledger().lock().clone());
    judge_promises(&told, &mqtt, &webhook);
    judge_log(&events, &mqtt, &webhook);
    judge_runs(&events, &lines);
    let counts = receiver.counts();
    assert_eq!((counts.holes, counts.wrong_signatures), (0, 0), "{:?}", counts.first_complaint);
    assert_eq!(database.dead("webhook:lims"), [""; 0]);
    assert_eq!(database.dead("mqtt"), [""; 0]);
    assert!(busy_lives >= KILLS / 5, "only {busy_lives} of {KILLS} lives had traffic to interrupt");

    let samples = told.iter().flat_map(|told| &told.sent).filter_map(|key| key.strip_prefix("sample "));
    home.assert_discreet(samples.chain([SECRET]));
    let total = told.iter_mut().fold(Told::default(), |mut sum, told| {
        sum.acknowledged.append(&mut told.acknowledged);
        sum.retransmitted += told.retransmitted;
        sum.abandoned += told.abandoned;
        sum
    });
    println!(
        "{KILLS} kills, {busy_lives} in traffic: {} messages acknowledged, {} frames sent again, {} messages given up and \
         repeated; {} events stored, {} repeated to MQTT, {} to the webhook; lost 0",
        total.acknowledged.len(),
        total.retransmitted,
        total.abandoned,
        events.len(),
        mqtt.repeats,
        webhook.repeats,
    );
}

/// Every acknowledged message stands at both destinations, under one id; damage was never acknowledged.
fn judge_promises(told: &[Told], mqtt: &Ledger, webhook: &Ledger) {
    for told in told {
        assert!(told.acknowledged.len() >= MESSAGES_MIN, "only {} messages came through", told.acknowledged.len());
        assert_eq!(told.accepted_damaged, 0, "a damaged frame was acknowledged");
        for key in &told.acknowledged {
            let (one, two) = (mqtt.ids_of(key), webhook.ids_of(key));
            assert_eq!(one.len(), 1, "{key} at MQTT: {one:?}");
            assert_eq!(one, two, "{key} at the webhook");
        }
        for key in &told.sent {
            assert!(mqtt.ids_of(key).len() <= 1 && webhook.ids_of(key).len() <= 1, "{key} came under two ids");
        }
    }
}

/// What is in the log is at both destinations, the same at each, in the log's order; and nothing else is.
fn judge_log(events: &[Stored], mqtt: &Ledger, webhook: &Ledger) {
    let stored: BTreeSet<&str> = events.iter().map(|event| event.id.as_str()).collect();
    assert_eq!(stored.len(), events.len(), "an id was used twice");
    for (name, ledger) in [("mqtt", mqtt), ("webhook", webhook)] {
        let heard: BTreeSet<&str> = ledger.ids().iter().map(String::as_str).collect();
        assert_eq!(heard.difference(&stored).collect::<Vec<_>>(), [&""; 0], "{name} heard what is not stored");
        assert_eq!(stored.difference(&heard).collect::<Vec<_>>(), [&""; 0], "{name} misses what is stored");
        assert_eq!(ledger.differing, 0, "{name}: a repeat was not the same");
    }
    let seqs: HashMap<&str, i64> = events.iter().map(|event| (event.id.as_str(), event.seq)).collect();
    let order: Vec<i64> = mqtt.ids().iter().map(|id| seqs[id.as_str()]).collect();
    assert!(order.is_sorted(), "MQTT first heard events out of order");
    let mut last_of_test: HashMap<&str, i64> = HashMap::new();
    let tests: HashMap<&str, &str> =
        events.iter().filter_map(|event| Some((event.id.as_str(), event.test.as_deref()?))).collect();
    for id in webhook.ids() {
        let Some(test) = tests.get(id.as_str()) else { continue };
        let before = last_of_test.insert(test, seqs[id.as_str()]);
        assert!(before.is_none_or(|before| before < seqs[id.as_str()]), "order inside test {test}");
    }
    for event in events {
        let data = |ledger: &Ledger| {
            let body = &ledger.get(&event.id).expect("looked up above").body;
            let envelope: Value = serde_json::from_slice(body).expect("JSON");
            assert_eq!(envelope["id"].as_str(), Some(event.id.as_str()));
            envelope["data"].clone()
        };
        let data = (data(mqtt), data(webhook));
        assert_eq!(data.0, data.1, "{} {}", event.name, event.id);
        assert_eq!(
            (data.0["event"].as_str(), data.0["analyzer"].as_str()),
            (Some(&*event.name), Some(&*event.analyzer))
        );
    }
}

/// The stored pieces of each run lie end to end, and together they are what its analyzer has said up to there.
fn judge_runs(events: &[Stored], lines: &BTreeMap<String, Value>) {
    let mut reached: BTreeMap<&str, (String, usize, usize)> = BTreeMap::new();
    let mut pieces = 0;
    for event in events {
        let (Some(test), data) = (&event.test, &event.body["test"]["data"]) else { continue };
        let Some(sn) = event.body["device"]["sn"].as_str().filter(|_| data.is_object()) else { continue };
        let said = &lines.get(sn).expect("an analyzer of ours")["test"]["data"];
        let place = reached.entry(test).or_insert((sn.to_owned(), 0, 0));
        assert_eq!(place.0, sn, "one test, two analyzers");
        for (from, list, at) in
            [("samples_from", "samples", &mut place.1), ("temperatures_from", "temperatureSamples", &mut place.2)]
        {
            let piece = data[list].as_array().map(Vec::as_slice).unwrap_or_default();
            assert_eq!(data[from].as_u64().unwrap_or(0) as usize, *at, "{list} of {test} at {}", event.seq);
            let whole = said[list].as_array().expect("a list");
            assert_eq!(piece, &whole[*at..*at + piece.len()], "{list} of {test} at {}", event.seq);
            *at += piece.len();
        }
        pieces += 1;
    }
    assert!(pieces > 100, "only {pieces} pieces of runs were stored");
}
