//! The commands as a person types them: over the control socket while the gateway runs, over the store while none does.

use super::bench::Bench;
use super::home::Home;
use serde_json::{Value, json};

pub struct Said {
    status: Option<i32>,
    out: String,
    err: String,
}

pub async fn say(home: &Home, arguments: &[&str]) -> Said {
    let settings = home.settings_path();
    let settings = settings.to_string_lossy();
    let arguments: Vec<&str> = arguments.iter().copied().chain(["--config", &settings]).collect();
    let mut command = home.command(&arguments);
    let output = command.output().await.expect("the binary starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Said { status: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
}

impl Said {
    #[track_caller]
    fn json(&self) -> Value {
        assert_eq!(self.status, Some(0), "{}{}", self.out, self.err);
        serde_json::from_str(&self.out).unwrap_or_else(|_| panic!("no JSON: {}", self.out))
    }

    #[track_caller]
    pub fn told(&self, words: &[&str]) {
        assert_eq!(self.status, Some(0), "{}{}", self.out, self.err);
        assert!(words.iter().all(|word| self.out.contains(word)), "{words:?} in {}", self.out);
    }

    #[track_caller]
    pub fn failed(&self, status: i32, word: &str) {
        assert_eq!(self.status, Some(status), "{}{}", self.out, self.err);
        assert!(self.err.contains(word), "{word} in {}", self.err);
    }
}

#[tokio::test]
async fn a_person_looks_after_a_running_gateway() {
    let bench = Bench::start("webhooks:\n  - { id: lims, url: 'http://127.0.0.1:9/', dialect: cloudevents }\n").await;
    let home = &bench.home;
    let made = say(home, &["token", "add", "portal", "--scope", "read", "--json"]).await.json();
    let token = made["token"].as_str().expect("a token").to_owned();
    bench.ask(&token, "GET", "/api/events", None).await.expect(200);
    say(home, &["token", "list"]).await.told(&["CLIENT", "portal", "read"]);
    say(home, &["token", "add", "portal", "--scope", "read"]).await.failed(1, "already");
    say(home, &["token", "add", "other", "--scope", "everything"]).await.failed(2, "administer");
    say(home, &["token", "remove", "portal"]).await.told(&["good no more"]);
    bench.ask(&token, "GET", "/api/events", None).await.problem(401);

    say(home, &["registrations", "add", "--id", "r-1", "--sample-id", "TUBE-5"]).await.told(&["r-1"]);
    say(home, &["registrations", "list", "--sample-id", "TUBE-5"]).await.told(&["r-1"]);
    say(home, &["events"]).await.told(&["REGISTRATION_CREATED"]);
    say(home, &["dead", "list"]).await.told(&["no dead letters"]);
    say(home, &["dead", "show", "lims", "1"]).await.failed(1, "no such dead letter");
    say(home, &["redrive"]).await.failed(2, "--destination");
    say(home, &["redrive", "--destination", "lims", "--dry-run"]).await.told(&["nothing to send", "nothing was sent"]);
    say(home, &["redrive", "--destination", "none"]).await.failed(1, "no such destination");
    say(home, &["manifest", "lims"]).await.told(&[]);
    say(home, &["reconcile", "lims", "--missing", "1-x"]).await.failed(2, "1-x");
    let had = home.write("had.txt", "1 some-id\n2\n");
    say(home, &["reconcile", "lims", "--have", &had.to_string_lossy(), "--dry-run"]).await.told(&["nothing was sent"]);
    say(home, &["reconcile", "none", "--missing", "1"]).await.failed(1, "no such endpoint");
    say(home, &["erase"]).await.failed(2, "--sample-id");
    say(home, &["erase", "--sample-id", "TUBE-5"]).await.told(&["1 registrations"]);
    let list = say(home, &["registrations", "list", "--json"]).await;
    assert!(!list.out.contains("TUBE-5"), "{}", list.out);
    bench.gateway.stop().await;
}

#[tokio::test]
async fn an_endpoint_that_is_gone_can_be_forgotten() {
    let bench = Bench::start("webhooks:\n  - { id: lims, url: 'http://127.0.0.1:9/', dialect: cloudevents }\n").await;
    bench.post("post", "/api/registrations", json!({})).await.expect(201);
    let home = &bench.home;
    say(home, &["destinations", "list"]).await.told(&["DESTINATION", "webhook:lims", "mqtt"]);
    for kept in ["lims", "mqtt"] {
        say(home, &["destinations", "drop", kept]).await.failed(1, "in the settings");
    }
    bench.ask("operate", "DELETE", "/api/destinations/lims", None).await.problem(403);
    let Bench { home, gateway, .. } = bench;
    gateway.stop().await;
    home.configure("");
    let gateway = home.start_ready().await;
    home.eventually("the socket", || home.state_dir().join("control.sock").exists().then_some(())).await;
    say(&home, &["destinations", "list"]).await.told(&["webhook:lims", "removed"]);
    say(&home, &["destinations", "drop", "lims"]).await.told(&["forgotten"]);
    say(&home, &["destinations", "drop", "lims"]).await.failed(1, "no such destination");
    let list = say(&home, &["destinations", "list", "--json"]).await.json();
    assert!(!list.to_string().contains("lims"), "{list}");
    gateway.stop().await;
}

#[tokio::test]
async fn the_same_while_no_gateway_runs() {
    let bench = Bench::start("").await;
    bench.post("post", "/api/registrations", json!({"id": "r-1", "sample_ids": ["TUBE-5"]})).await.expect(201);
    let Bench { home, gateway, .. } = bench;
    gateway.stop().await;
    say(&home, &["events"]).await.told(&["REGISTRATION_CREATED"]);
    let made = say(&home, &["token", "add", "portal", "--scope", "read", "--json"]).await.json();
    say(&home, &["erase", "--sample-id", "TUBE-5"]).await.told(&["1 registrations"]);
    assert!(!home.state_dir().join("control.sock").exists());
    let gateway = home.start_ready().await;
    home.eventually("the socket", || home.state_dir().join("control.sock").exists().then_some(())).await;
    let list = say(&home, &["token", "list", "--json"]).await.json();
    assert!(list["tokens"].as_array().is_some_and(|all| all.iter().any(|one| one["id"] == "portal")), "{list}");
    home.assert_discreet([made["token"].as_str().expect("a token")]);
    gateway.stop().await;
}

#[tokio::test]
async fn what_cannot_be_asked_is_told() {
    let home = Home::new();
    home.configure("");
    say(&home, &["events"]).await.failed(3, "start the gateway once");
    home.write("gateway.yaml", "nonsense: 1\n");
    say(&home, &["events", "--state-dir", &home.state_dir().to_string_lossy()]).await.failed(78, "nonsense");
}
