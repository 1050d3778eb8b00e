//! Programs of somebody else's: the child processes of the driver `exec`.
//!
//! Invariant: such a program gets what it is told and nothing else of ours: no descriptor but its three, of the environment only
//! `PATH` and `LANG`, no shell. It is in a process group of its own, which does not outlive the [`Program`]. What it writes
//! to its standard error is counted and not kept: it may hold a patient's name.

use super::{BoxFuture, PortError, Program, Programs};
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::pin::Pin;
use std::process::{ExitStatus, Stdio};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};

/// The variables that a program gets, if the gateway has them.
const ENVIRONMENT: [&str; 2] = ["PATH", "LANG"];

/// The machine's programs.
pub struct SystemPrograms;

impl Programs for SystemPrograms {
    fn start(&self, command: &[String]) -> Result<Box<dyn Program>, PortError> {
        let Some((name, arguments)) = command.split_first() else {
            return Err(PortError("no program is named".to_owned()));
        };
        let mut command = Command::new(name);
        command.args(arguments).env_clear().current_dir("/").process_group(0).kill_on_drop(true);
        command.envs(ENVIRONMENT.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        keep_descriptors_back(&mut command);
        let mut child = command.spawn().map_err(|error| PortError(format!("does not start: {}", explain(&error))))?;
        match (child.stdin.take(), child.stdout.take(), child.stderr.take()) {
            (Some(stdin), Some(stdout), Some(stderr)) => {
                tokio::spawn(count(stderr, name.clone()));
                Ok(Box::new(Running { child, stdin, stdout }))
            }
            _ => Err(PortError("does not start: it has no pipes".to_owned())),
        }
    }
}

fn explain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such program".to_owned(),
        io::ErrorKind::PermissionDenied => "the gateway's user may not run it".to_owned(),
        _ => error.to_string(),
    }
}

/// Every descriptor from 3 on is closed where the program begins, also one that a library has opened without that mark.
#[allow(unsafe_code)]
fn keep_descriptors_back(command: &mut Command) {
    // SAFETY: between fork and exec only this one system call is made, which allocates nothing and takes no lock.
    unsafe {
        command.pre_exec(|| {
            libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, libc::CLOSE_RANGE_CLOEXEC);
            // A kernel before 5.11 does not know it; there our own descriptors are marked all the same.
            Ok(())
        });
    }
}

async fn count(mut stderr: ChildStderr, program: String) {
    let mut buffer = vec![0; 4096];
    let mut bytes = 0_u64;
    while let Ok(count @ 1..) = stderr.read(&mut buffer).await {
        bytes += count as u64;
    }
    if bytes > 0 {
        tracing::warn!(program, bytes, "the program has written to its standard error, which is not kept");
    }
}

struct Running {
    child: Child,
    stdin: ChildStdin,
    stdout: ChildStdout,
}

impl Running {
    /// Its whole group, so that no program that it has started stays.
    fn kill(&mut self) {
        let group = self.child.id().and_then(|id| rustix::process::Pid::from_raw(i32::try_from(id).ok()?));
        if let Some(group) = group {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Program for Running {
    fn unread(&self) -> u64 {
        rustix::io::ioctl_fionread(&self.stdin).unwrap_or(0)
    }

    fn end(mut self: Box<Self>) -> BoxFuture<'static, String> {
        Box::pin(async move {
            // Before it is waited for: until then its group has its number. One that has ended by itself still says how.
            self.kill();
            self.child.wait().await.map_or_else(|error| error.to_string(), how)
        })
    }
}

fn how(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("has ended with status {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "has ended".to_owned(),
    }
}

impl AsyncRead for Running {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stdout).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Running {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stdin).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stdin).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stdin).poll_shutdown(cx)
    }
}

/// Where there are none: in a simulation.
pub struct NoPrograms;

impl Programs for NoPrograms {
    fn start(&self, _: &[String]) -> Result<Box<dyn Program>, PortError> {
        Err(PortError("does not start: there are no programs here".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;

    fn start(script: &str) -> Box<dyn Program> {
        let words = ["/bin/sh", "-c", script].map(str::to_owned);
        SystemPrograms.start(&words).expect("a shell")
    }

    #[tokio::test]
    async fn a_program_gets_three_descriptors_and_two_variables() {
        let leak = std::fs::File::open("/dev/null").expect("a file");
        rustix::io::fcntl_setfd(&leak, rustix::io::FdFlags::empty()).expect("an open file");
        let mut program =
            start("ls /proc/self/fd | tr '\\n' ' '; pwd; env | cut -d= -f1 | grep -v -e PWD -e _ -e SHLVL");
        let mut said = String::new();
        program.read_to_string(&mut said).await.expect("a pipe");
        // The fourth is the folder that is being listed.
        assert!(said.starts_with("0 1 2 3 /\n"), "{said}");
        assert!(said.lines().skip(1).all(|name| ENVIRONMENT.contains(&name)), "{said}");
        assert_eq!(program.end().await, "has ended with status 0");
    }

    #[tokio::test]
    async fn its_whole_group_ends_with_it() {
        let mut program = start("sleep 1000 & echo $!; cat");
        let mut said = [0; 16];
        let count = program.read(&mut said).await.expect("a pipe");
        program.write_all(b"x").await.expect("a pipe");
        assert_eq!(program.end().await, "was ended by signal 9");
        is_gone(&String::from_utf8_lossy(&said[..count])).await;
    }

    #[tokio::test]
    async fn what_it_has_left_behind_ends_with_it() {
        let mut program = start("sleep 1000 >/dev/null 2>&1 & echo $! >&1; exit 3");
        let mut said = String::new();
        program.read_to_string(&mut said).await.expect("a pipe");
        // Its pipes are closed a moment before it has ended.
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        assert_eq!(program.end().await, "has ended with status 3");
        is_gone(&said).await;
    }

    async fn is_gone(id: &str) {
        let id: i32 = id.trim().parse().expect("a process id");
        let gone = || {
            // A zombie waits for the reaper of this machine; it runs no more.
            let state = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
            state.is_empty() || state.contains(") Z ")
        };
        tokio::time::timeout(std::time::Duration::from_secs(30), async {
            while !gone() {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        })
        .await
        .expect("it is killed");
    }

    #[tokio::test]
    async fn what_does_not_start_is_said_in_words() {
        let start = |path: &str| SystemPrograms.start(&[path.to_owned()]).err().map(|error| error.0);
        assert_eq!(start("/nowhere/at/all").as_deref(), Some("does not start: there is no such program"));
        assert_eq!(start("/etc/passwd").as_deref(), Some("does not start: the gateway's user may not run it"));
    }
}
