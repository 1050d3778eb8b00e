//! Faults planted on a box, and what the doctor says of them.

use super::box_::{Box, Said, free_port};
use serde_json::Value;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// The verdicts of one check's findings that hold this word.
fn found(said: &Said, check: &str, word: &str) -> Vec<String> {
    let json = said.json();
    let findings = json["checks"].as_array().expect("a list").iter().filter(|finding| finding["check"] == check);
    let findings: Vec<&Value> = findings.filter(|finding| finding.to_string().contains(word)).collect();
    for finding in &findings {
        let needs = matches!(finding["verdict"].as_str(), Some("warn" | "fail"));
        assert_eq!(needs, finding["next_step"].is_string(), "what to do is said where there is something: {finding}");
    }
    findings.iter().map(|finding| finding["verdict"].as_str().expect("a word").to_owned()).collect()
}

#[track_caller]
fn assert_found(said: &Said, check: &str, word: &str, verdict: &str) {
    let verdicts = found(said, check, word);
    assert!(verdicts.iter().any(|is| is == verdict), "{check} {word} {verdict}: {verdicts:?}\n{}", said.out);
}

fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("a file of our own");
}

fn plant(the_box: &Box, file: &str, text: &str) {
    let path = the_box.home.path("root").join(file);
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder of our own");
    std::fs::write(path, text).expect("a folder of our own");
}

async fn examined(the_box: &Box, more: &[&str]) -> Said {
    let root = the_box.home.path("root");
    let root = root.to_string_lossy();
    let arguments: Vec<&str> = ["doctor", "--json", "--root", &root].into_iter().chain(more.iter().copied()).collect();
    the_box.say(&arguments).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_doctor_finds_what_was_planted() {
    let listen = free_port();
    let the_box = Box::new("");
    let secret = the_box.home.write("secret", "a-secret-for-the-doctor");
    let source = format!("{{ id: other, dialect: session, secret_file: {} }}", secret.display());
    the_box.configure(&format!("http: {{ listen: '127.0.0.1:{listen}' }}\nsources:\n  - {source}\n"));
    chmod(&the_box.home.settings_path(), 0o600);
    chmod(&secret, 0o600);
    plant(&the_box, "run/systemd/timesync/synchronized", "");
    let said = examined(&the_box, &["--offline"]).await.expect(1);
    assert_found(&said, "state_folder", "no such folder", "fail");
    assert_found(&said, "control_socket", "", "skipped");

    let (gateway, _cable) = the_box.start().await;
    chmod(&the_box.home.state_dir(), 0o750);
    let said = examined(&the_box, &[]).await.expect(1);
    for check in ["settings", "secret_files", "state_folder", "lock", "database", "control_socket"] {
        assert_found(&said, check, "", "ok");
    }
    assert_found(&said, "port", "listens at", "ok");
    assert_found(&said, "reach", "webhook:lims", "fail");
    assert_found(&said, "service", "systemd", "skipped");
    assert_eq!(found(&said, "clock", "systemd-timesyncd").len(), 1, "{}", said.out);
    let offline = examined(&the_box, &["--offline"]).await;
    assert!(found(&offline, "reach", "").iter().all(|verdict| verdict == "skipped"), "{}", offline.out);

    chmod(&secret, 0o644);
    chmod(&the_box.home.state_dir(), 0o755);
    let said = examined(&the_box, &["--offline"]).await.expect(1);
    assert_found(&said, "secret_files", "mode 644", "fail");
    assert_found(&said, "state_folder", "mode 755", "warn");
    let screen = the_box.say(&["doctor", "--offline"]).await.expect(1);
    screen.holds(&["FAIL", "-> chmod 640", "fault", "left out"]);
    assert!(!(screen.out + &said.out).contains("a-secret-for-the-doctor"));
    gateway.stop().await;
    chmod(&the_box.home.state_dir(), 0o750);

    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, the_box.port)).expect("a free port");
    let door = TcpListener::bind((Ipv4Addr::LOCALHOST, listen)).expect("a free port");
    let said = examined(&the_box, &["--offline"]).await.expect(1);
    assert_found(&said, "port", "cannot listen at", "fail");
    assert_found(&said, "api", "cannot be listened at", "fail");
    assert_found(&said, "lock", "no gateway holds it", "warn");
    drop((taken, door));
    damaged(&the_box).await;
}

