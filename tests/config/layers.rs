//! Which layer wins, how a file that is hardly a file is told, and that the last good settings keep the box going.

use crate::bench::{Bench, SECRET, told};
use gateway_core::config::{Config, Port};
use gateway_daemon::configuration::{Source, keep_last_good, load, load_again, load_for_run};
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;

#[test]
fn a_mark_at_the_start_and_windows_line_ends_do_no_harm() {
    let bench = Bench::with("\u{feff}gateway:\r\n  id: clinic-7\r\n");
    assert_eq!(bench.good().gateway.id, "clinic-7");
    let bench = Bench::with("\u{feff}gateway:\r\n  id: Clinic\r\n");
    assert!(bench.told().starts_with("FILE:2:7: gateway.id: "), "{}", bench.told());
    let bench = Bench::with("gateway:\n\t# a comment\n\t\n  id: clinic-7 \t# tabs elsewhere are no harm\n");
    assert_eq!(bench.good().gateway.id, "clinic-7");
}

#[test]
fn a_file_that_is_none_is_told_as_what_it_is() {
    let check = |bench: &Bench, start: &str| assert!(bench.told().starts_with(start), "{}", bench.told());
    check(&Bench::new(), "FILE: there is no such file");
    check(&Bench::with(""), "FILE: is empty");
    check(&Bench::with(" \r\n\n"), "FILE: is empty");
    check(&Bench::with([0; 4096]), "FILE: this file is damaged: it holds zero bytes");
    check(&Bench::with(b"gateway:\n  id: caf\xe9\n"), "FILE:2:10: is not UTF-8 text from here on");
    check(&Bench::with("#".repeat((1 << 20) + 1)), "FILE: is larger than 1 MiB");
    let folder = Bench::new();
    fs::create_dir(folder.path("gateway.yaml")).expect("a folder");
    check(&folder, "FILE: is a folder, not a file");
    let mut source = Bench::new().source();
    source.file = Some("/dev/null".into());
    let failure = load(&source).expect_err("no plain file");
    assert!(told(&failure, "/dev/null".as_ref()).starts_with("FILE: is not a plain file"));
}

#[test]
fn the_named_file_comes_before_the_variable_and_that_before_the_usual_places() {
    let bench = Bench::new();
    for name in ["named", "variable", "boot", "etc"] {
        fs::write(bench.path(name), format!("gateway: {{ id: {name} }}")).expect("a file");
    }
    let mut source = Source { usual: vec![bench.path("boot"), bench.path("etc")], ..Source::default() };
    let id = |source: &Source| load(source).map(|loaded| loaded.config.gateway.id);
    assert_eq!(id(&source).as_deref(), Ok("boot"));
    source.usual.remove(0);
    assert_eq!(id(&source).as_deref(), Ok("etc"));
    source.environment.push(("ANALYZER_GATEWAY_CONFIG".into(), bench.path("variable").into()));
    assert_eq!(id(&source).as_deref(), Ok("variable"));
    source.file = Some(bench.path("named"));
    assert_eq!(id(&source).as_deref(), Ok("named"));
    source.file = Some(bench.path("none"));
    assert!(load(&source).is_err(), "a file that was named must be there");
    source.file = None;
    source.environment[0].1 = bench.path("none").into();
    assert!(load(&source).is_err(), "a file that was named must be there");
}

#[test]
fn without_any_file_the_defaults_hold() {
    let loaded =
        load(&Source { usual: vec!["/nonexistent/gateway.yaml".into()], ..Source::default() }).expect("defaults");
    let config = Config { hash: String::new(), ..loaded.config };
    assert_eq!((loaded.path, config), (None, Config::default()));
}

