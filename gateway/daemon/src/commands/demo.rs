//! `analyzer-gateway demo`: the main job, really run, with nothing but this binary.
//!
//! Four simulated analyzers on pseudo-terminals talk to the whole daemon in this process; an MQTT subscriber and a webhook
//! receiver that verifies every signature write down what arrives. The receiver is away for a fifth of the time. In the
//! end the judge compares what the analyzers were promised with what the two have heard; the gateway is not asked.

mod analyzers;
mod stage;

use super::EXIT_FAILED;
use crate::app::{self, Control};
use crate::platform::mqtt::RumqttPublisher;
use crate::platform::{BoxFuture, Platform};
use crate::pulse::stop_channel;
use crate::simulated::mqtt_judge::MqttJudge;
use crate::simulated::receiver::{self, Receiver};
use crate::simulated::verdict::Verdict;
use analyzers::Cast;
use anyhow::Context;
use gateway_core::config::{Analyzer, Broker, Config, DatedSecret, Gateway, Http, Line, Mqtt, Port, Webhook};
use gateway_core::dialects::Secret;
use gateway_core::event::AnalyzerId;
use gateway_core::session::DriverOptions;
use gateway_core::time::Timestamp;
use stage::Stage;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

const PREFIX: &str = "analyzer-gateway";
const SECRET: &str = "whsec_ZGVtby1zZWNyZXQtb2YtdHdlbnR5LWZvdXI=";
const PACKET_BYTES_MAX: usize = 1024 * 1024;
/// For everything that should happen at once.
const START_WITHIN: Duration = Duration::from_secs(15);
/// For analyzers to finish their sentence, for the backlog to drain, for the gateway to stop: each.
const END_WITHIN: Duration = Duration::from_secs(40);

/// Shows the gateway at work with simulated analyzers, and counts.
#[derive(Debug, Clone, clap::Args)]
pub struct Demo {
    /// How long the analyzers go on.
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u64).range(3..=86_400))]
    pub seconds: u64,
    /// Prints the final count only.
    #[arg(long)]
    pub quiet: bool,
    /// Equal seeds give equal analyzers.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
}

/// The daemon, started with these settings; it runs until the receiver of the second argument fires, then ends in order.
type Start = Box<dyn FnOnce(Config, oneshot::Receiver<()>) -> BoxFuture<'static, anyhow::Result<()>> + Send>;

/// Runs the demo. Exit status 0 means that nothing was lost.
pub fn run(demo: Demo, err: &mut dyn Write) -> u8 {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let sound = runtime.map_err(anyhow::Error::from).and_then(|runtime| runtime.block_on(play(&demo)));
    match sound {
        Ok(true) => 0,
        Ok(false) => EXIT_FAILED,
        Err(error) => {
            // A closed standard error leaves nobody to tell.
            let _ = writeln!(err, "the demo broke off: {error:#}");
            EXIT_FAILED
        }
    }
}

