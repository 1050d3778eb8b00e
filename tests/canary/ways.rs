//! The ways, one after the other, through one gateway; then everything that it has said is searched.

use super::bench::{Bench, free_port};
use super::cable::{Cable, ETX, message, numbered, private};
use super::home::{DEADLINE, Home};
use super::listening::{Heard, at_broker, quoting};
use super::mosquitto::{self, Mosquitto};
use rustix::process::Signal;
use serde_json::json;
use std::io::Read;

const SAMPLE: &str = "QZXCANARY7";
const NAME: &str = "Zyxomarthe";
const KEY: &str = "Y2FuYXJ5IHNlY3JldCBvZiB0aGUgY2FuYXJ5IHRlc3Q=";
const FLEET: &str = "canaryFleetPassword";
const PLANT: &str = "canaryPlantPassword";
const COLLECTOR: &str = "canaryCollectorToken";
const HEADER: &str = "canaryHeaderKey";
const BAD: &str = "canaryBadSecret";

fn sections(line: u16, asking: u16, fleet: u16, receiver: u16, broker: &str, secret: &str) -> String {
    format!(
        "mqtt: {{ url: '{broker}' }}\n\
         monitoring: {{ interval_seconds: 5, url: 'mqtt://127.0.0.1:{fleet}', user: fleet, password: {FLEET} }}\n\
         sparkplug: {{ url: 'mqtt://127.0.0.1:{fleet}', group_id: Lab, user: plant, password: {PLANT} }}\n\
         telemetry: {{ otlp_url: 'http://127.0.0.1:{receiver}/traces', otlp_token: {COLLECTOR} }}\n\
         sources:\n  - {{ id: camera, dialect: session, secret: {KEY} }}\n\
         analyzers:\n  - {{ id: cells, driver: astm, port: {{ tcp: {{ listen: '127.0.0.1:{line}' }} }} }}\n  \
         - {{ id: asker, driver: astm, port: {{ tcp: {{ listen: '127.0.0.1:{asking}' }} }} }}\n\
         webhooks:\n  - {{ id: lims, url: 'http://127.0.0.1:{receiver}/hook', secret: {secret}, headers: {{ x-api-key: {HEADER} }} }}\n"
    )
}

/// Every file of the bundle, by its name.
fn unpacked(archive: &[u8]) -> Vec<(String, String)> {
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(archive));
    let entries = archive.entries().expect("an archive");
    let read = |entry: std::io::Result<tar::Entry<'_, _>>| {
        let mut entry: tar::Entry<'_, flate2::read::GzDecoder<&[u8]>> = entry.expect("an entry");
        let name = entry.path().expect("a name").display().to_string();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).expect("its bytes");
        (name, String::from_utf8_lossy(&bytes).into_owned())
    };
    entries.map(read).collect()
}

/// Waits until the word was heard there.
async fn is_heard(home: &Home, heard: &Heard, word: &str, at: &str) {
    let found = || heard.topics_of(word).iter().any(|topic| topic.contains(at)).then_some(());
    home.eventually(&format!("{word} at {at}"), found).await;
}

