//! Other settings: tried, kept, taken back by themselves, refused; and endpoints that a person pauses.

use super::bench::{Bench, free_port};
use rustix::process::Signal;
use serde_json::{Value, json};

const HOOK: &str = "webhooks:\n  - id: lims\n    url: http://127.0.0.1:9/hook\n    secret: whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLw0s\n    posted: true\n";
const STARS: &str = "    secret: \"***\"\n";

fn written(bench: &Bench) -> String {
    std::fs::read_to_string(bench.home.settings_path()).expect("a settings file")
}

/// The settings of the bench with another sentence and the secret in stars.
fn changed(bench: &Bench) -> String {
    let secret = "    secret: whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLw0s\n";
    assert!(written(bench).contains(secret));
    format!("# mine\n{}retention: {{ events_kept_days: 77 }}  # so many\n", written(bench).replace(secret, STARS))
}

async fn hash(bench: &Bench) -> String {
    let status = bench.socket("GET", "/api/status", None).await.expect(200);
    status["configuration"]["hash"].as_str().expect("a hash").to_owned()
}

/// Until these settings are in force, and it is by them that one is answered.
async fn until_hash(bench: &Bench, wanted: &str) {
    bench.eventually("read", "/api/config", |config| config["hash"] == wanted).await;
}

/// What the audit log has of this action, once there is so much.
async fn audited(bench: &Bench, action: &str, count: usize) -> Vec<Value> {
    let of = |audit: &Value| {
        let entries = audit["entries"].as_array().expect("a list").iter();
        entries.filter(|entry| entry["action"] == action).cloned().collect::<Vec<Value>>()
    };
    let audit = bench.eventually("administer", "/api/audit", |audit| of(audit).len() >= count).await;
    of(&audit)
}

#[tokio::test]
async fn pushed_settings_are_tried_and_kept_with_their_comments_and_secrets() {
    let bench = Bench::start(HOOK).await;
    let before = (written(&bench), hash(&bench).await);
    let pushed = bench.post("administer", "/api/config", json!({"yaml": changed(&bench)})).await.expect(202);
    let tried = pushed["hash"].as_str().expect("a hash").to_owned();
    assert_ne!(tried, before.1);
    until_hash(&bench, &tried).await;
    let status = bench.get("/api/status").await.expect(200);
    assert_eq!(status["configuration"]["confirm_by"], pushed["confirm_by"]);
    assert_eq!(written(&bench), before.0, "nothing is written before somebody confirms");

    // A second one has to wait, the other door shows nothing, another hash is another matter.
    let (told, _) = bench.post("administer", "/api/config", json!({"yaml": changed(&bench)})).await.problem(409);
    assert!(told.contains("administer"), "{told}");
    let confirm = json!({ "hash": tried });
    let other = bench.socket("POST", "/api/config/confirm", Some(confirm.clone())).await.expect(409);
    assert_eq!(other["code"], "other_door", "{other}");
    let other = bench.post("administer", "/api/config/confirm", json!({"hash": "00"})).await.expect(409);
    assert_eq!(other["code"], "another_hash", "{other}");
    bench.post("operate", "/api/config/confirm", confirm.clone()).await.problem(403);

    bench.post("administer", "/api/config/confirm", confirm.clone()).await.expect(200);
    let now = written(&bench);
    assert!(now.starts_with("# mine\n") && now.contains("# so many"), "{now}");
    assert!(now.contains("secret: \"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLw0s\"") && !now.contains("***"), "{now}");
    let other = bench.post("administer", "/api/config/confirm", confirm).await.expect(409);
    assert_eq!(other["code"], "nothing_to_confirm");
    let status =
        bench.eventually("read", "/api/status", |status| status["configuration"]["confirm_by"].is_null()).await;
    assert_eq!(status["configuration"]["hash"], tried.as_str());

    // It is the file's from now on.
    let Bench { home, gateway, port } = bench;
    gateway.stop().await;
    let gateway = home.start_ready().await;
    let bench = Bench { home, gateway, port };
    until_hash(&bench, &tried).await;
    assert_eq!(audited(&bench, "push_config", 2).await.len(), 2);
    assert_eq!(audited(&bench, "roll_back_config", 0).await.len(), 0);
    bench.home.assert_discreet(["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLw0s"]);
    bench.gateway.stop().await;
}

#[tokio::test]
async fn a_kill_in_between_leaves_the_former_settings() {
    let bench = Bench::start(HOOK).await;
    let before = (written(&bench), hash(&bench).await);
    let pushed = bench.post("administer", "/api/config", json!({"yaml": changed(&bench)})).await.expect(202);
    until_hash(&bench, pushed["hash"].as_str().expect("a hash")).await;
    let Bench { home, gateway, port } = bench;
    gateway.kill().await;
    let gateway = home.start_ready().await;
    let bench = Bench { home, gateway, port };
    until_hash(&bench, &before.1).await;
    assert_eq!(written(&bench), before.0);
    bench.home.says(&["pushed settings are not kept", "started again"]).await;
    let entries = audited(&bench, "roll_back_config", 1).await;
    assert_eq!(entries[0]["object"], format!("config/{}", pushed["hash"].as_str().expect("a hash")), "{entries:?}");
    bench.gateway.stop().await;
}

