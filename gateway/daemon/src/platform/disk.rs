//! The real [`Disk`]: the runtime's threads for blocking work; and the one way to have a result of such work.

use super::{BoxFuture, Disk};
use tokio::sync::oneshot;

/// Runs each piece of work on a thread of its own kind, so that a slow disk holds up no task.
#[derive(Debug, Clone, Copy, Default)]
pub struct BlockingDisk;

impl Disk for BlockingDisk {
    /// The work is handed over at once, not at the first poll: it runs to its end whatever becomes of the future.
    fn run(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()> {
        let running = tokio::task::spawn_blocking(work);
        Box::pin(async move {
            if running.await.is_err_and(|error| error.is_panic()) {
                tracing::error!("work on the database has panicked; its requests stay unanswered");
            }
        })
    }
}

/// Runs blocking work on the disk's threads. `None`: the gateway is stopping.
pub async fn aside<T: Send + 'static>(disk: &dyn Disk, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (answer, answered) = oneshot::channel();
    disk.run(Box::new(move || {
        // Nobody waits any more: the result is dropped.
        let _ = answer.send(work());
    }))
    .await;
    answered.await.ok()
}
