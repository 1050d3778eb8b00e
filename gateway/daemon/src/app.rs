//! The composition root: the one file that knows all of the gateway. The binary, the demo and the simulation run this very
//! function, each with its own [`Platform`].

mod membership;
mod orders;

pub use orders::Order;

use crate::api::{DoorWorker, Front};
use crate::board::Board;
use crate::calls::{Calls, Inbox, calls};
use crate::configuration::Source;
use crate::dispatcher::Shown;
use crate::dispatcher::broker::{BrokerWorker, MQTT};
use crate::dispatcher::monitor::{MONITORING, MonitorWorker};
use crate::dispatcher::sparkplug::{SPARKPLUG, SparkplugWorker};
use crate::dispatcher::webhook::WebhookWorker;
use crate::housekeeping::Housekeeper;
use crate::link::Link;
use crate::observer::Observer;
use crate::platform::{Clock, Notice, Platform};
use crate::pulse::{Pulse, Stop, Stopper, stop_channel};
use crate::registrar::Registrar;
use crate::store::{DestinationId, Store, StoreError};
use crate::supervision::Supervisor;
use crate::telemetry::Exporter;
use crate::updates::{Updater, Wanted};
use gateway_core::config::{Analyzer, Config, Mqtt, Registrations, Sparkplug, Telemetry, Webhook};
use gateway_core::dialects::dialect;
use gateway_core::drivers::driver;
use gateway_core::event::{AnalyzerId, Seq};
use gateway_core::health::Fact;
use gateway_core::identity::Identities;
use gateway_core::session::DriverOptions;
use gateway_core::time::Timestamp;
use gateway_core::vitals::{CertificateFile, certificate_files};
use membership::destinations;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};

/// How long a stop may take before what still runs is cut off. Nothing is lost by that: outcomes not yet recorded are
/// repeated at the next start.
const DRAIN_SECONDS_MAX: u64 = 8;
/// So many events beyond what is written down may have been shown to somebody: a recorder's outcomes, what is under way, and
/// the events of others between them.
const UNWRITTEN_EVENTS_MAX: i64 = 2_048;

/// What reaches a running gateway from outside.
pub struct Control {
    pub stop: Stop,
    pub orders: mpsc::Receiver<Order>,
    /// Called once the gateway runs: it has the store, and nobody else has.
    pub started: Box<dyn FnOnce() + Send>,
    pub supervisor: Supervisor,
    /// Where the settings were read from, if they were.
    pub settings: Option<Arc<Source>>,
}

/// Why the gateway cannot run.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("a part of the gateway has stopped: {0}")]
    PartStopped(String),
}

/// Runs the gateway until it is asked to stop.
pub async fn run(config: Config, platform: Platform, control: Control) -> Result<(), AppError> {
    let path = config.gateway.state_dir.join("events.db");
    let store = Store::open(&path, platform.clock.clone(), platform.disk.clone()).await?;
    let mut app = App::new(config.clone(), platform, store, control.supervisor);
    // The last outcomes of an earlier life may not have been written down: what they were about keeps its time too.
    app.identities = Arc::new(Mutex::new(Identities::new(app.store.identities().await?)));
    let furthest = app.store.furthest_cursor().await?;
    app.shown.raise(Seq(furthest.0.saturating_add(UNWRITTEN_EVENTS_MAX)).min(app.store.head().borrow()));
    app.front.settings = control.settings;
    app.apply(config).await?;
    (control.started)();
    app.platform.service.notify(Notice::Ready);
    app.attend(control.stop, control.orders).await?;
    if let Err(error) = app.store.close().await {
        // What was answered is on disk already; the next start only has to check the file.
        tracing::warn!(%error, "the database could not be closed in order");
    }
    Ok(())
}

