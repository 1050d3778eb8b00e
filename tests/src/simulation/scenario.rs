//! What a seed means: which analyzers say what and when, what goes wrong on every side, and for how long.

use super::broker::BrokerPlan;
use super::endpoint::EndpointPlan;
use super::ports::{DiskPlan, TRUE_START, WallPlan};
use gateway_core::config::{Analyzer, Config, DatedSecret, Line, Port, Webhook};
use gateway_core::dialects::Secret;
use gateway_core::event::AnalyzerId;
use gateway_core::session::{CommitPoint, DriverOptions};
use gateway_core::time::ClockQuality;
use gateway_daemon::simulated::astm::{Faults, Message, Style};
use gateway_daemon::simulated::seeded::Seeded;
use gateway_daemon::simulated::test_v0::Run;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A span that is out of order, or away, on the run's own time.
pub type Span = (Duration, Duration);

/// Everything that a seed decides.
#[derive(Clone)]
pub struct Scenario {
    pub seed: u64,
    pub analyzers: Vec<AnalyzerPlan>,
    pub webhooks: Vec<WebhookPlan>,
    pub broker: BrokerPlan,
    pub disk: DiskPlan,
    pub wall: WallPlan,
    /// This machine has no network.
    pub offline: Option<Span>,
    pub ahead_events_max: usize,
    /// Crashes at these moments, besides one at an effect.
    pub crashes: Vec<Duration>,
    /// How often it is looked whether all is done.
    pub look: Duration,
    /// By then everything must be done.
    pub limit: Duration,
}

/// One analyzer.
#[derive(Clone)]
pub struct AnalyzerPlan {
    pub id: &'static str,
    pub commit: CommitPoint,
    pub says: Says,
    /// Its adapter is unplugged.
    pub away: Vec<Span>,
}

/// What an analyzer says.
#[derive(Clone)]
pub enum Says {
    Astm { style: Style, faults: Faults, messages_per_session: usize, script: Vec<(Duration, Message)> },
    Run { run: Run, start: Duration, speed: f64 },
}

/// One receiver.
#[derive(Clone)]
pub struct WebhookPlan {
    pub id: &'static str,
    pub dialect: &'static str,
    pub retry: Vec<Duration>,
    pub concurrency: usize,
    pub batch: usize,
    pub backfill_per_second_max: Option<u32>,
    pub endpoint: EndpointPlan,
}

fn seconds(list: &[u64]) -> Vec<Duration> {
    list.iter().copied().map(Duration::from_secs).collect()
}

impl Scenario {
    /// A few messages and a few faults of every kind: short enough to be repeated with a crash at each effect.
    pub fn short(seed: u64) -> Scenario {
        let mut chance = Seeded::new(seed.wrapping_mul(0x5851_f42d_4c95_7f2d) ^ 0x1405_7b7e_f767_814f);
        let styles = [Style::Whole, Style::RecordPerEtbFrame, Style::Cut(33), Style::Cut(70)];
        let style = styles[chance.below(4) as usize];
        // Only a sender of ETB frames can be seen to give up: EOT after whole ETX frames ends a message without its L record.
        let careful = Faults { damaged: 80, answer_lost: 60, noise: 40, slow: 40, abandoned: 0 };
        let faults = Faults { abandoned: 50, ..careful };
        let astm = |id, style, count: u64, letter, faults, chance: &mut Seeded| {
            let script = script(letter, count, Duration::from_secs(4), 2, chance);
            let says = Says::Astm { style, faults, messages_per_session: 1 + chance.below(2) as usize, script };
            AnalyzerPlan { id, commit: CommitPoint::Frame, says, away: Vec::new() }
        };
        let second = 1 + chance.below(2);
        let analyzers = vec![
            astm("hematology", Style::RecordPerFrame, 1, 'H', careful, &mut chance),
            astm("immunology", style, second, 'I', faults, &mut chance),
            amplifier(1, Duration::from_millis(chance.below(3_000)), 20.0, &mut chance),
        ];
        let endpoint = |refusal| EndpointPlan {
            faulty: 250,
            faults_left: 4,
            poisonous: 40,
            refusal,
            latency_ms_max: 120,
            down: None,
        };
        let webhooks = vec![
            WebhookPlan {
                id: "lims",
                dialect: "cloudevents",
                retry: seconds(&[0, 3, 10, 30, 60, 120]),
                concurrency: 1 + chance.below(4) as usize,
                batch: 1 + chance.below(3) as usize,
                backfill_per_second_max: chance.chance(500).then_some(20),
                endpoint: endpoint(422),
            },
            WebhookPlan {
                id: "cloud",
                dialect: "test-v0",
                retry: seconds(&[0, 5, 5, 20, 60, 60]),
                concurrency: 2,
                batch: 1,
                backfill_per_second_max: None,
                endpoint: endpoint([400, 404, 422][chance.below(3) as usize]),
            },
        ];
        Scenario {
            seed,
            analyzers,
            webhooks,
            broker: BrokerPlan {
                refused: 100,
                broken_before: 60,
                broken_after: 60,
                faults_left: 3,
                ack_ms_max: 50,
                away: None,
            },
            disk: DiskPlan { latency_ms_max: chance.below(3), failing: 15, failures_left: 2, broken: None },
            wall: wall(&mut chance),
            offline: chance.chance(300).then(|| (Duration::from_secs(2), Duration::from_secs(9))),
            // Often so few that what a restart finds undone is a backlog.
            ahead_events_max: [256, 4, 4][chance.below(3) as usize],
            crashes: Vec::new(),
            look: Duration::from_secs(3),
            limit: Duration::from_secs(3_600),
        }
    }

