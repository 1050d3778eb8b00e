//! One virtual machine: QEMU without any acceleration, the card in it, three USB serial adapters, and ports of this host that lead to
//! the gateway's HTTP and the guest's broker. It does not outlive the test.
//!
//! The guest reaches this host's loopback at [`HOST`]. What the guest says at its serial console stays as `console-N.log` in the
//! folder, whatever happens.

use super::card::Card;
use super::qmp::Qmp;
use super::shell::{self, Shell};
use serde_json::{Value, json};
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
/// /data in the image has 160 MiB; on a card that is larger it has more.
pub const GROWN_BYTES_MIN: u64 = 256 << 20;
/// What QEMU calls the stick and its drive.
const STICK: &str = "stick";
/// errno(3): an input or output error.
const EIO: i32 = 5;
/// So often QEMU's loop has come round before an adapter is pulled.
const TURNS: usize = 4;
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

/// What the image is for; `tests/system/image` writes it down.
#[derive(Clone, Copy)]
enum Processor {
    Amd64,
    Arm64,
}

impl Processor {
    fn of_the_image() -> Processor {
        let folder = system_folder().expect("there is an image");
        match std::fs::read_to_string(folder.join("arch")).expect("written by tests/system/image").trim() {
            "arm64" => Processor::Arm64,
            _ => Processor::Amd64,
        }
    }

    fn program(self) -> &'static str {
        match self {
            Processor::Amd64 => "qemu-system-x86_64",
            Processor::Arm64 => "qemu-system-aarch64",
        }
    }

    /// The board, and the processor as a Pi 3 has it, with the firmware of Debian's qemu-efi-aarch64.
    fn board(self) -> &'static [&'static str] {
        match self {
            Processor::Amd64 => &["-M", "q35", "-accel", "tcg,thread=multi"],
            Processor::Arm64 => &[
                "-M",
                "virt,gic-version=3",
                "-cpu",
                "cortex-a53",
                "-accel",
                "tcg,thread=multi",
                "-bios",
                "/usr/share/qemu-efi-aarch64/QEMU_EFI.fd",
            ],
        }
    }

    /// Beside the console's. The board for arm64 has only one serial line of its own.
    fn second_serial(self) -> &'static [&'static str] {
        match self {
            Processor::Amd64 => &["-serial", "chardev:shell"],
            Processor::Arm64 => &["-device", "pci-serial,chardev=shell"],
        }
    }

    /// What the guest calls the second serial line.
    fn shell_line(self) -> &'static str {
        match self {
            Processor::Amd64 => "ttyS1",
            Processor::Arm64 => "ttyS0",
        }
    }
}

