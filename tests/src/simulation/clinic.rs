//! A gateway whose log is full before it starts, between receivers that answer by a rule: for tests about deliveries alone.
//!
//! Invariant: the gateway is `app::run`, on virtual time; nothing but its receivers and its clocks is simulated.

use super::line::{Lines, SimSerial};
use super::ports::{SimClock, SimEntropy, SimServer, SimService, WallPlan};
use super::world::World;
use crate::ports::{FixedClock, InlineDisk};
use gateway_core::config::{Config, Webhook};
use gateway_core::delivery::{Reason, ReasonCode};
use gateway_core::dialects::{Request, Response};
use gateway_core::event::{AnalyzerId, EventId, EventKind, Id};
use gateway_daemon::app::{self, AppError, Control};
use gateway_daemon::platform::machine::Unmeasured;
use gateway_daemon::platform::programs::NoPrograms;
use gateway_daemon::platform::{
    BoxFuture, Clock, HttpClient, MqttConnect, MqttConnection, Platform, Publisher, SendError,
};
use gateway_daemon::pulse::{Stopper, stop_channel};
use gateway_daemon::simulated::seeded::Seeded;
use gateway_daemon::store::{DestinationId, Filter, NewEntry, Store};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// One request, as its receiver saw it.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Since the clinic was opened.
    pub at: Duration,
    pub webhook: String,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Asked {
    pub fn event(&self) -> &str {
        self.headers.get("x-gateway-event-id").map_or("", String::as_str)
    }

    /// A header of ours that holds a number.
    pub fn number(&self, name: &str) -> u64 {
        self.headers.get(name).and_then(|value| value.parse().ok()).unwrap_or(0)
    }
}

/// What a receiver does.
#[derive(Debug, Clone)]
pub enum Reply {
    Status(u16, Vec<(String, String)>),
    Hang,
    Refuse,
    Drop,
    NoNetwork,
}

/// The rule by which all receivers answer.
pub type Rule = Arc<dyn Fn(&Asked) -> Reply + Send + Sync>;

#[derive(Clone)]
struct Receivers {
    world: World,
    rule: Rule,
    latency: Duration,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl HttpClient for Receivers {
    fn send(&self, webhook: &Webhook, request: Request) -> BoxFuture<'static, Result<Response, SendError>> {
        let Request::Http(request) = request else { unreachable!("no receiver here speaks MLLP") };
        let headers = request.headers.into_iter().collect();
        let asked = Asked { at: self.world.now(), webhook: webhook.id.clone(), headers, body: request.body };
        let reply = (self.rule)(&asked);
        if !matches!(reply, Reply::NoNetwork) {
            self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(asked);
        }
        let (latency, timeout) = (self.latency, webhook.timeout);
        Box::pin(async move {
            tokio::time::sleep(if matches!(reply, Reply::Hang) { timeout } else { latency }).await;
            let passing = |code| Err(SendError::Passing(Reason::new(code, "simulated")));
            match reply {
                Reply::Status(status, headers) => Ok(Response { status, headers, body: Vec::new() }),
                Reply::Hang => passing(ReasonCode::Timeout),
                Reply::Refuse => passing(ReasonCode::ConnectionRefused),
                Reply::Drop => passing(ReasonCode::ConnectionLost),
                Reply::NoNetwork => Err(SendError::NoNetwork(Reason::new(ReasonCode::NoNetwork, "simulated"))),
            }
        })
    }
}

struct NoBroker;

impl Publisher for NoBroker {
    fn connect(&self, _: &MqttConnect) -> BoxFuture<'static, Result<Box<dyn MqttConnection>, Reason>> {
        Box::pin(async { Err(Reason::new(ReasonCode::ConnectionRefused, "simulated: no broker")) })
    }
}

/// The receivers, the clock and the folder; the gateway in it can be started and stopped.
pub struct Clinic {
    pub config: Config,
    /// What the wall clock does.
    pub wall: WallPlan,
    world: World,
    receivers: Receivers,
    folder: TempDir,
}

