//! The write log of a virtual disk, and every state in which a power cut could have left that disk.
//!
//! The log is that of qemu's driver `blklogwrites`, in the format of the kernel's dm-log-writes (drivers/md/dm-log-writes.c): a
//! sector with magic, version, number of entries and sector size, then for each write a sector with its place, length and flags,
//! followed by its data; a flush has a length of 0, a discard no data.
//!
//! Invariant: a disk promises nothing about writes since its last flush, so a cut drops any of them; what was flushed is there.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

const MAGIC: u64 = 0x006a_7366_7773_6872;
const FLUSH: u64 = 1;
const FUA: u64 = 2;
const DISCARD: u64 = 4;
/// The unit in which places and lengths are counted, in bytes, whatever the log's own sectors are.
const HEAD_BYTES: usize = 32;

/// One write, flush or discard, in the order in which the guest was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Where on the disk, in bytes, and how long.
    pub at: u64,
    pub bytes: u64,
    /// Where its data is in the log.
    data_at: u64,
    /// Where in the log it ends: what the log's length was once the guest could know of it.
    pub ends: u64,
    pub flush: bool,
    /// It was answered only once it was on the disk for good.
    pub sure: bool,
    discard: bool,
}

/// A log that was written to its end or cut off.
pub struct Log {
    file: File,
    pub entries: Vec<Entry>,
}

fn number(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

impl Log {
    /// Reads the entries. The number in the head is written now and then only, so entries are read as long as they are whole.
    pub fn open(path: &Path) -> io::Result<Log> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        let mut head = [0; HEAD_BYTES];
        file.read_exact_at(&mut head, 0)?;
        let sector = u64::from(u32::from_le_bytes(head[24..28].try_into().expect("four bytes")));
        if number(&head, 0) != MAGIC || sector < 512 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "this is no write log"));
        }
        let (mut at, mut entries) = (sector, Vec::new());
        while at + sector <= length {
            let mut head = [0; HEAD_BYTES];
            file.read_exact_at(&mut head, at)?;
            let [place, count, flags] = [0, 8, 16].map(|field| number(&head, field));
            let data = if flags & DISCARD == 0 { count.saturating_mul(sector) } else { 0 };
            let ends = (at + sector).saturating_add(data);
            // Space that was taken and never written, or the last one cut off.
            if ends > length || (count, flags) == (0, 0) {
                break;
            }
            entries.push(Entry {
                at: place * sector,
                bytes: count * sector,
                data_at: at + sector,
                ends,
                flush: flags & FLUSH != 0,
                sure: flags & FUA != 0,
                discard: flags & DISCARD != 0,
            });
            at = ends;
        }
        Ok(Log { file, entries })
    }

    /// Puts one write onto an image of the disk from `start` on, or only its first bytes, a multiple of 512: a cut may tear it. What
    /// lies before `start` is left out.
    pub fn put(&self, entry: &Entry, image: &File, start: u64, bytes_max: u64) -> io::Result<()> {
        let skipped = start.saturating_sub(entry.at);
        let bytes = entry.bytes.min(bytes_max).saturating_sub(skipped);
        if entry.discard || bytes == 0 {
            return Ok(());
        }
        let mut data = vec![0; usize::try_from(bytes).expect("a write fits into memory")];
        self.file.read_exact_at(&mut data, entry.data_at + skipped)?;
        image.write_all_at(&data, entry.at + skipped - start)
    }

    /// The last flush at or before this entry: what stands before it is on the disk for good.
    pub fn flushed_before(&self, cut: usize) -> usize {
        self.entries[..cut].iter().rposition(|entry| entry.flush).map_or(0, |at| at + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::OpenOptions;

    fn entry(log: &mut Vec<u8>, place: u64, data: &[u8], flags: u64) {
        let mut head = vec![0; 512];
        for (at, value) in [place, data.len() as u64 / 512, flags].into_iter().enumerate() {
            head[at * 8..at * 8 + 8].copy_from_slice(&value.to_le_bytes());
        }
        log.extend_from_slice(&head);
        log.extend_from_slice(data);
    }

    fn log() -> (tempfile::TempDir, Log) {
        let mut bytes = vec![0; 512];
        bytes[..8].copy_from_slice(&MAGIC.to_le_bytes());
        bytes[24..28].copy_from_slice(&512u32.to_le_bytes());
        entry(&mut bytes, 0, &[b'a'; 1024], 0);
        entry(&mut bytes, 0, &[], FLUSH);
        entry(&mut bytes, 2, &[b'b'; 512], 0);
        entry(&mut bytes, 0, &[b'c'; 1024], 0);
        // Cut off in its data.
        entry(&mut bytes, 3, &[b'd'; 1024], 0);
        bytes.truncate(bytes.len() - 1);
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("log"), bytes).expect("a file of our own");
        let log = Log::open(&folder.path().join("log")).expect("a log");
        (folder, log)
    }

    fn image(folder: &tempfile::TempDir) -> std::path::PathBuf {
        let path = folder.path().join("image");
        std::fs::write(&path, [b'.'; 2048]).expect("a file of our own");
        path
    }

    /// The image after these writes, each cut to so many bytes; a letter a sector.
    fn shape(folder: &tempfile::TempDir, log: &Log, start: u64, writes: &[(usize, u64)]) -> String {
        let path = image(folder);
        let file = OpenOptions::new().write(true).open(&path).expect("an image");
        for (at, bytes_max) in writes {
            log.put(&log.entries[*at], &file, start, *bytes_max).expect("a write");
        }
        let bytes = std::fs::read(path).expect("an image");
        bytes.chunks(512).map(|sector| char::from(sector[0])).collect()
    }

    #[test]
    fn whole_entries_are_read_and_a_torn_one_ends_the_log() {
        let (_folder, log) = log();
        assert_eq!(log.entries.len(), 4);
        assert_eq!(log.entries.iter().map(|entry| entry.ends).collect::<Vec<_>>(), [2048, 2560, 3584, 5120]);
        assert_eq!((log.flushed_before(1), log.flushed_before(2), log.flushed_before(4)), (0, 2, 2));
    }

    #[test]
    fn a_prefix_is_the_disk_as_it_was_then() {
        let (folder, log) = log();
        for (cut, shown) in [(0, "...."), (1, "aa.."), (3, "aab."), (4, "ccb.")] {
            let writes: Vec<_> = (0..cut).map(|at| (at, u64::MAX)).collect();
            assert_eq!(shape(&folder, &log, 0, &writes), shown);
        }
    }

    #[test]
    fn a_write_may_be_missing_or_torn_and_only_one_part_of_the_disk_looked_at() {
        let (folder, log) = log();
        assert_eq!(shape(&folder, &log, 0, &[(0, u64::MAX), (3, 512)]), "ca..");
        assert_eq!(shape(&folder, &log, 512, &[(0, u64::MAX), (2, u64::MAX)]), "ab..");
    }
}