#[tokio::test]
async fn a_signal_takes_tried_settings_back_and_a_reload_waits_for_them() {
    let bench = Bench::start(HOOK).await;
    let before = hash(&bench).await;
    let pushed = bench.post("administer", "/api/config", json!({"yaml": changed(&bench)})).await.expect(202);
    until_hash(&bench, pushed["hash"].as_str().expect("a hash")).await;
    let busy = bench.post("administer", "/api/reload", json!({})).await.expect(409);
    assert_eq!(busy["code"], "trial_running");
    bench.gateway.signal(Signal::HUP);
    until_hash(&bench, &before).await;
    bench.home.says(&["pushed settings are not kept", "read again"]).await;
    let reloaded = bench.post("administer", "/api/reload", json!({})).await.expect(202);
    assert_eq!(reloaded["hash"], before.as_str());
    bench.gateway.stop().await;
}

#[tokio::test]
async fn mistakes_are_told_as_check_tells_them_and_change_nothing() {
    let bench = Bench::start(HOOK).await;
    let before = (written(&bench), hash(&bench).await);
    let yaml = changed(&bench).replace("posted: true", "pasted: true").replace("id: lims", "id: other");
    let refused = bench.post("administer", "/api/config", json!({"yaml": yaml})).await.expect(422);
    let mistakes = refused["mistakes"].as_array().expect("mistakes");
    let stars = mistakes.iter().find(|one| one["path"] == "webhooks[0].secret").expect("the stars");
    let line = yaml.lines().position(|line| line.contains("***")).expect("stars") + 1;
    assert_eq!(stars["line"], line, "{stars}");
    assert!(mistakes.iter().any(|one| one["suggestion"].as_str().is_some_and(|text| text.contains("posted"))));
    for yaml in ["", "version: 1\ngateway: { state_dir: /elsewhere }\n", "a: [", "\u{0}"] {
        bench.post("administer", "/api/config", json!({"yaml": yaml})).await.problem(422);
    }
    let short = json!({"yaml": changed(&bench), "confirm_within_seconds": 1});
    let (_, faults) = bench.post("administer", "/api/config", short).await.problem(422);
    assert_eq!(faults, ["/confirm_within_seconds"]);
    bench.post("operate", "/api/config", json!({"yaml": changed(&bench)})).await.problem(403);

    // The same of the file itself.
    bench.home.configure("webhooks: [\n");
    let refused = bench.post("administer", "/api/reload", json!({})).await.expect(422);
    assert_eq!(refused["code"], "mistakes", "{refused}");
    let refused = |status: &Value| status["configuration"]["refused"].is_string();
    let status = bench.eventually("read", "/api/status", refused).await;
    assert_eq!(status["configuration"]["hash"], before.1.as_str());
    bench.home.write("gateway.yaml", &before.0);
    bench.gateway.stop().await;
}

#[tokio::test]
async fn an_endpoint_stays_paused_until_it_is_resumed() {
    let port = free_port();
    let hook = HOOK.replace(":9/", &format!(":{port}/"));
    let bench = Bench::start(&hook).await;
    let state = |status: &Value, wanted: &str| status["destinations"][1]["state"] == wanted;
    let paused = bench.post("operate", "/api/webhooks/lims/pause", json!({})).await.expect(200);
    assert_eq!((&paused["paused"], &paused["webhook"]), (&json!(true), &json!("lims")));
    let again = bench.post("operate", "/api/webhooks/lims/pause", json!({})).await.expect(200);
    assert_eq!(again["since"], paused["since"], "since the first time");
    let status = bench.eventually("read", "/api/status", |status| state(status, "paused")).await;
    assert!(
        status["destinations"][1]["reason"].as_str().is_some_and(|reason| reason.contains("by a person")),
        "{status}"
    );
    bench.eventually("read", "/api/destinations", |all| state(all, "paused")).await;
    let event = json!({"dialect": "session", "event": "WMS_LOADED", "session_id": "s"});
    bench.post("post", "/api/events", event).await.expect(202);

    let Bench { home, gateway, port: api } = bench;
    gateway.stop().await;
    let receiver = std::net::TcpListener::bind(("127.0.0.1", port)).expect("a free port");
    receiver.set_nonblocking(true).expect("a socket");
    let gateway = home.start_ready().await;
    let bench = Bench { home, gateway, port: api };
    bench.eventually("read", "/api/status", |status| state(status, "paused")).await;
    assert!(receiver.accept().is_err(), "nothing was sent while it was paused");
    bench.post("read", "/api/webhooks/lims/resume", json!({})).await.problem(403);
    bench.post("operate", "/api/webhooks/nobody/resume", json!({})).await.problem(404);
    bench.post("operate", "/api/webhooks/lims/resume", json!({})).await.expect(200);
    bench.home.eventually("what was kept", || receiver.accept().ok()).await;

    // What the settings pause stands above it.
    bench.home.write("gateway.yaml", written(&bench).replace("posted: true", "posted: true\n    paused: true"));
    bench.post("administer", "/api/reload", json!({})).await.expect(202);
    let told =
        |status: &Value| status["destinations"][1]["reason"].as_str().is_some_and(|text| text.contains("settings"));
    bench.eventually("read", "/api/status", told).await;
    bench.post("operate", "/api/webhooks/lims/resume", json!({})).await.problem(409);
    assert_eq!(audited(&bench, "pause", 2).await.len(), 2);
    bench.gateway.stop().await;
}