#[test]
fn the_environment_beats_the_file() {
    let mut bench = Bench::with(format!(
        "gateway: {{ id: from-file }}\n\
         analyzers: [{{ id: lab-1, driver: astm, port: {{ usb: 0403:6001, serial: A }} }}]\n\
         webhooks:\n  - {{ id: lims, url: 'https://a.example', secret_file: /nonexistent, headers: {{ X-Key: old }} }}\n  \
         - {{ id: archive, url: 'https://b.example', secret: {SECRET} }}\n"
    ));
    for (name, value) in [
        ("GATEWAY__ID", "from-variable"),
        ("GATEWAY__TIME_ZONE", ""),
        ("ANALYZERS__LAB_1__BAUD", "19200"),
        ("ANALYZERS__LAB_1__PORT__PATH", "/dev/ttyS7"),
        ("WEBHOOKS__LIMS__SECRET", SECRET),
        ("WEBHOOKS__LIMS__EVENTS", "GAP, TEST_FINISHED"),
        ("WEBHOOKS__LIMS__HEADERS__X_KEY", "new"),
        ("WEBHOOKS__LIMS__HEADERS__X_OTHER", "Two Words"),
        ("LIMITS__STORE_BYTES_MAX", "4294967296"),
    ] {
        bench.set(&format!("ANALYZER_GATEWAY__{name}"), value);
    }
    bench.set("ANALYZER_GATEWAY_CONFIG_OTHER", "not ours");
    let config = bench.good();
    assert_eq!((config.gateway.id.as_str(), config.gateway.time_zone.as_str()), ("from-variable", "UTC"));
    assert_eq!(config.analyzers[0].line.baud, 19_200);
    assert_eq!(config.analyzers[0].port, Port::Path("/dev/ttyS7".into()));
    let lims = &config.webhooks[0];
    assert_eq!(lims.secrets[0].secret.expose(), SECRET);
    assert_eq!(lims.filter.events, Some(vec!["GAP".to_owned(), "TEST_FINISHED".to_owned()]));
    let headers = [("x-key", "new"), ("x-other", "Two Words")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(lims.headers, headers);
    assert_eq!((config.webhooks[1].filter.events.as_ref(), config.limits.store_bytes_max), (None, Some(1 << 32)));
}

#[test]
fn a_variable_that_is_no_text_is_named_and_not_shown() {
    let mut bench = Bench::with("version: 1");
    let value = std::ffi::OsString::from_vec(b"hunter2\xff".to_vec());
    bench.environment.push(("ANALYZER_GATEWAY__MQTT__PASSWORD".into(), value));
    assert_eq!(bench.told(), "ANALYZER_GATEWAY__MQTT__PASSWORD: is not UTF-8\n    set it again");
}

/// A good file with its state folder beside it, already run once.
fn ran_once(more: &str) -> Bench {
    let bench = Bench::new();
    bench.write(format!("gateway: {{ id: good, state_dir: {} }}\n{more}", bench.path("state").display()));
    let running = load_for_run(&bench.source()).expect("good settings");
    assert!(running.refused.is_none());
    keep_last_good(&running.loaded).expect("kept");
    bench
}

#[test]
fn a_bad_file_falls_back_to_the_last_good_settings_and_says_so() {
    let bench = ran_once("");
    let state = bench.path("state").display().to_string();
    for (text, start) in [
        (format!("gateway: {{ id: Bad, state_dir: {state} }}"), "FILE:1:16: gateway.id: "),
        (
            format!("gateway:\n\tid: bad\n  state_dir: \"{state}\" # here\n"),
            "FILE:2:1: this line is indented with a tab",
        ),
        (format!("gateway: {{ id: bad, state_dir: {state}, x\n"), "FILE:1:10: "),
    ] {
        bench.write(&text);
        let running = load_for_run(&bench.source()).expect("the last good settings");
        assert_eq!(running.loaded.config.gateway.id, "good");
        let told = told(&running.refused.expect("told"), &bench.path("gateway.yaml"));
        assert!(told.starts_with(start), "{told}");
    }
    // Nothing of the file is left, but the folder is named elsewhere.
    bench.write("");
    let mut source = bench.source();
    source.state_dir = Some(bench.path("state"));
    assert!(load_for_run(&source).is_ok_and(|running| running.refused.is_some()));
    source.state_dir = None;
    source.environment.push(("ANALYZER_GATEWAY__GATEWAY__STATE_DIR".into(), bench.path("state").into()));
    assert!(load_for_run(&source).is_ok_and(|running| running.refused.is_some()));
}

#[test]
fn without_last_good_settings_a_bad_file_is_the_end() {
    let bench = Bench::new();
    bench.write(format!("gateway: {{ id: Bad, state_dir: {} }}", bench.path("state").display()));
    assert!(load_for_run(&bench.source()).is_err());
    fs::create_dir(bench.path("state")).expect("a folder");
    fs::write(bench.path("state/last-good.yaml"), "broken: [").expect("a file");
    let failure = load_for_run(&bench.source()).expect_err("both are bad");
    assert_eq!(failure.path, Some(bench.path("gateway.yaml")));
}

#[test]
fn a_file_that_has_gone_does_not_switch_the_analyzers_off() {
    let bench = ran_once("analyzers: [{ id: a, driver: astm, port: { path: /dev/a } }]");
    let usual = vec![bench.path("gateway.yaml")];
    let source = Source { usual, state_dir: Some(bench.path("state")), ..Source::default() };
    fs::remove_file(bench.path("gateway.yaml")).expect("removed");
    let running = load_for_run(&source).expect("the last good settings");
    assert_eq!(running.loaded.config.analyzers.len(), 1);
    assert!(running.refused.expect("told").to_string().contains("there is no settings file any more"));
    let failure = load_again(&source, &running.loaded).expect_err("read again it is as when it started");
    assert!(failure.to_string().contains("there is no settings file any more"), "{failure}");
    fs::write(bench.path("gateway.yml"), "version: 1").expect("a file");
    let failure = load_again(&source, &running.loaded).expect_err("of another name");
    assert!(failure.to_string().contains("rename `gateway.yml` to gateway.yaml"), "{failure}");
    fs::write(bench.path("state/last-good.yaml"), "broken: [").expect("a file");
    assert!(load_for_run(&source).is_err(), "to run on the defaults would look well and hear nothing");
    fs::remove_file(bench.path("state/last-good.yaml")).expect("removed");
    let running = load_for_run(&source).expect("a new box");
    assert!(running.refused.is_none() && running.loaded.config.analyzers.is_empty());
    keep_last_good(&running.loaded).expect("nothing to keep");
    assert!(!bench.path("state/last-good.yaml").exists(), "defaults are not kept");
}

#[test]
fn the_last_good_settings_need_neither_environment_nor_secret_files_and_are_for_the_owner_only() {
    let mut bench = Bench::new();
    let (state, secret) = (bench.path("state"), bench.path("secret"));
    fs::write(&secret, SECRET).expect("a file");
    bench.write(format!(
        "gateway: {{ state_dir: {} }}\n\
         analyzers: [{{ id: a, driver: astm, port: {{ path: /dev/a }} }}]\n\
         mqtt: {{ url: 'mqtts://b.example', user: u, password: 'a \"b\\ # c' }}\n\
         webhooks: [{{ id: w, url: 'https://a.example', secret_file: {}, retry: [0s, 5m], headers: {{ x-y: '1' }} }}]\n",
        state.display(),
        secret.display()
    ));
    bench.set("ANALYZER_GATEWAY__GATEWAY__ID", "from-variable");
    let running = load_for_run(&bench.source()).expect("good settings");
    keep_last_good(&running.loaded).expect("kept");
    let mode = fs::metadata(state.join("last-good.yaml")).expect("kept").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let mut names: Vec<_> =
        fs::read_dir(&state).expect("the folder").map(|entry| entry.expect("an entry").file_name()).collect();
    names.sort();
    assert_eq!(names, ["last-good.version", "last-good.yaml"]);
    fs::remove_file(secret).expect("removed");
    bench.environment.clear();
    let again = load_for_run(&bench.source()).expect("the last good settings");
    assert!(again.refused.is_some());
    assert_eq!(again.loaded.config, running.loaded.config);
    // Kept again they are the same: a box that runs on them for weeks does not wear its card.
    keep_last_good(&again.loaded).expect("kept");
    assert_eq!(again.loaded.hash, running.loaded.hash);
    assert!(!format!("{running:?}").contains(SECRET));
}

#[test]
fn after_an_update_was_taken_back_those_hold_that_were_good_before_it() {
    let bench = ran_once("");
    let text = |id: &str| format!("gateway: {{ id: {id}, state_dir: {} }}", bench.path("state").display());
    let keep = |id: &str| {
        bench.write(text(id));
        keep_last_good(&load(&bench.source()).expect("good")).expect("kept");
    };
    keep("before");
    // Another version has run since, and has written what this one does not understand, into either file.
    fs::write(bench.path("state/last-good.version"), "0.0.0").expect("a file");
    keep("after");
    keep("after-that");
    let strange = text("after-that").replace(" }", ", speed: warp }");
    bench.write(&strange);
    fs::write(bench.path("state/last-good.yaml"), &strange).expect("a file");
    let running = load_for_run(&bench.source()).expect("the last good settings");
    assert!(running.refused.expect("told").to_string().contains("gateway.speed"));
    assert_eq!(running.loaded.config.gateway.id, "before");
}

#[test]
fn a_half_written_file_of_an_earlier_crash_is_no_obstacle() {
    let bench = ran_once("");
    fs::write(bench.path("state/last-good.yaml.new"), "half").expect("a file");
    bench.write(format!("gateway: {{ id: newer, state_dir: {} }}", bench.path("state").display()));
    keep_last_good(&load(&bench.source()).expect("good")).expect("kept");
    let kept = fs::read_to_string(bench.path("state/last-good.yaml")).expect("kept");
    assert!(kept.contains("\"newer\"") && !bench.path("state/last-good.yaml.new").exists());
}
