//! Settings good and bad, signals, and what the service manager is told.

use super::cable::{Cable, ETX, message};
use super::database::Database;
use super::home::Home;
use super::kill::wall;
use super::mosquitto::free_port;
use gateway_daemon::simulated::astm::{Style, texts};
use gateway_daemon::simulated::receiver::{Answer, Options, Receiver, accept_all};
use gateway_tests::binary;
use rustix::process::Signal;
use std::sync::Arc;
use std::time::Duration;

fn sections(home: &Home, analyzers: &[&str], webhooks: &str) -> String {
    let mut text = format!("mqtt: {{ url: 'mqtt://127.0.0.1:{}' }}\nanalyzers:\n", free_port());
    for id in analyzers {
        text += &format!("  - {{ id: {id}, driver: astm, port: {{ path: {} }} }}\n", home.path(id).display());
    }
    text + webhooks
}

async fn receiver() -> Receiver {
    let options = Options { verify: Arc::new(|_, _| Ok(())), script: accept_all(), wall: Arc::new(wall) };
    Receiver::start(options).await.expect("a port")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_names_every_mistake_and_exits_78() {
    let home = Home::new();
    home.configure(
        "analyzers:\n  - { id: twin, driver: astm, port: { path: /dev/null } }\n  - { id: twin, driver: astn, port: { path: \
         /dev/null } }\nwebhooks:\n  - { id: lims, url: 'not an address', secert: x }\n",
    );
    let path = home.settings_path();
    let told = home.command(&["check", &path.to_string_lossy()]).output().await.expect("it runs");
    assert_eq!(told.status.code(), Some(78));
    let text = String::from_utf8_lossy(&told.stderr).into_owned();
    for words in [
        "gateway.yaml:4:",
        "analyzers[1].id",
        "twin",
        "analyzers[1].driver",
        "astm",
        "webhooks[0].url",
        "webhooks[0].secert",
        "secret",
    ] {
        assert!(text.contains(words), "{words} in:\n{text}");
    }
    home.configure(&sections(&home, &["line"], ""));
    let told = home.command(&["check", &path.to_string_lossy()]).output().await.expect("it runs");
    assert_eq!(told.status.code(), Some(0), "{}", String::from_utf8_lossy(&told.stderr));
    assert!(!home.state_dir().exists(), "check looks and touches nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_file_means_the_last_good_one_or_78() {
    let home = Home::new();
    home.configure("analyzers:\n  - { id: line, driver: astm }\n");
    let mut gateway = home.start();
    assert_eq!(gateway.ended().await.code(), Some(78), "{}", home.tail());
    home.says(&["analyzers[0].port"]).await;

    let mut cable = Cable::plug(&home, "line");
    home.configure(&sections(&home, &["line"], ""));
    home.start_ready().await.stop().await;
    // Now it is broken so badly that it is no YAML any more, and the box still hears its analyzer.
    let state_dir = home.state_dir();
    home.write("gateway.yaml", format!("gateway: {{ id: box, state_dir: {} }}\nanalyzers: [\n", state_dir.display()));
    let gateway = home.start_ready().await;
    home.says(&["ERROR", "last good settings"]).await;
    cable.tell(&message("LAST-GOOD", 1)).await;
    let database = Database::open(&home.state_dir());
    home.eventually("stored", || (database.count("TEST_FINISHED") == 1).then_some(())).await;
    let status = || home.notices_of(&gateway).into_iter().rfind(|text| text.starts_with("STATUS="));
    home.eventually("the status to say so", || status()?.contains("settings").then_some(())).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_adds_parts_and_disturbs_nobody() {
    let home = Home::new();
    let mut cable = Cable::plug(&home, "line");
    let mut other = Cable::plug(&home, "other");
    let lims = receiver().await;
    home.configure(&sections(&home, &["line"], ""));
    let gateway = home.start_ready().await;
    let parts = texts(&message("RELOAD-01", 3).records, Style::RecordPerFrame);
    cable.ask().await;
    cable.frame(1, &parts[0], ETX).await;
    cable.frame(2, &parts[1], ETX).await;

    let hook = format!("webhooks:\n  - {{ id: lims, url: '{}', events: [TEST_FINISHED] }}\n", lims.url());
    home.configure(&sections(&home, &["line", "other"], &hook));
    gateway.signal(Signal::HUP);
    home.says(&["new settings in force"]).await;
    for (index, text) in parts.iter().enumerate().skip(2) {
        cable.frame(index + 1, text, ETX).await;
    }
    cable.say(&[super::cable::EOT]).await;
    other.tell(&message("RELOAD-02", 1)).await;
    let has = |sample: &str| lims.ledger().lock().ids_of(&format!("sample {sample}")).len() == 1;
    home.eventually("both", || (has("RELOAD-01") && has("RELOAD-02")).then_some(())).await;
    let database = Database::open(&home.state_dir());
    assert_eq!(database.names("line"), ["ANALYZER_CONNECTED", "TEST_FINISHED"], "its session went on");

    // A bad one is refused and said; the old ones stay, and a later good one is taken.
    home.configure("analyzers:\n  - { id: line, driver: nonsense, port: { path: /dev/null } }\n");
    gateway.signal(Signal::HUP);
    home.says(&["ERROR", "new settings refused"]).await;
    home.says(&["analyzers[0].driver"]).await;
    cable.tell(&message("RELOAD-03", 1)).await;
    home.eventually("RELOAD-03", || has("RELOAD-03").then_some(())).await;
    home.configure(&sections(&home, &["line"], &hook));
    gateway.signal(Signal::HUP);
    home.eventually("the second reload", || (home.lines(&["new settings in force"]).len() == 2).then_some(())).await;
    cable.tell(&message("RELOAD-04", 1)).await;
    home.eventually("RELOAD-04", || has("RELOAD-04").then_some(())).await;
    let told = home.notices_of(&gateway);
    assert_eq!(told.iter().filter(|text| text.contains("RELOADING=1")).count(), 3);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_drains_what_is_on_its_way_and_ends_with_0() {
    let home = Home::new();
    let mut cable = Cable::plug(&home, "line");
    let hangs = |_: u64, _: &_| Answer::Hang(Duration::from_secs(600));
    let options = Options { verify: Arc::new(|_, _| Ok(())), script: Arc::new(hangs), wall: Arc::new(wall) };
    let stuck = Receiver::start(options).await.expect("a port");
    let hook = format!("webhooks:\n  - {{ id: stuck, url: '{}', timeout: 60s }}\n", stuck.url());
    home.configure(&sections(&home, &["line"], &hook));
    let mut gateway = home.start_ready().await;
    cable.tell(&message("DRAIN-001", 1)).await;
    // In the middle of the next session, with an answer outstanding that will never come.
    cable.ask().await;
    cable.frame(1, &texts(&message("DRAIN-002", 1).records, Style::RecordPerFrame)[0], ETX).await;
    home.eventually("a request that hangs", || (stuck.counts().requests > 0).then_some(())).await;
    gateway.signal(Signal::TERM);
    let ended = tokio::time::timeout(Duration::from_secs(10), gateway.ended()).await;
    assert_eq!(ended.expect("within 10 s").code(), Some(0), "{}", home.tail());
    let database = Database::open(&home.state_dir());
    assert!(database.undone("webhook:stuck") > 0, "kept");
    assert!(home.notices().iter().any(|text| text.contains("STOPPING=1")));
    // SIGINT is the same to a person at a terminal.
    let mut gateway = home.start_ready().await;
    gateway.signal(Signal::INT);
    assert_eq!(gateway.ended().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_service_manager_hears_what_systemd_wants_to_hear() {
    let mut home = Home::new();
    home.set("WATCHDOG_USEC", "400000");
    let _cable = Cable::plug(&home, "line");
    home.configure(&sections(&home, &["line"], ""));
    let gateway = home.start_ready().await;
    let told = || home.notices_of(&gateway);
    let count = |word: &str| told().iter().filter(|text| text.lines().any(|line| line == word)).count();
    home.eventually("the watchdog fed", || (count("WATCHDOG=1") >= 5).then_some(())).await;
    home.eventually("a status", || told().iter().any(|text| text.starts_with("STATUS=")).then_some(())).await;
    gateway.signal(Signal::HUP);
    home.eventually("ready again", || (count("READY=1") == 2).then_some(())).await;
    let notices = told();
    let reloading = notices.iter().find(|text| text.lines().any(|line| line == "RELOADING=1"));
    let moment = reloading.and_then(|text| text.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")));
    let moment: i64 = moment.and_then(|usec| usec.parse().ok()).expect("RELOADING=1 and MONOTONIC_USEC together");
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let age = now.tv_sec - moment / 1_000_000;
    assert!((0..60).contains(&age), "the monotonic time of the reload, in microseconds: {moment}");
    gateway.stop().await;
    let last = home.notices();
    assert!(last.iter().any(|text| text.lines().any(|line| line == "STOPPING=1")));
}

/// Two gateways on one state folder would both publish the same log.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_binary_says_its_version_and_refuses_unknown_words() {
    let home = Home::new();
    let version = home.command(&["--version"]).output().await.expect("it runs");
    let text = String::from_utf8_lossy(&version.stdout).into_owned();
    assert!(text.starts_with("analyzer-gateway "), "{} says {text}", binary().display());
    let wrong = home.command(&["rum"]).output().await.expect("it runs");
    assert_eq!(wrong.status.code(), Some(2));
}
