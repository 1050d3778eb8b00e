//! The stage: shows what happens as lines, sends the receiver away and calls it back, and waits for the backlog.

use super::analyzers::{Cast, Cues, Promises, Tale};
use super::{Demo, END_WITHIN};
use crate::platform::pty::Pty;
use crate::simulated::mqtt_judge::MqttJudge;
use crate::simulated::receiver::Receiver;
use crate::simulated::verdict::{self, Verdict};
use anyhow::Context;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

const TICK: Duration = Duration::from_millis(50);
/// How long a line waits for both destinations before it says that one of them is still missing.
const LINE_WAITS: Duration = Duration::from_millis(600);
/// The receiver is away between these parts of the time.
const AWAY: (f64, f64) = (0.4, 0.6);

/// What the spectator sees, and everything that it is seen by.
pub struct Stage {
    quiet: bool,
    seconds: f64,
    started: Instant,
    receiver: Receiver,
    mqtt: MqttJudge,
    promises: Promises,
    pending: VecDeque<(Instant, Tale)>,
    /// Set when the receiver has come back, until its backlog is there: since when, and how many events were missing.
    catching_up: Option<(Instant, usize)>,
}

impl Stage {
    pub fn new(demo: &Demo, receiver: Receiver, mqtt: MqttJudge) -> Stage {
        Stage {
            quiet: demo.quiet,
            seconds: demo.seconds as f64,
            started: Instant::now(),
            receiver,
            mqtt,
            promises: Promises::default(),
            pending: VecDeque::new(),
            catching_up: None,
        }
    }

    /// The whole play: the given time with all analyzers, then their last words, then the backlog. Gives back the cables.
    pub async fn play(&mut self, cast: Cast) -> anyhow::Result<Vec<Pty>> {
        let (stop, stopped) = watch::channel(false);
        let (tales, mut told) = mpsc::unbounded_channel();
        let cues = Cues { seconds: self.seconds, stop: stopped, tales, promises: self.promises.clone() };
        let mut playing = cast.play(&cues);
        drop(cues);
        let mut cables = Vec::new();
        self.say("demo", &format!("four analyzers, {} s, the receiver will be away for a while", self.seconds));
        while self.elapsed() < self.seconds {
            self.tick(&mut told, &mut playing, &mut cables).await?;
            let part = self.elapsed() / self.seconds;
            self.switch(!(AWAY.0..AWAY.1).contains(&part)).await?;
        }
        self.switch(true).await?;
        self.say("demo", "time is up: the analyzers finish what they have begun");
        stop.send_replace(true);
        let deadline = Instant::now() + END_WITHIN;
        while !playing.is_empty() {
            anyhow::ensure!(Instant::now() < deadline, "an analyzer does not get its ACK");
            self.tick(&mut told, &mut playing, &mut cables).await?;
        }
        let deadline = Instant::now() + END_WITHIN;
        while self.verdict().lost() > 0 && Instant::now() < deadline {
            self.tick(&mut told, &mut playing, &mut cables).await?;
        }
        self.show_pending(Duration::ZERO);
        Ok(cables)
    }

    /// The judge's word on what has arrived until now.
    pub fn verdict(&self) -> Verdict {
        let wrong = self.receiver.counts().wrong_signatures;
        let (promises, mqtt, webhook) =
            (self.promises.lock(), self.mqtt.ledger().lock(), self.receiver.ledger().lock());
        verdict::judge(&promises, &mqtt, &webhook, wrong)
    }

    async fn tick(
        &mut self,
        told: &mut mpsc::UnboundedReceiver<Tale>,
        playing: &mut JoinSet<anyhow::Result<Pty>>,
        cables: &mut Vec<Pty>,
    ) -> anyhow::Result<()> {
        tokio::time::sleep(TICK).await;
        while let Some(ended) = playing.try_join_next() {
            cables.push(ended.context("an analyzer broke off")??);
        }
        while let Ok(tale) = told.try_recv() {
            match tale.key {
                Some(_) => self.pending.push_back((Instant::now(), tale)),
                None => self.say(tale.analyzer, &tale.text),
            }
        }
        self.show_pending(LINE_WAITS);
        self.show_catching_up();
        Ok(())
    }

    async fn switch(&mut self, on: bool) -> anyhow::Result<()> {
        if on == self.receiver.is_on() {
            return Ok(());
        }
        self.receiver.switch(on).await.context("the receiver cannot be switched")?;
        if on {
            let missing = self.behind();
            self.catching_up = Some((Instant::now(), missing));
            self.say("receiver", &format!("on again, {missing} events behind"));
        } else {
            self.say("receiver", "OFF: its port is closed");
        }
        Ok(())
    }

    /// How many events MQTT has that the webhook has not.
    fn behind(&self) -> usize {
        let heard = self.mqtt.ledger().lock().len();
        heard.saturating_sub(self.receiver.ledger().lock().len())
    }

    fn show_catching_up(&mut self) {
        if let Some((since, missing)) = self.catching_up
            && self.behind() == 0
        {
            self.catching_up = None;
            let seconds = since.elapsed().as_secs_f64();
            self.say("receiver", &format!("has caught up: {missing} events within {seconds:.1} s"));
        }
    }

    /// Shows the messages that have arrived everywhere or have waited long enough, in their order.
    fn show_pending(&mut self, wait: Duration) {
        while let Some((since, tale)) = self.pending.front() {
            let key = tale.key.as_deref().unwrap_or_default();
            let mqtt = !self.mqtt.ledger().lock().ids_of(key).is_empty();
            let webhook = !self.receiver.ledger().lock().ids_of(key).is_empty();
            if !(mqtt && webhook) && since.elapsed() < wait {
                return;
            }
            // A line has no answer of its own; that it was stored shows only when one of the two has heard of it.
            let stored = if mqtt || webhook || tale.is_answered { "stored" } else { "sent" };
            let mqtt = if mqtt { "ok" } else { "waiting" };
            let webhook = match (webhook, self.receiver.is_on()) {
                (true, _) => "ok",
                (false, true) => "waiting",
                (false, false) => "waiting (receiver is off)",
            };
            let line = format!("{} -> {stored}, MQTT {mqtt}, webhook {webhook}", tale.text);
            self.say(tale.analyzer, &line);
            self.pending.pop_front();
        }
    }

    fn say(&self, who: &str, text: &str) {
        if !self.quiet {
            super::show(&format!("{:6.1} s  {who:<12} {text}", self.elapsed()));
        }
    }

    fn elapsed(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }
}
