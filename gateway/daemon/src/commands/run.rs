//! `run`: the gateway itself, until it is told to stop.

mod desk;
mod hand;

use super::ask::Home;
use super::{EXIT_CONFIG, EXIT_FAILED};
use crate::app::{self, Control, Order};
use crate::card::Told;
use crate::configuration::{self, Source};
use crate::platform::clock::SystemClock;
use crate::platform::disk::is_read_only;
use crate::platform::journal::Recent;
use crate::platform::machine::ThisMachine;
use crate::platform::privileged::below;
use crate::platform::{Clock, Platform};
use crate::pulse::{Stopper, stop_channel};
use crate::supervision::{Asked, Supervisor};
use desk::{Desk, keep, summary};
use gateway_core::appliance::layout;
use gateway_core::appliance::light::Light;
use gateway_core::appliance::report::{Dated, Down, Report, Settings};
use hand::OtherHalf;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    home: Home,
    /// The folder that stands for `/` where the gateway looks at its box
    #[arg(long, value_name = "DIR", default_value = "/", hide = true)]
    root: PathBuf,
}

/// Runs the gateway. Exit status 0 after a stop that was asked for, 78 without usable settings.
pub fn run(args: Args, err: &mut dyn Write) -> u8 {
    start_log();
    // What the gateway writes holds patient data: for its own user and group only.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o027));
    let source = args.home.source();
    let told = Told::of(&source);
    let running = match configuration::load_for_run(&source) {
        Ok(running) => running,
        Err(failure) => {
            let _ = writeln!(err, "{failure}");
            if let Some(told) = &told {
                told.light(Light::ConfigError);
                told.report_down(&down(configuration::judged_refused(&source, &failure), None));
            }
            tracing::error!("no usable settings and no last good ones: not started");
            return EXIT_CONFIG;
        }
    };
    if let Some(told) = &told {
        told.light_at_start();
    }
    let (hash, folder) = (running.loaded.hash.clone(), running.loaded.config.gateway.state_dir.clone());
    let is_box = below(&args.root, layout::IMAGE).exists();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(16)
        .thread_stack_size(512 * 1024)
        .enable_all()
        .build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(supervise(source.clone(), running, args.root)),
        Err(error) => Err(error.into()),
    };
    match outcome {
        Ok(()) => {
            told.iter().for_each(Told::light_out);
            0
        }
        Err(error) => {
            tracing::error!(%error, "stopped");
            if let Some(told) = &told {
                told.light(Light::Degraded);
                let why = match is_box && is_read_only(&folder) {
                    true => Down::without_data(true, ""),
                    false => Down::because(format!("{error:#}")),
                };
                told.report_down(&down(configuration::judged(&source, &hash), Some(why)));
            }
            EXIT_FAILED
        }
    }
}

/// The report of a gateway that does not run, because of the settings or for this reason.
fn down(settings: Settings, why: Option<Down>) -> Report {
    let now = SystemClock::new().now();
    let dated = Dated::LastChange(now.wall, now.quality);
    Report::of_down(env!("CARGO_PKG_VERSION"), dated, settings, why)
}

async fn supervise(source: Source, running: configuration::Running, root: PathBuf) -> anyhow::Result<()> {
    let (stopper, stop) = stop_channel();
    let (orders, inbox) = mpsc::channel(4);
    let loaded = running.loaded;
    let mut started: Box<dyn FnOnce() + Send> = Box::new(|| {});
    match &running.refused {
        None => {
            match &loaded.path {
                Some(path) => tracing::info!(file = %path.display(), hash = %loaded.hash, "settings are good"),
                None => tracing::warn!("no settings file found: running with the defaults, without analyzers"),
            }
            let good = loaded.clone();
            started = Box::new(move || keep(&good));
        }
        Some(failure) => {
            let kept = loaded.path.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
            tracing::error!(%kept, gateway = %loaded.config.gateway.id, %failure, "the settings file is refused; running on the last good settings");
            orders.send(Order::Refused(summary(failure))).await?;
        }
    }
    let other_half = OtherHalf::of(&root);
    let platform = Platform { machine: Arc::new(ThisMachine::below(root)), ..Platform::real() };
    let (supervisor, asked) = Supervisor::new();
    let settings = Some(Arc::new(source.clone()));
    let desk = Desk {
        source,
        orders,
        clock: platform.clock.clone(),
        file_refused: running.refused.as_ref().map(summary),
        current: loaded.clone(),
        trial: None,
        echo_awaited: false,
        other_half,
    };
    desk.clear_up().await?;
    let control = Control { stop, orders: inbox, started, supervisor, settings };
    let gateway = app::run(loaded.config, platform, control);
    tokio::pin!(gateway);
    let signals = heed(desk, stopper, asked);
    tokio::select! {
        ended = &mut gateway => return Ok(ended?),
        heeded = signals => heeded?,
    }
    Ok(gateway.await?)
}

/// SIGTERM and SIGINT stop; SIGHUP reads the settings again; others ask over the API. Returns once a stop was asked for.
async fn heed(mut desk: Desk, stopper: Stopper, mut asked: mpsc::Receiver<Asked>) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            // The file that is written right now is read once it is.
            _ = hang_up.recv(), if !desk.is_writing() => desk.read_again().await?,
            turn = desk.turn() => desk.take(turn).await?,
            Some(asked) = asked.recv() => desk.hear(asked).await?,
        }
    }
    stopper.stop();
    Ok(())
}

/// To the journal when systemd started us, else plain lines on stderr. `ANALYZER_GATEWAY_LOG` chooses what is said
/// (`info`, `debug`, `gateway_daemon::link=trace`).
fn start_log() {
    use tracing_subscriber::layer::SubscriberExt;
    use tracing_subscriber::util::SubscriberInitExt;
    let chosen = std::env::var("ANALYZER_GATEWAY_LOG")
        .unwrap_or_else(|_| "warn,rumqttd=off,gateway_daemon=info,gateway_core=info".to_owned());
    let filter = tracing_subscriber::EnvFilter::new(chosen);
    let registry = tracing_subscriber::registry().with(filter);
    let journal = std::env::var_os("JOURNAL_STREAM").and_then(|_| tracing_journald::layer().ok());
    let plain = journal.is_none().then(|| {
        let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
        tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(colours).with_target(false)
    });
    let _ = registry.with(journal).with(plain).with(Recent).try_init();
    // Where, but not what: a panic's text may quote what the program was working on.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "a fault in the program");
    }));
}
