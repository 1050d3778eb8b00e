//! Where a profile comes from: the folder beside the settings, then those that are brought along; and `docs/analyzers.md`,
//! written from them.

use crate::bench::{Bench, told};
use gateway_core::config::file::{self, schema_of};
use gateway_core::config::{Analyzer, Caller, Config, Profile, Tried};
use gateway_core::reading::is_loinc;
use gateway_daemon::configuration::{PROFILES, keep_last_good, load_for_run, profile};
use serde_json::Value;
use std::path::Path;

const OWN: &str = "maker: Own\nmodel: Counter\ndriver: astm\nline: { baud: 4800 }\nsample_id: [P.4]\n";

fn by_profile(name: &str) -> String {
    format!("analyzers: [{{ id: a, profile: {name}, port: {{ path: /dev/a }} }}]")
}

fn only(config: Config) -> Analyzer {
    config.analyzers.into_iter().next().expect("an analyzer")
}

fn model(config: Config) -> String {
    only(config).options.reading.model.clone().expect("a model")
}

#[test]
fn a_name_is_all_that_a_clinic_writes() {
    let analyzer = only(Bench::with(by_profile("sysmex-xp-100")).good());
    assert_eq!((analyzer.driver.as_str(), analyzer.line.baud), ("astm", 9600));
    assert_eq!(analyzer.options.reading.codes.len(), 20);
    let faster = "analyzers: [{ id: a, profile: sysmex-xp-100, port: { path: /dev/a }, baud: 19200 }]";
    assert_eq!(only(Bench::with(faster).good()).line.baud, 19_200);
}

#[test]
fn the_users_folder_comes_before_what_is_brought_along() {
    let bench = Bench::with(by_profile("sysmex-xp-100"));
    assert_eq!(model(bench.good()), "XP-100");
    bench.write_beside("profiles/sysmex-xp-100.yaml", OWN);
    assert_eq!(model(bench.good()), "Counter");
    assert_eq!(only(bench.good()).line.baud, 4800);
    bench.write_beside("profiles/sysmex-xp-100.yaml", "maker: Own\n");
    let told = bench.told();
    assert!(told.starts_with("FOLDER/profiles/sysmex-xp-100.yaml:1:1: "), "a broken one hides none: {told}");
}

#[test]
fn the_environment_may_name_another_profile() {
    let mut bench = Bench::with(by_profile("sysmex-xp-100"));
    bench.write_beside("profiles/own-counter.yaml", OWN);
    bench.set("ANALYZER_GATEWAY__ANALYZERS__A__PROFILE", "own-counter");
    assert_eq!(model(bench.good()), "Counter");
    bench.environment.clear();
    bench.set("ANALYZER_GATEWAY__ANALYZERS__A__PROFILE", "own-counted");
    let told = bench.told();
    assert!(told.starts_with("ANALYZER_GATEWAY__ANALYZERS__A__PROFILE: "), "{told}");
    assert!(told.contains("there is no profile `own-counted`") && told.contains("write `own-counter`"), "{told}");
}

#[test]
fn the_last_good_settings_need_no_file_of_the_users_profile() {
    let bench = Bench::new();
    let settings =
        format!("gateway: {{ state_dir: {} }}\n{}", bench.path("state").display(), by_profile("own-counter"));
    bench.write(&settings);
    bench.write_beside("profiles/own-counter.yaml", OWN);
    let good = load_for_run(&bench.source()).expect("good settings").loaded;
    keep_last_good(&good).expect("kept");
    bench.write_beside("profiles/own-counter.yaml", "maker: Own\nmodel: Counter\ndriver: astmm\n");
    let broken = load_for_run(&bench.source()).expect("the last good settings");
    let refused = told(&broken.refused.expect("told"), &bench.path("gateway.yaml"));
    assert!(refused.starts_with("FOLDER/profiles/own-counter.yaml:3:9: driver: "), "{refused}");
    assert_eq!(broken.loaded.config, good.config);
    std::fs::remove_file(bench.path("profiles/own-counter.yaml")).expect("removed");
    let gone = load_for_run(&bench.source()).expect("the last good settings");
    assert!(gone.refused.expect("told").to_string().contains("there is no profile `own-counter`"));
    assert_eq!(gone.loaded.config, good.config);
    // Kept again they are the same text: nothing is written for ever.
    keep_last_good(&gone.loaded).expect("kept");
    assert_eq!(gone.loaded.hash, good.hash);
}

