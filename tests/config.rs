//! The settings: what is good, what each mistake is told as, and that manual, schema and reader know the same keys.
//! `config/files.rs` holds the files that settings name, `config/layers.rs` the layers and the last good settings, `config/receivers.rs` receivers, sources and the API.
//!
//! `config/profiles.rs` holds where a profile comes from, and writes docs/analyzers.md.
//!
//! `fixtures/config/mistakes.txt` holds the mistakes, each as a file (lines with `$ ` are its environment, a line with `@ `
//! begins a file beside it) and what a person reads. `UPDATE=1` writes it anew, and the diff is reviewed.

#[path = "config/bench.rs"]
mod bench;
#[path = "config/files.rs"]
mod files;
#[path = "config/layers.rs"]
mod layers;
#[path = "config/profiles.rs"]
mod profiles;
#[path = "config/receivers.rs"]
mod receivers;

use bench::{Bench, SECRET};
use gateway_core::config::{
    Broker, Config, FlowControl, Line, Parity, Port, duration,
    file::{File, schema, schema_of},
};
use gateway_core::delivery::RetryReading;
use gateway_core::session::{CommitPoint, Framing};
use gateway_daemon::commands::{check as check_command, schema as schema_command};
use gateway_daemon::configuration::{MANUAL, Source};
use proptest::prelude::*;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

#[test]
fn every_mistake_is_told_with_its_place_and_what_to_write() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/config/mistakes.txt");
    let before = fs::read_to_string(&path).expect("the fixture");
    let mut after = String::new();
    for case in before.split("#### ").skip(1) {
        let (name, rest) = case.split_once('\n').expect("a name");
        let (input, _) = rest.split_once(">>>>\n").unwrap_or_else(|| panic!("no answer in {name:?}"));
        let mut bench = Bench::new();
        let mut files = vec![("gateway.yaml", String::new())];
        for line in input.split_inclusive('\n') {
            if let Some((variable, value)) = line.strip_prefix("$ ").and_then(|line| line.trim_end().split_once('=')) {
                bench.set(variable, value);
            } else if let Some(name) = line.strip_prefix("@ ") {
                files.push((name.trim_end(), String::new()));
            } else if let Some((_, text)) = files.last_mut() {
                text.push_str(line);
            }
        }
        files.iter().for_each(|(name, text)| bench.write_beside(name, text));
        let told = bench.told();
        assert!(!told.contains("hunter2"), "a secret is told in {name:?}: {told}");
        after.push_str(&format!("#### {name}\n{input}>>>>\n{told}\n"));
    }
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &after).expect("the fixture can be written");
        return;
    }
    assert!(before == after, "{}", first_difference(&before, &after));
}

fn first_difference(before: &str, after: &str) -> String {
    let line = before.lines().zip(after.lines()).take_while(|(one, other)| one == other).count();
    let from = |text: &str| text.lines().skip(line.saturating_sub(4)).take(10).collect::<Vec<_>>().join("\n");
    format!("line {}\nexpected:\n{}\ngot:\n{}", line + 1, from(before), from(after))
}

/// One analyzer, one webhook or a whole file that is good.
fn check<T: PartialEq + std::fmt::Debug>(text: &str, part: impl FnOnce(Config) -> T, expected: T) {
    assert_eq!(part(Bench::with(text).good()), expected, "{text}");
}

fn check_port(port: &str, expected: Port) {
    let text = format!("analyzers: [{{ id: a, driver: astm, port: {port} }}]");
    check(&text, |config| config.analyzers[0].port.clone(), expected);
}

fn check_broker(url: &str, host: &str, port: u16, tls: bool) {
    let expected = Broker::Url { host: host.to_owned(), port, tls };
    check(&format!("mqtt: {url}"), |config| config.mqtt.broker, expected);
}