/// What a part was started with: a part is restarted only if this has changed.
#[derive(PartialEq)]
enum Settings {
    Link(Analyzer, DriverOptions),
    Broker(Mqtt, String, Vec<AnalyzerId>, Duration),
    Monitor(Box<Mqtt>, String, Duration),
    Sparkplug(Box<Sparkplug>, String, Duration),
    /// The last: since when a person has paused it.
    Webhook(Box<Webhook>, String, usize, Option<Timestamp>),
    Housekeeper(gateway_core::config::Limits, gateway_core::config::Retention, Vec<Webhook>),
    Registrar(Registrations),
    Observer(PathBuf, Vec<CertificateFile>),
    Telemetry(Telemetry, String),
    Updater(Wanted),
    /// It looks at all of them.
    Door(Box<Config>),
}

/// A running part.
struct Part {
    settings: Settings,
    pulse: Pulse,
    stopper: Stopper,
}

struct App {
    config: Config,
    platform: Platform,
    store: Store,
    board: Arc<Board>,
    identities: Arc<Mutex<Identities>>,
    shown: Shown,
    parts: BTreeMap<String, Part>,
    tasks: JoinSet<String>,
    /// Requests to the API over MQTT, on their way from the broker's part to the API's.
    calls: (Calls, Inbox),
    supervisor: Supervisor,
    /// Endpoints that a person has paused, and since when.
    paused: BTreeMap<String, Timestamp>,
    /// Who has signed in at the page: it outlives the API's part.
    front: Front,
    /// Parts that were asked to stop and have not ended; a new one of the same name waits for it.
    leaving: BTreeSet<String>,
}

impl App {
    fn new(config: Config, platform: Platform, store: Store, supervisor: Supervisor) -> App {
        let board = Arc::new(Board::new(&config, platform.clock.boot(), platform.clock.now()));
        App {
            config,
            platform,
            store,
            board,
            identities: Arc::default(),
            shown: Shown::default(),
            parts: BTreeMap::new(),
            tasks: JoinSet::new(),
            calls: calls(),
            supervisor,
            paused: BTreeMap::new(),
            front: Front::default(),
            leaving: BTreeSet::new(),
        }
    }

    /// Makes what runs agree with the settings: stops what is gone or changed, then starts what is missing. Nothing has
    /// changed if the store refuses.
    async fn apply(&mut self, config: Config) -> Result<(), AppError> {
        let destinations = destinations(&config);
        self.store.configure(&destinations).await?;
        self.paused = self.store.paused().await?;
        self.store.set_linger(Duration::from_millis(config.limits.commit_linger_ms_max));
        let names: Vec<String> = destinations.into_iter().map(|(id, _)| id.0).collect();
        self.board.configure(&config, &names, self.platform.clock.now());
        for Analyzer { id: analyzer, .. } in &config.analyzers {
            match self.store.last_heard(analyzer).await {
                Ok((last_event_at, last_test_at)) => {
                    let remembered = Fact::Remembered { analyzer: analyzer.clone(), last_event_at, last_test_at };
                    self.board.tell(self.platform.clock.now(), remembered);
                }
                Err(error) => tracing::warn!(%analyzer, %error, "when it was last heard cannot be read"),
            }
        }
        self.config = config;
        let pinned = self.config.analyzers.iter();
        let pinned = pinned.filter_map(|analyzer| Some((analyzer.id.clone(), analyzer.serial_number.clone()?)));
        self.identities.lock().unwrap_or_else(PoisonError::into_inner).pin(pinned.collect());
        for warning in self.config.warnings() {
            tracing::warn!(warning, "allowed, and to be known");
        }
        let wanted = self.wanted();
        let stale = self.parts.extract_if(.., |name, part| wanted.get(name) != Some(&part.settings));
        for (name, part) in stale {
            part.stopper.stop();
            self.leaving.insert(name);
        }
        self.wait_for_leaving().await?;
        self.start_missing();
        Ok(())
    }

    /// Starts every part that is wanted, does not run, and is not still stopping.
    fn start_missing(&mut self) {
        for (name, settings) in self.wanted() {
            if !self.parts.contains_key(&name) && !self.leaving.contains(&name) {
                self.start(name, settings);
            }
        }
    }