    /// Hours with every fault there is, crashes among them.
    pub fn long(seed: u64) -> Scenario {
        let mut chance = Seeded::new(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ 0x9e6c_63d0_876a_68de);
        let mut scenario = Scenario::short(seed);
        let minute = Duration::from_secs(60);
        let faults = Faults { damaged: 60, answer_lost: 40, noise: 60, slow: 60, abandoned: 0 };
        for (plan, letter) in scenario.analyzers.iter_mut().zip(['H', 'I', 'X']) {
            if let Says::Astm { faults: old, script: says, .. } = &mut plan.says {
                *old = Faults { abandoned: old.abandoned / 2, ..faults };
                *says = script(letter, 12, 40 * minute, 4, &mut chance);
            } else {
                *plan = amplifier(8, minute, 1.5, &mut chance);
            }
            let unplugged = Duration::from_millis(chance.below(2_400_000));
            plan.away.push((unplugged, unplugged + Duration::from_secs(1 + chance.below(300))));
        }
        for webhook in &mut scenario.webhooks {
            webhook.endpoint.faulty = 200;
            webhook.endpoint.faults_left = 60;
            let from = Duration::from_secs(chance.below(2_000));
            webhook.endpoint.down = chance.chance(500).then(|| (from, from + Duration::from_secs(chance.below(1_200))));
        }
        let from = Duration::from_secs(chance.below(2_400));
        let broker_away = Some((from, from + Duration::from_secs(chance.below(1_800))));
        scenario.broker = BrokerPlan { faults_left: 40, away: broker_away, ..scenario.broker };
        let from = Duration::from_secs(chance.below(2_400));
        let broken = chance.chance(500).then(|| (from, from + Duration::from_secs(chance.below(40))));
        scenario.disk = DiskPlan { latency_ms_max: 15, failing: 20, failures_left: 20, broken };
        let from = Duration::from_secs(chance.below(2_400));
        scenario.offline = Some((from, from + Duration::from_secs(chance.below(600))));
        scenario.ahead_events_max = 16;
        scenario.crashes = (0..4).map(|_| Duration::from_millis(chance.below(2_700_000))).collect();
        scenario.crashes.sort_unstable();
        scenario.look = Duration::from_secs(20);
        scenario.limit = Duration::from_secs(4 * 86_400);
        scenario
    }

    /// One receiver is away for a week and the broker for a day, while analyzers work every few hours.
    pub fn week(seed: u64) -> Scenario {
        let mut chance = Seeded::new(seed ^ 0x6a09_e667_f3bc_c908);
        let hour = Duration::from_secs(3_600);
        let mut scenario = Scenario::short(seed);
        scenario.analyzers.truncate(2);
        for (plan, letter) in scenario.analyzers.iter_mut().zip(['H', 'I']) {
            if let Says::Astm { faults, style, script: says, .. } = &mut plan.says {
                *faults = Faults::default();
                *style = Style::Whole;
                *says = script(letter, 60, 150 * hour, 2, &mut chance);
            }
        }
        scenario.webhooks.truncate(1);
        scenario.webhooks[0].endpoint =
            EndpointPlan { down: Some((hour, 169 * hour)), latency_ms_max: 100, ..EndpointPlan::default() };
        scenario.webhooks[0].retry =
            seconds(&[0, 5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400, 86_400, 86_400, 86_400, 86_400]);
        scenario.broker = BrokerPlan { away: Some((30 * hour, 54 * hour)), ack_ms_max: 20, ..BrokerPlan::default() };
        scenario.disk = DiskPlan::default();
        scenario.offline = None;
        scenario.ahead_events_max = 16;
        scenario.look = hour;
        scenario.limit = Duration::from_secs(20 * 86_400);
        scenario
    }

