//! A broker that accepts the connection and acknowledges nothing, in virtual time: the connection is given up and made again,
//! memory stays bounded, and once it answers it is told how things are now.

use super::home::DEADLINE;
use gateway_core::config::Config;
use gateway_core::delivery::Reason;
use gateway_core::event::{AnalyzerId, Id};
use gateway_core::health::Fact;
use gateway_core::monitoring::{Notice, NoticeCode};
use gateway_core::overview::{StoreOverview, Vitals};
use gateway_core::time::{ClockQuality, Mono, Now, Timestamp};
use gateway_daemon::board::Board;
use gateway_daemon::dispatcher::monitor::MonitorWorker;
use gateway_daemon::platform::{BoxFuture, Clock, Message, MqttConnect, MqttConnection, Platform, Publisher};
use gateway_daemon::pulse::{Pulse, stop_channel};
use gateway_daemon::store::Store;
use gateway_tests::contract;
use gateway_tests::ports::InlineDisk;
use std::future::pending;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

struct TokioClock(Instant);

impl Clock for TokioClock {
    fn now(&self) -> Now {
        let passed = self.0.elapsed();
        let wall = Timestamp(1_795_292_043_000).shifted(i64::try_from(passed.as_millis()).unwrap_or(i64::MAX));
        Now { mono: Mono::default().after(passed), wall, quality: ClockQuality::Synchronized }
    }

    fn boot(&self) -> Id {
        Id([1; 16])
    }

    fn sleep_until(&self, due: Mono) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(due.since(self.now().mono)))
    }
}

/// The broker: what it was sent on each connection, and whether it acknowledges.
#[derive(Clone, Default)]
struct Broker {
    sent: Arc<Mutex<Vec<Vec<Message>>>>,
    answers: Arc<AtomicBool>,
}

impl Broker {
    fn connections(&self) -> usize {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn last(&self) -> Vec<Message> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner).last().cloned().unwrap_or_default()
    }
}

impl Publisher for Broker {
    fn connect(&self, settings: &MqttConnect) -> BoxFuture<'static, Result<Box<dyn MqttConnection>, Reason>> {
        assert_eq!(contract::fault(&settings.will_topic, &settings.will_payload, Some(true)), None);
        self.sent.lock().unwrap_or_else(PoisonError::into_inner).push(Vec::new());
        let broker = self.clone();
        Box::pin(async move { Ok(Box::new(broker) as Box<dyn MqttConnection>) })
    }
}

impl MqttConnection for Broker {
    fn publish(&mut self, message: Message) -> BoxFuture<'static, Result<(), Reason>> {
        assert_eq!(contract::fault(&message.topic, &message.payload, Some(message.retain)), None);
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        sent.last_mut().expect("a connection").push(message);
        if self.answers.load(Ordering::Relaxed) { Box::pin(async { Ok(()) }) } else { Box::pin(pending()) }
    }

    fn subscribe(&mut self, _: String) -> mpsc::Receiver<Message> {
        panic!("nobody outside of the clinic is listened to here")
    }

    fn broken(&mut self) -> BoxFuture<'_, Reason> {
        Box::pin(pending())
    }

    fn disconnect(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async {})
    }
}

/// Lets virtual time pass until the condition holds.
async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE * 10;
    while !condition() {
        assert!(Instant::now() < end, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_acknowledges_nothing_costs_no_memory_and_hears_the_present_afterwards() {
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let clock = Arc::new(TokioClock(Instant::now()));
    let path = folder.path().join("events.db");
    let store = Store::open(&path, clock.clone(), Arc::new(InlineDisk::default())).await.expect("a new store");
    let broker = Broker::default();
    let mut platform = Platform::real();
    platform.clock = clock.clone();
    platform.publisher = Arc::new(broker.clone());
    let mut config = Config::default();
    config.gateway.id = "box".to_owned();
    config.monitoring.broker = Some(config.mqtt.clone());
    let board = Arc::new(Board::new(&config, clock.boot(), clock.now()));
    board.configure(&config, &["mqtt".to_owned()], clock.now());
    let (stopper, stop) = stop_channel();
    let worker = MonitorWorker {
        mqtt: config.mqtt.clone(),
        gateway: "box".to_owned(),
        interval: Duration::from_secs(60),
        platform,
        store,
        board: board.clone(),
        pulse: Pulse::default(),
    };
    let running = tokio::spawn(worker.run(stop));

    until("a connection", || broker.connections() == 1).await;
    let line = AnalyzerId("line".to_owned());
    for number in 0..1_000 {
        let notice = Notice::new(NoticeCode::Gap, clock.now().wall, "gateway", format!("gap {number}"));
        board.tell(clock.now(), Fact::Noted { notice });
        board.tell(clock.now(), Fact::LinkOpened { analyzer: line.clone() });
    }
    until("a second connection", || broker.connections() == 2).await;
    assert_eq!(board.overview(clock.now()).monitoring.map(|known| known.state).as_deref(), Some("ready"));
    until("a third one", || broker.connections() == 3).await;
    let sent: Vec<usize> = broker.sent.lock().unwrap_or_else(PoisonError::into_inner).iter().map(Vec::len).collect();
    assert!(sent.iter().all(|count| *count <= 80), "{sent:?}");

    board.tell(clock.now(), Fact::ConfigRefused { reason: "line 3".to_owned() });
    let measured = Fact::Measured { vitals: Vitals::default(), store: StoreOverview { head: 0, bytes: 4096 } };
    board.tell(clock.now(), measured);
    broker.answers.store(true, Ordering::Relaxed);
    until("one that is told everything", || broker.connections() == 4).await;
    let told = |topic: &str| broker.last().iter().rev().find(|one| one.topic.ends_with(topic)).cloned();
    let says =
        |topic: &str, words: &str| told(topic).is_some_and(|one| String::from_utf8_lossy(&one.payload).contains(words));
    until("the present", || says("/status", "line 3")).await;
    until("the newest notice", || says("/notices/CONFIG_REFUSED", "line 3")).await;
    let notices = broker.last().iter().filter(|one| one.topic.contains("/notices/")).count();
    assert_eq!(notices, 256, "what is kept, and no more");
    // One thousand and one were noted; the clinic's own broker has read none either.
    let dropped = format!("\"notices_dropped\":{}", 2 * (1_001 - 256));
    until("the count of the others", || says("/health", &dropped)).await;

    stopper.stop();
    running.await.expect("an orderly end");
    assert!(says("/status", "\"cause\":\"stopped\""));
}