    fn wanted(&self) -> BTreeMap<String, Settings> {
        let config = &self.config;
        let mut wanted = BTreeMap::new();
        for analyzer in &config.analyzers {
            let settings = Settings::Link(analyzer.clone(), analyzer.options.clone());
            wanted.insert(format!("analyzer:{}", analyzer.id), settings);
        }
        for webhook in &config.webhooks {
            let (gateway, ahead) = (config.gateway.id.clone(), config.limits.ahead_events_max);
            let paused = self.paused.get(&webhook.id).copied();
            let settings = Settings::Webhook(Box::new(webhook.clone()), gateway, ahead, paused);
            wanted.insert(DestinationId::webhook(&webhook.id).0, settings);
        }
        let analyzers = config.analyzers.iter().map(|analyzer| analyzer.id.clone()).collect();
        let broker =
            Settings::Broker(config.mqtt.clone(), config.gateway.id.clone(), analyzers, config.monitoring.interval);
        wanted.insert(MQTT.to_owned(), broker);
        if let Some(mqtt) = config.second_broker() {
            let interval = config.monitoring.interval;
            let monitor = Settings::Monitor(Box::new(mqtt.clone()), config.gateway.id.clone(), interval);
            wanted.insert(MONITORING.to_owned(), monitor);
        }
        if let Some(plant) = &config.sparkplug {
            let interval = config.monitoring.interval;
            let plant = Settings::Sparkplug(Box::new(plant.clone()), config.gateway.id.clone(), interval);
            wanted.insert(SPARKPLUG.to_owned(), plant);
        }
        let housekeeper =
            Settings::Housekeeper(config.limits.clone(), config.retention.clone(), config.webhooks.clone());
        wanted.insert("housekeeping".to_owned(), housekeeper);
        if config.registrations.lab_id_url.is_some() {
            wanted.insert("registrar".to_owned(), Settings::Registrar(config.registrations.clone()));
        }
        let observer = Settings::Observer(config.gateway.state_dir.clone(), certificate_files(config));
        wanted.insert("observer".to_owned(), observer);
        if config.telemetry.otlp_url.is_some() {
            let telemetry = Settings::Telemetry(config.telemetry.clone(), config.gateway.id.clone());
            wanted.insert("telemetry".to_owned(), telemetry);
        }
        if self.platform.machine.is_appliance() {
            wanted.insert("updates".to_owned(), Settings::Updater(Wanted::of(config)));
        }
        wanted.insert("api".to_owned(), Settings::Door(Box::new(config.clone())));
        wanted
    }

