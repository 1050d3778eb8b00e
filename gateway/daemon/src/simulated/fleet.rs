//! A fleet of gateways that are not there, at a real broker: each with a connection, a last will and retained topics of its
//! own, and with what a real gateway would publish, made by the same fold.
//!
//! They have no analyzers, no store and no destinations: only what those would have told the board.

use crate::platform::Clock;
use crate::platform::listening::BrokerAt;
use crate::simulated::seeded::Seeded;
use gateway_core::delivery::DestinationView;
use gateway_core::event::AnalyzerId;
use gateway_core::health::{ConfiguredAnalyzer, Fact, Health};
use gateway_core::monitoring::{HealthReport, Publication, Status, Summary};
use gateway_core::overview::DeviceState;
use gateway_core::time::{Mono, Now};
use rumqttc::{AsyncClient, Event, EventLoop, Incoming, LastWill, PublishOptions, QoS};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;

const ANALYZERS: [&str; 3] = ["hematology", "chemistry", "coagulation"];
const WEBHOOK: &str = "webhook:lims";
/// Publishes of one gateway that wait for its connection.
const WAITING_MAX: usize = 32;
const BACKOFF_MS_MIN: u64 = 500;
const BACKOFF_MS_MAX: u64 = 2_000;

/// What the fleet is made of.
#[derive(Debug, Clone)]
pub struct Plan {
    pub at: BrokerAt,
    pub prefix: String,
    pub gateways: usize,
    /// Between two reports of one gateway.
    pub interval: Duration,
    pub keep_alive_seconds: u16,
    pub connects_per_second_max: u32,
    pub seed: u64,
}

/// Something that goes wrong with one gateway, or right again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Its connection breaks without a good-bye.
    Kill,
    /// It hangs: the connection stays, and nothing is said.
    Silence,
    /// So many dead letters.
    Dead(usize),
    /// Its clock is so many seconds ahead; negative: behind.
    Clock(i64),
    /// Another box takes its id.
    Twin,
    /// It is stopped in order.
    Stop,
    /// Started again, with nothing wrong.
    Heal,
}

/// Whose connection has something to tell, and what.
type Told = (usize, bool);

/// The fleet at play.
pub struct Players<C> {
    plan: Plan,
    clock: C,
    players: Vec<Player>,
    /// When which of them has something to do.
    due: BTreeSet<(Mono, usize)>,
    told: (mpsc::UnboundedSender<Told>, mpsc::UnboundedReceiver<Told>),
    acknowledged: Arc<AtomicU64>,
    seeded: Seeded,
}

struct Player {
    id: String,
    health: Health,
    clock_off_ms: i64,
    connected: bool,
    wire: Option<Wire>,
}

/// One connection, for as often as it is made anew.
struct Wire {
    client: AsyncClient,
    hush: Arc<Notify>,
    polling: JoinHandle<()>,
}

impl Drop for Wire {
    /// Without a DISCONNECT.
    fn drop(&mut self) {
        self.polling.abort();
    }
}

impl<C: Clock> Players<C> {
    /// They start when [`Players::turn`] is called.
    pub fn new(plan: Plan, clock: C) -> Players<C> {
        let started = clock.now().mono;
        let pause = Duration::from_secs(1) / plan.connects_per_second_max.max(1);
        let mut seeded = Seeded::new(plan.seed);
        let players = (1..=plan.gateways).map(|number| {
            let id = format!("sim-{number:05}");
            Player::new(id, boot(&mut seeded), clock.now())
        });
        let players: Vec<Player> = players.collect();
        let due =
            (0..players.len()).map(|place| (started.after(pause * u32::try_from(place).unwrap_or(u32::MAX)), place));
        Players {
            due: due.collect(),
            plan,
            clock,
            players,
            told: mpsc::unbounded_channel(),
            acknowledged: Arc::default(),
            seeded,
        }
    }

