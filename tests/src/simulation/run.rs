//! Plays a scenario from its first byte until nothing is left to do, through crashes and restarts of the gateway.

use super::broker::{Accepted, Broker, SimPublisher};
use super::check;
use super::endpoint::{Endpoints, Post, SimHttp};
use super::line::{Astm, Lines, Notes, SimSerial, talk};
use super::ports::{SimClock, SimDisk, SimEntropy, SimServer, SimService};
use super::scenario::{Says, Scenario};
use super::world::{Life, Line, World};
use gateway_daemon::app::{self, AppError, Control};
use gateway_daemon::platform::Platform;
use gateway_daemon::platform::machine::Unmeasured;
use gateway_daemon::platform::programs::NoPrograms;
use gateway_daemon::pulse::{Stopper, stop_channel};
use gateway_daemon::simulated::astm::{Sender, Timers};
use gateway_daemon::simulated::seeded::Seeded;
use rusqlite::Connection;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Starts of the gateway in one run. More than that is a gateway that does not stay up.
const LIVES_MAX: u32 = 60;

/// What is left of the world when a run is over.
pub struct Outcome {
    pub scenario: Scenario,
    pub crash_at: Option<u64>,
    pub trace: Vec<Line>,
    pub effects: u64,
    /// By the analyzer's id.
    pub analyzers: BTreeMap<String, Notes>,
    pub posts: BTreeMap<String, Vec<Post>>,
    pub accepted: Vec<Accepted>,
    pub retained: BTreeMap<String, Vec<u8>>,
    /// When the gateway was not there.
    pub outages: Vec<(Duration, Duration)>,
    /// Whether everything was done before the limit, and what went wrong besides.
    pub finished: bool,
    pub complaints: Vec<String>,
    /// Most undone rows that any destination ever had.
    pub rows_max: i64,
    folder: TempDir,
}

impl Outcome {
    pub fn database(&self) -> PathBuf {
        self.folder.path().join("events.db")
    }
}

/// A folder in memory if there is one: the disk's own speed is no part of a simulation.
fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() };
    made.expect("a temporary folder")
}

/// Plays it. Equal arguments give equal traces.
pub fn play(scenario: &Scenario, crash_at: Option<u64>) -> Outcome {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build().expect("a runtime");
    let folder = folder();
    runtime.block_on(async { Stage::new(scenario, crash_at, folder).perform().await })
}

struct Stage {
    scenario: Scenario,
    crash_at: Option<u64>,
    folder: TempDir,
    world: World,
    lines: Lines,
    broker: Broker,
    endpoints: Endpoints,
    chance: Seeded,
    boot: u32,
    booted: Duration,
    outages: Vec<(Duration, Duration)>,
    complaints: Vec<String>,
    rows_max: i64,
    peers: Vec<JoinHandle<()>>,
    reader: Option<Connection>,
}

/// A running gateway.
struct Gateway {
    life: Life,
    app: JoinHandle<Result<(), AppError>>,
    stopper: Stopper,
    _orders: mpsc::Sender<app::Order>,
    /// Alive as long as anything of the gateway is.
    alive: Weak<SimDisk>,
}

enum Ended {
    Done,
    TimeIsUp,
    Crashed,
    ByItself(String),
}

impl Stage {
    fn new(scenario: &Scenario, crash_at: Option<u64>, folder: TempDir) -> Stage {
        let world = World::new(crash_at);
        let mut chance = Seeded::new(scenario.seed);
        let broker = Broker::new(&world, scenario.broker.clone(), chance.fork());
        // Once a scenario is enough: its crashed runs say the same.
        if crash_at.is_none() {
            broker.hold_to_contract();
        }
        let endpoints = Endpoints::new(&world, scenario.offline);
        for webhook in &scenario.webhooks {
            endpoints.open(webhook.id, webhook.endpoint.clone(), chance.fork());
        }
        Stage {
            scenario: scenario.clone(),
            crash_at,
            folder,
            world,
            lines: Lines::default(),
            broker,
            endpoints,
            chance,
            boot: 1,
            booted: Duration::ZERO,
            outages: Vec::new(),
            complaints: Vec::new(),
            rows_max: 0,
            peers: Vec::new(),
            reader: None,
        }
    }

    async fn perform(mut self) -> Outcome {
        self.start_peers();
        let mut crashes = self.scenario.crashes.clone();
        crashes.reverse();
        let finished = loop {
            let gateway = self.start_gateway();
            let ended = self.attend(gateway, &mut crashes).await;
            let died = self.world.now();
            match ended {
                Ended::Done => break true,
                Ended::TimeIsUp => break false,
                Ended::Crashed => self.world.note("the gateway is gone"),
                Ended::ByItself(reason) => {
                    self.world.note(format!("the gateway ended by itself: {reason}"));
                    if reason.contains("panic") {
                        self.complaints.push(format!("the gateway ended by itself: {reason}"));
                    }
                }
            }
            if self.world.lives() >= LIVES_MAX {
                self.complaints.push("the gateway does not stay up".to_owned());
                break false;
            }
            tokio::time::sleep(Duration::from_millis(200 + self.chance.below(2_000))).await;
            self.outages.push((died, self.world.now()));
            // Every other crash takes the whole machine with it.
            if self.world.effects().is_multiple_of(2) {
                self.boot += 1;
                self.booted = self.world.now();
                self.world.note("the machine boots");
            }
        };
        self.finish(finished)
    }