    fn start(&mut self, name: String, settings: Settings) {
        let (stopper, stop) = stop_channel();
        let pulse = Pulse::default();
        pulse.beat(self.platform.clock.now().mono);
        let (platform, store, board) = (self.platform.clone(), self.store.clone(), self.board.clone());
        let (shown, clock) = (self.shown.clone(), self.platform.clock.clone());
        let beat = pulse.clone();
        let task = name.clone();
        match &settings {
            Settings::Link(analyzer, options) => {
                // The settings were checked, so the name is known; a driver that is not is simply not started.
                let Some(driver) = driver(&analyzer.driver) else { return };
                let (analyzer, options) = (analyzer.clone(), options.clone());
                let identities = self.identities.clone();
                let link = Link { analyzer, driver, options, platform, store, board, identities, pulse: beat };
                self.tasks.spawn(async move {
                    link.run(stop).await;
                    task
                });
            }
            Settings::Broker(mqtt, gateway, analyzers, interval) => {
                let (mqtt, gateway, analyzers) = (mqtt.clone(), gateway.clone(), analyzers.clone());
                let worker = BrokerWorker {
                    mqtt,
                    gateway,
                    analyzers,
                    interval: *interval,
                    platform,
                    store,
                    board,
                    shown,
                    calls: self.calls.0.clone(),
                    pulse: beat,
                };
                self.tasks.spawn(async move {
                    keep_running(&task, &clock, || worker.run(stop.clone())).await;
                    task
                });
            }
            Settings::Monitor(mqtt, gateway, interval) => {
                let (mqtt, gateway, interval) = (*mqtt.clone(), gateway.clone(), *interval);
                let calls = self.calls.0.clone();
                let monitor = MonitorWorker { mqtt, gateway, interval, platform, store, board, calls, pulse: beat };
                self.tasks.spawn(async move {
                    monitor.run(stop).await;
                    task
                });
            }
            Settings::Sparkplug(settings, gateway, interval) => {
                let (settings, gateway, interval) = (*settings.clone(), gateway.clone(), *interval);
                let worker = SparkplugWorker { settings, gateway, interval, platform, board, pulse: beat };
                self.tasks.spawn(async move {
                    worker.run(stop).await;
                    task
                });
            }
            Settings::Webhook(webhook, gateway, ahead_events_max, paused) => {
                let Some(dialect) = dialect(&webhook.dialect) else { return };
                let (webhook, gateway, ahead_events_max) = (*webhook.clone(), gateway.clone(), *ahead_events_max);
                let paused = *paused;
                let destination = DestinationId::webhook(&webhook.id);
                let worker = WebhookWorker {
                    destination,
                    webhook,
                    paused,
                    gateway,
                    dialect,
                    ahead_events_max,
                    platform,
                    store,
                    board,
                    shown,
                    pulse: beat,
                };
                self.tasks.spawn(async move {
                    keep_running(&task, &clock, || worker.run(stop.clone())).await;
                    task
                });
            }
            Settings::Housekeeper(limits, retention, webhooks) => {
                let (limits, retention, webhooks) = (limits.clone(), retention.clone(), webhooks.clone());
                let keeper = Housekeeper { limits, retention, webhooks, platform, store, shown, pulse: beat };
                self.tasks.spawn(async move {
                    keeper.run(stop).await;
                    task
                });
            }
            Settings::Registrar(settings) => {
                let registrar = Registrar { settings: settings.clone(), platform, store, board, pulse: beat };
                self.tasks.spawn(async move {
                    registrar.run(stop).await;
                    task
                });
            }
            Settings::Observer(state_dir, files) => {
                let (state_dir, files) = (state_dir.clone(), files.clone());
                let observer = Observer { state_dir, files, platform, store, board, pulse: beat };
                self.tasks.spawn(async move {
                    observer.run(stop).await;
                    task
                });
            }
            Settings::Telemetry(settings, gateway) => {
                let (settings, gateway) = (settings.clone(), gateway.clone());
                let exporter = Exporter { settings, gateway, platform, board, pulse: beat };
                self.tasks.spawn(async move {
                    exporter.run(stop).await;
                    task
                });
            }
            Settings::Updater(wanted) => {
                let updater = Updater { wanted: wanted.clone(), platform, store, board, pulse: beat };
                self.tasks.spawn(async move {
                    updater.run(stop).await;
                    task
                });
            }
            Settings::Door(config) => {
                let (config, inbox) = ((**config).clone(), self.calls.1.clone());
                let (supervisor, front) = (self.supervisor.clone(), self.front.clone());
                let door = DoorWorker { config, platform, store, board, inbox, supervisor, front, pulse: beat };
                self.tasks.spawn(async move {
                    door.run(stop).await;
                    task
                });
            }
        }
        self.parts.insert(name, Part { settings, pulse, stopper });
    }

    async fn attend(&mut self, mut stop: Stop, mut orders: mpsc::Receiver<Order>) -> Result<(), AppError> {
        // Fed twice an interval, as sd_watchdog_enabled(3) advises.
        let interval = self.platform.service.watchdog_interval();
        let feeding = interval.map_or(Duration::from_secs(60), |interval| interval / 2);
        let mut told = String::new();
        let mut changes = self.board.changes();
        let supervisor = self.supervisor.clone();
        // Kept over the rounds: what happens meanwhile must not put the feeding off.
        let mut due = self.platform.clock.now().mono.after(feeding);
        loop {
            self.say_status(&mut told);
            tokio::select! {
                biased;
                () = stop.asked() => return self.stop().await,
                Some(ended) = self.tasks.join_next() => {
                    self.note_end(ended)?;
                    self.start_missing();
                }
                Some(order) = orders.recv() => self.obey(order).await?,
                () = supervisor.endpoints_changed() => {
                    let config = self.config.clone();
                    if let Err(reason) = self.adopt(config).await? {
                        tracing::error!(%reason, "which endpoints are paused takes effect at the next change");
                    }
                }
                Ok(()) = changes.changed() => {}
                () = self.platform.clock.sleep_until(due) => {
                    self.feed_watchdog().await;
                    due = self.platform.clock.now().mono.after(feeding);
                }
            }
        }
    }

