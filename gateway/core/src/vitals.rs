//! What the machine's vitals foretell, and which of them a person should know of.
//!
//! Invariant: nothing is foretold from less than six hours, and no trouble is told of what the machine does not say.

use crate::config::{Config, Mqtt};
use crate::overview::{CertificateLeft, Vitals};
use crate::time::{ClockQuality, Mono};
use crate::trouble::{Trouble, Urgency};
use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::Duration;

/// Between two observations of the disk that are kept.
const OBSERVED_EVERY: Duration = Duration::from_secs(600);
/// A week of them.
const OBSERVATIONS_MAX: usize = 7 * 24 * 6;
/// Less says nothing of a disk's habits.
const OBSERVED_FOR_MIN: Duration = Duration::from_secs(6 * 3600);
/// Later than this nobody needs to know.
const DAYS_LEFT_MAX: f64 = 3650.0;
const SECONDS_A_DAY: f64 = 86_400.0;

/// A box without a clock may be waiting for its network; after this long a person must help.
const CLOCK_UNSET_SECONDS_MAX: u64 = 600;
const MIB: u64 = 1 << 20;
/// Free bytes below which the next results may not be stored, a person should come today, and it should be known.
const FREE_BYTES_NOW: u64 = 64 * MIB;
const FREE_BYTES_TODAY: u64 = 512 * MIB;
/// Days until the disk is full below which a person should come, and it should be known.
const DISK_DAYS_TODAY: f64 = 7.0;
const DISK_DAYS_WATCH: f64 = 30.0;
/// A Pi slows down at 80 degrees Celsius and again at 85 (Raspberry Pi documentation, "Frequency management").
const CELSIUS_WATCH: f64 = 80.0;
const CELSIUS_TODAY: f64 = 85.0;
const WEAR_WATCH_PERCENT: u8 = 80;
const WEAR_TODAY_PERCENT: u8 = 90;
const CERTIFICATE_WATCH_DAYS: i64 = 21;
const CERTIFICATE_TODAY_DAYS: i64 = 7;

/// When a disk will be full, told from how it has filled.
#[derive(Debug, Clone, Default)]
pub struct DiskForecast {
    observed: VecDeque<(Mono, u64)>,
}

impl DiskForecast {
    /// Takes in how many bytes are free now, and tells in how many days none will be: by the line through what was observed
    /// (least squares). `None` before six hours are known, while the disk does not fill, and beyond ten years.
    pub fn observe(&mut self, now: Mono, free_bytes: u64) -> Option<f64> {
        if self.observed.back().is_none_or(|(last, _)| now.since(*last) >= OBSERVED_EVERY) {
            self.observed.push_back((now, free_bytes));
            if self.observed.len() > OBSERVATIONS_MAX {
                self.observed.pop_front();
            }
        }
        let first = self.observed.front()?.0;
        if now.since(first) < OBSERVED_FOR_MIN {
            return None;
        }
        let days = self.observed.iter().map(|(at, free)| (at.since(first).as_secs_f64() / SECONDS_A_DAY, *free as f64));
        let points: Vec<(f64, f64)> = days.collect();
        let bytes_a_day = -slope(&points)?;
        let days_left = free_bytes as f64 / bytes_a_day;
        (bytes_a_day > 0.0 && days_left <= DAYS_LEFT_MAX).then_some(days_left)
    }
}

fn slope(points: &[(f64, f64)]) -> Option<f64> {
    let count = points.len() as f64;
    let mean_x = points.iter().map(|(x, _)| x).sum::<f64>() / count;
    let mean_y = points.iter().map(|(_, y)| y).sum::<f64>() / count;
    let spread: f64 = points.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
    let common: f64 = points.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
    (spread > 0.0).then(|| common / spread)
}

/// A certificate that the settings name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFile {
    /// `mqtt`, `monitoring`, `sparkplug`, or `webhook:` and the endpoint's id.
    pub of: String,
    /// `ca_file` or `certificate_file`.
    pub what: &'static str,
    pub path: PathBuf,
}

