//! The machine's card while it is out of the machine: a copy of the image, and what any laptop can read and write of it.

use serde_json::Value;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A card is larger than the image: /data grows into the rest.
const REST_BYTES: u64 = 256 << 20;
const SECTOR_BYTES: u64 = 512;
const BOOT_STATE_BYTES: usize = 1024;

pub struct Card {
    pub path: PathBuf,
}

impl Card {
    /// The image written to a card. `None` after saying so if there is no image.
    pub fn write(folder: &Path) -> Option<Card> {
        let image = super::machine::system_folder()?;
        let path = folder.join("card.img");
        run(Command::new("cp").args(["--sparse=always", "--reflink=auto"]).arg(image.join("disk.img")).arg(&path));
        let file = std::fs::OpenOptions::new().write(true).open(&path).expect("a file of our own");
        let bytes = file.metadata().expect("a file of our own").len();
        file.set_len(bytes + REST_BYTES).expect("a sparse file");
        Some(Card { path })
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

    /// What RAUC and GRUB tell each other, in the form of grub-editenv(1): 1,024 bytes behind the archive's head.
    pub fn set_boot_state(&self, lines: &str) {
        let mut block = format!("# GRUB Environment Block\n{lines}").into_bytes();
        block.resize(BOOT_STATE_BYTES, b'#');
        self.overwrite("state", SECTOR_BYTES, &block);
    }

    pub fn boot_state(&self) -> String {
        let file = std::fs::File::open(&self.path).expect("a file of our own");
        let mut block = [0; BOOT_STATE_BYTES];
        file.read_exact_at(&mut block, self.start("state") + SECTOR_BYTES).expect("a file of our own");
        String::from_utf8_lossy(&block).into_owned()
    }

    fn boot(&self) -> String {
        format!("{}@@{}", self.path.display(), self.start("BOOT"))
    }

    /// Saves a file on the partition that every laptop shows.
    pub fn save(&self, name: &str, text: &str) {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(text.as_bytes()).expect("a file of our own");
        run(Command::new("mcopy").arg("-oi").arg(self.boot()).arg(file.path()).arg(format!("::{name}")));
    }

    /// Reads one there; `None` if there is none.
    pub fn read(&self, name: &str) -> Option<String> {
        let read = Command::new("mtype").arg("-i").arg(self.boot()).arg(format!("::{name}")).output().expect("mtools");
        read.status.success().then(|| String::from_utf8_lossy(&read.stdout).into_owned())
    }
}

fn run(command: &mut Command) -> Vec<u8> {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}