/// A database and settings that are not as they should be, in a folder that its own user may not write into.
async fn damaged(the_box: &Box) {
    let database = the_box.home.state_dir().join("events.db");
    let mut bytes = std::fs::read(&database).expect("a database");
    bytes.chunks_mut(4096).skip(2).for_each(|page| page.fill(0x5a));
    std::fs::write(&database, bytes).expect("a file of our own");
    chmod(&the_box.home.state_dir(), 0o500);
    the_box.configure("colour: blue\n");
    let said = examined(the_box, &["--offline"]).await.expect(1);
    chmod(&the_box.home.state_dir(), 0o750);
    assert_found(&said, "database", "", "fail");
    assert_found(&said, "state_folder", "may not write", "fail");
    assert_found(&said, "settings", "colour", "fail");
}

#[tokio::test]
async fn the_doctor_knows_what_tears_ports_away() {
    let the_box = Box::new("");
    let (home, port) = (&the_box.home, the_box.home.path("ttyUSB7"));
    home.configure(&format!(
        "mqtt: {{ url: 'mqtt://127.0.0.1:9' }}\nanalyzers:\n  - {{ id: bench, driver: astm, port: {{ path: {} }} }}\n  \
         - {{ id: gone, driver: astm, port: {{ path: /dev/ttyUSB-nowhere }} }}\n",
        port.display()
    ));
    let pty = gateway_daemon::platform::pty::Pty::open().expect("a pseudo-terminal");
    pty.link(&port).expect("a folder of our own");
    plant(&the_box, "usr/lib/udev/rules.d/90-brltty-device.rules", "");
    plant(&the_box, "proc/7/comm", "ModemManager\n");
    let said = examined(&the_box, &["--offline"]).await.expect(1);
    assert_found(&said, "port", "opens", "ok");
    assert_found(&said, "port", "there is no /dev/ttyUSB-nowhere", "fail");
    assert_found(&said, "udev", "not installed", "warn");
    assert_found(&said, "brltty", "braille", "fail");
    assert_found(&said, "modem_manager", "AT commands", "fail");
    plant(&the_box, "etc/udev/rules.d/60-analyzer-gateway.rules", "");
    plant(&the_box, "etc/udev/rules.d/99-analyzer-gateway-brltty.rules", "");
    let said = examined(&the_box, &["--offline"]).await.expect(1);
    assert_found(&said, "udev", "", "ok");
    assert!(found(&said, "brltty", "").is_empty() && found(&said, "modem_manager", "").is_empty(), "{}", said.out);
}

/// Where the privileged half of a box has left something, `doctor` and `status` say it; elsewhere they are silent about it.
#[tokio::test]
async fn the_box_around_the_gateway_is_shown_where_there_is_one() {
    let the_box = Box::new("");
    let root = the_box.home.path("root");
    let root = root.to_string_lossy();
    let parts = [
        ("usr/lib/analyzer-gateway/image.json", r#"{"version":"1.4.0","compatible":"test-board"}"#),
        ("proc/cmdline", "ro analyzer-gateway.slot=B"),
        (
            "run/analyzer-gateway-appliance/network.json",
            r#"{"in_force":"fallback","reason":"nobody answers at 192.0.2.1","addresses":["198.51.100.7"],"at":"2026-11-21T20:14:03.120Z"}"#,
        ),
        (
            "run/analyzer-gateway-appliance/update.json",
            r#"{"phase":"good","from":"1.3.0","to":"1.4.0","reason":"","at":"2026-11-21T20:14:03.120Z"}"#,
        ),
    ];
    let gateway = the_box.home.start_with(&["--root", &root]);
    the_box.home.ready(&gateway).await;
    assert!(found(&examined(&the_box, &["--offline"]).await, "box", "").is_empty());
    assert!(!the_box.say(&["status"]).await.out.contains("\nimage "));
    parts.iter().for_each(|(file, text)| plant(&the_box, file, text));
    let said = examined(&the_box, &["--offline"]).await.expect(1);
    assert_found(&said, "box", "1.4.0 for test-board, slot B", "ok");
    assert_found(&said, "box", "nobody answers at 192.0.2.1", "warn");
    assert_found(&said, "box", "1.3.0 to 1.4.0", "ok");
    // The gateway looks at its box now and then.
    let deadline = tokio::time::Instant::now() + super::home::DEADLINE;
    let lines = ["image     1.4.0 for test-board, slot B", "network   198.51.100.7, not as the settings ask"];
    loop {
        let shown = the_box.say(&["status"]).await;
        if lines.iter().all(|line| shown.out.contains(line)) {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "{}", shown.out);
    }
    let twice = found(&examined(&the_box, &["--offline"]).await, "trouble", "nobody answers at 192.0.2.1");
    assert!(twice.is_empty(), "what was found at the box is not told a second time");
    gateway.stop().await;
    let shown = the_box.say(&["status", "--root", &root]).await.expect(1);
    shown.holds(&lines);
}