/// Every certificate that the settings name.
pub fn certificate_files(config: &Config) -> Vec<CertificateFile> {
    let broker = |of: &str, mqtt: &Mqtt| (of.to_owned(), mqtt.ca_file.clone(), mqtt.certificate_file.clone());
    let mut all = vec![broker("mqtt", &config.mqtt)];
    all.extend(config.monitoring.broker.iter().map(|mqtt| broker("monitoring", mqtt)));
    all.extend(config.sparkplug.iter().map(|plant| broker("sparkplug", &plant.broker)));
    all.extend(
        config.webhooks.iter().map(|webhook| {
            (format!("webhook:{}", webhook.id), webhook.ca_file.clone(), webhook.certificate_file.clone())
        }),
    );
    let files = all.into_iter().flat_map(|(of, ca_file, certificate_file)| {
        let named = |what, path: Option<PathBuf>| path.map(|path| (what, path));
        let both = [named("ca_file", ca_file), named("certificate_file", certificate_file)];
        both.into_iter().flatten().map(move |(what, path)| CertificateFile { of: of.clone(), what, path })
    });
    files.collect()
}

/// What the vitals say that a person should know of.
pub fn troubles(vitals: &Vitals, clock: ClockQuality) -> Vec<Trouble> {
    let own = [
        clock_trouble(vitals, clock),
        disk_trouble(vitals),
        card_trouble(vitals),
        power_trouble(vitals),
        heat_trouble(vitals),
    ];
    let own = own
        .into_iter()
        .flatten()
        .map(|(code, urgency, reason, next_step)| Trouble::new(code, urgency, "gateway", &reason, next_step));
    // How long a certificate holds cannot be said without knowing the time.
    let dated = (clock != ClockQuality::Unset).then_some(&vitals.certificates).into_iter().flatten();
    own.chain(dated.filter_map(certificate_trouble)).collect()
}

type Told = (&'static str, Urgency, String, &'static str);

fn clock_trouble(vitals: &Vitals, clock: ClockQuality) -> Option<Told> {
    let waited = vitals.uptime_seconds.is_some_and(|seconds| seconds >= CLOCK_UNSET_SECONDS_MAX);
    let next_step = "Let the box reach a time server (NTP, UDP port 123), or set its clock by hand. Results are kept; their \
                     times are mended once the clock is right.";
    (clock == ClockQuality::Unset && waited)
        .then(|| ("clock_unset", Urgency::Today, "the clock of the box is not set".to_owned(), next_step))
}

fn disk_trouble(vitals: &Vitals) -> Option<Told> {
    let free = vitals.disk_free_bytes?;
    let days = vitals.disk_days_left.unwrap_or(f64::INFINITY);
    let urgency = match () {
        () if free < FREE_BYTES_NOW => Urgency::Now,
        () if free < FREE_BYTES_TODAY || days < DISK_DAYS_TODAY => Urgency::Today,
        () if days < DISK_DAYS_WATCH => Urgency::Watch,
        () => return None,
    };
    let left = vitals.disk_days_left.map(|days| format!("; at this pace it is full in {days:.0} days"));
    let reason = format!("{} MB are left on the disk{}", free / 1_000_000, left.unwrap_or_default());
    let next_step =
        "Remove what is not the gateway's from the disk, set limits.store_bytes_max, or take a larger card.";
    Some(("disk_low", urgency, reason, next_step))
}

fn card_trouble(vitals: &Vitals) -> Option<Told> {
    let wear = vitals.card_wear_percent.filter(|wear| *wear >= WEAR_WATCH_PERCENT)?;
    let urgency = if wear >= WEAR_TODAY_PERCENT { Urgency::Today } else { Urgency::Watch };
    let reason = format!("{wear} % of the card's life is used");
    Some(("card_wear", urgency, reason, "Make a backup and replace the card before it fails."))
}

fn power_trouble(vitals: &Vitals) -> Option<Told> {
    let said = |words: &[String]| words.iter().any(|word| word == "under_voltage");
    let next_step = "Use the power supply made for this board, with a short cable: too little voltage damages cards.";
    let (urgency, reason) = match () {
        () if said(&vitals.throttled) => (Urgency::Today, "the power supply is too weak"),
        () if said(&vitals.throttled_since_boot) => (Urgency::Watch, "the power supply was too weak at times"),
        () => return None,
    };
    Some(("under_voltage", urgency, reason.to_owned(), next_step))
}

fn heat_trouble(vitals: &Vitals) -> Option<Told> {
    let celsius = vitals.cpu_celsius.filter(|celsius| *celsius >= CELSIUS_WATCH)?;
    let urgency = if celsius >= CELSIUS_TODAY { Urgency::Today } else { Urgency::Watch };
    let reason = format!("the processor is {celsius:.0} degrees Celsius hot");
    Some(("temperature", urgency, reason, "Give the box air: not on top of an analyzer, not in the sun."))
}

