//! The machine's card while it is out of the machine: a copy of the image, and what any laptop can read and write of it.

use super::fat::{Fat, run};
use serde_json::Value;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A card is larger than the image: /data grows into the rest.
const REST_BYTES: u64 = 256 << 20;
const SECTOR_BYTES: u64 = 512;
/// The second of the two sectors of an ext4 file system's superblock (it is at 1,024): where it begins, and how long it is.
pub const SUPERBLOCK_END: (u64, usize) = (1024 + 512, 512);
const BOOT_STATE_BYTES: usize = 1024;

pub struct Card {
    pub path: PathBuf,
}

impl Card {
    /// The image written to a card.
    pub fn write(folder: &Path) -> Card {
        let image = super::machine::system_folder().expect("there is an image");
        let path = folder.join("card.img");
        run(Command::new("cp").args(["--sparse=always", "--reflink=auto"]).arg(image.join("disk.img")).arg(&path));
        let file = std::fs::OpenOptions::new().write(true).open(&path).expect("a file of our own");
        let bytes = file.metadata().expect("a file of our own").len();
        file.set_len(bytes + REST_BYTES).expect("a sparse file");
        Card { path }
    }

    /// Where a partition begins, in bytes.
    pub fn start(&self, partition: &str) -> u64 {
        let printed = run(Command::new("/usr/sbin/sfdisk").arg("--json").arg(&self.path));
        let table: Value = serde_json::from_slice(&printed).expect("JSON");
        let mut partitions = table["partitiontable"]["partitions"].as_array().expect("a table").iter();
        let found = partitions.find(|entry| entry["name"] == partition);
        found.and_then(|entry| entry["start"].as_u64()).expect("a partition of the image") * SECTOR_BYTES
    }

    /// Writes over a place of a partition, as a fault of the card would.
    pub fn overwrite(&self, partition: &str, offset: u64, bytes: &[u8]) {
        let file = std::fs::OpenOptions::new().write(true).open(&self.path).expect("a file of our own");
        file.write_all_at(bytes, self.start(partition) + offset).expect("a file of our own");
    }

    /// The power went while the card wrote the superblock of an ext4 file system: of its two sectors only the first is there.
    pub fn tear_superblock(&self, partition: &str) {
        let (at, length) = SUPERBLOCK_END;
        let torn: Vec<u8> = self.look(partition, at, length).iter().map(|byte| !byte).collect();
        self.overwrite(partition, at, &torn);
    }

    /// What stands at a place of a partition.
    pub fn look(&self, partition: &str, offset: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        let file = std::fs::File::open(&self.path).expect("a file of our own");
        file.read_exact_at(&mut bytes, self.start(partition) + offset).expect("a file of our own");
        bytes
    }

    /// What RAUC and GRUB tell each other, in the form of grub-editenv(1): 1,024 bytes behind the archive's head.
    pub fn set_boot_state(&self, lines: &str) {
        let mut block = format!("# GRUB Environment Block\n{lines}").into_bytes();
        block.resize(BOOT_STATE_BYTES, b'#');
        self.overwrite("state", SECTOR_BYTES, &block);
    }

    pub fn boot_state(&self) -> String {
        String::from_utf8_lossy(&self.look("state", SECTOR_BYTES, BOOT_STATE_BYTES)).into_owned()
    }

    /// The partition that every laptop shows.
    pub fn boot(&self) -> Fat {
        Fat::at(&self.path, self.start("BOOT"))
    }

    /// Whether fsck.fat(8) has nothing to mend in it.
    pub fn boot_is_sound(&self) -> bool {
        let mut partition = tempfile::NamedTempFile::new().expect("a file");
        let length = usize::try_from(self.start("rootfs-a") - self.start("BOOT")).expect("it fits");
        partition.write_all(&self.look("BOOT", 0, length)).expect("a file of our own");
        let judged = Command::new("/usr/sbin/fsck.fat").arg("-n").arg(partition.path()).output().expect("fsck.fat");
        println!("{}", String::from_utf8_lossy(&judged.stdout).trim());
        judged.status.success()
    }

    /// Saves a file there.
    pub fn save(&self, name: &str, text: &str) {
        self.boot().save(name, text);
    }

    /// Reads one there; `None` if there is none.
    pub fn read(&self, name: &str) -> Option<String> {
        self.boot().read(name)
    }
}