/// A fresh folder for one test's card, sockets and logs, which stay for whoever looks for the reason. `None`, with nothing touched, where
/// nothing is judged: another run may be using the folder at this moment.
pub fn folder(name: &str) -> Option<PathBuf> {
    system_folder()?;
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("a folder below target");
    Some(folder)
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
    /// The words of QEMU for a card that can be worn out later.
    pub fn card_words(card: &Card) -> String {
        format!(
            "driver=raw,node-name=card,cache.direct=on,file.driver=file,file.filename={},file.cache.direct=on",
            card.path.display()
        )
    }

    /// Switches it on. `number` tells its console from those of the starts before.
    pub async fn start(folder: &Path, card: &Card, number: u32) -> Machine {
        let drive = format!("file={},format=raw,if=none,id=card,cache=none", card.path.display());
        Machine::start_with(folder, &["-drive", &drive], number).await
    }

    /// With QEMU's own words for the drive `card`, and more if there are any.
    pub async fn start_with(folder: &Path, words: &[&str], number: u32) -> Machine {
        let (http, mqtt) = (free_port(), free_port());
        let console = folder.join(format!("console-{number}.log"));
        let at = |name: &str| folder.join(format!("{name}-{number}"));
        let processor = Processor::of_the_image();
        let mut command = Command::new(processor.program());
        command.args(processor.board()).args(["-smp", "2", "-m", "512", "-display", "none"]);
        command.args(["-device", "virtio-blk-pci,drive=card", "-device", "qemu-xhci,id=usb"]);
        command.args(words).args(shell::arguments(processor.shell_line()));
        command.arg("-netdev").arg(format!(
            "user,id=net,hostfwd=tcp:127.0.0.1:{http}-:{HTTP_PORT},hostfwd=tcp:127.0.0.1:{mqtt}-:{MQTT_PORT}"
        ));
        command.args(["-device", "virtio-net-pci,netdev=net,romfile="]);
        command.arg("-serial").arg(format!("file:{}", console.display()));
        command.arg("-chardev").arg(format!("socket,id=shell,path={},server=on,wait=off", at("shell").display()));
        command.args(processor.second_serial());
        command.arg("-qmp").arg(format!("unix:{},server=on,wait=off", at("qmp").display()));
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

    /// Pulls the adapter out of its socket. What was said on its cable is let in first: QEMU 7.2 dies of bytes for an adapter that
    /// is half gone, and each answer is a turn of the loop that reads them.
    pub async fn unplug(&mut self, adapter: usize) {
        for _ in 0..TURNS {
            self.qmp.ask("query-status", json!({})).await;
        }
        self.qmp.ask("device_del", json!({"id": format!("usb{adapter}")})).await;
    }

    pub async fn plug(&mut self, adapter: usize) {
        let arguments = adapter_of(adapter).into_iter().map(|(key, value)| (key.to_owned(), json!(value)));
        let mut arguments: serde_json::Map<_, _> = arguments.collect();
        arguments["always-plugged"] = json!(true);
        // The adapter that was pulled lets go of its cable a moment later.
        self.until_done("device_add", arguments.into()).await;
    }

    /// Puts a stick into a socket; [`stick_words`] for one that is there from the start.
    pub async fn plug_stick(&mut self, stick: &Path) {
        let drive = json!({"driver": "raw", "node-name": STICK, "file": {"driver": "file", "filename": stick}});
        self.qmp.ask("blockdev-add", drive).await;
        self.qmp.ask("device_add", json!({"driver": "usb-storage", "id": STICK, "bus": "usb.0", "drive": STICK})).await;
    }

    pub async fn pull_stick(&mut self) {
        self.qmp.ask("device_del", json!({"id": STICK})).await;
        self.until_done("blockdev-del", json!({"node-name": STICK})).await;
    }

    /// Pulls the network's cable, or puts it in.
    pub async fn network(&mut self, up: bool) {
        self.qmp.ask("set_link", json!({"name": "net", "up": up})).await;
    }

    /// From now on the drive `card` fails each write and reads as before: what the guest would write goes over a layer that takes
    /// nothing. The card's file stays as it is at this moment.
    pub async fn wear_out_card(&mut self) {
        let layer = self.folder.join("worn-out.qcow2");
        std::fs::File::create(&layer).expect("a folder of our own");
        let bytes = std::fs::metadata(self.folder.join("card.img")).expect("the card").len();
        let file = json!({"driver": "file", "node-name": "layer", "filename": layer});
        self.qmp.ask("blockdev-add", file).await;
        let format = json!({"driver": "qcow2", "file": "layer", "size": bytes});
        self.qmp.ask("blockdev-create", json!({"job-id": "format", "options": format})).await;
        self.until_done("job-dismiss", json!({"id": "format"})).await;
        let failing = |kind: &str| json!({"event": "none", "iotype": kind, "errno": EIO});
        let kinds = ["write", "write-zeroes", "discard"].map(failing);
        let failing = json!({"driver": "blkdebug", "image": "layer", "inject-error": kinds});
        let over = json!({"driver": "qcow2", "node-name": "worn-out", "file": failing, "backing": null});
        self.qmp.ask("blockdev-add", over).await;
        self.qmp.ask("blockdev-snapshot", json!({"node": "card", "overlay": "worn-out"})).await;
    }

    /// What QEMU does only once something else is at its end.
    async fn until_done(&mut self, execute: &str, arguments: Value) {
        let begun = Instant::now();
        while let Err(said) = self.qmp.attempt(execute, arguments.clone()).await {
            assert!(begun.elapsed() < DEADLINE, "{execute}: {said}");
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

    /// Waits until a line of the shell ends well.
    pub async fn shell_until(&mut self, line: &str) {
        let waiting = Instant::now();
        while self.shell.run_again(line).await.0 != 0 {
            assert!(waiting.elapsed() < DEADLINE, "`{line}` never ends well: {}", self.console());
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Another one after each start of the guest; also asked while it starts.
    pub async fn boot_id(&mut self) -> String {
        self.shell.run_again("cat /proc/sys/kernel/random/boot_id").await.1
    }

    /// Waits until the guest has started anew.
    pub async fn starts_anew(&mut self, before: &str) {
        let waiting = Instant::now();
        while self.boot_id().await == before {
            assert!(waiting.elapsed() < DEADLINE, "it does not start anew: {}", self.console());
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

/// The words of QEMU for a stick that is there from the start.
pub fn stick_words(stick: &Path) -> [String; 4] {
    let drive = format!("driver=raw,node-name={STICK},file.driver=file,file.filename={}", stick.display());
    let device = format!("usb-storage,id={STICK},bus=usb.0,drive={STICK}");
    ["-blockdev".to_owned(), drive, "-device".to_owned(), device]
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