    /// How many have a connection now.
    pub fn connected(&self) -> usize {
        self.players.iter().filter(|player| player.connected).count()
    }

    /// How many messages the broker has acknowledged.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Lets the next thing happen: a connection that is made or lost, or a report that is due. May be dropped half-way.
    pub async fn turn(&mut self) {
        let (due, place) = match self.due.first() {
            Some((due, place)) => (*due, Some(*place)),
            None => (Mono(u64::MAX), None),
        };
        tokio::select! {
            Some((place, connected)) = self.told.1.recv() => self.note(place, connected),
            () = self.clock.sleep_until(due) => if let Some(place) = place
                && self.clock.now().mono >= due
            {
                self.due.remove(&(due, place));
                self.act(place);
            }
        }
    }

    /// Makes it happen to the gateway of this number, from 1. `false` if there is none.
    pub fn strike(&mut self, number: usize, fault: Fault) -> bool {
        let Some(place) = number.checked_sub(1).filter(|place| *place < self.plan.gateways) else { return false };
        match fault {
            Fault::Kill => self.cut(place),
            Fault::Silence => {
                self.due.retain(|(_, other)| *other != place);
                if let Some(wire) = &self.players[place].wire {
                    wire.hush.notify_one();
                }
            }
            Fault::Dead(dead) => {
                let now = self.now(place);
                let view = DestinationView { dead, ..DestinationView::default() };
                self.players[place]
                    .health
                    .learn(now, Fact::DestinationChanged { destination: WEBHOOK.to_owned(), view });
                self.report(place, true);
            }
            Fault::Clock(seconds) => {
                self.players[place].clock_off_ms = seconds.saturating_mul(1000);
                self.report(place, false);
            }
            Fault::Twin => {
                let id = self.players[place].id.clone();
                self.players.push(Player::new(id, boot(&mut self.seeded), self.clock.now()));
                self.act(self.players.len() - 1);
            }
            Fault::Stop => {
                let now = self.now(place);
                let stopped = self.players[place].health.overview(now, Some((DeviceState::Disconnected, "stopped")));
                self.publish(place, &Publication::state("status", &Status::from(&stopped)));
                self.due.retain(|(_, other)| *other != place);
            }
            Fault::Heal => {
                self.cut(place);
                let id = self.players[place].id.clone();
                self.players[place] = Player::new(id, boot(&mut self.seeded), self.clock.now());
                self.act(place);
            }
        }
        true
    }

    fn cut(&mut self, place: usize) {
        self.due.retain(|(_, other)| *other != place);
        self.players[place].wire = None;
        self.players[place].connected = false;
    }

    fn note(&mut self, place: usize, connected: bool) {
        // A word of a connection that was cut meanwhile.
        if self.players[place].wire.is_none() {
            return;
        }
        self.players[place].connected = connected;
        self.due.retain(|(_, other)| *other != place);
        if connected {
            self.report(place, true);
            // Spread over the interval, as boxes are that were not switched on together.
            let interval_ms = u64::try_from(self.plan.interval.as_millis()).unwrap_or(u64::MAX);
            let first = Duration::from_millis(self.seeded.below(interval_ms));
            self.due.insert((self.clock.now().mono.after(first), place));
        }
    }

    fn act(&mut self, place: usize) {
        if self.players[place].wire.is_none() {
            self.players[place].wire = self.wire(place);
            return;
        }
        self.report(place, false);
        // A twentieth sooner or later, so that they do not fall into step.
        let interval = self.plan.interval.mul_f64(self.seeded.between(0.95, 1.05));
        self.due.insert((self.clock.now().mono.after(interval), place));
    }

