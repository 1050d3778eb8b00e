//! One virtual machine: QEMU without any acceleration, the card in it, three USB serial adapters, and ports of this host that lead to
//! the gateway's HTTP and the guest's broker. It does not outlive the test.
//!
//! The guest reaches this host's loopback at [`HOST`]. What the guest says at its serial console stays as `console-N.log` in the
//! folder, whatever happens.

use super::card::Card;
use super::qmp::Qmp;
use super::shell::{self, Shell};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::time::Instant;

/// An emulated processor on a busy machine: a start takes 40 s to some minutes. Nothing that is awaited takes longer.
pub const DEADLINE: Duration = Duration::from_secs(600);
/// Between two looks at a condition.
const LOOK: Duration = Duration::from_millis(200);
/// This host as the guest sees it (QEMU's user networking).
pub const HOST: &str = "10.0.2.2";
pub const ADAPTERS: usize = 3;
/// Where the gateway's HTTP and the broker listen in the guest.
pub const HTTP_PORT: u16 = 8080;
pub const MQTT_PORT: u16 = 8884;
/// /data in the image has 128 MiB; on a card that is larger it has more.
pub const GROWN_BYTES_MIN: u64 = 256 << 20;
/// The end of the console that a failed wait shows.
const SHOWN_LINES: usize = 60;

/// The folder with the image. `None` after saying aloud that nothing is judged; in CI that is a failure, but where the variable says
/// `later`: there the box has a turn of its own.
pub fn system_folder() -> Option<PathBuf> {
    let named = std::env::var_os("ANALYZER_SYSTEM");
    if named.as_ref().is_some_and(|named| named == "later") {
        return None;
    }
    let folder = named.map(PathBuf::from).filter(|path| path.join("disk.img").is_file());
    if folder.is_none() {
        use std::io::Write;
        let said =
            "SKIPPED: there is no image in $ANALYZER_SYSTEM (tests/system/run makes it); the box is not judged\n";
        std::io::stderr().write_all(said.as_bytes()).expect("said");
        assert!(std::env::var("CI").as_deref() != Ok("true"), "the image is needed in CI");
    }
    folder
}

/// A folder for one test's card, sockets and logs. The logs stay for whoever looks for the reason.
pub fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("a folder below target");
    folder
}

pub struct Machine {
    child: Child,
    folder: PathBuf,
    console: PathBuf,
    qmp: Qmp,
    pub shell: Shell,
    pub http: u16,
    pub mqtt: u16,
    pub started: Instant,
}

impl Machine {
    /// Switches it on. `number` tells its console from those of the starts before.
    pub async fn start(folder: &Path, card: &Card, number: u32) -> Machine {
        let drive = format!("file={},format=raw,if=none,id=card,cache=none", card.path.display());
        Machine::start_with(folder, &["-drive", &drive], number).await
    }

