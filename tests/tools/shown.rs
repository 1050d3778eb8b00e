//! What is shown of a gateway, and what never is.

use super::box_::Box;
use super::cable::{Cable, message, private};
use super::home::DEADLINE;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout};

const SAMPLE: &str = "TUBE-4711";
/// Between two things that are told to a command that may not listen yet.
const LOOK: Duration = Duration::from_millis(300);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_is_shown_while_it_runs_and_while_it_is_down() {
    let the_box = Box::new("");
    let (gateway, mut cable) = the_box.start().await;
    Box::tell(&mut cable, SAMPLE).await;
    let (event, test) = the_box.stored(1).await.remove(0);
    at_a_glance(&the_box, true).await;
    the_life_of(&the_box, &event, &test).await;
    the_queue_of(&the_box, &event).await;
    lists(&the_box, &test).await;
    followed(&the_box, &mut cable).await;
    the_box.home.assert_discreet(private(SAMPLE).iter().map(String::as_str));
    gateway.stop().await;

    at_a_glance(&the_box, false).await;
    the_life_of(&the_box, &event, &test).await;
    the_queue_of(&the_box, &event).await;
    lists(&the_box, &test).await;
    let said = the_box.say(&["watch"]).await.expect(3);
    assert!(said.err.contains("not running"), "{}", said.err);
    let said = the_box.say(&["events", "--follow", "--name", "NOTHING"]).await.expect(1);
    assert!(said.err.contains("not running"), "{}", said.err);
}

async fn at_a_glance(the_box: &Box, running: bool) {
    let said = the_box.say(&["status", "--json"]).await;
    let overview = said.json();
    assert_eq!(overview["running"], running);
    assert_eq!((overview["gateway"].as_str(), overview["analyzers"][0]["id"].as_str()), (Some("box"), Some("bench")));
    let urgent = |trouble: &Value| trouble["urgency"] != "watch";
    let needed = overview["troubles"].as_array().expect("a list").iter().any(urgent);
    assert_eq!(said.status, Some(i32::from(needed || !running)), "{overview:#}");
    let screen = the_box.say(&["status"]).await;
    assert_eq!(screen.status, said.status);
    screen.holds(&["box  ", "bench", "webhook:lims", "mqtt", "clock ", "disk ", "store "]);
    assert_eq!(screen.out.contains("not running"), !running, "{}", screen.out);
    assert!(!screen.out.contains('\u{1b}'), "colours are for terminals");
    let status = i32::from(!running);
    the_box.say(&["analyzers"]).await.expect(status).holds(&["ANALYZER", "bench", "tcp listen"]);
    let one = the_box.say(&["analyzers", "bench", "--json"]).await.expect(status).json();
    assert_eq!(one["analyzers"].as_array().map(Vec::len), Some(1));
    let said = the_box.say(&["analyzers", "other"]).await.expect(1);
    assert!(said.err.contains("no analyzer `other`"), "{}", said.err);
    let clock = the_box.say(&["clock", "--json"]).await.json();
    assert_eq!((&clock["running"], clock["corrections"].as_array().map(Vec::len)), (&running.into(), Some(0)));
    the_box.say(&["clock"]).await.holds(&["quality", "boot", "corrections", "what to do"]);
}

