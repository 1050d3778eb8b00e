//! The door: HTTP/1.1 on a TCP port and on a Unix socket, through hyper.
//!
//! Invariant: everything is bounded: connections, the time for a request's head and for its answer, the time in which a caller takes
//! nothing of it, the time of a stop.

mod idle;

use super::{BoxFuture, HttpServer, PortError, Serving, Stream};
use crate::pulse::Stop;
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use idle::Idle;
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Connections open at once at one place; the next caller waits in the system's queue.
const CONNECTIONS_MAX: usize = 64;
/// A caller that does not finish a request's head, or that says nothing on an open connection, is hung up on.
const HEAD_SECONDS_MAX: u64 = 20;
/// How long a stop waits for answers that are on their way.
const DRAIN_SECONDS_MAX: u64 = 3;
/// After an accept that failed (no more descriptors) there is no use in trying at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// The system's sockets.
pub struct HyperServer;

impl HttpServer for HyperServer {
    fn serve(&self, at: &Serving, router: Router, stop: Stop) -> BoxFuture<'static, Result<(), PortError>> {
        let at = at.clone();
        Box::pin(async move {
            let listener = match at {
                Serving::Tcp(address) => {
                    let listener = TcpListener::bind(&address).await;
                    let listener = listener.map_err(|error| refused(&address, &error))?;
                    let bound = listener.local_addr().map_or(address, |bound| bound.to_string());
                    tracing::info!(url = %format!("http://{bound}"), "the API listens");
                    Listener::Tcp(listener)
                }
                Serving::Socket(path) => Listener::Socket(OwnSocket::bind(&path)?),
            };
            serve(&listener, router, stop).await;
            Ok(())
        })
    }
}

fn refused(address: &str, error: &io::Error) -> PortError {
    PortError(match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("{address} is used by another program: stop that one, or write another port into http.listen")
        }
        io::ErrorKind::AddrNotAvailable => {
            format!("{address} is not an address of this machine: write one of its own into http.listen")
        }
        io::ErrorKind::PermissionDenied => {
            format!("{address} needs more rights: write a port above 1023 into http.listen")
        }
        _ => format!("{address} cannot be opened: {error}"),
    })
}

enum Listener {
    Tcp(TcpListener),
    Socket(OwnSocket),
}

impl Listener {
    async fn accept(&self) -> io::Result<Box<dyn Stream>> {
        Ok(match self {
            Listener::Tcp(listener) => Box::new(listener.accept().await?.0),
            Listener::Socket(socket) => Box::new(socket.listener.accept().await?.0),
        })
    }
}

/// The control socket: its file goes with it.
struct OwnSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl OwnSocket {
    /// Takes the place of a file that a gateway before us has left. The store's lock tells that there is no other one.
    fn bind(path: &Path) -> Result<OwnSocket, PortError> {
        let trouble = |error: io::Error| PortError(format!("{} cannot be made: {error}", path.display()));
        match fs::symlink_metadata(path) {
            Ok(left) if left.file_type().is_socket() => fs::remove_file(path).map_err(trouble)?,
            Ok(_) => {
                return Err(PortError(format!("{} is in the way and is no socket: remove it", path.display())));
            }
            Err(_) => {}
        }
        let listener = UnixListener::bind(path).map_err(trouble)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o660)).map_err(trouble)?;
        Ok(OwnSocket { listener, path: path.to_owned() })
    }
}

impl Drop for OwnSocket {
    fn drop(&mut self) {
        // Nothing is lost by a file that stays: the next start removes it.
        let _ = fs::remove_file(&self.path);
    }
}

/// Serves what comes in until the stop, then lets the open answers end.
async fn serve(listener: &Listener, router: Router, mut stop: Stop) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(HEAD_SECONDS_MAX));
    loop {
        while connections.try_join_next().is_some() {}
        let taken = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            biased;
            () = stop.asked() => break,
            taken = taken => taken,
        };
        let Ok(stream) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let service = TowerToHyperService::new(router.clone());
        let connection = graceful.watch(http.serve_connection(TokioIo::new(Idle::new(stream)), service));
        connections.spawn(async move {
            // A caller that breaks off is its own affair.
            let _ = connection.await;
            drop(place);
        });
    }
    let _ = tokio::time::timeout(Duration::from_secs(DRAIN_SECONDS_MAX), graceful.shutdown()).await;
}
