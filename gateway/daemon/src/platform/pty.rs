//! A pseudo-terminal: the cable between a simulated analyzer and the gateway's real serial port code.
//!
//! The analyzer holds the master, the gateway opens [`Pty::path`] as if it were `/dev/ttyUSB0`. What was learnt:
//! - the line discipline starts in canonical mode, which echoes, edits, and cuts lines at 4096 bytes: it is set raw here,
//!   before anybody opens it;
//! - a master whose last slave was closed reads EIO, so one slave descriptor is held open here, and the gateway may come
//!   and go;
//! - a program that took the terminal exclusively (TIOCEXCL) and was killed leaves it so for as long as that descriptor
//!   lives: [`Pty::forget_exclusive`].

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, ioctl_fionbio};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, ioctl_tiocnxcl, tcgetattr, tcsetattr};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The analyzer's end. Dropping it hangs up: the gateway's port reads 0 bytes, as when a cable is pulled.
pub struct Pty {
    master: AsyncFd<OwnedFd>,
    slave: Option<OwnedFd>,
    path: PathBuf,
    links: Mutex<Vec<PathBuf>>,
}

impl Pty {
    /// A new pair, raw, with nobody on the other end yet.
    pub fn open() -> io::Result<Pty> {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let name = ptsname(&master, Vec::new())?;
        let path = PathBuf::from(name.to_string_lossy().into_owned());
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let slave = rustix::fs::open(&path, flags, Mode::empty())?;
        let mut settings = tcgetattr(&slave)?;
        settings.make_raw();
        tcsetattr(&slave, OptionalActions::Now, &settings)?;
        ioctl_fionbio(&master, true)?;
        Ok(Pty { master: register(master)?, slave: Some(slave), path, links: Mutex::default() })
    }

    /// The device to be opened by the gateway: `/dev/pts/7`.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Notices from now on whether somebody opens the device.
    pub fn watch(&self) -> io::Result<Opening> {
        let watch = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        inotify::add_watch(&watch, &self.path, WatchFlags::OPEN)?;
        Ok(Opening(watch))
    }

    /// Makes `link` point to this device, whatever it pointed to before: a name that stays when the cable is pulled and
    /// plugged in again, like those of `/dev/serial/by-path`.
    pub fn link(&self, link: &Path) -> io::Result<()> {
        let fresh = link.with_extension("new");
        match std::fs::remove_file(&fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => std::os::unix::fs::symlink(&self.path, &fresh)?,
        }
        std::fs::rename(&fresh, link)?;
        self.links.lock().unwrap_or_else(PoisonError::into_inner).push(link.to_owned());
        Ok(())
    }

    /// Lets go of the held slave descriptor: from now on a read fails (0 bytes) while the gateway has the port closed.
    pub fn release_slave(&mut self) {
        self.slave = None;
    }

    /// Opens the terminal again for a new process after the one that had it exclusively was killed.
    pub fn forget_exclusive(&self) -> io::Result<()> {
        match &self.slave {
            Some(slave) => Ok(ioctl_tiocnxcl(slave)?),
            None => Ok(()),
        }
    }
}

/// Whether a pseudo-terminal was opened since [`Pty::watch`].
pub struct Opening(OwnedFd);

impl Opening {
    /// Whether it was. Says so once.
    pub fn has_happened(&self) -> bool {
        let mut events = [0; 1024];
        rustix::io::read(&self.0, &mut events).is_ok_and(|count| count > 0)
    }
}

/// The system gives the number to the next terminal that anybody opens: a link that stayed would lead to a stranger's.
impl Drop for Pty {
    fn drop(&mut self) {
        for link in self.links.get_mut().unwrap_or_else(PoisonError::into_inner) {
            if std::fs::read_link(&*link).is_ok_and(|target| target == self.path) {
                let _ = std::fs::remove_file(link);
            }
        }
    }
}

#[allow(unsafe_code)]
fn register(master: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` answers with the same open descriptor for as long as it lives, and `AsyncFd` owns it.
    Ok(unsafe { AsyncFd::register(master) }?)
}

impl AsyncRead for Pty {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut guard = ready!(self.master.poll_read_ready(cx))?;
            let read = guard.try_io(|master| {
                rustix::io::read(master.get_ref(), buffer.initialize_unfilled()).map_err(io::Error::from)
            });
            match read {
                Ok(Ok(count)) => {
                    buffer.advance(count);
                    return Poll::Ready(Ok(()));
                }
                // The last slave was closed: the end of the stream.
                Ok(Err(error)) if error.raw_os_error() == Some(Errno::IO.raw_os_error()) => return Poll::Ready(Ok(())),
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(Err(error)) => return Poll::Ready(Err(error)),
                Err(_would_block) => {}
            }
        }
    }
}

impl AsyncWrite for Pty {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = ready!(self.master.poll_write_ready(cx))?;
            match guard.try_io(|master| rustix::io::write(master.get_ref(), bytes).map_err(io::Error::from)) {
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(written) => return Poll::Ready(written),
                Err(_would_block) => {}
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio_serial::SerialPortBuilderExt;

    fn port(path: &Path) -> tokio_serial::SerialStream {
        tokio_serial::new(path.to_string_lossy(), 9600).open_native_async().expect("the port opens")
    }

    #[tokio::test]
    async fn a_megabyte_passes_a_slow_reader_unchanged() {
        let mut pty = Pty::open().expect("a pseudo-terminal");
        let mut port = port(pty.path());
        let sent: Vec<u8> = (0..1_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let reading = async {
            let mut read = Vec::new();
            let mut buffer = vec![0; 777];
            while read.len() < 1_000_000 {
                let count = port.read(&mut buffer).await.expect("an open port");
                read.extend_from_slice(&buffer[..count]);
                if read.len() % 7 == 0 {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
            read
        };
        let both = async { tokio::join!(pty.write_all(&sent), reading) };
        let (written, read) = tokio::time::timeout(Duration::from_secs(60), both).await.expect("no stall");
        written.expect("an open terminal");
        assert!(read == sent, "every byte value arrives as it was sent");
    }

    #[tokio::test]
    async fn it_is_noticed_when_somebody_opens_it() {
        let pty = Pty::open().expect("a pseudo-terminal");
        let opening = pty.watch().expect("a watch");
        assert!(!opening.has_happened());
        let _port = port(pty.path());
        assert!(opening.has_happened() && !opening.has_happened());
    }

    #[tokio::test]
    async fn the_port_can_be_closed_and_opened_again_and_a_pulled_cable_reads_nothing() {
        let folder = std::env::temp_dir().join(format!("pty-test-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let link = folder.join("ttyUSB0");
        let mut pty = Pty::open().expect("a pseudo-terminal");
        pty.link(&link).expect("a link");
        let mut buffer = [0; 10];
        for _ in 0..2 {
            let mut port = port(&link);
            port.write_all(b"\x06").await.expect("an open port");
            assert_eq!(pty.read(&mut buffer).await.expect("an open terminal"), 1);
        }
        pty.forget_exclusive().expect("an open slave");
        let mut port = port(&link);
        drop(pty);
        let gone = tokio::time::timeout(Duration::from_secs(5), port.read(&mut buffer)).await.expect("noticed at once");
        assert!(matches!(gone, Ok(0) | Err(_)));
        let again = Pty::open().expect("a pseudo-terminal");
        again.link(&link).expect("the link moves");
        assert_eq!(std::fs::read_link(&link).expect("a link"), again.path());
        std::fs::remove_dir_all(&folder).expect("an own folder");
    }
}