    /// The watchdog is fed only while every part goes round and the disk answers.
    async fn feed_watchdog(&self) {
        let now = self.platform.clock.now().mono;
        let stuck: Vec<&str> =
            self.parts.iter().filter(|(_, part)| part.pulse.is_stuck(now)).map(|(name, _)| name.as_str()).collect();
        if !stuck.is_empty() {
            tracing::error!(parts = ?stuck, "stuck: the watchdog is not fed");
            return;
        }
        let answering = self.store.event(Seq(0));
        let patience = now.after(Duration::from_secs(5));
        tokio::select! {
            biased;
            answered = answering => if answered.is_ok() { self.platform.service.notify(Notice::Watchdog) },
            () = self.platform.clock.sleep_until(patience) => tracing::error!("the disk does not answer"),
        }
    }

    fn say_status(&self, told: &mut String) {
        let line = self.board.status_line(self.platform.clock.now());
        if line != *told {
            self.platform.service.notify(Notice::Status(&line));
            *told = line;
        }
    }

    /// Links first, so that nothing new comes in; then the destinations finish what is on its way.
    async fn stop(&mut self) -> Result<(), AppError> {
        self.platform.service.notify(Notice::Stopping);
        tracing::info!("stopping");
        let (links, others): (Vec<_>, Vec<_>) = std::mem::take(&mut self.parts)
            .into_iter()
            .partition(|(_, part)| matches!(part.settings, Settings::Link(..)));
        for group in [links, others] {
            for (name, part) in group {
                part.stopper.stop();
                self.leaving.insert(name);
            }
            self.wait_for_leaving().await?;
        }
        Ok(())
    }

    /// Waits, within a bound, for the parts that were asked to stop. One that takes longer, on a disk that does not answer,
    /// goes on leaving.
    async fn wait_for_leaving(&mut self) -> Result<(), AppError> {
        let patience = self.platform.clock.now().mono.after(Duration::from_secs(DRAIN_SECONDS_MAX));
        while !self.leaving.is_empty() {
            tokio::select! {
                biased;
                Some(ended) = self.tasks.join_next() => self.note_end(ended)?,
                () = self.platform.clock.sleep_until(patience) => {
                    tracing::warn!(parts = ?self.leaving, "slow to stop");
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// A part that ends without being asked ends the gateway: the service manager starts it again from the store.
    fn note_end(&mut self, ended: Result<String, JoinError>) -> Result<(), AppError> {
        match ended {
            Ok(name) if self.leaving.remove(&name) => Ok(()),
            Ok(name) => Err(AppError::PartStopped(format!("{name} ended by itself"))),
            // Its words stay unsaid: a panic's text may quote what it was working on.
            Err(error) if error.is_panic() => Err(AppError::PartStopped("a fault in the program".to_owned())),
            Err(_) => Err(AppError::PartStopped("it was cut off".to_owned())),
        }
    }
}

/// Runs a destination's worker, and again from what the store knows whenever the store could not be read or refused what
/// the worker believed. Ports and the other destinations do not notice.
async fn keep_running<F, R>(name: &str, clock: &Arc<dyn Clock>, mut run: F)
where
    F: FnMut() -> R,
    R: Future<Output = Result<(), StoreError>>,
{
    while let Err(error) = run().await {
        tracing::error!(destination = name, %error, "the store does not answer as it should, starting again from it");
        clock.sleep_until(clock.now().mono.after(Duration::from_secs(1))).await;
    }
}