fn certificate_trouble(one: &CertificateLeft) -> Option<Trouble> {
    let days = one.days_left;
    let urgency = match () {
        () if days < CERTIFICATE_TODAY_DAYS => Urgency::Today,
        () if days < CERTIFICATE_WATCH_DAYS => Urgency::Watch,
        () => return None,
    };
    let reason = match days {
        ..0 => format!("the certificate of {} ran out {} days ago", one.what, -days),
        _ => format!("the certificate of {} holds for {days} more days", one.what),
    };
    let next_step = "Put the new certificate into that file and reload. Results are kept meanwhile.";
    Some(Trouble::new("certificate", urgency, &one.of, &reason, next_step))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3600;

    fn forecast(hours: u64, free: impl Fn(u64) -> u64) -> Option<f64> {
        let mut forecast = DiskForecast::default();
        let looks = (0..=hours * 360).map(|look| {
            let seconds = look * 10;
            forecast.observe(Mono(seconds * 1_000_000_000), free(seconds))
        });
        looks.last().flatten()
    }

    #[test]
    fn a_disk_is_foretold_from_six_hours_on() {
        let filling = |seconds: u64| 100_000_000_000 - seconds * 100_000;
        assert_eq!(forecast(5, filling), None, "too little is known");
        let days = forecast(24, filling).expect("a day of filling");
        assert!((days - (100e9 - 8.64e9) / 8.64e9).abs() < 0.01, "{days}");
        assert_eq!(forecast(24, |_| 5_000_000), None, "it does not fill");
        assert_eq!(forecast(24, |seconds| 1000 + seconds), None, "it empties");
        assert_eq!(forecast(24, |seconds| u64::MAX / 2 - seconds), None, "not in ten years");
    }

    #[test]
    fn a_week_is_remembered_and_no_more() {
        let mut forecast = DiskForecast::default();
        for hour in 0..24 * 30 {
            forecast.observe(Mono(hour * HOUR * 1_000_000_000), 1 << 40);
        }
        assert!(forecast.observed.len() <= OBSERVATIONS_MAX);
        // Full three weeks ago and cleaned since: what counts is the week.
        let days = self::forecast(24 * 21, |seconds| if seconds < 13 * 86_400 { 10 } else { 1_000_000_000_000 });
        assert_eq!(days, None);
    }

    #[test]
    fn vitals_become_troubles_with_a_next_step() {
        assert!(troubles(&Vitals::default(), ClockQuality::Unset).is_empty(), "nothing is known, nothing is told");
        let certificate = |days_left| CertificateLeft { of: "mqtt".to_owned(), what: "ca_file".to_owned(), days_left };
        let bad = Vitals {
            cpu_celsius: Some(86.0),
            throttled: vec!["under_voltage".to_owned()],
            disk_free_bytes: Some(1000),
            card_wear_percent: Some(90),
            uptime_seconds: Some(601),
            certificates: vec![certificate(-3), certificate(20), certificate(21)],
            ..Vitals::default()
        };
        let told = troubles(&bad, ClockQuality::Unset);
        let codes: Vec<&str> = told.iter().map(|trouble| trouble.code.as_str()).collect();
        assert_eq!(codes, ["clock_unset", "disk_low", "card_wear", "under_voltage", "temperature"]);
        assert!(told.iter().all(|trouble| !trouble.next_step.is_empty() && !trouble.reason.is_empty()));
        assert_eq!(told[1].urgency, Urgency::Now);
        let told = troubles(&bad, ClockQuality::Synchronized);
        let certificates: Vec<Urgency> =
            told.iter().filter(|trouble| trouble.code == "certificate").map(|trouble| trouble.urgency).collect();
        assert_eq!(certificates, [Urgency::Today, Urgency::Watch]);
        let good = Vitals {
            cpu_celsius: Some(50.0),
            disk_free_bytes: Some(u64::MAX),
            disk_days_left: Some(31.0),
            card_wear_percent: Some(79),
            uptime_seconds: Some(599),
            ..Vitals::default()
        };
        assert!(troubles(&good, ClockQuality::Unset).is_empty());
    }
}
