//! One gateway of its own for each test: a folder, a settings file, a log, and a process that does not outlive the test.

use gateway_tests::binary;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::UnixDatagram;
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

/// Nothing that is awaited here takes longer on the slowest machine that builds this.
pub const DEADLINE: Duration = Duration::from_secs(60);
/// Between two looks at a condition.
const LOOK: Duration = Duration::from_millis(10);
/// The end of the log that a failed wait shows.
const SHOWN_LINES: usize = 40;

/// A folder with everything that one gateway needs.
pub struct Home {
    folder: tempfile::TempDir,
    environment: Vec<(String, String)>,
    notices: Arc<Mutex<Vec<String>>>,
    _listening: JoinSet<()>,
}

impl Home {
    pub fn new() -> Home {
        let folder = tempfile::tempdir().expect("a folder for temporary files");
        let socket = UnixDatagram::bind(folder.path().join("notify")).expect("a socket");
        let notices = Arc::new(Mutex::new(Vec::new()));
        let mut listening = JoinSet::new();
        let heard = notices.clone();
        listening.spawn(async move {
            let mut buffer = [0; 8192];
            while let Ok(count) = socket.recv(&mut buffer).await {
                let text = String::from_utf8_lossy(&buffer[..count]).into_owned();
                heard.lock().unwrap_or_else(PoisonError::into_inner).push(text);
            }
        });
        Home { folder, environment: Vec::new(), notices, _listening: listening }
    }

    /// For every process started from now on.
    pub fn set(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn settings_path(&self) -> PathBuf {
        self.path("gateway.yaml")
    }

    pub fn state_dir(&self) -> PathBuf {
        self.path("state")
    }

    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).expect("a folder of our own");
        path
    }

    /// Writes the settings: these sections below a gateway named `box`.
    pub fn configure(&self, sections: &str) {
        let state_dir = self.state_dir();
        self.write("gateway.yaml", format!("gateway: {{ id: box, state_dir: {} }}\n{sections}", state_dir.display()));
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.args(arguments);
        self.furnish(&mut command);
        command
    }

    fn furnish(&self, command: &mut Command) {
        command.env_clear().env("NOTIFY_SOCKET", self.path("notify"));
        for (name, value) in &self.environment {
            command.env(name, value);
        }
        command.stdin(Stdio::null()).kill_on_drop(true).current_dir(self.folder.path());
    }

    /// `run`, with its log added to the ones before.
    pub fn start(&self) -> Gateway {
        let settings = self.settings_path();
        let arguments = ["run", "--config", &settings.to_string_lossy()];
        self.spawn(self.command(&arguments))
    }

    /// With these arguments alone.
    #[allow(dead_code, reason = "the tests of the box start it so")]
    pub fn start_so(&self, arguments: &[&str]) -> Gateway {
        self.spawn(self.command(arguments))
    }

    /// `run` with more arguments.
    #[allow(dead_code, reason = "the tests of the box start it so")]
    pub fn start_with(&self, more: &[&str]) -> Gateway {
        let settings = self.settings_path();
        let settings = settings.to_string_lossy();
        let arguments: Vec<&str> = ["run", "--config", &settings].into_iter().chain(more.iter().copied()).collect();
        self.spawn(self.command(&arguments))
    }

    /// The same through a shell, which does `first` before it becomes the gateway.
    pub fn start_after(&self, first: &str) -> Gateway {
        let mut shell = Command::new("/bin/sh");
        let line = format!("{first}; exec '{}' run --config '{}'", binary().display(), self.settings_path().display());
        shell.args(["-c", &line]);
        self.furnish(&mut shell);
        self.spawn(shell)
    }

    fn spawn(&self, mut command: Command) -> Gateway {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.path("log"));
        let log = log.expect("a folder of our own");
        let from = self.notices().len();
        command.stdout(log.try_clone().expect("a second descriptor")).stderr(log);
        Gateway { child: command.spawn().expect("the binary starts"), notices_from: from }
    }

    /// Starts and waits for READY=1.
    pub async fn start_ready(&self) -> Gateway {
        let gateway = self.start();
        self.ready(&gateway).await;
        gateway
    }

    pub async fn ready(&self, gateway: &Gateway) {
        self.eventually("READY=1", || self.was_told(gateway, "READY=1").then_some(())).await;
    }

    /// Everything that service managers were told.
    pub fn notices(&self) -> Vec<String> {
        self.notices.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What they were told since this process was started.
    pub fn notices_of(&self, gateway: &Gateway) -> Vec<String> {
        self.notices().split_off(gateway.notices_from)
    }

    /// Whether one of its notices has this line.
    pub fn was_told(&self, gateway: &Gateway, line: &str) -> bool {
        self.notices_of(gateway).iter().any(|text| text.lines().any(|told| told == line))
    }

    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.path("log")).unwrap_or_default()).into_owned()
    }

    /// Lines of the log that hold all of these words.
    pub fn lines(&self, words: &[&str]) -> Vec<String> {
        let log = self.log();
        let holds = |line: &&str| words.iter().all(|word| line.contains(word));
        log.lines().filter(holds).map(str::to_owned).collect()
    }

    /// Waits for such a line.
    pub async fn says(&self, words: &[&str]) -> String {
        self.eventually(&format!("a line with {words:?}"), || self.lines(words).pop()).await
    }

    /// Looks until the probe gives something.
    pub async fn eventually<T>(&self, what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
        let deadline = tokio::time::Instant::now() + DEADLINE;
        loop {
            if let Some(found) = probe() {
                return found;
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "waited in vain for {what}; the log ends:\n{}",
                self.tail()
            );
            tokio::time::sleep(LOOK).await;
        }
    }

    pub fn tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n")
    }

    /// No patient, no sample and no secret in what the gateway has told its log and its service manager.
    pub fn assert_discreet<'a>(&self, private: impl IntoIterator<Item = &'a str>) {
        let told = self.log() + &self.notices().join("\n");
        for word in private {
            assert!(word.len() >= 4, "too short to look for: {word}");
            assert!(!told.contains(word), "{word} stands in: {:?}", self.lines(&[word]));
        }
    }
}

/// A running process.
pub struct Gateway {
    child: Child,
    notices_from: usize,
}

impl Gateway {
    pub fn pid(&self) -> rustix::process::Pid {
        let id = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw);
        id.expect("a process that runs")
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(self.pid(), signal).expect("a process of ours");
    }

    /// SIGKILL, and it is gone when this returns.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("a process of ours");
    }

    pub async fn ended(&mut self) -> ExitStatus {
        let ended = tokio::time::timeout(DEADLINE, self.child.wait()).await;
        ended.expect("it ends").expect("a process of ours")
    }

    /// SIGTERM; it must end with 0.
    pub async fn stop(mut self) {
        self.signal(rustix::process::Signal::TERM);
        let status = self.ended().await;
        assert_eq!(status.code(), Some(0), "{status}");
    }
}