/// By everything that an event is called.
async fn the_life_of(the_box: &Box, event: &str, test: &str) {
    let seq = the_box.say(&["explain", event, "--json"]).await.json()["event"]["seq"].to_string();
    for called in [event, &event[..13], &seq, test, &test[..8]] {
        let life = the_box.say(&["explain", called, "--json"]).await.json();
        assert_eq!(life["event"]["id"], *event, "called {called}");
    }
    for unknown in ["999999", "ffffffff", "zzzz", "ab"] {
        let said = the_box.say(&["explain", unknown]).await.expect(1);
        assert!(said.err.contains("no such event"), "{}", said.err);
    }
    let masked = the_box.say(&["explain", event, "--json"]).await;
    let life = masked.json();
    for hidden in private(SAMPLE).iter().map(String::as_str).chain(["GLU1"]) {
        assert!(!masked.out.contains(hidden), "{hidden}");
    }
    let kinds: Vec<&str> =
        life["message"]["records"].as_array().expect("a list").iter().filter_map(|one| one["kind"].as_str()).collect();
    assert_eq!(kinds, ["H", "P", "O", "R", "R", "L"]);
    let frames = life["message"]["parts"].as_array().expect("a list").iter();
    assert_eq!(frames.filter(|part| part["kind"] == "frame" && part["verdict"] == "good").count(), 6, "{life:#}");
    let state = life["deliveries"].as_array().expect("a list").iter().find(|one| one["destination"] == "webhook:lims");
    assert!(matches!(state.expect("it belongs there")["state"].as_str(), Some("queued" | "waiting")), "{life:#}");

    let screen = the_box.say(&["explain", event]).await;
    let (sent, _) = screen.out.split_once("\nTo ").expect("destinations");
    let now = [(event, "EVENT"), (test, "TEST")];
    let fields = ["received_at", "boot"].map(|key| life["event"][key].as_str().expect("text").to_owned());
    let mut text = now.iter().fold(sent.to_owned(), |text, (word, name)| text.replace(word, name));
    for (word, name) in fields.iter().zip(["TIME", "BOOT"]) {
        text = text.replace(word.as_str(), name);
    }
    let seconds = life["event"]["mono_ns"].as_u64().expect("a number") as f64 / 1e9;
    let quality = format!("(clock {})", life["event"]["clock"].as_str().expect("text"));
    text = text.replace(&format!("{seconds:.3}"), "SECONDS").replace(&quality, "(QUALITY)");
    text = text.replace(&format!("number {seq} "), "number SEQ ").replace(&format!("-> {seq} "), "-> SEQ ");
    golden("explain.txt", &text);

    let personal = the_box.say(&["explain", event, "--personal"]).await;
    personal.holds(&[SAMPLE, "GLU1", &format!("PAT-{SAMPLE}")]);
}

async fn the_queue_of(the_box: &Box, event: &str) {
    let queue = the_box.say(&["queue", "lims", "--json"]).await.expect(0).json();
    let one = &queue["destinations"][0];
    assert_eq!(
        (one["destination"].as_str(), queue["destinations"].as_array().map(Vec::len)),
        (Some("webhook:lims"), Some(1))
    );
    let undone = one["undone"].as_u64().expect("a number");
    let lanes = one["lanes"].as_array().expect("a list").iter();
    let rows: Vec<&Value> = lanes.flat_map(|lane| lane["events"].as_array().expect("a list")).collect();
    assert_eq!(undone, rows.len() as u64 + one["beyond"].as_u64().expect("a number"));
    assert!(undone >= 1 && (rows.is_empty() || rows.iter().any(|row| row["id"] == *event)), "{queue:#}");
    the_box.say(&["queue"]).await.expect(0).holds(&["webhook:lims: ", "mqtt: "]);
    let said = the_box.say(&["queue", "none"]).await.expect(1);
    assert!(said.err.contains("no such destination"), "{}", said.err);
}

