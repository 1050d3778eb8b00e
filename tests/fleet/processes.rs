//! Processes that are talked to: lines in, lines out, each with the time at which it came.

use gateway_tests::binary;
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Nothing that is awaited here takes longer on the slowest machine that builds this.
pub const DEADLINE: Duration = Duration::from_secs(90);
/// Between two looks at a condition.
const LOOK: Duration = Duration::from_millis(10);

/// Looks until the probe gives something.
pub fn eventually<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(LOOK);
    }
}

/// A process that does not outlive the test.
pub struct Process(pub Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The binary with these arguments, running.
pub struct Talker {
    process: Process,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Talker {
    pub fn start(arguments: &[&str]) -> Talker {
        let mut command = Command::new(binary());
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (out, heard) = (child.stdout.take().expect("piped"), lines.clone());
        // Ends with the process.
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                heard.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        });
        Talker { process: Process(child), lines }
    }

    pub fn say(&mut self, line: &str) {
        let stdin = self.process.0.stdin.as_mut().expect("piped");
        writeln!(stdin, "{line}").expect("it reads");
    }

    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The first of its lines from this number on in which something is found.
    pub fn hears<T>(&self, from: usize, what: &str, find: impl Fn(&str) -> Option<T>) -> T {
        eventually(what, || self.lines().iter().skip(from).find_map(|line| find(line)))
    }

    /// Asks it to end, and says how it did.
    pub fn stop(mut self) -> Option<i32> {
        let pid = i32::try_from(self.process.0.id()).ok().and_then(rustix::process::Pid::from_raw);
        rustix::process::kill_process(pid.expect("a process of ours"), rustix::process::Signal::TERM).expect("it runs");
        self.process.0.wait().expect("a process of ours").code()
    }
}

/// The binary with these arguments, to its end.
pub fn ended(arguments: &[&str]) -> Output {
    Command::new(binary()).args(arguments).stdin(Stdio::null()).output().expect("the binary starts")
}

/// What it printed, as JSON.
pub fn json(output: &Output) -> Value {
    let told = || format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", told()))
}
