//! USB scanners that type like a keyboard: a device of /dev/input, read as the bytes that it types.
//!
//! The device is grabbed (EVIOCGRAB) for as long as it is open: what it types reaches neither a console nor a desktop, where
//! a sample's id has no business. It cannot be written to; what is written goes nowhere.

use super::{PortError, Stream};
use gateway_core::framing::keyboard::Keyboard;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// `struct input_event`: two longs of time, then 8 bytes.
const RECORD_BYTES: usize = 2 * size_of::<std::ffi::c_ulong>() + 8;
/// How many records one read takes.
const RECORDS: usize = 64;
/// `_IOW('E', 0x90, int)` of linux/input.h.
const EVIOCGRAB: rustix::ioctl::Opcode = rustix::ioctl::opcode::write::<std::ffi::c_int>(b'E', 0x90);

/// Opens and grabs the device.
pub fn open(path: &Path) -> Result<Box<dyn Stream>, PortError> {
    let name = path.display();
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let device = rustix::fs::open(path, flags, Mode::empty()).map_err(|error| {
        PortError(match error {
            Errno::NOENT | Errno::NODEV | Errno::NXIO => format!("nothing is plugged in at {name}"),
            Errno::ACCESS | Errno::PERM => {
                format!("no permission for {name}: the gateway's user must be in the group input")
            }
            other => format!("{name} does not open: {other}"),
        })
    })?;
    grab(&device).map_err(|error| {
        PortError(match error {
            Errno::BUSY => format!("{name} is in use by another program"),
            Errno::NOTTY | Errno::INVAL => format!("{name} is no keyboard: write a device of /dev/input"),
            other => format!("{name} cannot be had alone: {other}"),
        })
    })?;
    let typed = Typed::new(device).map_err(|error| PortError(format!("{name} cannot be read: {error}")))?;
    Ok(Box::new(typed))
}

#[allow(unsafe_code)]
fn grab(device: &OwnedFd) -> Result<(), Errno> {
    // SAFETY: EVIOCGRAB takes an integer in place of a pointer, and reads and writes no memory of this process.
    unsafe { rustix::ioctl::ioctl(device, rustix::ioctl::IntegerSetter::<EVIOCGRAB>::new_usize(1)) }
}

/// The bytes that a keyboard types.
struct Typed {
    device: AsyncFd<OwnedFd>,
    keyboard: Keyboard,
}

impl Typed {
    /// Takes a descriptor that does not block.
    #[allow(unsafe_code)]
    fn new(device: OwnedFd) -> io::Result<Typed> {
        // SAFETY: an `OwnedFd` answers with the same open descriptor for as long as it lives, and `AsyncFd` owns it.
        let device = unsafe { AsyncFd::register(device) }?;
        Ok(Typed { device, keyboard: Keyboard::default() })
    }
}

impl AsyncRead for Typed {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Typed { device, keyboard } = self.get_mut();
        let mut records = [0; RECORD_BYTES * RECORDS];
        // Each record types one byte at most.
        let room = records.len().min(buffer.remaining() * RECORD_BYTES);
        loop {
            let mut guard = ready!(device.poll_read_ready(cx))?;
            let read = guard
                .try_io(|device| rustix::io::read(device.get_ref(), &mut records[..room]).map_err(io::Error::from));
            match read {
                Ok(Ok(0)) => return Poll::Ready(Ok(())),
                // The kernel hands out whole records only.
                Ok(Ok(count)) => {
                    let typed: Vec<u8> =
                        records[..count].chunks_exact(RECORD_BYTES).filter_map(|one| keyboard.event(one)).collect();
                    if !typed.is_empty() {
                        buffer.put_slice(&typed);
                        return Poll::Ready(Ok(()));
                    }
                }
                // Unplugged: the end of the stream.
                Ok(Err(error)) if error.raw_os_error() == Some(Errno::NODEV.raw_os_error()) => {
                    return Poll::Ready(Ok(()));
                }
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(Err(error)) => return Poll::Ready(Err(error)),
                Err(_would_block) => {}
            }
        }
    }
}

impl AsyncWrite for Typed {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
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
    use std::io::Write;
    use tokio::io::AsyncReadExt;

    #[tokio::test]
    async fn keys_become_the_bytes_of_a_serial_scanner() {
        let (reader, mut writer) = std::os::unix::net::UnixStream::pair().unwrap();
        reader.set_nonblocking(true).unwrap();
        let mut typed = Typed::new(reader.into()).unwrap();
        // S, 1, enter: shift and scan codes between them.
        for (kind, code, value) in [
            (4_u16, 4_u16, 458_774_i32),
            (1, 42, 1),
            (1, 31, 1),
            (0, 0, 0),
            (1, 31, 0),
            (1, 42, 0),
            (1, 2, 1),
            (1, 2, 0),
            (1, 28, 1),
        ] {
            let mut record = vec![0; RECORD_BYTES - 8];
            record.extend([kind.to_ne_bytes(), code.to_ne_bytes()].concat());
            record.extend(value.to_ne_bytes());
            writer.write_all(&record).unwrap();
        }
        drop(writer);
        let mut bytes = Vec::new();
        typed.read_to_end(&mut bytes).await.unwrap();
        assert_eq!(bytes, b"S1\r");
    }

    #[tokio::test]
    async fn what_is_no_keyboard_is_told() {
        let told = |path: &str| open(Path::new(path)).err().map(|error| error.0).unwrap_or_default();
        assert_eq!(told("/dev/input/no-such-device"), "nothing is plugged in at /dev/input/no-such-device");
        assert!(told("/dev/null").contains("is no keyboard"), "{}", told("/dev/null"));
    }
}
