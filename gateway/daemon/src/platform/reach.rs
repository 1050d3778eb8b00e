//! Whether peers can be reached and addresses be listened at, without saying a word to anybody.
//!
//! Invariant: nothing is sent but what a connection and its encryption need, and every wait ends after ten seconds.

use super::dial::{Route, Steps};
use super::probe::{Hop, HopName};
use gateway_core::config::{Mqtt, Webhook};
use std::io;
use std::net::{IpAddr, Ipv4Addr, TcpListener, UdpSocket};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

/// Goes the way to an endpoint: its name, the connection, a proxy, encryption. The last hop is the one that failed, if one did.
pub async fn endpoint(webhook: &Webhook) -> Vec<Hop> {
    match Route::new(webhook) {
        Ok(route) => way(route).await,
        Err(reason) => vec![Hop::failed(HopName::Settings, Duration::ZERO, &reason)],
    }
}

/// The same to a broker; none for the embedded one.
pub async fn broker(mqtt: &Mqtt) -> Vec<Hop> {
    let Some((host, port, tls)) = mqtt.broker.place() else { return Vec::new() };
    match Route::to_broker(mqtt, host, port, tls) {
        Ok(route) => way(route).await,
        Err(reason) => vec![Hop::failed(HopName::Settings, Duration::ZERO, &reason)],
    }
}

async fn way(route: Route) -> Vec<Hop> {
    let mut steps = Steps::default();
    // The hops say how it went; the connection is closed without a word.
    let _ = route.dial(&mut steps).await;
    steps.hops
}

/// This machine's address on the way out, if it has one: the kernel's choice for a peer far away (a documentation address of RFC
/// 5737), to whom nothing is sent.
pub fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    socket.local_addr().ok().map(|address| address.ip()).filter(|address| !address.is_unspecified())
}

/// Whether a server could listen there: tries it for a moment.
pub fn can_listen(address: &str) -> io::Result<()> {
    TcpListener::bind(address).map(|_| ())
}

/// Opens a device as the gateway would, without waiting for a carrier and without becoming its terminal's owner, and closes it.
pub fn can_open(device: &Path) -> io::Result<()> {
    let flags = libc::O_NOCTTY | libc::O_NONBLOCK | libc::O_CLOEXEC;
    std::fs::OpenOptions::new().read(true).write(true).custom_flags(flags).open(device).map(|_| ())
}

/// Whether this process may read, or read and write, what is there.
pub fn may(path: &Path, write: bool) -> bool {
    use rustix::fs::Access;
    let wanted = if write { Access::READ_OK | Access::WRITE_OK } else { Access::READ_OK };
    rustix::fs::access(path, wanted).is_ok()
}

/// Whether a program holds this lock file.
pub fn is_locked(path: &Path) -> io::Result<bool> {
    use rustix::fs::{FlockOperation, flock};
    let file = std::fs::File::open(path)?;
    match flock(file.as_fd(), FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(false),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(true),
        Err(error) => Err(error.into()),
    }
}
