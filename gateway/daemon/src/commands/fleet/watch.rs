//! `fleet watch`: listens to all gateways of a broker and shows those that need a person.
//!
//! On a terminal the list is drawn anew in place; into a pipe each change is a line. With `--json` lines and lists are JSON.

use super::table::{Line, Listing, Screen};
use super::{At, EXIT_UNREACHABLE, duration};
use crate::commands::{EXIT_FAILED, EXIT_USAGE};
use crate::platform::clock::{SystemClock, SystemEntropy};
use crate::platform::listening::{Heard, listen};
use crate::platform::{Clock, Entropy};
use gateway_core::event::Id;
use gateway_core::fleet::{Fleet, News, Rules, Standing};
use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

const CONNECT_SECONDS_MAX: u64 = 10;
/// How long `--once` listens at most to what the broker had kept.
const ONCE_SECONDS_MAX: u64 = 120;
/// Between two looks at what only time tells, and between two pictures.
const LOOK_MS: u64 = 1_000;
const PICTURE_MS: u64 = 500;

#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    #[command(flatten)]
    at: At,
    /// JSON: an object for each change, or one for all with --once
    #[arg(long)]
    json: bool,
    /// Show it once and exit
    #[arg(long)]
    once: bool,
    /// With --once: when nothing more of what the broker had kept has come for so long, the list is whole
    #[arg(long, value_name = "SPAN", default_value = "2s", value_parser = duration, requires = "once")]
    settle: Duration,
    /// Show those too that need nobody
    #[arg(long)]
    all: bool,
    /// The gateways' monitoring.interval_seconds: one that misses three is called silent
    #[arg(long, value_name = "SPAN", default_value = "60s", value_parser = duration)]
    interval: Duration,
    /// How far a clock may be from this machine's
    #[arg(long, value_name = "SPAN", default_value = "60s", value_parser = duration)]
    clock_off_max: Duration,
}

