//! A profile that learns something: `redecode` shows it, sends the next version once, and `captures` gives the bytes away.

use super::cable::{Cable, message, private};
use super::home::{DEADLINE, Gateway, Home};
use super::mosquitto::{Mosquitto, free_port, is_installed};
use super::watcher::Watcher;
use gateway_daemon::simulated::receiver::{Answer, Options, Receiver, standard_webhooks};
use serde_json::Value;
use std::sync::Arc;

const SECRET: &str = "whsec_c2VjcmV0IG9mIHRoZSB3ZWJob29rIHRlc3RzIDE=";
const TOPIC: &str = "analyzer-gateway/box/analyzers/chemistry/events/TEST_FINISHED";

async fn says(home: &Home, arguments: &[&str]) -> String {
    let settings = home.settings_path();
    let settings = settings.to_string_lossy();
    let arguments: Vec<&str> = arguments.iter().copied().chain(["--config", &settings]).collect();
    let running = home.command(&arguments).output();
    let output = tokio::time::timeout(DEADLINE, running).await.expect("it ends").expect("the binary starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

struct Rig {
    home: Home,
    broker: u16,
    port: u16,
    receiver: Receiver,
}

impl Rig {
    /// The settings; `known` is what the profile says of codes.
    fn configure(&self, known: &str) {
        self.home.configure(&format!(
            "mqtt: {{ url: 'mqtt://127.0.0.1:{}' }}\nanalyzers:\n  - id: chemistry\n    port: {{ tcp: {{ listen: '127.0.0.1:{}' }} }}\n    \
             profile: {{ version: 1, maker: Bench, model: One, driver: astm, codes: {{ {known} }} }}\n\
             webhooks:\n  - {{ id: lims, url: '{}', secret: {SECRET} }}\n",
            self.broker,
            self.port,
            self.receiver.url(),
        ));
    }

    async fn start(&self, known: &str) -> Gateway {
        self.configure(known);
        self.home.start_ready().await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_better_profile_sends_the_next_version_once() {
    if !is_installed() {
        return;
    }
    let home = Home::new();
    let broker = Mosquitto::start(&home).await;
    let options = Options {
        verify: standard_webhooks(SECRET),
        script: Arc::new(|_, _| Answer::Accept),
        wall: Arc::new(super::kill::wall),
    };
    let receiver = Receiver::start(options).await.expect("a port");
    let rig = Rig { home, broker: broker.port, port: free_port(), receiver };
    let (home, sample) = (&rig.home, "REDO-0001");
    let watcher = Watcher::on(rig.broker);
    let gateway = rig.start("").await;
    let mut cable = Cable::call(home, rig.port).await;
    cable.tell(&message(sample, 2)).await;
    let versions = || rig.receiver.ledger().lock().ids_of(&format!("sample {sample}")).len();
    home.eventually("the first version", || (versions() == 1).then_some(())).await;
    gateway.stop().await;

    let gateway = rig.start("GLU1: { name: Glucose, loinc: 2345-7 }").await;
    home.eventually("the socket", || home.state_dir().join("control.sock").exists().then_some(())).await;
    let told = says(home, &["redecode", "--dry-run"]).await;
    for words in ["corrected", "GLU1", "1 tests would change; nothing was stored"] {
        assert!(told.contains(words), "{words} in {told}");
    }
    assert!(!told.contains("5.1") && !told.contains(sample), "{told}");
    assert!(says(home, &["redecode", "--dry-run", "--show-data"]).await.contains("5.1"));
    assert!(says(home, &["redecode", "--since", "2100-01-01T00:00:00Z"]).await.contains("read as it was"));
    assert!(says(home, &["redecode", "--analyzer", "chemistry"]).await.contains("1 tests changed"));
    home.eventually("the second version", || (versions() == 2).then_some(())).await;
    let second = home
        .eventually("the second version over MQTT", || {
            watcher.last(TOPIC).filter(|event| event["data"]["test"]["version"] == 2)
        })
        .await;
    let test = &second["data"]["test"];
    assert_eq!(test["corrected"], serde_json::json!(["GLU1"]));
    assert_eq!(test["results"][0]["loinc"], "2345-7");
    assert_eq!(test["results"].as_array().map(Vec::len), Some(2));
    assert!(says(home, &["redecode"]).await.contains("read as it was"), "a second run changes nothing");
    gateway.stop().await;

    // The same on the store while no gateway runs.
    rig.configure("GLU2: { name: Glucose again }");
    assert!(says(home, &["redecode", "--json"]).await.contains("\"version\": 3"));
    exported(home, sample).await;
    let gateway = home.start_ready().await;
    home.eventually("the third version", || (versions() == 3).then_some(())).await;
    home.assert_discreet(private(sample).iter().map(String::as_str));
    gateway.stop().await;
}

/// The message leaves as it came, and without anybody in it.
async fn exported(home: &Home, sample: &str) {
    let list: Value = serde_json::from_str(&says(home, &["captures", "list", "--json"]).await).expect("JSON");
    let id = list[0]["id"].to_string();
    assert_eq!(list.as_array().map(Vec::len), Some(1), "{list}");
    let (whole, clean) = (home.path("whole.bin"), home.path("clean/"));
    says(home, &["captures", "export", &id, "--out", &whole.to_string_lossy()]).await;
    says(home, &["captures", "export", "--scrub", "--out", &format!("{}/", clean.display())]).await;
    let clean = home.path(&format!("clean/chemistry-{id}.bin"));
    let bytes = std::fs::read(&clean).expect("an export");
    let text = String::from_utf8_lossy(&bytes).into_owned();
    assert!(private(sample).iter().all(|word| !text.contains(word.as_str())), "{text}");
    assert!(String::from_utf8_lossy(&std::fs::read(&whole).expect("an export")).contains(sample));
    let chunks = format!("{}.chunks.json", clean.display());
    let decode = |file: String| {
        let mut command = home.command(&["decode", "--driver", "astm", "--chunks", &chunks, &file]);
        async move { command.output().await.expect("the binary starts") }
    };
    let results = |output: std::process::Output| {
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        let lines = String::from_utf8_lossy(&output.stdout).into_owned();
        let events = lines.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        events.map(|event| event["test"]["results"].clone()).collect::<Vec<_>>()
    };
    let before = results(decode(whole.to_string_lossy().into_owned()).await);
    let after = results(decode(clean.to_string_lossy().into_owned()).await);
    assert_eq!((before.len(), &before), (1, &after));
    assert!(says(home, &["captures", "show", &id, "--scrub"]).await.contains("GLU1"));
}
