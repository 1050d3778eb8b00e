//! Each command over MQTT, each refusal, what is sent again, and a flood.

use super::bench::Bench;
use super::commander::{Commander, command, moment};
use super::home::Home;
use super::mosquitto::{self, Mosquitto};
use serde_json::{Value, json};

/// A broker, a gateway on it with an endpoint where nobody listens, and somebody who gives commands.
async fn stage() -> Option<(Home, Mosquitto, Bench, Commander)> {
    if !mosquitto::is_installed() {
        return None;
    }
    let cellar = Home::new();
    let broker = Mosquitto::start(&cellar).await;
    let hook = "webhooks:\n  - { id: lims, url: 'http://127.0.0.1:9/hook', posted: true, retry: [100ms] }\n";
    let bench = Bench::start(&format!("mqtt: {{ url: '{}' }}\n{hook}", broker.url())).await;
    bench.home.says(&["connected to the broker"]).await;
    let commander = Commander::start(&broker).await;
    // The gateway's own subscription may come a moment after its connection.
    commander.insist("hello", "read").await;
    Some((cellar, broker, bench, commander))
}

async fn post(bench: &Bench) -> String {
    let event = json!({"dialect": "session", "event": "WMS_LOADED", "session_id": "s"});
    let taken = bench.post("post", "/api/events", event).await.expect(202);
    taken["id"].as_str().expect("an id").to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_command_does_what_it_says() {
    let Some((_cellar, _broker, bench, commander)) = stage().await else { return };
    let pong = commander.done(&command("1", "read", "ping", json!({}))).await;
    assert!(pong["pong"]["version"].is_string() && pong["pong"]["clock"].is_string(), "{pong}");
    let status = commander.done(&command("2", "read", "status", json!({}))).await;
    assert_eq!(status["overview"]["gateway"], "box");

    let tested = commander.give(&command("3", "operate", "test_webhook", json!({"endpoint": "lims"}))).await;
    assert_eq!((&tested["outcome"], &tested["code"]), (&json!("failed"), &json!("hop_failed")), "{tested}");
    let hops = tested["result"]["tested"]["hops"].as_array().expect("hops");
    assert!(hops.last().is_some_and(|hop| hop["ok"] == false && hop["next_step"].is_string()), "{tested}");

    let event = post(&bench).await;
    bench.eventually("read", "/api/dead", |dead| dead["dead"].as_array().is_some_and(|dead| dead.len() == 1)).await;
    let redrive = json!({"destination": "lims", "ids": [event], "dry_run": true});
    let redriven = commander.done(&command("4", "operate", "redrive", redrive)).await;
    assert_eq!(redriven["redriven"], json!({"dry_run": true, "destinations": {"webhook:lims": 1}}));

    let paused = commander.done(&command("5", "operate", "pause", json!({"endpoint": "lims"}))).await;
    assert_eq!(paused["paused"]["paused"], true);
    bench.eventually("read", "/api/status", |status| status["destinations"][1]["state"] == "paused").await;
    let resumed = commander.done(&command("6", "operate", "resume", json!({"endpoint": "lims"}))).await;
    assert_eq!(resumed["paused"]["paused"], false);

    let collected = commander.done(&command("6a", "operate", "collect_diagnostics", json!({}))).await;
    let kept = &collected["diagnostics"];
    let bundle = std::fs::read(kept["file"].as_str().expect("a path")).expect("it is on the box");
    assert_eq!((kept["bytes"].as_u64(), &bundle[..2]), (Some(bundle.len() as u64), &b"\x1f\x8b"[..]), "{collected}");
    commander.refused(&command("6b", "read", "collect_diagnostics", json!({})), "scope").await;

    let reloaded = commander.done(&command("7", "administer", "reload", json!({}))).await;
    let before = reloaded["settings"]["hash"].clone();
    let yaml = std::fs::read_to_string(bench.home.settings_path()).expect("a settings file");
    let wrong = json!({"yaml": format!("{yaml}nonsense: 1\n")});
    let refused = commander.refused(&command("8", "administer", "push_config", wrong), "mistakes").await;
    assert_eq!(refused["result"]["mistakes"][0]["path"], "nonsense", "{refused}");
    let other = json!({"yaml": format!("{yaml}retention: {{ events_kept_days: 78 }}\n")});
    let pushed = commander.done(&command("9", "administer", "push_config", other)).await;
    let tried = &pushed["settings"];
    assert!(tried["hash"] != before && tried["confirm_by"].is_string(), "{pushed}");
    bench.eventually("read", "/api/config", |config| config["hash"] == tried["hash"]).await;
    let confirm = json!({"hash": tried["hash"]});
    let elsewhere = bench.post("administer", "/api/config/confirm", confirm.clone()).await.expect(409);
    assert_eq!(elsewhere["code"], "other_door");
    commander.done(&command("10", "administer", "confirm_config", confirm)).await;
    let now = std::fs::read_to_string(bench.home.settings_path()).expect("a settings file");
    assert!(now.ends_with("events_kept_days: 78 }\n"), "{now}");

    let audit = bench.ask("administer", "GET", "/api/audit?limit=100", None).await.expect(200);
    let done = |action: &str, client: &str| {
        let entries = audit["entries"].as_array().expect("a list");
        entries.iter().any(|entry| entry["action"] == action && entry["client"] == client && entry["outcome"] == "ok")
    };
    assert!(done("pause", "operate") && done("resume", "operate"), "{audit}");
    let of_a_bundle = |entry: &Value| entry["action"] == "collect" && entry["client"] == "operate";
    assert!(audit["entries"].as_array().expect("a list").iter().any(of_a_bundle), "{audit}");
    assert!(done("push_config", "administer") && done("confirm_config", "administer"), "{audit}");
    bench.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_forged_expired_or_sent_again_is_refused_or_answered_the_same() {
    let Some((_cellar, _broker, bench, commander)) = stage().await else { return };
    let mut sent = 0;
    let mut fresh = |token: &str, name: &str, arguments: Value| {
        sent += 1;
        command(&format!("r{sent}"), token, name, arguments)
    };
    let endpoint = json!({"endpoint": "lims"});
    commander.refused(&fresh("forged-token", "ping", json!({})), "unknown_token").await;
    commander.refused(&fresh("line\nbreak", "ping", json!({})), "malformed").await;
    commander.refused(&fresh("read", "pause", endpoint.clone()), "scope").await;
    commander.refused(&fresh("operate", "push_config", json!({"yaml": "version: 1"})), "scope").await;
    commander.refused(&fresh("operate", "pause", json!({"endpoint": "nobody"})), "unknown").await;
    commander.refused(&fresh("operate", "pause", json!({"endpoint": "../reload"})), "unknown").await;
    commander.refused(&fresh("operate", "pause", json!({"endpoint": "lims", "more": 1})), "malformed").await;
    commander.refused(&fresh("operate", "redrive", json!({"nonsense": 1})), "malformed").await;
    commander.refused(&fresh("operate", "format_disk", json!({})), "unknown_command").await;
    commander.refused(&fresh("administer", "confirm_config", json!({})), "nothing_to_confirm").await;
    for (when, code) in [(moment(-1), "expired"), (moment(3_000), "expires_too_late"), ("soon".to_owned(), "malformed")]
    {
        let mut late = fresh("operate", "pause", endpoint.clone());
        late["expires_at"] = json!(when);
        commander.refused(&late, code).await;
    }
    let mut other = fresh("operate", "pause", endpoint.clone());
    other["schema"] = json!(2);
    commander.refused(&other, "schema").await;
    let mut other = fresh("operate", "pause", endpoint.clone());
    other["more"] = json!(2);
    commander.refused(&other, "malformed").await;

    // Without an id that fits into a topic.
    for (count, payload) in ["no JSON", "{}", "[]", r#"{"id":"a/b","command":"ping"}"#].iter().enumerate() {
        commander.publish(payload);
        let answers = commander.answers("unreadable", count + 1).await;
        assert_eq!(answers[count]["code"], "malformed", "{answers:?}");
    }

    // The very same again: done once, answered the same. The same id with something else in it: refused.
    let pause = fresh("operate", "pause", endpoint.clone());
    let first = commander.give(&pause).await;
    commander.publish(&pause.to_string());
    let id = pause["id"].as_str().expect("an id").to_owned();
    assert_eq!(commander.answers(&id, 2).await[1], first);
    let mut forged = pause.clone();
    forged["command"] = json!("resume");
    commander.publish(&forged.to_string());
    assert_eq!(commander.answers(&id, 3).await[2]["code"], "id_reused");
    let mut another = forged.clone();
    another["token"] = json!("administer");
    commander.publish(&another.to_string());
    assert_eq!(commander.answers(&id, 4).await[3]["outcome"], "done", "another client's ids are its own");

    let audit = bench.ask("administer", "GET", "/api/audit?limit=100", None).await.expect(200);
    let entries = audit["entries"].as_array().expect("a list");
    let count = |action: &str| entries.iter().filter(|entry| entry["action"] == action).count();
    assert_eq!((count("pause"), count("resume")), (1, 1), "{audit}");
    let noted = |outcome: &str| entries.iter().any(|entry| entry["action"] == "refused" && entry["outcome"] == outcome);
    assert!(noted("expired") && noted("id_reused") && noted("unknown_command"), "{audit}");
    bench.home.assert_discreet(["forged-token"]);
    bench.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_commands_is_slowed_down_and_events_go_on() {
    let Some((_cellar, _broker, bench, commander)) = stage().await else { return };
    for number in 0..1_000 {
        commander.publish(&command(&format!("f{number}"), "read", "ping", json!({})).to_string());
        if number % 100 == 0 {
            post(&bench).await;
        }
    }
    // Everything reaches the broker all the same.
    let done =
        |all: &Value| all["destinations"][0]["undone"] == 0 && all["destinations"][0]["ordinal"].as_u64() >= Some(10);
    bench.eventually("read", "/api/destinations", done).await;
    // The burst is done, the rest is told to slow down, and soon there is room again.
    bench
        .home
        .eventually("somebody who is told to slow down", || {
            commander.heard().iter().any(|answer| answer["code"] == "too_many").then_some(())
        })
        .await;
    commander.insist("after", "read").await;
    let heard = commander.heard();
    let of_the_flood = heard.iter().filter(|answer| answer["id"].as_str().is_some_and(|id| id.starts_with('f')));
    let (done, slowed): (Vec<&Value>, Vec<&Value>) = of_the_flood.partition(|answer| answer["outcome"] == "done");
    assert!(slowed.iter().all(|answer| answer["code"] == "too_many"), "{slowed:?}");
    assert!((20..500).contains(&done.len()), "{} were done", done.len());
    assert_eq!(bench.home.lines(&["connection to the broker lost"]).len(), 0);
    assert!(bench.home.lines(&["dropped without an answer"]).len() <= 1, "{}", bench.home.tail());
    // Another client is not told to slow down.
    commander.done(&command("other", "operate", "ping", json!({}))).await;
    bench.gateway.stop().await;
}