/// Exit status 0 if no gateway needs a person, 1 if some do, 2 for wrong arguments, 3 if the broker cannot be reached.
pub fn run(args: Args, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let at = match args.at.broker() {
        Ok(at) => at,
        Err(told) => {
            let _ = writeln!(err, "{told}");
            return EXIT_USAGE;
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let Ok(runtime) = runtime else { return EXIT_UNREACHABLE };
    runtime.block_on(async {
        let filters = ["status", "summary"].map(|kind| format!("{}/+/{kind}", args.at.prefix));
        let clock = SystemClock::new();
        let mut random = [0; 10];
        SystemEntropy.fill(&mut random);
        let client_id = format!("fleet-watch-{}", Id::timed(clock.now().wall, random));
        let heard = match listen(&at, &client_id, filters.to_vec()) {
            Ok(heard) => heard,
            Err(reason) => {
                let _ = writeln!(err, "{reason}");
                return EXIT_USAGE;
            }
        };
        let rules = Rules { interval: args.interval, clock_off_max: args.clock_off_max };
        let shown = match (args.once, args.json) {
            (false, false) if std::io::stdout().is_terminal() => Shown::Screen(Screen::default()),
            _ => Shown::Lines(BTreeMap::new()),
        };
        let mut watch = Watch { args: &args, clock, fleet: Fleet::new(rules), shown, changed: true };
        match args.once {
            true => watch.once(heard, out, err).await,
            false => watch.live(heard, out, err).await,
        }
    })
}

struct Watch<'a> {
    args: &'a Args,
    clock: SystemClock,
    fleet: Fleet,
    shown: Shown,
    changed: bool,
}

enum Shown {
    Screen(Screen),
    /// What was last said of each.
    Lines(BTreeMap<String, Vec<(String, String)>>),
}

impl Watch<'_> {
    async fn once(&mut self, mut heard: mpsc::Receiver<Heard>, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
        let mut due = self.clock.now().mono.after(Duration::from_secs(CONNECT_SECONDS_MAX));
        let mut listening = false;
        let whole = async {
            loop {
                let patience = due.since(self.clock.now().mono);
                match tokio::time::timeout(patience, heard.recv()).await {
                    Ok(Some(Heard::Listening)) => {
                        listening = true;
                        due = self.clock.now().mono.after(self.args.settle);
                        self.fleet.listen(Some(self.clock.now()));
                    }
                    Ok(Some(Heard::Message { topic, payload, retained })) => {
                        self.hear(&topic, &payload, retained);
                        // What is said meanwhile puts nothing off.
                        if retained {
                            due = self.clock.now().mono.after(self.args.settle);
                        }
                    }
                    Ok(Some(Heard::Lost(reason))) if !listening => break Some(reason.to_string()),
                    Ok(Some(Heard::Lost(_))) => {}
                    Err(_) if !listening => break Some("the broker does not answer within 10 s".to_owned()),
                    Ok(None) | Err(_) => break None,
                }
            }
        };
        // One that takes longer is shown as far as it was heard.
        let told = tokio::time::timeout(Duration::from_secs(ONCE_SECONDS_MAX), whole).await.unwrap_or_default();
        if let Some(reason) = told {
            let _ = writeln!(err, "{reason}");
            return EXIT_UNREACHABLE;
        }
        let now = self.clock.now();
        let standings = self.fleet.standings(now);
        let listing = Listing { at: now.wall, census: self.fleet.census(&standings), gateways: standings };
        // A closed standard output leaves nobody to tell.
        let _ = listing.write(out, self.args.json, self.args.all);
        self.verdict()
    }

    async fn live(&mut self, mut heard: mpsc::Receiver<Heard>, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
        let mut ever = false;
        let mut look = tokio::time::interval(Duration::from_millis(LOOK_MS));
        let mut picture = tokio::time::interval(Duration::from_millis(PICTURE_MS));
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        picture.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let connecting = tokio::time::sleep(Duration::from_secs(CONNECT_SECONDS_MAX));
        let ended = super::interrupted();
        tokio::pin!(connecting, ended);
        loop {
            let written = tokio::select! {
                () = &mut ended => return self.verdict(),
                () = &mut connecting, if !ever => {
                    let _ = writeln!(err, "the broker does not answer within 10 s");
                    return EXIT_UNREACHABLE;
                }
                news = heard.recv() => match news {
                    Some(Heard::Listening) => {
                        ever = true;
                        self.fleet.listen(Some(self.clock.now()));
                        Ok(())
                    }
                    Some(Heard::Message { topic, payload, retained }) => match self.hear(&topic, &payload, retained) {
                        Some(id) => self.tell(&id, out),
                        None => Ok(()),
                    },
                    Some(Heard::Lost(reason)) => {
                        let _ = writeln!(err, "{reason}{}", if ever { "; trying again" } else { "" });
                        if !ever {
                            return EXIT_UNREACHABLE;
                        }
                        self.fleet.listen(None);
                        Ok(())
                    }
                    None => return EXIT_UNREACHABLE,
                },
                _ = look.tick() => self.look(out),
                _ = picture.tick(), if self.changed => self.draw(out),
            };
            // Whoever read the lines has gone.
            if written.is_err() {
                return EXIT_FAILED;
            }
        }
    }

    fn hear(&mut self, topic: &str, payload: &[u8], retained: bool) -> Option<String> {
        let topic = topic.strip_prefix(self.args.at.prefix.as_str())?.strip_prefix('/')?;
        let id = self.fleet.hear(self.clock.now(), News { topic, payload, retained });
        self.changed |= id.is_some();
        id
    }

    /// A line about this one, if anything is new.
    fn tell(&mut self, id: &str, out: &mut dyn Write) -> std::io::Result<()> {
        let now = self.clock.now();
        match (self.fleet.standing(id, now), &mut self.shown) {
            (Some(standing), Shown::Lines(told)) => {
                line(told, self.args, Line { at: now.wall, standing: &standing }, out)
            }
            (None, Shown::Lines(told)) => {
                told.remove(id);
                Ok(())
            }
            (_, Shown::Screen(_)) => Ok(()),
        }
    }

    /// What only time tells: who has fallen silent, what most have in common.
    fn look(&mut self, out: &mut dyn Write) -> std::io::Result<()> {
        self.changed = true;
        let now = self.clock.now();
        let Shown::Lines(told) = &mut self.shown else { return Ok(()) };
        for standing in self.fleet.standings(now) {
            line(told, self.args, Line { at: now.wall, standing: &standing }, out)?;
        }
        Ok(())
    }

    fn draw(&mut self, out: &mut dyn Write) -> std::io::Result<()> {
        self.changed = false;
        let now = self.clock.now();
        let Shown::Screen(screen) = &mut self.shown else { return Ok(()) };
        let gateways = self.fleet.standings(now);
        let listing = Listing { at: now.wall, census: self.fleet.census(&gateways), gateways };
        screen.draw(out, &listing, self.args.all)
    }

    fn verdict(&mut self) -> u8 {
        let needed = self.fleet.standings(self.clock.now()).iter().any(Standing::needs_a_person);
        u8::from(needed)
    }
}

/// Whether it is worth a line: another set of troubles than before, of those that are shown.
fn line(
    told: &mut BTreeMap<String, Vec<(String, String)>>,
    args: &Args,
    line: Line<'_>,
    out: &mut dyn Write,
) -> std::io::Result<()> {
    let standing = line.standing;
    let worth = |urgency| args.all || urgency <= gateway_core::trouble::Urgency::Today;
    let shown = standing.troubles.iter().filter(|trouble| worth(trouble.urgency));
    let now: Vec<(String, String)> = shown.map(|one| (one.code.clone(), one.subject.clone())).collect();
    match told.get(&standing.gateway) {
        Some(before) if *before == now => return Ok(()),
        None if now.is_empty() && !args.all => return Ok(()),
        _ => {}
    }
    // One that is well again is said once, and forgotten.
    match now.is_empty() && !args.all {
        true => drop(told.remove(&standing.gateway)),
        false => drop(told.insert(standing.gateway.clone(), now)),
    }
    line.write(out, args.json)?;
    out.flush()
}
