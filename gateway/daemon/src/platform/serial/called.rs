//! Analyzers that call: one listener for each port, one conversation at a time.
//!
//! An analyzer that was switched off does not hang up: its old connection looks open for a minute. So a second call from the
//! same address takes over at once, and the old connection reads as gone. A call from another address is turned away, and
//! who it was can be asked for: two machines with the same settings would mix their results.

use super::keep_alive;
use crate::platform::{PortError, Stream};
use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

/// A bound address. It stays bound between two connections, so that an analyzer that calls again at once is not refused.
pub(super) struct Listening {
    listener: TcpListener,
    /// A connection that took over and waits to be opened.
    next: Mutex<Option<TcpStream>>,
    turned_away: Mutex<Option<IpAddr>>,
}

impl Listening {
    /// Who was turned away since this was last asked.
    pub fn turned_away(&self) -> Option<IpAddr> {
        self.turned_away.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn next(&self) -> Option<TcpStream> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Waits for the next call at this address.
pub(super) async fn accept(
    listeners: &Mutex<HashMap<String, Arc<Listening>>>,
    address: &str,
) -> Result<Box<dyn Stream>, PortError> {
    let bound = listeners.lock().unwrap_or_else(PoisonError::into_inner).get(address).cloned();
    let listening = match bound {
        Some(listening) => listening,
        None => {
            let listener = TcpListener::bind(address).await;
            let listener = listener.map_err(|error| PortError(format!("cannot listen on {address}: {error}")))?;
            let listening = Arc::new(Listening { listener, next: Mutex::default(), turned_away: Mutex::default() });
            let mut listeners = listeners.lock().unwrap_or_else(PoisonError::into_inner);
            listeners.insert(address.to_owned(), listening.clone());
            listening
        }
    };
    let failed = |error: io::Error| PortError(format!("cannot accept a connection on {address}: {error}"));
    let stream = match listening.next() {
        Some(stream) => stream,
        None => listening.listener.accept().await.map_err(failed)?.0,
    };
    keep_alive(&stream);
    let peer = stream.peer_addr().map_err(failed)?.ip();
    Ok(Box::new(Called { stream, peer, listening }))
}

/// One call.
struct Called {
    stream: TcpStream,
    peer: IpAddr,
    listening: Arc<Listening>,
}

impl Called {
    /// Whether the same machine has called again. Others are turned away.
    fn poll_succeeded(&self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let Ok((stream, from)) = ready!(self.listening.listener.poll_accept(cx)) else { return Poll::Pending };
            if from.ip() == self.peer {
                *self.listening.next.lock().unwrap_or_else(PoisonError::into_inner) = Some(stream);
                return Poll::Ready(());
            }
            *self.listening.turned_away.lock().unwrap_or_else(PoisonError::into_inner) = Some(from.ip());
        }
    }
}

impl AsyncRead for Called {
    /// What has come is read to its end before a second call ends this one.
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Poll::Ready(read) = Pin::new(&mut self.stream).poll_read(cx, buffer) {
            return Poll::Ready(read);
        }
        ready!(self.poll_succeeded(cx));
        Poll::Ready(Err(io::Error::other("the same machine has called again")))
    }
}

impl AsyncWrite for Called {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
