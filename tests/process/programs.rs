//! The driver `exec` with a real program: the one that stands in docs/exec-driver.md, as it stands there.

use super::cable::{ACK, Cable};
use super::database::Database;
use super::home::{Gateway, Home};
use super::mosquitto::free_port;
use gateway_daemon::platform::pty::Pty;
use std::os::unix::fs::PermissionsExt;

/// The program of the document, behind a line that writes down its process id.
fn program(home: &Home) -> String {
    let document = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/exec-driver.md");
    let document = std::fs::read_to_string(document).expect("the document");
    let text = document.split("```python\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a program");
    let path = home.write("analyzer.py", text);
    let pid = home.path("pid");
    let script = format!("#!/bin/sh\necho $$ > {}\nexec python3 {}\n", pid.display(), path.display());
    let path = home.write("analyzer", script);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("a file of our own");
    path.display().to_string()
}

async fn start(home: &Home, command: &str) -> Gateway {
    home.configure(&format!(
        "mqtt: {{ url: 'mqtt://127.0.0.1:{}' }}\nhttp: {{ listen: off }}\nanalyzers:\n  - {{ id: urine, driver: exec, \
         command: [{command}], port: {{ path: {} }} }}\n",
        free_port(),
        home.path("line").display(),
    ));
    home.start_ready().await
}

fn samples(database: &Database) -> Vec<String> {
    let finished = database.events().into_iter().filter(|event| event.name == "TEST_FINISHED");
    finished.map(|event| event.body["test"]["sample_id"].as_str().unwrap_or_default().to_owned()).collect()
}

fn frame(sample: &str) -> Vec<u8> {
    format!("\x02{sample};GLU;5.50;mmol/L;2026-11-21T20:14:03\x03").into_bytes()
}

/// The program that runs, once it is another than that one.
async fn pid(home: &Home, before: Option<i32>) -> i32 {
    let read = || std::fs::read_to_string(home.path("pid")).ok()?.trim().parse().ok();
    home.eventually("the program", || read().filter(|pid| Some(*pid) != before)).await
}

async fn tell(cable: &mut Cable<Pty>, sample: &str) {
    cable.say(&frame(sample)).await;
    assert_eq!(cable.answer().await, ACK, "to {sample}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_speaks_for_its_analyzer_and_may_be_killed_at_any_moment() {
    let mut home = Home::new();
    home.set("PATH", "/usr/local/bin:/usr/bin:/bin");
    let command = program(&home);
    let mut cable = Cable::plug(&home, "line");
    let gateway = start(&home, &command).await;
    let database = Database::open(&home.state_dir());
    let first = pid(&home, None).await;
    for number in 0..5 {
        let sample = format!("EXEC-000{number}");
        tell(&mut cable, &sample).await;
        assert!(samples(&database).contains(&sample), "{sample} is stored before it is acknowledged");
    }
    let event = database.events().into_iter().rfind(|event| event.name == "TEST_FINISHED").expect("stored");
    assert_eq!(event.body["test"]["results"][0]["number"].to_string(), "5.50");
    assert_eq!(event.body["test"]["finished_at"], "2026-11-21T20:14:03");
    // Killed with half a message in its hands, which was not acknowledged and is not lost all the same.
    let whole = frame("EXEC-0005");
    cable.say(&whole[..20]).await;
    let group = rustix::process::Pid::from_raw(first).expect("a process id");
    rustix::process::kill_process(group, rustix::process::Signal::KILL).expect("a process of the gateway's");
    home.says(&["WARN", "analyzer=urine", "started again", "signal 9"]).await;
    cable.say(&whole[20..]).await;
    assert_eq!(cable.answer().await, ACK);
    let second = pid(&home, Some(first)).await;
    // An analyzer that lost the answer sends it again: stored once.
    tell(&mut cable, "EXEC-0005").await;
    tell(&mut cable, "EXEC-0006").await;
    cable.say(b"\x02what is this?\x03").await;
    assert_eq!(cable.answer().await, ACK);
    let expected: Vec<String> = (0..7).map(|number| format!("EXEC-000{number}")).collect();
    assert_eq!(samples(&database), expected);
    let rejected = database.events().into_iter().find(|event| event.name == "MESSAGE_REJECTED").expect("stored");
    assert_eq!(rejected.body["rejection"]["code"], "not_five_parts");
    gateway.stop().await;
    let gone = || !std::path::Path::new(&format!("/proc/{second}")).exists();
    home.eventually("the program to end with the gateway", || gone().then_some(())).await;
    home.assert_discreet(expected.iter().map(String::as_str).chain(["what is this"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_is_not_there_is_told_and_what_comes_is_kept_for_it() {
    let mut home = Home::new();
    home.set("PATH", "/usr/local/bin:/usr/bin:/bin");
    let command = program(&home);
    let away = home.path("away");
    std::fs::rename(&command, &away).expect("a file of our own");
    let mut cable = Cable::plug(&home, "line");
    let gateway = start(&home, &command).await;
    home.says(&["WARN", "analyzer=urine", "started again", "there is no such program"]).await;
    cable.say(&frame("EXEC-1000")).await;
    std::fs::rename(&away, &command).expect("a file of our own");
    assert_eq!(cable.answer().await, ACK);
    assert_eq!(samples(&Database::open(&home.state_dir())), ["EXEC-1000"]);
    gateway.stop().await;
}