#[test]
fn good_values_mean_what_they_say() {
    check_port("{ path: /dev/ttyUSB0 }", Port::Path("/dev/ttyUSB0".into()));
    check_port("{ usb: 0403:CD18 }", Port::Usb { vendor: 0x0403, product: 0xcd18, serial: None });
    // A serial number is text, whatever it looks like.
    let serial = Some("0012".to_owned());
    check_port("{ usb: '067b:2303', serial: 0012 }", Port::Usb { vendor: 0x067b, product: 0x2303, serial });
    check_port("{ by_path: a-port0 }", Port::ByPath("a-port0".into()));
    check_port("{ by_path: /dev/serial/by-path/a-port0 }", Port::ByPath("a-port0".into()));
    check_port("{ path: /dev/serial/by-path/a-port0 }", Port::ByPath("a-port0".into()));
    check_port("{ tcp: { listen: 0.0.0.0:5600 } }", Port::TcpListen("0.0.0.0:5600".into()));
    check_port("{ tcp: { listen: '[::]:5600' } }", Port::TcpListen("[::]:5600".into()));
    check_port("{ tcp: { connect: Box.lan:4001 } }", Port::TcpConnect("box.lan:4001".into()));
    check_broker("{ url: 'mqtt://localhost' }", "localhost", 1883, false);
    check_broker("{ url: 'mqtt://127.0.0.2:1884/' }", "127.0.0.2", 1884, false);
    check_broker("{ url: 'mqtt://[::1]' }", "::1", 1883, false);
    check_broker("{ url: 'mqtts://broker.example' }", "broker.example", 8883, true);
    check_broker("{ url: 'mqtt://broker.example', allow_plain: true }", "broker.example", 1883, false);
}

#[test]
fn a_file_with_everything_in_it_is_read_whole() {
    let analyzer = "analyzers: [{ id: a, driver: astm, port: { path: /dev/a }, baud: '19200', data_bits: 7, parity: even, \
                    stop_bits: 2, flow_control: rts-cts, dtr: false, rts: true, commit: message, framing: none }]";
    let line = Line {
        baud: 19_200,
        data_bits: 7,
        parity: Parity::Even,
        stop_bits: 2,
        flow_control: FlowControl::RtsCts,
        dtr: Some(false),
        rts: Some(true),
    };
    check(
        analyzer,
        |config| (config.analyzers[0].line, config.analyzers[0].options.commit, config.analyzers[0].options.framing),
        (line, CommitPoint::Message, Framing::None),
    );
    let webhook = Bench::with(format!(
        "webhooks: [{{ id: w, url: 'http://10.0.0.9/x?y=1', allow_plain: true, secrets: [{SECRET}, {SECRET}], events: [GAP], \
         retry: [0s, 500ms, 1d], retry_reading: retries, timeout: 2m, concurrency: 9, headers: {{ X-Api-Key: 007 }} }}]"
    ))
    .good()
    .webhooks
    .remove(0);
    assert_eq!(webhook.url, "http://10.0.0.9/x?y=1");
    assert_eq!(webhook.secrets.len(), 2);
    assert_eq!(webhook.filter.events, Some(vec!["GAP".to_owned()]));
    assert_eq!(webhook.retry, Some(vec![Duration::ZERO, Duration::from_millis(500), Duration::from_secs(86_400)]));
    assert_eq!((webhook.retry_reading, webhook.timeout), (Some(RetryReading::Retries), Duration::from_secs(120)));
    assert_eq!((webhook.concurrency, webhook.headers), (9, vec![("x-api-key".to_owned(), "007".to_owned())]));
}

#[test]
fn what_is_not_written_has_its_default() {
    for text in ["version: 1", "analyzers:", "webhooks: []", "gateway: {}", "{}", "mqtt: { url: embedded }"] {
        check(text, |config| config, Config::default());
    }
    let text = format!("webhooks: [{{ id: w, url: 'https://a.example', secret: {SECRET} }}]");
    let webhook = Bench::with(text).good().webhooks.remove(0);
    assert_eq!(
        (webhook.dialect.as_str(), webhook.timeout, webhook.concurrency),
        ("cloudevents", Duration::from_secs(30), 4)
    );
    assert_eq!((webhook.filter.events, webhook.retry, webhook.retry_reading), (None, None, None));
}

#[test]
fn a_secret_comes_from_its_file_without_the_line_end() {
    let bench = Bench::new();
    fs::write(bench.path("secret"), format!("{SECRET}\r\n")).expect("a file");
    let path = bench.path("secret");
    bench.write(format!("webhooks: [{{ id: w, url: 'https://a.example', secret_file: {} }}]", path.display()));
    assert_eq!(bench.good().webhooks[0].secrets[0].secret.expose(), SECRET);
}

/// The manual with every switched-off setting switched on.
fn manual_switched_on() -> String {
    let on = |line: &str| match line.split_once('#') {
        Some((indent, rest)) if indent.trim().is_empty() => {
            let spaces = rest.len() - rest.trim_start_matches(' ').len();
            let is_comment = spaces == 1 || rest.trim_start().starts_with('#');
            if is_comment { line.to_owned() } else { format!("{indent}{rest}") }
        }
        _ => line.to_owned(),
    };
    MANUAL.lines().map(|line| on(line) + "\n").collect()
}