/// Every profile that is brought along, in the order of the list.
fn all() -> Vec<(&'static str, Profile)> {
    let read = |name: &'static str| (name, profile(name, None).unwrap_or_else(|told| panic!("{told}")));
    PROFILES.iter().map(|(name, _)| read(name)).collect()
}

#[test]
fn every_profile_says_how_to_set_the_analyzer_and_where_its_facts_are_from() {
    for (name, known) in all() {
        assert!(!known.sources.is_empty(), "{name} has no sources");
        assert!(!known.setup.is_empty(), "{name} does not say what to set on the analyzer");
        let sentence = |text: &String| text.starts_with(char::is_uppercase) && text.ends_with('.');
        assert!(known.setup.iter().all(sentence), "{name}: each of `setup` is a sentence");
        for (code, meaning) in &known.options.reading.codes {
            let says_something = !(meaning.name.is_empty() && meaning.loinc.is_empty());
            assert!(says_something || !meaning.loinc_by_unit.is_empty(), "{name}: {code} says nothing");
            let codes = meaning.loinc_by_unit.values().chain(Some(&meaning.loinc)).filter(|code| !code.is_empty());
            assert!(codes.into_iter().all(|code| is_loinc(code)), "{name}: {code}");
        }
    }
}

const INTRODUCTION: &str = "\
# The analyzers that the gateway knows

This page is written from `config/profiles/`: a test compares it, and `UPDATE=1 cargo test -p gateway-tests --test config`
rewrites it.

A profile is what is known of one model: its language, the settings of its line, where the sample's id and the serial number
stand, and what its codes mean. `profile: sysmex-xp-100` in the settings is all that there is to write; `baud:` and the other
settings of the line beside it win. `analyzer-gateway profiles NAME` shows what to set on the analyzer itself and where the facts
are from. A model that is not here often works with the profile of its sister, or with `driver:` alone.

A profile of your own is a file of the same form in the folder `profiles` beside the settings; one with the name of a profile
below takes its place. `analyzer-gateway decode --profile FILE.yaml CAPTURE` shows what it makes of bytes that were recorded.

\"Real bytes\": read from what such an analyzer has sent, or from a transmission in the layout of one. The others are written from
their sources and wait for the first clinic that tries them.

| profile | analyzer | driver | connected by | codes | with LOINC | tried on |
|---|---|---|---|---|---|---|
";

fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    for (name, known) in all() {
        let codes = &known.options.reading.codes;
        let with_loinc = codes.values().filter(|known| !known.loinc.is_empty() || !known.loinc_by_unit.is_empty());
        let by = match known.tcp {
            None => format!("serial, {} baud", known.line.baud),
            Some(Caller::Analyzer) => "network: it calls".to_owned(),
            Some(Caller::Gateway) => "network: it is called".to_owned(),
        };
        let tried = match known.tried {
            Tried::RealBytes => "real bytes",
            Tried::Sources => "its sources",
        };
        let (maker, model, driver) = (&known.maker, &known.model, &known.driver);
        let (all, some) = (codes.len(), with_loinc.count());
        page.push_str(&format!("| `{name}` | {maker} {model} | `{driver}` | {by} | {all} | {some} | {tried} |\n"));
    }
    page + KEYS + &keys(&schema_of::<file::Profile>(), "") + &keys(&schema_of::<file::Meaning>(), "codes.CODE.")
}

const KEYS: &str = "
## What a profile may say

Only `maker`, `model` and `driver` must be there. A place is the record's letter, the field's number and, if one is meant, that of
the component: `O.4`, `P.3`, `H.5.2`, `PID.3.1`. For `poct1a` it is the field's own name: `ORD.order_id`.

| key | meaning |
|---|---|
";

/// The keys of one group with what the schema says of them.
fn keys(schema: &Value, prefix: &str) -> String {
    let properties = schema["properties"].as_object().expect("a group has keys");
    let told = |(key, property): (&String, &Value)| {
        let meaning = property["description"].as_str().unwrap_or_default().replace('\n', " ");
        format!("| `{prefix}{key}` | {meaning} |\n")
    };
    properties.iter().map(told).collect()
}

#[test]
fn the_page_says_what_the_profiles_say() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the project").join("docs/analyzers.md");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&file, page()).expect("written");
    }
    let written = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(written == page(), "docs/analyzers.md is not as the profiles have it (UPDATE=1 rewrites it)");
}
