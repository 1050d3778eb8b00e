//! A connection that is hung up on once its caller has taken nothing for too long.
//!
//! A long answer may take as long as it needs, as long as it moves. Invariant: a caller that reads nothing holds a place, and
//! what waits to be sent, for [`IDLE_SECONDS_MAX`] at most.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// How long a caller may take nothing of what waits for it.
pub const IDLE_SECONDS_MAX: u64 = 30;

/// The connection, and when it is given up.
pub struct Idle<S> {
    stream: S,
    /// Set while the caller takes nothing.
    due: Option<Pin<Box<Sleep>>>,
}

impl<S> Idle<S> {
    pub fn new(stream: S) -> Idle<S> {
        Idle { stream, due: None }
    }

    /// Hands on what the stream has done, unless it has done nothing for too long.
    fn bounded<T>(&mut self, context: &mut Context<'_>, done: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if done.is_ready() {
            self.due = None;
            return done;
        }
        let idle = Duration::from_secs(IDLE_SECONDS_MAX);
        let due = self.due.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + idle)));
        ready!(due.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the caller takes nothing")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Idle<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Idle<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.bounded(context, done)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.bounded(context, done)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let done = Pin::new(&mut self.stream).poll_flush(context);
        self.bounded(context, done)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let done = Pin::new(&mut self.stream).poll_shutdown(context);
        self.bounded(context, done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_takes_nothing_is_given_up() {
        let (ours, _theirs) = duplex(8);
        let began = Instant::now();
        let error = Idle::new(ours).write_all(&[0; 64]).await.expect_err("nobody reads");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(began.elapsed().as_secs(), IDLE_SECONDS_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_caller_gets_everything() {
        let (ours, mut theirs) = duplex(8);
        let mut ours = Idle::new(ours);
        let began = Instant::now();
        let reading = async {
            let mut got = [0; 64];
            for byte in &mut got {
                tokio::time::sleep(Duration::from_secs(IDLE_SECONDS_MAX - 1)).await;
                *byte = theirs.read_u8().await.expect("it goes on");
            }
            got
        };
        let (sent, got) = tokio::join!(ours.write_all(&[7; 64]), reading);
        sent.expect("it moves");
        assert_eq!(got, [7; 64]);
        assert!(began.elapsed().as_secs() > 20 * IDLE_SECONDS_MAX);
    }
}