/// Every key with its groups, `webhooks.url`, and the line of its first occurrence.
fn keys_of_yaml(text: &str) -> Vec<(String, usize)> {
    let mut open: Vec<(usize, String)> = Vec::new();
    let mut keys: Vec<(String, usize)> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let code = line.trim_start_matches(['-', ' ']);
        let Some((key, _)) = code.split_once(':').filter(|_| !code.starts_with('#')) else { continue };
        let indent = line.len() - code.len();
        open.retain(|(other, _)| *other < indent);
        open.push((indent, key.to_owned()));
        let path = open.iter().map(|(_, key)| key.as_str()).collect::<Vec<_>>().join(".");
        if !keys.iter().any(|(other, _)| *other == path) {
            keys.push((path, index));
        }
    }
    keys
}

fn keys_of_schema(schema: &Value, path: &str, keys: &mut BTreeSet<String>) {
    for (key, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        keys_of_schema(property, &path, keys);
        keys_of_schema(&property["items"], &path, keys);
        property["items"]["anyOf"].as_array().into_iter().flatten().for_each(|item| keys_of_schema(item, &path, keys));
        keys.insert(path);
    }
}

#[test]
fn the_manual_is_the_default() {
    check(MANUAL, |config| config, Config::default());
}

#[test]
fn the_manual_has_every_key_of_the_schema_with_a_comment() {
    let text = manual_switched_on();
    let mut known = BTreeSet::new();
    keys_of_schema(&schema_of::<File>(), "", &mut known);
    let lines: Vec<&str> = text.lines().collect();
    let mut written = keys_of_yaml(&text);
    // A header's name and an analyzer's code are the user's own.
    let own = ["webhooks.headers.", "webhooks.template.headers.", "webhooks.loinc."];
    written.retain(|(key, _)| !own.iter().any(|own| key.starts_with(own)));
    for (key, line) in &written {
        let above = lines[line.saturating_sub(1)].trim_start().trim_start_matches('#').trim_start();
        let is_above = *line > 0 && lines[line - 1].trim_start().starts_with('#') && !above.is_empty();
        assert!(is_above || lines[*line].contains("  # "), "no comment at {key}: {}", lines[*line]);
    }
    let written: BTreeSet<String> = written.into_iter().map(|(key, _)| key).collect();
    assert_eq!(written, known);
}

#[test]
fn the_manual_switched_on_is_good_but_for_what_only_a_real_box_has() {
    let text = manual_switched_on().replace("url: embedded", "url: mqtts://broker.example");
    // The manual's own secrets are refused: everybody knows them.
    let known = Bench::with(&text).told();
    assert!(known.matches("is still the example's text").count() > 1, "{known}");
    let text = text.replace("at least 8 letters", "long enough").replace("\"...\"", "\"long enough\"");
    let told = Bench::with(text).told();
    for line in told.lines().filter(|line| line.starts_with("FILE")) {
        let path = line.split(": ").nth(1).unwrap_or_default();
        assert!(path.ends_with("_file"), "{line}");
    }
}

#[test]
fn the_examples_are_good_but_for_the_secrets_that_each_box_has_of_its_own() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/examples");
    let examples: Vec<PathBuf> =
        fs::read_dir(folder).expect("the examples").map(|entry| entry.expect("an entry").path()).collect();
    assert!(!examples.is_empty());
    for example in examples {
        let text = fs::read_to_string(example).expect("an example");
        let told = Bench::with(&text).told();
        let mistakes: Vec<&str> = told.lines().filter(|line| line.starts_with("FILE")).collect();
        // Nobody's secret works as it stands there, and nothing else is wrong.
        assert_eq!(mistakes.len(), text.matches(": \"change me").count(), "{told}");
        assert!(
            !mistakes.is_empty() && mistakes.iter().all(|line| line.contains("is still the example's text")),
            "{told}"
        );
        let own = |part: &str| part.split_once('"').map_or(String::new(), |(_, rest)| format!("{SECRET}{rest}"));
        let mut parts = text.split("\"change me");
        let filled: String = parts.next().map(str::to_owned).into_iter().chain(parts.map(own)).collect();
        assert_eq!(Bench::with(filled).told(), "good");
    }
    let listed = "webhooks: [{ id: w, url: 'https://a.example', secrets: ['Change me!'] }]";
    assert!(Bench::with(listed).told().contains("is still the example's text"));
}

