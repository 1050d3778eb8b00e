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
/// A program that reads no byte for this long, while there are some for it, hangs. A pipe that takes them says nothing of it.
const STUCK_SECONDS_MAX: u64 = 20;
/// So often it is looked whether it has read.
const LOOK_SECONDS: u64 = 1;
/// Who has not looked for this long has heard nothing of it either: the program may have waited for us.
const AWAY_SECONDS: u64 = 5;

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
    /// How much of it is in the program's pipe.
    taken: usize,
    /// How many bytes the program has been given in all, and how many of them it had read when it was looked last.
    given: u64,
    read: u64,
    /// When it was last seen to have read something, or to have nothing to read.
    moved: Mono,
    looked: Mono,
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
            given: 0,
            read: 0,
            moved: Mono(0),
            looked: Mono(0),
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
        self.look();
        if self.taken == self.outgoing.len() {
            self.outgoing.clear();
            self.taken = 0;
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
        let owes = self.look() || self.is_deaf;
        let Some(program) = &mut self.running else {
            self.clock.sleep_until(self.starts_at).await;
            return self.start();
        };
        let mut buffer = [0; 8192];
        let waiting = &self.outgoing[self.taken..];
        let stuck_at = self.moved.after(Duration::from_secs(STUCK_SECONDS_MAX));
        let look_at = self.clock.now().mono.after(Duration::from_secs(LOOK_SECONDS)).min(stuck_at);
        let (mut stdout, mut stdin) = tokio::io::split(program);
        tokio::select! {
            biased;
            written = stdin.write(waiting), if !waiting.is_empty() => {
                match written {
                    Ok(count @ 1..) => {
                        self.taken += count;
                        self.given += count as u64;
                    }
                    // It hears nothing more, but what it has said before counts.
                    Ok(_) | Err(_) => {
                        self.is_deaf = true;
                        self.moved = self.clock.now().mono;
                        self.outgoing.clear();
                        self.taken = 0;
                    }
                }
            }
            read = stdout.read(&mut buffer) => match read {
                Ok(count @ 1..) => return Turn::Said(buffer[..count].to_vec()),
                Ok(_) | Err(_) => self.end(),
            },
            () = self.clock.sleep_until(look_at), if owes => {
                self.look();
                if self.moved.after(Duration::from_secs(STUCK_SECONDS_MAX)) <= self.now().mono {
                    self.stuck = Some(format!("has read nothing for {STUCK_SECONDS_MAX} s"));
                    self.end();
                }
            }
        }
        Turn::Nothing
    }

    /// Whether there is something that the program has yet to read.
    fn look(&mut self) -> bool {
        let Some(program) = self.running.as_ref().filter(|_| !self.is_deaf) else { return false };
        let unread = program.unread();
        let read = self.given.saturating_sub(unread);
        let owes = unread > 0 || self.taken < self.outgoing.len();
        let now = self.clock.now().mono;
        let away = now.since(self.looked) >= Duration::from_secs(AWAY_SECONDS);
        if read > self.read || !owes || away {
            self.moved = now;
        }
        self.looked = now;
        self.read = read;
        owes
    }

    fn start(&mut self) -> Turn {
        let now = self.now().mono;
        match self.programs.start(&self.command) {
            Ok(program) => {
                self.running = Some(program);
                (self.given, self.read) = (0, 0);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::PortError;
    use gateway_core::event::Id;
    use std::io;
    use std::pin::Pin;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::task::{Context, Poll};
    use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

    /// Tokio's clock, which a test can make pass.
    struct Paused(tokio::time::Instant);

    impl Clock for Paused {
        fn now(&self) -> Now {
            Now { mono: Mono(self.0.elapsed().as_nanos() as u64), ..Now::default() }
        }

        fn boot(&self) -> Id {
            Id([0; 16])
        }

        fn sleep_until(&self, due: Mono) -> BoxFuture<'static, ()> {
            Box::pin(tokio::time::sleep(due.since(self.now().mono)))
        }
    }

    /// Its pipe takes everything; what of it has not been read is counted.
    #[derive(Clone, Default)]
    struct Pipe(Arc<AtomicU64>);

    impl Programs for Pipe {
        fn start(&self, _: &[String]) -> Result<Box<dyn Program>, PortError> {
            Ok(Box::new(self.clone()))
        }
    }

    impl Program for Pipe {
        fn unread(&self) -> u64 {
            self.0.load(Ordering::SeqCst)
        }

        fn end(self: Box<Self>) -> BoxFuture<'static, String> {
            Box::pin(async { "was ended".to_owned() })
        }
    }

    impl AsyncRead for Pipe {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    impl AsyncWrite for Pipe {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            self.0.fetch_add(bytes.len() as u64, Ordering::SeqCst);
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// Tells a line every half second, of which the program reads so many bytes; after how many seconds it is ended, and why.
    async fn ended_after(reads: u64, seconds: u64) -> Option<(u64, String)> {
        let pipe = Pipe::default();
        let clock = Arc::new(Paused(tokio::time::Instant::now()));
        let mut companion = Companion::new(Arc::new(pipe.clone()), clock.clone(), vec!["program".to_owned()]);
        companion.turn().await;
        for _ in 0..seconds * 2 {
            companion.tell(b"0123456789");
            let _ =
                pipe.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |unread| Some(unread.saturating_sub(reads)));
            let until = clock.now().mono.after(Duration::from_millis(500));
            loop {
                tokio::select! {
                    turn = companion.turn() => if let Turn::Ended(how, _) = turn {
                        return Some((clock.now().mono.0 / 1_000_000_000, how));
                    },
                    () = clock.sleep_until(until) => break,
                }
            }
        }
        None
    }

    #[tokio::test(start_paused = true)]
    async fn a_program_that_reads_nothing_is_ended_though_its_pipe_takes_all() {
        let (seconds, how) = ended_after(0, 60).await.expect("it is ended");
        assert!((20..=22).contains(&seconds), "{seconds}");
        assert_eq!(how, "has read nothing for 20 s");
    }

    #[tokio::test(start_paused = true)]
    async fn a_program_that_reads_slowly_or_is_told_nothing_goes_on() {
        assert_eq!(ended_after(1, 60).await, None, "a byte now and then");
        assert_eq!(ended_after(1 << 20, 60).await, None);
        let pipe = Pipe::default();
        let clock = Arc::new(Paused(tokio::time::Instant::now()));
        let mut companion = Companion::new(Arc::new(pipe), clock.clone(), vec!["program".to_owned()]);
        companion.turn().await;
        let silent = tokio::time::timeout(Duration::from_secs(600), companion.turn()).await;
        assert!(silent.is_err(), "nothing happens");
    }
}