/// One line. A terminal or pipe that was closed misses it, and the demo goes on.
fn show(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Plays, prints the count, and says whether nothing was lost.
async fn play(demo: &Demo) -> anyhow::Result<bool> {
    let mqtt_port = start_broker()?;
    let start: Start = Box::new(move |config, stop| Box::pin(start_gateway(config, mqtt_port, stop)));
    let verdict = perform(demo, mqtt_port, start).await?;
    show(verdict.to_string().trim_end());
    for missing in verdict.missing.iter().take(20) {
        show(&format!("missing: {missing}"));
    }
    if !verdict.is_sound() {
        show(&format!(
            "not sound: {} doubled, {} different repeats, {} holes, {} wrong signatures, {} damaged frames accepted",
            verdict.total().doubled,
            verdict.differing,
            verdict.holes,
            verdict.wrong_signatures,
            verdict.accepted_damaged
        ));
        return Ok(false);
    }
    Ok(true)
}

/// The whole play, around any gateway.
async fn perform(demo: &Demo, mqtt_port: u16, start: Start) -> anyhow::Result<Verdict> {
    let folder = Folder::new()?;
    let cast = Cast::new(demo.seed, &folder.0)?;
    let receiver = Receiver::start(receiver::Options {
        verify: receiver::standard_webhooks(SECRET),
        script: receiver::accept_all(),
        wall: Arc::new(wall),
    });
    let receiver = receiver.await.context("the webhook receiver does not start")?;
    let config = config(demo, &folder.0, &cast, &receiver.url());
    // The subscriber comes before the gateway, so that no event can pass it by.
    let mut mqtt = MqttJudge::start("127.0.0.1", mqtt_port, PREFIX, "demo-judge");
    mqtt.subscribed(START_WITHIN).await.map_err(anyhow::Error::msg)?;

    let (stop, stopped) = oneshot::channel();
    let mut gateway = JoinSet::new();
    gateway.spawn(start(config, stopped));

    let mut stage = Stage::new(demo, receiver, mqtt);
    let played = tokio::select! {
        played = stage.play(cast) => played,
        ended = gateway.join_next() => Err(early_end(ended)),
    };
    // The analyzers' cables stay plugged in until the gateway has stopped.
    let cables = played?;
    let verdict = stage.verdict();
    let _ = stop.send(());
    match tokio::time::timeout(END_WITHIN, gateway.join_next()).await {
        Ok(Some(ended)) => ended.context("the gateway broke off")?.context("the gateway ended with an error")?,
        Ok(None) => {}
        Err(_) => anyhow::bail!("the gateway does not stop within {} s", END_WITHIN.as_secs()),
    }
    drop(cables);
    Ok(verdict)
}

fn early_end(ended: Option<Result<anyhow::Result<()>, tokio::task::JoinError>>) -> anyhow::Error {
    match ended {
        Some(Ok(Err(error))) => error.context("the gateway ended before the demo"),
        Some(Err(error)) => anyhow::Error::new(error).context("the gateway broke off"),
        _ => anyhow::anyhow!("the gateway ended before the demo"),
    }
}

/// The settings, as an integrator would write them for these four analyzers.
fn config(demo: &Demo, folder: &Path, cast: &Cast, url: &str) -> Config {
    let analyzers = cast.ports().map(|(id, driver, path)| Analyzer {
        id: AnalyzerId(id.to_owned()),
        driver: driver.to_owned(),
        model: None,
        port: Port::Path(path.to_owned()),
        line: Line::default(),
        serial_number: None,
        options: DriverOptions::default(),
    });
    let webhook = Webhook {
        secrets: vec![DatedSecret { secret: Secret::new(SECRET), valid_until: None }],
        retry: Some(patience(demo)),
        timeout: Duration::from_secs(5),
        ..Webhook::new("lims", url, "cloudevents")
    };
    Config {
        gateway: Gateway { id: "demo".to_owned(), state_dir: folder.join("state"), time_zone: "UTC".to_owned() },
        analyzers: analyzers.collect(),
        mqtt: Mqtt {
            broker: Broker::Embedded,
            topic_prefix: PREFIX.to_owned(),
            packet_bytes_max: PACKET_BYTES_MAX,
            window: 32,
            ..Mqtt::default()
        },
        http: Http { listen: None, ..Http::default() },
        webhooks: vec![webhook],
        ..Config::default()
    }
}

/// Time is compressed, and so is patience: a table that outlasts the receiver's absence, whatever `--seconds` says.
fn patience(demo: &Demo) -> Vec<Duration> {
    let quick = [Duration::from_millis(500); 20];
    let steady = std::iter::repeat_n(Duration::from_secs(3), 20 + demo.seconds as usize / 3);
    std::iter::once(Duration::ZERO).chain(quick).chain(steady).collect()
}

/// A folder of this demo's own, gone when it ends.
struct Folder(PathBuf);

impl Folder {
    fn new() -> anyhow::Result<Folder> {
        let path = std::env::temp_dir().join(format!("analyzer-gateway-demo-{}", std::process::id()));
        std::fs::create_dir_all(path.join("state")).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Folder(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A folder that stays behind in the temporary files does no harm.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What the peers take for the time of day.
fn wall() -> Timestamp {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    Timestamp(now.tv_sec * 1000 + now.tv_nsec / 1_000_000)
}

/// The embedded broker on a free port.
#[cfg(feature = "embedded-broker")]
fn start_broker() -> anyhow::Result<u16> {
    crate::platform::broker::start(0, PACKET_BYTES_MAX).map_err(anyhow::Error::msg)
}

#[cfg(not(feature = "embedded-broker"))]
fn start_broker() -> anyhow::Result<u16> {
    anyhow::bail!("this build has no embedded broker, and the demo needs one: build with the default features")
}

/// The real daemon with real ports. `mqtt_port` is where the embedded broker listens.
async fn start_gateway(config: Config, mqtt_port: u16, stop: oneshot::Receiver<()>) -> anyhow::Result<()> {
    let (stopper, asked) = stop_channel();
    let (_orders, inbox) = mpsc::channel(1);
    let control = Control { stop: asked, orders: inbox, started: Box::new(|| {}), settings: None };
    let gateway = app::run(config, Platform::with_publisher(RumqttPublisher::beside(mqtt_port)), control);
    tokio::pin!(gateway);
    tokio::select! {
        ended = &mut gateway => return Ok(ended?),
        _ = stop => stopper.stop(),
    }
    Ok(gateway.await?)
}