fn has_null(schema: &Value) -> bool {
    match schema {
        Value::Null => true,
        Value::String(word) => word == "null",
        Value::Array(items) => items.iter().any(has_null),
        Value::Object(fields) => fields.values().any(has_null),
        _ => false,
    }
}

#[test]
fn the_schema_describes_every_key_and_allows_no_other() {
    let mut out = Vec::new();
    assert_eq!(schema_command::run(schema_command::Args {}, &mut out, &mut Vec::new()), 0);
    let printed: Value = serde_json::from_slice(&out).expect("the schema is JSON");
    assert_eq!(printed, schema().to_value());
    assert!(!has_null(&printed), "an optional key is left out, not null");
    let mut parts: Vec<&Value> = printed["$defs"].as_object().expect("parts").values().collect();
    parts.push(&printed);
    for part in parts.into_iter().filter(|part| part["type"] == "object") {
        assert_eq!(part["additionalProperties"], Value::Bool(false), "{part}");
        for (key, property) in part["properties"].as_object().expect("keys") {
            assert!(property["description"].is_string(), "{key} has no description");
        }
    }
}

#[test]
fn check_says_what_is_good_and_counts_what_is_not() {
    let told = |bench: &Bench| {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let status = check_command::run_from(&bench.source(), &mut out, &mut err);
        let text = [out, err].map(|bytes| String::from_utf8(bytes).expect("text"));
        (status, text.map(|text| text.replace(&bench.path("gateway.yaml").display().to_string(), "FILE")))
    };
    let good = Bench::with("analyzers: [{ id: a, driver: astm, port: { path: /dev/a } }]");
    let line = "FILE: good: 1 analyzer, 0 webhooks, embedded MQTT broker\n".to_owned();
    assert_eq!(told(&good), (0, [line, String::new()]));
    let bad = Bench::with("gateway: { id: A B, idd: c }");
    let (status, [out, err]) = told(&bad);
    assert_eq!((status, out.as_str()), (78, ""));
    assert!(err.starts_with("FILE:1:16: gateway.id: ") && err.ends_with("\n2 mistakes\n"), "{err}");
}

#[test]
fn check_warns_of_known_secrets_and_of_remarks_that_may_be_part_of_a_password() {
    let told = |source: &Source| {
        let mut out = Vec::new();
        assert_eq!(check_command::run_from(source, &mut out, &mut Vec::new()), 0);
        String::from_utf8(out).expect("text")
    };
    let text = format!(
        "network:\n  wifi:\n    ssid: Clinic #2\n    password: hunter2hunter2 # room 2\n    country: DE # here\n\
         broker:\n  users:\n    - {{ id: a, password: \"hunter2 #hunter2\" }} # a\n\
         webhooks:\n  - id: w\n    url: https://a.example\n    secret: {SECRET}\n"
    );
    let warned = told(&Bench::with(text).source());
    assert!(warned.contains("webhook `w`: its secret is the one of an example"), "{warned}");
    assert!(warned.contains("network.wifi.ssid (line 3): ") && warned.contains("network.wifi.password (line 4): "));
    assert_eq!(warned.matches("is a remark").count(), 2, "{warned}");
    assert!(!warned.contains("hunter2") && !warned.contains("room"), "{warned}");
    let nowhere = Source { usual: vec!["/nowhere/gateway.yaml".into()], ..Source::default() };
    let told = told(&nowhere);
    assert!(told.contains("looked for /nowhere/gateway.yaml") && told.contains("check FILE"), "{told}");
}

proptest! {
    #[test]
    fn a_time_reads_back_as_it_is_written(span_ms in 0..10_000_000_000u64) {
        let span = Duration::from_millis(span_ms);
        prop_assert_eq!(duration::parse(&duration::format(span)), Some(span));
    }

    #[test]
    fn any_text_is_read_or_refused_and_never_tells_a_secret(
        at in 0..14_000usize,
        noise in "[-:{}\\[\\]#&*!|>'\"%@`,? \t\na-z]{0,6}",
        remove in 0..40usize,
    ) {
        let secret = "hunter2";
        let whole = manual_switched_on().replace("\"...\"", secret).replace(SECRET, secret);
        let at = whole.char_indices().map(|(index, _)| index).nth(at % whole.chars().count()).unwrap_or(0);
        let rest: String = whole[at..].chars().skip(remove).collect();
        let damaged = format!("{}{noise}{rest}", &whole[..at]);
        // A secret cut in two, or glued to something, is no secret any more: look for the whole word only.
        let told = Bench::with(damaged).told();
        prop_assert!(!told.contains(secret), "{told}");
    }
}
