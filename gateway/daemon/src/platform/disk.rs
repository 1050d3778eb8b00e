//! The database's work on tokio's threads for blocking work.

use super::{BoxFuture, Disk};

/// Production's disk: `spawn_blocking`, which runs to its end even if nobody waits for it any more.
pub struct BlockingDisk;

impl Disk for BlockingDisk {
    fn run(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()> {
        let running = tokio::task::spawn_blocking(work);
        Box::pin(async move {
            if let Err(error) = running.await {
                tracing::error!(%error, "the database's work was cut short");
            }
        })
    }
}
