//! The real [`Disk`]: the runtime's threads for blocking work; and the one way to have a result of such work.

use super::{BoxFuture, Disk};
use rustix::fs::{StatVfsMountFlags, statfs, statvfs};
use std::path::Path;
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

/// Whether nothing can be written to what is mounted there (statvfs(3), `ST_RDONLY`): a card at its end makes itself so.
pub fn is_read_only(folder: &Path) -> bool {
    statvfs(folder).is_ok_and(|disk| disk.f_flag.contains(StatVfsMountFlags::RDONLY))
}

/// File systems that keep no database through a power cut (statfs(2), linux/magic.h), and why.
const UNSAFE: [(u32, &str); 7] = [
    (0x0102_1994, IN_MEMORY),
    (0x8584_58f6, IN_MEMORY),
    (0x4d44, OF_MEMORY_CARDS),
    (0x2011_bab0, OF_MEMORY_CARDS),
    (0x6969, ELSEWHERE),
    (0xfe53_4d42, ELSEWHERE),
    (0xff53_4d42, ELSEWHERE),
];
const IN_MEMORY: &str = "is in memory: every event is gone when the power fails";
const OF_MEMORY_CARDS: &str = "is on a FAT file system, which a power cut can damage";
const ELSEWHERE: &str = "is on another machine's disk, which SQLite cannot lock";

/// Why a folder is no place for events, whether it is there already or not.
pub fn unsafe_for_events(folder: &Path) -> Option<&'static str> {
    let there = folder.ancestors().find(|part| part.exists())?;
    // The number is a signed long of the machine's size; the kernel's are of 32 bits.
    reason(statfs(there).ok()?.f_type as u32)
}

fn reason(kind: u32) -> Option<&'static str> {
    UNSAFE.iter().find(|(magic, _)| *magic == kind).map(|(_, why)| *why)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_belong_on_a_disk_of_this_machine() {
        // tmpfs, vfat, NFS, ext4.
        let told = [0x0102_1994, 0x4d44, 0x6969, 0xef53].map(reason);
        assert_eq!(told, [Some(IN_MEMORY), Some(OF_MEMORY_CARDS), Some(ELSEWHERE), None]);
        assert_eq!(unsafe_for_events(Path::new("/proc/not/there/yet")), None);
    }
}
