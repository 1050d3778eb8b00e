//! The text of `/metrics` (OpenMetrics): how things are, from the overview, and what has happened, from the tally.
//!
//! Invariant: it is made from those two alone, which hold nobody's data.

use crate::tally::Tally;
use gateway_core::overview::Overview;
use gateway_core::time::{ClockQuality, Timestamp};
use gateway_core::trouble::Urgency;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use std::sync::atomic::AtomicU64;

/// What every name begins with.
pub const PREFIX: &str = "analyzer_gateway";

/// Set to a number with a fraction.
type Number = Gauge<f64, AtomicU64>;
type Labels = Vec<(&'static str, String)>;
type Numbers = Family<Labels, Number>;

/// All metrics as of now; `wal_bytes` is the size of the store's journal.
pub fn text(overview: &Overview, tally: &Tally, wal_bytes: u64) -> String {
    let mut page = Page(Registry::with_prefix(PREFIX));
    page.gateway(overview);
    page.analyzers(overview);
    page.destinations(overview);
    page.machine(overview, wal_bytes);
    tally.register(&mut page.0);
    let mut text = String::new();
    // Writing into memory cannot fail.
    let _ = encode(&mut text, &page.0);
    text
}

struct Page(Registry);

impl Page {
    fn one(&mut self, name: &str, about: &str, value: f64) {
        let gauge = Number::default();
        gauge.set(value);
        self.0.register(name, about, gauge);
    }

    /// What the machine cannot say is left out.
    fn maybe(&mut self, name: &str, about: &str, value: Option<f64>) {
        if let Some(value) = value {
            self.one(name, about, value);
        }
    }

    fn many(&mut self, name: &str, about: &str, values: impl IntoIterator<Item = (Labels, f64)>) {
        let numbers = Numbers::default();
        for (labels, value) in values {
            numbers.get_or_create(&labels).set(value);
        }
        self.0.register(name, about, numbers);
    }

    fn gateway(&mut self, all: &Overview) {
        let build = Info::new(vec![("version", all.version.clone())]);
        self.0.register("build", "The program that runs", build);
        let settings = Info::new(vec![("gateway", all.gateway.clone()), ("hash", all.configuration.hash.clone())]);
        self.0.register("configuration", "The settings in force: equal settings, equal hash", settings);
        let in_force = all.configuration.refused.is_none();
        self.one("configuration_file_in_force", "0: the file on the card is refused", f64::from(u8::from(in_force)));
        self.one("start_time_seconds", "When the process was started, in seconds since 1970", seconds(all.since));
        let synchronized = matches!(all.clock, ClockQuality::Synchronized);
        self.one("clock_synchronized", "1: a time source keeps the clock", f64::from(u8::from(synchronized)));
        let labels = vec![("quality", all.clock.as_str().to_owned())];
        self.many("clock_quality", "1 for how far the clock can be trusted", [(labels, 1.0)]);
        let troubles = all.troubles.iter().map(|trouble| {
            let urgency = match trouble.urgency {
                Urgency::Now => "now",
                Urgency::Today => "today",
                Urgency::Watch => "watch",
            };
            let subject = ("subject", trouble.subject.clone());
            (vec![("code", trouble.code.clone()), subject, ("urgency", urgency.to_owned())], 1.0)
        });
        self.many("trouble", "1 for each thing that is not as it should be", troubles);
        self.one("log_events", "The place of the newest event in the log", all.store.head as f64);
    }

    fn analyzers(&mut self, all: &Overview) {
        let name = |id: &str| ("analyzer", id.to_owned());
        let states =
            all.analyzers.iter().map(|one| (vec![name(&one.id), ("state", one.state.as_str().to_owned())], 1.0));
        self.many("analyzer_state", "1 for the state that the analyzer is in", states);
        let last = all.analyzers.iter().filter_map(|one| Some((vec![name(&one.id)], seconds(one.last_event_at?))));
        self.many("analyzer_last_event_time_seconds", "When anything that it said was last stored", last);
        let last = all.analyzers.iter().filter_map(|one| Some((vec![name(&one.id)], seconds(one.last_test_at?))));
        self.many("analyzer_last_test_time_seconds", "When a test of it last ended", last);
    }

    fn destinations(&mut self, all: &Overview) {
        let name = |id: &str| vec![("destination", id.to_owned())];
        let of = |value: fn(&gateway_core::overview::DestinationOverview) -> f64| {
            all.destinations.iter().map(move |one| (name(&one.id), value(one))).collect::<Vec<_>>()
        };
        let ready = of(|one| f64::from(u8::from(one.state == "ready")));
        self.many("destination_ready", "0: something stands in the way, or it is paused", ready);
        self.many("destination_waiting_events", "Events neither delivered nor dead", of(|one| one.waiting as f64));
        let about = "Of the waiting ones: for a person or for other settings";
        self.many("destination_held_events", about, of(|one| one.held as f64));
        let about = "Events that were given up and can be sent again";
        self.many("destination_dead_events", about, of(|one| one.dead as f64));
        let about = "Age of the oldest event that is neither delivered nor dead; 0 if there is none";
        self.many("destination_oldest_unacked_seconds", about, of(|one| one.oldest_unacked_seconds as f64));
        let last = all.destinations.iter().filter_map(|one| Some((name(&one.id), seconds(one.last_delivered_at?))));
        self.many("destination_last_delivered_time_seconds", "When anything was last delivered", last);
    }

    fn machine(&mut self, all: &Overview, wal_bytes: u64) {
        let machine = &all.machine;
        let bytes = |value: Option<u64>| value.map(|value| value as f64);
        self.one("store_bytes", "Size of the database", all.store.bytes as f64);
        self.one("store_wal_bytes", "Size of the database's journal", wal_bytes as f64);
        self.maybe("process_resident_bytes", "Memory of the process", bytes(machine.process_bytes));
        let about = "Memory of the process that is its own";
        self.maybe("process_anonymous_bytes", about, bytes(machine.process_anonymous_bytes));
        self.maybe("memory_total_bytes", "Memory of the machine", bytes(machine.memory_total_bytes));
        self.maybe("memory_available_bytes", "Memory that is to be had", bytes(machine.memory_available_bytes));
        self.maybe("disk_total_bytes", "Size of the disk with the events", bytes(machine.disk_total_bytes));
        self.maybe("disk_free_bytes", "Free space on the disk with the events", bytes(machine.disk_free_bytes));
        let about =
            "Until the disk is full if it fills as it did of late; absent if it does not or too little is known";
        self.maybe("disk_days_left", about, machine.disk_days_left);
        self.maybe("cpu_celsius", "Temperature of the processor", machine.cpu_celsius);
        self.maybe("load1", "Load of the last minute", machine.load);
        self.maybe("uptime_seconds", "Since the machine's boot", bytes(machine.uptime_seconds));
        let wear = machine.card_wear_percent.map(|percent| f64::from(percent) / 100.0);
        self.maybe("card_wear_ratio", "How much of the card's life is used, 1 for all of it", wear);
        let words = |words: &[String], since: &str| {
            let labels = |word: &String| (vec![("reason", word.clone()), ("when", since.to_owned())], 1.0);
            words.iter().map(labels).collect::<Vec<_>>()
        };
        let throttled = [words(&machine.throttled, "now"), words(&machine.throttled_since_boot, "since_boot")].concat();
        self.many("throttled", "1 for each reason why the firmware slows the processor down", throttled);
        let certificates = machine
            .certificates
            .iter()
            .map(|one| (vec![("of", one.of.clone()), ("what", one.what.clone())], one.days_left as f64));
        self.many(
            "certificate_days_left",
            "How long a certificate of the settings holds; negative afterwards",
            certificates,
        );
    }
}

fn seconds(at: Timestamp) -> f64 {
    at.0 as f64 / 1000.0
}