    fn wire(&mut self, place: usize) -> Option<Wire> {
        let now = self.now(place);
        let player = &self.players[place];
        let lost =
            player.health.overview(now, Some((DeviceState::Lost, "the gateway vanished: power, network or a crash")));
        let will = Publication::state("status", &Status::from(&lost));
        let topic = format!("{}/{}/status", self.plan.prefix, player.id);
        let mut options = self.plan.at.options(&format!("{}-{}", self.plan.prefix, player.id)).ok()?;
        options.set_keep_alive(self.plan.keep_alive_seconds);
        options.set_last_will(LastWill::new(topic, will.payload().to_vec(), QoS::AtLeastOnce, true));
        let (client, events) = AsyncClient::builder(options).capacity(WAITING_MAX).build();
        let hush = Arc::new(Notify::new());
        let (told, acknowledged) = (self.told.0.clone(), self.acknowledged.clone());
        let jitter_ms = self.seeded.below(BACKOFF_MS_MIN);
        let polling = tokio::spawn(poll(events, place, hush.clone(), told, acknowledged, jitter_ms));
        Some(Wire { client, hush, polling })
    }

    /// What is due every interval; `changed`: and what is said when something has changed.
    fn report(&mut self, place: usize, changed: bool) {
        let overview = self.players[place].health.overview(self.now(place), None);
        if changed {
            self.publish(place, &Publication::state("status", &Status::from(&overview)));
        }
        self.publish(place, &Publication::state("summary", &Summary::from(&overview)));
        self.publish(place, &Publication::state("health", &HealthReport::from(&overview)));
    }

    fn publish(&self, place: usize, publication: &Publication) {
        let player = &self.players[place];
        let Some(wire) = &player.wire else { return };
        let topic = format!("{}/{}/{}", self.plan.prefix, player.id, publication.topic());
        let options = PublishOptions::new(QoS::AtLeastOnce).retain(publication.retain());
        // What finds no room is said again with the next report.
        let _ = wire.client.try_publish(topic, publication.payload().to_vec(), options);
    }

    fn now(&self, place: usize) -> Now {
        let now = self.clock.now();
        Now { wall: now.wall.shifted(self.players[place].clock_off_ms), ..now }
    }
}

impl Player {
    fn new(id: String, boot: String, now: Now) -> Player {
        let mut health = Health::new(&id, env!("CARGO_PKG_VERSION"), boot, now);
        let analyzers = ANALYZERS.map(|name| ConfiguredAnalyzer {
            id: AnalyzerId(name.to_owned()),
            port: format!("/dev/{name}"),
            model: Some("Invented Model 1".to_owned()),
        });
        let destinations = ["mqtt".to_owned(), WEBHOOK.to_owned()];
        health.configure(&id, "", analyzers.to_vec(), &destinations, now);
        for name in ANALYZERS {
            health.learn(now, Fact::LinkOpened { analyzer: AnalyzerId(name.to_owned()) });
        }
        Player { id, health, clock_off_ms: 0, connected: false, wire: None }
    }
}

fn boot(seeded: &mut Seeded) -> String {
    format!("{:016x}{:016x}", seeded.bits(), seeded.bits())
}

async fn poll(
    mut events: EventLoop,
    place: usize,
    hush: Arc<Notify>,
    told: mpsc::UnboundedSender<Told>,
    acknowledged: Arc<AtomicU64>,
    jitter_ms: u64,
) {
    let mut backoff = BACKOFF_MS_MIN;
    loop {
        let event = tokio::select! {
            biased;
            () = hush.notified() => return std::future::pending().await,
            event = events.poll() => event,
        };
        let news = match event {
            Ok(Event::Incoming(Incoming::ConnAck(_))) => {
                backoff = BACKOFF_MS_MIN;
                told.send((place, true))
            }
            Ok(Event::Incoming(Incoming::PubAck(_))) => {
                acknowledged.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            Ok(_) => Ok(()),
            Err(_) => {
                let sent = told.send((place, false));
                tokio::time::sleep(Duration::from_millis(backoff + jitter_ms)).await;
                backoff = (backoff * 2).min(BACKOFF_MS_MAX);
                sent
            }
        };
        if news.is_err() {
            return;
        }
    }
}
