//! The child process beside a conversation: started, fed, heard, and started again when it ends.
//!
//! Invariant: what was meant for one child never reaches the next. A child that ends is told of before another one starts.

use crate::platform::{BoxFuture, Clock, Program, Programs};
use gateway_core::time::{Mono, Now};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Before a program that has ended is started again: at first, and at most after it has ended again and again.
const RESTART_SECONDS_MIN: u64 = 1;
const RESTART_SECONDS_MAX: u64 = 60;
/// A program that has run so long ended for another reason than the one before.
const STEADY_SECONDS: u64 = 60;
/// A program that takes no byte for this long hangs.
const STUCK_SECONDS_MAX: u64 = 20;

/// See the module.
pub(super) struct Companion {
    programs: Arc<dyn Programs>,
    clock: Arc<dyn Clock>,
    command: Vec<String>,
    running: Option<Box<dyn Program>>,
    /// It is being waited for.
    ending: Option<BoxFuture<'static, String>>,
    /// Why it had to be ended.
    stuck: Option<String>,
    /// It has closed its input.
    is_deaf: bool,
    /// Said by the session and not yet taken by the program.
    outgoing: Vec<u8>,
    /// How much of it has been taken.
    taken: usize,
    /// When it last took something, or had nothing to take.
    moved: Mono,
    started: Mono,
    starts_at: Mono,
    restart_seconds: u64,
}

/// What has happened.
pub(super) enum Turn {
    Said(Vec<u8>),
    /// How it has ended, and in how many seconds another one is started.
    Ended(String, u64),
    /// It does not start, and why; what was meant for it waits.
    Absent(String, u64),
    /// Nothing that the session should know.
    Nothing,
}

impl Companion {
    pub fn new(programs: Arc<dyn Programs>, clock: Arc<dyn Clock>, command: Vec<String>) -> Companion {
        Companion {
            programs,
            clock,
            command,
            running: None,
            ending: None,
            stuck: None,
            is_deaf: false,
            outgoing: Vec::new(),
            taken: 0,
            moved: Mono(0),
            started: Mono(0),
            starts_at: Mono(0),
            restart_seconds: RESTART_SECONDS_MIN,
        }
    }

    /// Whether there is one that may still say something.
    pub fn is_running(&self) -> bool {
        self.running.is_some() || self.ending.is_some()
    }

    pub fn tell(&mut self, line: &[u8]) {
        if self.is_deaf {
            return;
        }
        if self.taken == self.outgoing.len() {
            self.outgoing.clear();
            self.taken = 0;
            self.moved = self.now().mono;
        }
        self.outgoing.extend_from_slice(line);
    }

    /// The next thing that happens. May be dropped at any moment without a loss.
    pub async fn turn(&mut self) -> Turn {
        if let Some(ending) = &mut self.ending {
            let how = ending.await;
            self.ending = None;
            if self.now().mono.since(self.started) >= Duration::from_secs(STEADY_SECONDS) {
                self.restart_seconds = RESTART_SECONDS_MIN;
            }
            let how = self.stuck.take().unwrap_or(how);
            return self.ended(how);
        }
        let Some(program) = &mut self.running else {
            self.clock.sleep_until(self.starts_at).await;
            return self.start();
        };
        let mut buffer = [0; 8192];
        let waiting = &self.outgoing[self.taken..];
        let stuck_at = self.moved.after(Duration::from_secs(STUCK_SECONDS_MAX));
        let (mut stdout, mut stdin) = tokio::io::split(program);
        tokio::select! {
            biased;
            written = stdin.write(waiting), if !waiting.is_empty() => {
                self.moved = self.clock.now().mono;
                match written {
                    Ok(count @ 1..) => self.taken += count,
                    // It hears nothing more, but what it has said before counts.
                    Ok(_) | Err(_) => {
                        self.is_deaf = true;
                        self.outgoing.clear();
                        self.taken = 0;
                    }
                }
            }
            read = stdout.read(&mut buffer) => match read {
                Ok(count @ 1..) => return Turn::Said(buffer[..count].to_vec()),
                Ok(_) | Err(_) => self.end(),
            },
            () = self.clock.sleep_until(stuck_at), if !waiting.is_empty() || self.is_deaf => {
                self.stuck = Some(format!("has read nothing for {STUCK_SECONDS_MAX} s"));
                self.end();
            }
        }
        Turn::Nothing
    }

    fn start(&mut self) -> Turn {
        let now = self.now().mono;
        match self.programs.start(&self.command) {
            Ok(program) => {
                self.running = Some(program);
                self.started = now;
                self.moved = now;
                Turn::Nothing
            }
            Err(error) => Turn::Absent(error.0, self.pause()),
        }
    }

    /// Ends it, if it has not ended by itself; a turn says how.
    pub fn end(&mut self) {
        self.ending = self.running.take().map(Program::end);
    }

    fn ended(&mut self, how: String) -> Turn {
        self.outgoing.clear();
        self.taken = 0;
        self.is_deaf = false;
        Turn::Ended(how, self.pause())
    }

    /// In how many seconds it is started again.
    fn pause(&mut self) -> u64 {
        let pause = self.restart_seconds;
        self.restart_seconds = (pause * 2).min(RESTART_SECONDS_MAX);
        self.starts_at = self.now().mono.after(Duration::from_secs(pause));
        pause
    }

    fn now(&self) -> Now {
        self.clock.now()
    }
}