async fn lists(the_box: &Box, test: &str) {
    let tests = the_box.say(&["tests", "--json", "--analyzer", "bench"]).await.expect(0).json();
    assert!(tests["tests"].as_array().expect("a list").iter().any(|one| one["id"] == *test), "{tests:#}");
    let table = the_box.say(&["tests"]).await.expect(0);
    table.holds(&["TEST", "bench", "DONE", test]);
    assert!(!table.out.contains(SAMPLE), "{}", table.out);
    the_box.say(&["tests", "--personal"]).await.expect(0).holds(&[SAMPLE]);
    the_box.say(&["results"]).await.expect(0).holds(&["CODE", SAMPLE, "GLU1", "5.1", "mmol/L"]);
    let csv = the_box.say(&["results", "--format", "csv"]).await.expect(0);
    assert!(csv.out.lines().count() >= 3 && csv.out.contains("GLU2"), "{}", csv.out);
    let lines = the_box.say(&["results", "--json"]).await.expect(0).out;
    assert!(lines.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{lines}");
    assert!(
        the_box
            .say(&["results", "--format", "ndjson", "--until", "2000-01-01T00:00:00Z"])
            .await
            .expect(0)
            .out
            .is_empty()
    );
    the_box.say(&["results", "--since", "yesterday"]).await.expect(2);
    the_box.say(&["results", "--format", "xml"]).await.expect(2);
    assert!(the_box.say(&["events", "--analyzer", "other"]).await.expect(0).out.is_empty());
    assert!(the_box.say(&["events", "--since", "2200-01-01T00:00:00Z"]).await.expect(0).out.is_empty());
    the_box.say(&["events", "--since", "yesterday"]).await.expect(2);
    the_box.say(&["tests", "--limit", "0"]).await.expect(2);
}

/// A command that goes on, and the lines of JSON that it prints.
struct Following {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Following {
    fn start(the_box: &Box, arguments: &[&str]) -> Following {
        let settings = the_box.home.settings_path();
        let settings = settings.to_string_lossy();
        let arguments: Vec<&str> = arguments.iter().copied().chain(["--config", &settings]).collect();
        let mut command = the_box.home.command(&arguments);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the binary starts");
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        Following { child, lines }
    }

    async fn until(&mut self, is_it: impl Fn(&Value) -> bool) {
        loop {
            let line = tokio::time::timeout(DEADLINE, self.lines.next_line()).await.expect("it comes");
            let told: Value = serde_json::from_str(&line.expect("text").expect("a line")).expect("JSON");
            if is_it(&told) {
                return;
            }
        }
    }
}

async fn followed(the_box: &Box, cable: &mut Cable<TcpStream>) {
    let arguments = ["events", "--follow", "--name", "TEST_FINISHED", "--after", "1"];
    let mut events = Following::start(the_box, &arguments);
    let mut new_ones = Following::start(the_box, &arguments[..4]);
    let mut watch = Following::start(the_box, &["watch", "--json"]);
    watch.until(|told| told["told"] == "overview" && told["data"]["gateway"] == "box").await;
    Box::tell(cable, "TUBE-4712").await;
    events.until(|event| event["data"]["test"]["sample_id"] == "TUBE-4712").await;
    watch.until(|told| told["told"] == "event" && told["data"]["event"] == "TEST_FINISHED").await;
    // It does not say when it has reached the end: whatever it shows first has come since.
    let mut number = 4720;
    let first = loop {
        number += 1;
        Box::tell(cable, &format!("TUBE-{number}")).await;
        if let Ok(line) = tokio::time::timeout(LOOK, new_ones.lines.next_line()).await {
            break line.expect("text").expect("a line");
        }
    };
    assert!(first.contains("\"TUBE-47") && !first.contains(SAMPLE), "{first}");
    new_ones.child.kill().await.expect("a process of ours");
    events.child.kill().await.expect("a process of ours");
    let process = watch.child.id().and_then(|id| Pid::from_raw(id.cast_signed())).expect("it runs");
    kill_process(process, Signal::INT).expect("a process of ours");
    let ended = tokio::time::timeout(DEADLINE, watch.child.wait()).await.expect("it ends").expect("a process of ours");
    assert_eq!(ended.code(), Some(0), "Ctrl-C is how it ends");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_analyzer_says_steers_no_terminal() {
    let the_box = Box::new("");
    let (gateway, mut cable) = the_box.start().await;
    let mut forged = message("TUBE-4713", 1);
    // C1's CSI in UTF-8, and a text that would turn its direction.
    forged.records[0] =
        "H|\\^&|||MODEL\u{9b}31m\u{202e}X^1.0^S-\u{9b}1|||||||P|LIS2-A2|20261121201403".as_bytes().to_vec();
    cable.tell(&forged).await;
    let (event, _) = the_box.stored(1).await.remove(0);
    let steering = |text: &str| text.chars().any(|c| (c.is_control() && c != '\n') || c == '\u{202e}');
    for screen in
        [&["status"][..], &["analyzers"], &["analyzers", "bench"], &["explain", &event, "--personal"], &["tests"]]
    {
        let said = the_box.say(screen).await;
        assert!(!steering(&said.out) && !steering(&said.err), "{screen:?}: {:?}", said.out);
    }
    the_box.say(&["analyzers", "bench"]).await.holds(&["MODEL?31m?X"]);
    let json = the_box.say(&["analyzers", "--json"]).await;
    assert!(!json.out.chars().any(|c| c.is_control() && c != '\n'), "{:?}", json.out);
    assert!(json.json()["analyzers"][0]["model"].as_str().expect("a model").starts_with("MODEL\u{9b}31m"));
    gateway.stop().await;
}

#[tokio::test]
async fn a_script_can_tell_what_went_wrong() {
    let the_box = Box::new("");
    for command in [&["status"][..], &["queue"], &["analyzers"], &["clock"], &["explain", "1"], &["tests"], &["backup"]]
    {
        let said = the_box.say(command).await.expect(3);
        assert!(said.err.contains("there is no database"), "{command:?}: {}", said.err);
    }
    the_box.say(&["status", "--colour"]).await.expect(2);
    the_box.say(&["explain"]).await.expect(2);
    the_box.home.write("gateway.yaml", "gateway: { id: BOX }\n");
    the_box.say(&["status"]).await.expect(78);
}

/// Compares with the file of this name; `UPDATE=1` rewrites it.
#[track_caller]
fn golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/tools").join(name);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, text).expect("a folder of the project");
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, expected, "{}: UPDATE=1 rewrites it", path.display());
}
