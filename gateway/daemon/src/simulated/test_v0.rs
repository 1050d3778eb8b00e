//! An amplification run as the analyzer behind `test-v0` tells it: one JSON object a line, `data` cumulative in each.
//!
//! The figures follow real recordings: rounds at 30.1 s + 60.1 s x k of the analyzer's clock, which is 1.3 % fast; seven
//! channels with multiples of 64; a temperature about every 2 s, a float32 printed as a double, with a dip to about 62
//! when the cold tube goes in and single spikes of up to 2 K; channel 3 is the internal control and rises threefold from
//! round 9 or 10; negative channels drift by 4 to 13 counts. The values themselves are invented.

use super::seeded::Seeded;
use gateway_core::time::Timestamp;
use std::time::Duration;

/// Rounds of a whole run.
pub const ROUNDS: u32 = 36;
const CHANNELS: usize = 7;
const CONTROL: usize = 3;
/// The channels of the target's subgroup that rise in a positive sample.
const TARGET: [usize; 2] = [1, 5];
/// Seconds of the analyzer's clock in a second of ours.
const ANALYZER_CLOCK: f64 = 1.013;
/// One step of the thermometer, in degrees.
const TEMPERATURE_STEP: f64 = 0.033_38;

/// One line and when it is due.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Since the analyzer was switched on, in uncompressed time.
    pub at: Duration,
    /// See [`super::ledger::key_of`].
    pub key: String,
    /// The JSON, without a line end.
    pub text: String,
    pub step: Step,
}

/// What a line is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Ready,
    Started,
    /// Counted from 1.
    Round(u32),
    Finished(&'static str),
}

/// A whole run, from DEVICE_READY to TEST_FINISHED.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    pub sn: u64,
    pub lines: Vec<Line>,
}

impl Run {
    /// The run number `flow` of the analyzer with the serial number `sn`, started at `start`. Equal arguments give equal
    /// bytes. Shorter runs than [`ROUNDS`] are for tests.
    pub fn new(seed: u64, sn: u64, flow: u32, start: Timestamp, rounds: u32) -> Run {
        let mut script = Script::new(seed, sn, flow, start, rounds);
        script.write(Duration::ZERO, "DEVICE_READY", Step::Ready);
        script.write(Duration::from_secs(5), "TEST_STARTED", Step::Started);
        for round in 0..rounds {
            script.measure(round);
            let at = Duration::from_secs(5) + host_time(30.1 + 60.1 * f64::from(round));
            script.write(at, "NEW_DATA", Step::Round(round + 1));
        }
        script.warm(script.seconds + 6.4);
        let at = Duration::from_secs(5) + host_time(script.seconds);
        let result = script.curve.result();
        script.write(at, "TEST_FINISHED", Step::Finished(result));
        Run { sn, lines: script.lines }
    }

    /// From the first line to the last, uncompressed.
    pub fn duration(&self) -> Duration {
        self.lines.last().map(|line| line.at).unwrap_or_default()
    }
}

/// A key of [`super::Told`]: NEW_DATA is told apart by how many samples and temperatures were said up to and with it.
pub fn run_key(sn: &str, event: &str, samples: usize, temperatures: usize) -> String {
    match event {
        "NEW_DATA" => format!("run {sn} {event} {samples} {temperatures}"),
        _ => format!("run {sn} {event}"),
    }
}

fn host_time(analyzer_seconds: f64) -> Duration {
    Duration::from_secs_f64(analyzer_seconds / ANALYZER_CLOCK)
}

/// What is growing while a run is written.
struct Script {
    sn: u64,
    flow: u32,
    start: Timestamp,
    rounds: u32,
    chance: Seeded,
    curve: Curve,
    /// Seconds of the test on the analyzer's clock.
    seconds: f64,
    /// JSON objects so far, separated by commas.
    temperatures: String,
    temperature_count: usize,
    samples: String,
    sample_count: usize,
    lines: Vec<Line>,
}

impl Script {
    fn new(seed: u64, sn: u64, flow: u32, start: Timestamp, rounds: u32) -> Script {
        let mut chance = Seeded::new(seed);
        let curve = Curve::new(&mut chance);
        Script {
            sn,
            flow,
            start,
            rounds,
            chance,
            curve,
            seconds: 0.0,
            temperatures: String::new(),
            temperature_count: 0,
            samples: String::new(),
            sample_count: 0,
            lines: Vec::new(),
        }
    }