    fn start_peers(&mut self) {
        for plan in self.scenario.analyzers.clone() {
            let opened = self.lines.lay(plan.path(), plan.away.clone());
            let chance = self.chance.bits();
            let peer = match plan.says.clone() {
                Says::Astm { style, faults, messages_per_session, script } => {
                    let sender = Sender::new(style, Timers::STANDARD, faults, chance);
                    let sender = sender.messages_per_session(messages_per_session);
                    let database = self.folder.path().join("events.db");
                    let astm = Astm::new(&self.world, &self.lines, plan.path(), (sender, style), script, database);
                    tokio::spawn(astm.run(opened))
                }
                Says::Run { run, start, speed } => {
                    let (world, lines) = (self.world.clone(), self.lines.clone());
                    tokio::spawn(talk(world, lines, plan.path(), run, (start, speed), opened))
                }
            };
            self.peers.push(peer);
        }
    }

    fn start_gateway(&mut self) -> Gateway {
        let life = self.world.new_life();
        let disk = Arc::new(SimDisk::new(&life, self.scenario.disk.clone(), self.chance.fork()));
        // What has failed does not fail again after every restart.
        self.scenario.disk.failures_left = self.scenario.disk.failures_left.saturating_sub(1);
        let clock = SimClock::new(&self.world, self.scenario.wall.clone(), self.boot, self.booted);
        let platform = Platform {
            clock: Arc::new(clock),
            serial: Arc::new(SimSerial { life: life.clone(), lines: self.lines.clone() }),
            publisher: Arc::new(SimPublisher { life: life.clone(), broker: self.broker.clone() }),
            http: Arc::new(SimHttp { life: life.clone(), endpoints: self.endpoints.clone() }),
            service: Arc::new(SimService::new(&self.world)),
            entropy: Arc::new(SimEntropy::new(self.chance.fork())),
            disk: disk.clone(),
            server: Arc::new(SimServer),
            programs: Arc::new(NoPrograms),
            machine: Arc::new(Unmeasured),
        };
        let (stopper, stop) = stop_channel();
        let (orders_in, orders) = mpsc::channel(1);
        let config = self.scenario.config(self.folder.path());
        self.world.note(format!("gateway {} starts in boot {}", life.number, self.boot));
        let app = tokio::spawn(app::run(config, platform, Control { stop, orders, started: Box::new(|| {}) }));
        Gateway { life, app, stopper, _orders: orders_in, alive: Arc::downgrade(&disk) }
    }

    /// Watches a gateway until it dies or nothing is left to do.
    async fn attend(&mut self, mut gateway: Gateway, crashes: &mut Vec<Duration>) -> Ended {
        let ended = loop {
            let until_crash = crashes.last().map(|at| at.saturating_sub(self.world.now()));
            tokio::select! {
                biased;
                () = gateway.life.over() => break Ended::Crashed,
                ended = &mut gateway.app => break Ended::ByItself(match ended {
                    Ok(Ok(())) => "without being asked".to_owned(),
                    Ok(Err(error)) => error.to_string(),
                    Err(error) => format!("panic: {error}"),
                }),
                () = tokio::time::sleep(until_crash.unwrap_or(Duration::MAX)), if until_crash.is_some() => {
                    crashes.pop();
                    self.world.note("CRASH at its moment");
                    break Ended::Crashed;
                }
                () = tokio::time::sleep(self.scenario.look) => {
                    let rest = self.rest();
                    self.rows_max = self.rows_max.max(rest.as_ref().map_or(0, |rest| rest.rows_max));
                    if self.lines.all_done() && rest.is_some_and(|rest| rest.undone == 0) {
                        break Ended::Done;
                    }
                    if self.world.now() >= self.scenario.limit {
                        break Ended::TimeIsUp;
                    }
                }
            }
        };
        match ended {
            Ended::Done | Ended::TimeIsUp => self.stop(gateway).await,
            Ended::Crashed | Ended::ByItself(_) => bury(gateway).await,
        }
        ended
    }

    fn rest(&mut self) -> Option<check::Rest> {
        // One connection for the run: making one takes longer than looking.
        let database = self.folder.path().join("events.db");
        let reader = self.reader.get_or_insert_with(|| check::read_only(&database));
        check::rest(reader, &self.scenario)
    }

    /// The orderly stop, which must not take longer than its bound.
    async fn stop(&mut self, mut gateway: Gateway) {
        gateway.stopper.stop();
        let stopped = tokio::time::timeout(Duration::from_secs(30), &mut gateway.app).await;
        if !matches!(stopped, Ok(Ok(Ok(())))) && !gateway.life.is_over() {
            self.complaints.push(format!("the orderly stop ended with {stopped:?}"));
        }
        bury(gateway).await;
    }

    fn finish(mut self, finished: bool) -> Outcome {
        self.complaints.extend(self.broker.unlike());
        for peer in &self.peers {
            peer.abort();
        }
        let id = |path: PathBuf| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Outcome {
            scenario: self.scenario,
            crash_at: self.crash_at,
            trace: self.world.trace(),
            effects: self.world.effects(),
            analyzers: self.lines.notes().into_iter().map(|(path, notes)| (id(path), notes)).collect(),
            posts: self.endpoints.posts(),
            accepted: self.broker.accepted(),
            retained: self.broker.retained(),
            outages: self.outages,
            finished,
            complaints: self.complaints,
            rows_max: self.rows_max,
            folder: self.folder,
        }
    }
}

/// Drops everything of a gateway, as the kernel does with a killed process.
async fn bury(gateway: Gateway) {
    gateway.life.end();
    if !gateway.app.is_finished() {
        gateway.app.abort();
        let _ = gateway.app.await;
    }
    for _ in 0..10_000 {
        if gateway.alive.strong_count() == 0 {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("something of the gateway outlives it");
}