/// A gateway that runs.
pub struct Running {
    app: JoinHandle<Result<(), AppError>>,
    stopper: Stopper,
    _orders: mpsc::Sender<app::Order>,
}

impl Clinic {
    /// Receivers that answer after `latency`. Must be called on a runtime with paused time.
    pub fn new(webhooks: Vec<Webhook>, latency: Duration, rule: Rule) -> Clinic {
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() };
        let folder = folder.expect("a temporary folder");
        let mut config = Config::default();
        config.gateway.id = "clinic".to_owned();
        config.gateway.state_dir = folder.path().to_owned();
        config.http.listen = None;
        config.webhooks = webhooks;
        let world = World::new(None);
        let receivers = Receivers { world: world.clone(), rule, latency, asked: Arc::default() };
        Clinic { config, wall: WallPlan::default(), world, receivers, folder }
    }

    pub fn database(&self) -> PathBuf {
        self.folder.path().join("events.db")
    }

    /// Since the clinic was opened.
    pub fn now(&self) -> Duration {
        self.world.now()
    }

    /// The store, while no gateway runs.
    pub async fn store(&self) -> Store {
        let (clock, disk) = (Arc::new(FixedClock::new(1)), Arc::new(InlineDisk::default()));
        Store::open(&self.database(), clock, disk).await.expect("a store nobody else uses")
    }

    /// Puts these events into the log, for every webhook.
    pub async fn fill(&self, events: Vec<(AnalyzerId, EventKind)>) -> Vec<EventId> {
        let store = self.store().await;
        let destinations: Vec<_> = self
            .config
            .webhooks
            .iter()
            .map(|webhook| (DestinationId(format!("webhook:{}", webhook.id)), Filter::default()))
            .collect();
        store.configure(&destinations).await.expect("an empty log");
        let at = FixedClock::new(1).now();
        let mut ids = Vec::new();
        for (number, (analyzer, kind)) in events.into_iter().enumerate() {
            let id = Id::derived(&[b"clinic", &number.to_be_bytes()]);
            let entry = NewEntry { analyzer, at, capture: Vec::new(), events: vec![(id, kind)], complete: true };
            store.commit(entry).await.expect("a disk with room");
            ids.push(id);
        }
        store.close().await.expect("an orderly end");
        ids
    }

    /// Starts the gateway, in the boot in which every start of this clinic lies.
    pub fn start(&self) -> Running {
        let life = self.world.new_life();
        let platform = Platform {
            clock: Arc::new(SimClock::new(&self.world, self.wall.clone(), 1, Duration::ZERO)),
            serial: Arc::new(SimSerial { life, lines: Lines::default() }),
            publisher: Arc::new(NoBroker),
            http: Arc::new(self.receivers.clone()),
            service: Arc::new(SimService::new(&self.world)),
            entropy: Arc::new(SimEntropy::new(Seeded::new(1))),
            disk: Arc::new(InlineDisk::default()),
            server: Arc::new(SimServer),
            programs: Arc::new(NoPrograms),
            machine: Arc::new(Unmeasured),
        };
        let (stopper, stop) = stop_channel();
        let (orders_in, orders) = mpsc::channel(1);
        let control = Control { stop, orders, started: Box::new(|| {}), settings: None };
        let app = tokio::spawn(app::run(self.config.clone(), platform, control));
        Running { app, stopper, _orders: orders_in }
    }

    /// Every request so far, in order.
    pub fn asked(&self) -> Vec<Asked> {
        self.receivers.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many requests there were.
    pub fn count(&self) -> usize {
        self.receivers.asked.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

impl Running {
    /// Asks it to stop, and waits until it has.
    pub async fn stop(self) {
        self.stopper.stop();
        let ended = self.app.await;
        assert!(matches!(ended, Ok(Ok(()))), "the gateway ended with {ended:?}");
    }
}