    /// Temperatures up to that second of the test.
    fn warm(&mut self, until: f64) {
        loop {
            let next = self.seconds + self.chance.between(1.6, 2.4);
            if next > until {
                break;
            }
            self.seconds = next;
            let spike = if self.chance.chance(3) { self.chance.between(-2.0, 2.0) } else { 0.0 };
            let noise = self.chance.between(-0.04, 0.04);
            let exact = 63.15 - 1.15 * (-next / 25.0).exp() + noise + spike;
            let measured = ((exact / TEMPERATURE_STEP).round() * TEMPERATURE_STEP) as f32;
            let time = self.start.shifted((next * 1000.0) as i64);
            separate(&mut self.temperatures);
            self.temperatures.push_str(&format!(r#"{{"time":"{time}","temp":{}}}"#, f64::from(measured)));
            self.temperature_count += 1;
        }
    }

    /// One round of all channels.
    fn measure(&mut self, round: u32) {
        let tenths = 301 + 601 * round;
        self.warm(f64::from(tenths) / 10.0);
        for channel in 0..CHANNELS {
            let result = 64 * self.curve.counts(channel, round, self.rounds, &mut self.chance);
            separate(&mut self.samples);
            self.samples.push_str(&format!(
                concat!(
                    r#"{{"sampleType":1,"sampleStreamNumber":{},"currentDataIndex":{},"totalNumberOfSamples":{},"#,
                    r#""startingChannel":{},"numberOfChannels":1,"samplingTime":{},"samplingTemperature":63.1,"#,
                    r#""firstChannelResult":{}}}"#
                ),
                self.flow,
                round,
                round + 1,
                channel,
                tenths,
                result
            ));
            self.sample_count += 1;
        }
    }

    fn write(&mut self, at: Duration, event: &str, step: Step) {
        let device = format!(
            concat!(
                r#"{{"hwVersion":"HV3.0.2","swVersion":"SV2.2.2.230619_Beta_V2","deviceModel":"PM001","sn":{},"#,
                r#""configuration":"CV1.22.7.20"}}"#
            ),
            self.sn
        );
        let (state, result) = match step {
            Step::Ready => ("IDLE", String::new()),
            Step::Started | Step::Round(_) => ("TESTING", String::new()),
            Step::Finished(_) => ("DONE", format!(r#""result":{},"#, self.curve.result_json(self.flow))),
        };
        let text = format!(
            concat!(
                r#"{{"version":0,"event":"{}","device":{},"test":{{"state":"{}",{}"#,
                r#""data":{{"temperatureSamples":[{}],"samples":[{}]}}}}}}"#
            ),
            event, device, state, result, self.temperatures, self.samples
        );
        let key = run_key(&self.sn.to_string(), event, self.sample_count, self.temperature_count);
        self.lines.push(Line { at, key, text, step });
    }
}

fn separate(list: &mut String) {
    if !list.is_empty() {
        list.push(',');
    }
}

/// The fluorescence of one sample.
struct Curve {
    positive: bool,
    /// Counts at the start, one a channel.
    base: [f64; CHANNELS],
    /// Counts gained by drift over a whole run.
    drift: [f64; CHANNELS],
    /// Round at which the control starts to rise, counted from 1.
    control_from: f64,
    target_from: f64,
}

impl Curve {
    fn new(chance: &mut Seeded) -> Curve {
        Curve {
            positive: chance.chance(400),
            base: std::array::from_fn(|_| chance.between(5.0, 19.0)),
            drift: std::array::from_fn(|_| chance.between(4.0, 13.0)),
            control_from: chance.between(9.0, 10.9).floor(),
            target_from: chance.between(13.0, 22.0).floor(),
        }
    }

    /// The 64ths of `firstChannelResult`.
    fn counts(&self, channel: usize, round: u32, rounds: u32, chance: &mut Seeded) -> u64 {
        let round = f64::from(round) + 1.0;
        let rise_from = match () {
            () if channel == CONTROL => Some(self.control_from),
            () if self.positive && TARGET.contains(&channel) => Some(self.target_from),
            () => None,
        };
        let noise = chance.between(-0.4, 0.4);
        let value = match rise_from {
            // Threefold in the end: a logistic curve whose foot is at `from` and whose middle is five rounds later.
            Some(from) => self.base[channel] * (1.0 + 2.0 / (1.0 + (-(round - from - 5.0)).exp())),
            None => self.base[channel] + self.drift[channel] * round / f64::from(rounds.max(1)),
        };
        (value + noise).round().max(1.0) as u64
    }

    fn result(&self) -> &'static str {
        if self.positive { "POSITIVE" } else { "NEGATIVE" }
    }

    fn result_json(&self, flow: u32) -> String {
        let rises = |channel: &usize| *channel == CONTROL || (self.positive && TARGET.contains(channel));
        let word = |channel: usize| if rises(&channel) { r#""POSITIVE""# } else { r#""NEGATIVE""# };
        let channels: Vec<&str> = (0..CHANNELS).map(word).collect();
        format!(
            concat!(
                r#"{{"detectionType":1,"detectionFlowNumber":{},"detectionResult":"{}","numberOfChannels":7,"#,
                r#""startingChannel":0,"channelResults":[{}],"numberOfSubGroups":2,"subGroupResults":["#,
                r#"{{"result":"POSITIVE","name":"IC"}},{{"result":"{}","name":"SARS-CoV-2"}}]}}"#
            ),
            flow,
            self.result(),
            channels.join(","),
            self.result()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    const START: Timestamp = Timestamp(1_795_291_200_000);

    fn parsed(run: &Run) -> Vec<Value> {
        run.lines.iter().map(|line| serde_json::from_str(&line.text).expect("JSON")).collect()
    }

    #[test]
    fn a_whole_run_has_the_measured_shape() {
        let run = Run::new(1, 3_100_000_017, 166, START, ROUNDS);
        assert_eq!(run, Run::new(1, 3_100_000_017, 166, START, ROUNDS));
        assert_eq!(run.lines.len(), 39);
        let minutes = run.duration().as_secs_f64() / 60.0;
        assert!((35.0..36.0).contains(&minutes), "{minutes}");
        let lines = parsed(&run);
        for (round, line) in lines[2..38].iter().enumerate() {
            let samples = line["test"]["data"]["samples"].as_array().expect("samples");
            assert_eq!(samples.len(), 7 * (round + 1), "cumulative");
            let last = &samples[samples.len() - 1];
            assert_eq!(last.as_object().expect("an object").len(), 9);
            assert_eq!(last["samplingTime"].as_u64(), Some(301 + 601 * round as u64));
            assert!(samples.iter().all(|sample| sample["firstChannelResult"].as_u64().is_some_and(|n| n % 64 == 0)));
        }
        let last = &run.lines[38].text;
        assert!((100_000..140_000).contains(&last.len()), "the last body is about 118 kB, this one {}", last.len());
        assert_eq!(lines[38]["test"]["result"]["channelResults"][CONTROL], "POSITIVE");
        assert_eq!(lines[0]["test"]["data"]["samples"].as_array().map(Vec::len), Some(0));
    }

    #[test]
    fn the_control_rises_threefold_and_negatives_only_drift() {
        for seed in 0..25 {
            let run = Run::new(seed, 3_100_000_017, 1, START, ROUNDS);
            let last: Value = serde_json::from_str(&run.lines[38].text).expect("JSON");
            let samples = last["test"]["data"]["samples"].as_array().expect("samples");
            let count = |round: usize, channel: usize| {
                samples[round * 7 + channel]["firstChannelResult"].as_f64().expect("a number") / 64.0
            };
            let rise = count(35, CONTROL) / count(0, CONTROL);
            assert!((2.3..3.8).contains(&rise), "{rise}");
            let drift = count(35, 0) - count(0, 0);
            assert!((2.0..=15.0).contains(&drift), "{drift}");
            let temperatures = last["test"]["data"]["temperatureSamples"].as_array().expect("temperatures");
            let first = temperatures[0]["temp"].as_f64().expect("a number");
            assert!((59.5..64.5).contains(&first), "{first}");
            assert!((960..1200).contains(&temperatures.len()), "{}", temperatures.len());
        }
    }
}