    /// The settings of the gateway for this scenario.
    pub fn config(&self, state_dir: &Path) -> Config {
        let mut config = Config::default();
        config.gateway.id = "sim".to_owned();
        config.gateway.state_dir = state_dir.to_owned();
        config.limits.ahead_events_max = self.ahead_events_max;
        config.mqtt.window = 4;
        config.http.listen = None;
        config.analyzers = self.analyzers.iter().map(AnalyzerPlan::settings).collect();
        config.webhooks = self.webhooks.iter().map(WebhookPlan::settings).collect();
        config
    }
}

impl AnalyzerPlan {
    pub fn path(&self) -> PathBuf {
        Path::new("/simulated").join(self.id)
    }

    fn settings(&self) -> Analyzer {
        let driver = if matches!(self.says, Says::Astm { .. }) { "astm" } else { "test-v0" };
        Analyzer {
            id: AnalyzerId(self.id.to_owned()),
            driver: driver.to_owned(),
            port: Port::Path(self.path()),
            line: Line::default(),
            serial_number: None,
            model: None,
            options: DriverOptions { commit: self.commit, ..DriverOptions::default() },
        }
    }
}

impl WebhookPlan {
    fn settings(&self) -> Webhook {
        let secret = Secret::new("whsec_c2ltdWxhdGVkIHNlY3JldCBvZiAzMiBieXRlcyEh");
        Webhook {
            secrets: vec![DatedSecret { secret, valid_until: None }],
            retry: Some(self.retry.clone()),
            timeout: Duration::from_secs(8),
            concurrency: self.concurrency,
            batch: self.batch,
            backfill_per_second_max: self.backfill_per_second_max,
            ..Webhook::new(self.id, &format!("https://{}.example/hook", self.id), self.dialect)
        }
    }
}

/// The wall clock: right, or unset until a time server is heard, or thrown years ahead and back.
fn wall(chance: &mut Seeded) -> WallPlan {
    let year_ms = 365 * 86_400_000_i64;
    let later = Duration::from_millis(1_000 + chance.below(9_000));
    let steps = match chance.below(4) {
        0 => vec![(Duration::ZERO, -TRUE_START.0, ClockQuality::Unset), (later, 0, ClockQuality::Synchronized)],
        1 => vec![(later, 12 * year_ms, ClockQuality::Synchronized), (2 * later, 0, ClockQuality::Synchronized)],
        _ => Vec::new(),
    };
    WallPlan { steps }
}

/// `count` messages within `within`, each with some results.
fn script(letter: char, count: u64, within: Duration, results: u64, chance: &mut Seeded) -> Vec<(Duration, Message)> {
    let mut due: Vec<u64> = (0..count).map(|_| chance.below(within.as_millis() as u64)).collect();
    due.sort_unstable();
    due.into_iter()
        .enumerate()
        .map(|(index, ms)| (Duration::from_millis(ms), message(letter, index as u64 + 1, results, chance)))
        .collect()
}

/// One order with its results.
fn message(letter: char, number: u64, results: u64, chance: &mut Seeded) -> Message {
    let id = format!("{letter}{number:04}");
    let time = format!("20261121{:02}{:02}{:02}", 8 + number / 3600 % 12, number / 60 % 60, number % 60);
    let mut records = vec![format!("H|\\^&|||SIM^1^A1||||||||LIS2-A2|{time}"), format!("O|1|{id}||^^^ALL|R")];
    for result in 1..=1 + chance.below(results) {
        let value = chance.below(1000);
        records.push(format!("R|{result}|^^^C{result}|{}.{}|g/L||N||F||||{time}", value / 10, value % 10));
    }
    records.push("L|1|N".to_owned());
    Message { id, records: records.into_iter().map(String::into_bytes).collect() }
}

/// An analyzer that tells an amplification run of so many rounds.
fn amplifier(rounds: u32, start: Duration, speed: f64, chance: &mut Seeded) -> AnalyzerPlan {
    let run = Run::new(chance.bits(), 3_100_000_017, 7, TRUE_START, rounds);
    let says = Says::Run { run, start, speed };
    AnalyzerPlan { id: "amplifier", commit: CommitPoint::Frame, says, away: Vec::new() }
}
