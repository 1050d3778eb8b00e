//! When the attempts of one delivery are made: the retry table, its readings and its jitter.

use std::time::Duration;

/// How the delays of a table are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RetryReading {
    /// Each delay counts from the attempt before it; the first from the moment the event was queued.
    #[default]
    Gaps,
    /// Each delay counts from the first attempt.
    Offsets,
    /// Each delay is one retry after a first attempt at once: a table of eleven makes twelve attempts.
    Retries,
}

/// When the attempts of one delivery are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetrySchedule {
    /// One delay an attempt (see [`RetryReading`]). Never empty.
    pub delays: Vec<Duration>,
    pub reading: RetryReading,
    /// Whether each delay is lengthened by up to a fifth, so that a thousand boxes do not come back in the same second.
    /// Only where no table is written: a written table is kept to the second.
    pub jittered: bool,
    /// The longest `Retry-After` that is honoured.
    pub retry_after_max: Duration,
}

impl RetrySchedule {
    /// A table as an integrator or a seed writes it.
    pub fn table(delays: Vec<Duration>) -> RetrySchedule {
        RetrySchedule {
            delays,
            reading: RetryReading::Gaps,
            jittered: false,
            retry_after_max: Duration::from_secs(86_400),
        }
    }

    /// The table of the Standard Webhooks specification ("Webhook retries"), with jitter: 0, 5 s, 5 min, 30 min, 2 h, 5 h,
    /// 10 h, 14 h, 20 h, 24 h.
    pub fn standard() -> RetrySchedule {
        let delays = [0, 5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400];
        let delays = delays.into_iter().map(Duration::from_secs).collect();
        RetrySchedule { jittered: true, ..RetrySchedule::table(delays) }
    }

    /// How many attempts there are in all.
    pub fn attempts_max(&self) -> u32 {
        let extra = usize::from(self.reading == RetryReading::Retries);
        u32::try_from(self.delays.len() + extra).unwrap_or(u32::MAX)
    }

    /// The delay before attempt number `attempts + 1`, counted from attempt number `attempts`; `None` if there is no
    /// further one. Before the first attempt it is the table's first delay (zero in the reading `retries`).
    pub fn delay_after(&self, attempts: u32) -> Option<Duration> {
        if attempts >= self.attempts_max() {
            return None;
        }
        let step = attempts as usize;
        let at = |index: usize| self.delays.get(index).copied().unwrap_or_default();
        Some(match self.reading {
            RetryReading::Gaps => at(step),
            RetryReading::Retries if step == 0 => Duration::ZERO,
            RetryReading::Retries => at(step - 1),
            RetryReading::Offsets if step == 0 => at(0),
            RetryReading::Offsets => at(step).saturating_sub(at(step - 1)),
        })
    }
}

/// A random number between 0 and 65,535 from the platform: where in the fifth of a jittered delay this one falls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Jitter(pub u16);

impl Jitter {
    /// The delay, lengthened by up to a fifth.
    pub fn lengthen(self, delay: Duration) -> Duration {
        delay + delay.mul_f64(f64::from(self.0) / 65_535.0 / 5.0)
    }
}