    /// With QEMU's own words for the drive `card`.
    pub async fn start_with(folder: &Path, drive: &[&str], number: u32) -> Machine {
        let (http, mqtt) = (free_port(), free_port());
        let console = folder.join(format!("console-{number}.log"));
        let at = |name: &str| folder.join(format!("{name}-{number}"));
        let mut command = Command::new("qemu-system-x86_64");
        command.args(["-M", "q35", "-accel", "tcg,thread=multi", "-smp", "2", "-m", "512", "-display", "none"]);
        command.args(["-device", "virtio-blk-pci,drive=card", "-device", "qemu-xhci,id=usb"]);
        command.args(drive).args(shell::arguments());
        command.arg("-netdev").arg(format!(
            "user,id=net,hostfwd=tcp:127.0.0.1:{http}-:{HTTP_PORT},hostfwd=tcp:127.0.0.1:{mqtt}-:{MQTT_PORT}"
        ));
        command.args(["-device", "virtio-net-pci,netdev=net,romfile="]);
        command.arg("-serial").arg(format!("file:{}", console.display()));
        for (option, name) in [("-serial", "shell"), ("-qmp", "qmp")] {
            command.arg(option).arg(format!("unix:{},server=on,wait=off", at(name).display()));
        }
        for adapter in 0..ADAPTERS {
            let socket = at(&format!("usb{adapter}"));
            command
                .arg("-chardev")
                .arg(format!("socket,id=line{adapter},path={},server=on,wait=off", socket.display()));
            let device: Vec<String> = adapter_of(adapter).iter().map(|(key, value)| format!("{key}={value}")).collect();
            command.arg("-device").arg(device.join(",").replacen("driver=", "", 1));
        }
        let log = std::fs::File::create(at("qemu.log")).expect("a folder of our own");
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second descriptor"))
            .stderr(log)
            .kill_on_drop(true);
        let started = Instant::now();
        let mut child = command.spawn().expect("qemu-system-x86_64 is installed");
        let said = || std::fs::read_to_string(at("qemu.log")).unwrap_or_default();
        loop {
            if let Some(status) = child.try_wait().expect("a child of ours") {
                panic!("QEMU: {status}: {}", said());
            }
            if let Ok(qmp) = Qmp::connect(&at("qmp")).await {
                let shell = Shell::connect(&at("shell")).await.expect("both sockets are made at once");
                return Machine { child, folder: folder.to_owned(), console, qmp, shell, http, mqtt, started };
            }
            assert!(started.elapsed() < DEADLINE, "QEMU does not start: {}", said());
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The analyzer's end of an adapter's cable; only one can hold it.
    pub async fn line(&self, adapter: usize) -> UnixStream {
        let number = self.console.file_stem().and_then(|name| name.to_str()).and_then(|name| name.rsplit('-').next());
        let path = self.folder.join(format!("usb{adapter}-{}", number.expect("made in start")));
        UnixStream::connect(path).await.expect("QEMU lives")
    }

    /// Pulls the adapter out of its socket.
    pub async fn unplug(&mut self, adapter: usize) {
        self.qmp.ask("device_del", json!({"id": format!("usb{adapter}")})).await;
    }

    pub async fn plug(&mut self, adapter: usize) {
        let arguments = adapter_of(adapter).into_iter().map(|(key, value)| (key.to_owned(), json!(value)));
        let mut arguments: serde_json::Map<_, _> = arguments.collect();
        arguments["always-plugged"] = json!(true);
        // The adapter that was pulled lets go of its cable a moment later.
        let plugging = Instant::now();
        while let Err(said) = self.qmp.attempt("device_add", arguments.clone().into()).await {
            assert!(plugging.elapsed() < DEADLINE, "the adapter cannot be plugged in again: {said}");
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits for a condition.
    pub async fn eventually<T>(&self, what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
        let waiting = Instant::now();
        loop {
            if let Some(done) = condition() {
                return done;
            }
            assert!(waiting.elapsed() < DEADLINE, "{what} did not come; the console ends with:\n{}", self.console());
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The last lines of the console.
    pub fn console(&self) -> String {
        let text = std::fs::read(&self.console).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n")
    }

    /// Presses the power button, and waits until it is off.
    pub async fn shut_down(mut self) {
        self.qmp.ask("system_powerdown", json!({})).await;
        let off = tokio::time::timeout(DEADLINE, self.child.wait()).await;
        assert!(off.is_ok(), "it does not switch off: {}", self.console());
    }

    /// Pulls the plug.
    pub async fn cut_power(mut self) {
        self.child.kill().await.expect("a child of ours");
    }
}

/// A port that nobody had a moment ago.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("a bound address").port()
}

/// The words of QEMU for one adapter.
fn adapter_of(adapter: usize) -> [(&'static str, String); 6] {
    [
        ("driver", "usb-serial".to_owned()),
        ("id", format!("usb{adapter}")),
        ("bus", "usb.0".to_owned()),
        ("chardev", format!("line{adapter}")),
        ("serial", format!("ANALYZER{adapter}")),
        ("always-plugged", "on".to_owned()),
    ]
}