/// Commands whose output a person may paste anywhere.
async fn commands(bench: &Bench, said: &mut Vec<(String, String)>) {
    let settings = bench.home.settings_path().display().to_string();
    let all: [&[&str]; 5] = [
        &["status", "--config", &settings],
        &["status", "--json", "--config", &settings],
        &["doctor", "--config", &settings],
        &["destinations", "--config", &settings],
        &["diagnostics", "collect", "--preview", "--config", &settings],
    ];
    for arguments in all {
        let running = tokio::time::timeout(DEADLINE, bench.home.command(arguments).output()).await;
        let output = running.expect("it ends").expect("it runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(!text.is_empty(), "{arguments:?}");
        said.push((arguments.join(" "), text));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn they_are_found_only_where_they_belong() {
    if !mosquitto::is_installed() {
        return;
    }
    let (local, fleet) = (Home::new(), Home::new());
    let (local_broker, fleet_broker) = (Mosquitto::start(&local).await, Mosquitto::start(&fleet).await);
    let (at_local, _listening) = at_broker(local_broker.port).await;
    let (at_fleet, _listening_too) = at_broker(fleet_broker.port).await;
    let (line, asking, receiver) = (free_port(), free_port(), free_port());
    let (posted, _serving) = quoting(receiver);
    let secret = format!("whsec_{KEY}");
    let good = sections(line, asking, fleet_broker.port, receiver, &local_broker.url(), &secret);
    let mut bench = Bench::start(&good).await;
    let made = bench.post("administer", "/api/tokens", json!({"id": "portal", "scope": "operate"})).await.expect(201);
    let token = made["token"].as_str().expect("a token").to_owned();
    let mut said: Vec<(String, String)> = Vec::new();

    // Results, and what cannot be read.
    let mut cable = Cable::call(&bench.home, line).await;
    cable.tell(&message(SAMPLE, 3)).await;
    is_heard(&bench.home, &posted, SAMPLE, "webhook").await;
    is_heard(&bench.home, &at_local, SAMPLE, "/events/").await;
    cable.ask().await;
    cable.frame(1, format!("{NAME} {SAMPLE} is no record\r").as_bytes(), ETX).await;
    cable.say(&[0x04]).await;
    bench.home.says(&["message rejected"]).await;
    cable.say(format!("{NAME}|{SAMPLE}\x02\x7f garbage").as_bytes()).await;

    // A sample that is registered, and an analyzer that asks what to do with it.
    let new =
        json!({"id": "4711", "sample_ids": [SAMPLE], "patient": {"family_name": NAME}, "tests": [{"code": "GLU1"}]});
    bench.post("post", "/api/registrations", new).await.expect(201);
    let mut asker = Cable::call(&bench.home, asking).await;
    asker.ask().await;
    for (index, text) in ["H|\\^&|||ASKER", &format!("Q|1|^{SAMPLE}||ALL||||||||O"), "L|1|N"].iter().enumerate() {
        asker.say(&numbered(index + 1, format!("{text}\r").as_bytes(), ETX)).await;
        asker.answer().await;
    }
    asker.say(&[0x04]).await;
    bench.home.says(&["the analyzer asked what to do"]).await;

    // Requests that are refused.
    let json_type = ("content-type", "application/json");
    let body = json!({"name": NAME, "sample": SAMPLE}).to_string();
    let refused = bench.raw("POST", "/in/camera", &[json_type], body.as_bytes()).await;
    assert!((400..500).contains(&refused.status), "{}", refused.text());
    said.push(("a webhook that proves nothing".to_owned(), refused.text()));
    let wrong = json!({"id": [NAME], "sample_ids": SAMPLE, "patient": NAME});
    let wrong = bench.post("post", "/api/registrations", wrong).await;
    said.push(("a registration of a wrong shape".to_owned(), wrong.text()));
    wrong.problem(422);
    for path in [format!("/api/tests/{NAME}"), format!("/api/events?limit={NAME}"), format!("/api/events/{SAMPLE}")] {
        let answer = bench.get(&path).await;
        answer.problem(answer.status);
        said.push((path, answer.text()));
    }

    // Settings that are refused, with a secret of a wrong form and one in a wrong place.
    let text = std::fs::read_to_string(bench.home.settings_path()).expect("the settings");
    bench
        .home
        .write("gateway.yaml", text.replace(&secret, &format!("whsec_{BAD}!!")).replace("password: ", "pasword: "));
    bench.gateway.signal(Signal::HUP);
    bench.home.says(&["the settings file is refused"]).await;
    let settings = bench.home.settings_path().display().to_string();
    let check = bench.home.command(&["check", &settings]).output().await.expect("it runs");
    let told = String::from_utf8_lossy(&check.stderr).into_owned() + &String::from_utf8_lossy(&check.stdout);
    assert!(!check.status.success() && !told.is_empty());
    said.push(("check".to_owned(), told));

    // Whatever can be asked for.
    said.push(("status".to_owned(), bench.get("/api/status").await.text()));
    for path in ["/metrics", "/api/openapi.json", "/api/destinations"] {
        let answer = bench.get(path).await;
        assert_eq!(answer.status, 200, "{path}");
        said.push((path.to_owned(), answer.text()));
    }
    commands(&bench, &mut said).await;
    bench.home.write("gateway.yaml", &text);
    bench.gateway.signal(Signal::HUP);
    bench.home.says(&["new settings in force"]).await;
    let bundle = bench.ask("operate", "POST", "/api/diagnostics", None).await;
    assert_eq!(bundle.status, 200, "{}", bundle.text());
    for _ in 0..2 {
        let kept = bench.ask("operate", "POST", "/api/diagnostics/kept", None).await.expect(201);
        let file = std::path::PathBuf::from(kept["file"].as_str().expect("a path"));
        assert_eq!(std::fs::metadata(&file).expect("it is there").len(), kept["bytes"].as_u64().expect("a size"));
        let folder = std::fs::read_dir(file.parent().expect("a folder")).expect("a folder");
        assert_eq!(folder.count(), 1, "the older one is gone");
    }
    let files = unpacked(&bundle.body);
    let names: Vec<&str> = files.iter().map(|(name, _)| name.rsplit('/').next().unwrap_or_default()).collect();
    for name in ["manifest.json", "overview.json", "settings.json", "log.ndjson", "attempts.json", "metrics.txt"] {
        assert!(names.contains(&name), "{names:?}");
    }
    assert!(
        files
            .iter()
            .any(|(name, text)| name.contains("captures/cells") && name.ends_with(".bin") && text.contains("GLU1"))
    );
    said.extend(files);
    is_heard(&bench.home, &posted, "resourceSpans", "traces").await;
    is_heard(&bench.home, &at_fleet, "health", "").await;
    for device in ["cells", "asker"] {
        is_heard(&bench.home, &at_fleet, device, "spBv1.0/Lab/DBIRTH").await;
    }
    is_heard(&bench.home, &at_fleet, "", "spBv1.0/Lab/NBIRTH").await;

    // It is where it belongs, and what was read is written down.
    assert!(bench.get("/api/events?limit=100").await.text().contains(SAMPLE));
    let audit = bench.ask("administer", "GET", "/api/audit", None).await.text();
    assert!(audit.contains("\"read\""), "{audit}");

    // A crash, and what the next start says of it.
    bench.gateway.signal(Signal::ABORT);
    let ended = bench.gateway.ended().await;
    assert!(!ended.success(), "{ended}");
    let again = bench.home.start_ready().await;
    again.stop().await;
    let stored = std::fs::read(bench.home.state_dir().join("events.db")).expect("the store");
    assert!(stored.windows(SAMPLE.len()).any(|window| window == SAMPLE.as_bytes()), "the store has it");

    said.push(("the log".to_owned(), bench.home.log()));
    said.push(("systemd".to_owned(), bench.home.notices().join("\n")));
    let persons: Vec<String> = private(SAMPLE).into_iter().chain([NAME.to_owned()]).collect();
    let secrets = [KEY, FLEET, PLANT, COLLECTOR, HEADER, BAD, &token].map(str::to_owned);
    for word in persons.iter().chain(&secrets) {
        for (what, text) in &said {
            let lines: Vec<&str> = text.lines().filter(|line| line.contains(word)).collect();
            assert!(lines.is_empty(), "{word} stands in {what}: {lines:?}");
        }
        assert_eq!(at_fleet.topics_of(word), Vec::<String>::new(), "{word} has left the clinic");
        assert!(!posted.topics_of(word).contains(&"traces".to_owned()), "{word} stands in a trace");
    }
    for word in &persons {
        let elsewhere: Vec<String> =
            at_local.topics_of(word).into_iter().filter(|topic| !topic.contains("/events/")).collect();
        assert_eq!(elsewhere, Vec::<String>::new(), "{word}");
    }
    for word in &secrets {
        assert_eq!(at_local.topics_of(word), Vec::<String>::new(), "{word}");
        assert!(posted.topics_of(word).is_empty(), "{word} stands in a body");
    }
}
