//! A FAT file system as a laptop has it in its hands: the card's first partition, or a stick. By mtools(1), so nothing is mounted.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

pub struct Fat {
    /// As mtools writes it: the file, and where in it the file system begins, in bytes.
    place: String,
}

impl Fat {
    /// What begins there in a file.
    pub fn at(path: &Path, start: u64) -> Fat {
        Fat { place: format!("{}@@{start}", path.display()) }
    }

    /// A stick of that size as it comes from the shop: FAT32, all of it, without partitions.
    pub fn stick(path: &Path, bytes: u64) -> Fat {
        std::fs::File::create(path).and_then(|file| file.set_len(bytes)).expect("a folder of our own");
        run(Command::new("/usr/sbin/mkfs.vfat").args(["-F", "32", "-n", "STICK"]).arg(path));
        Fat::at(path, 0)
    }

    /// Saves a text under this name.
    pub fn save(&self, name: &str, text: &str) {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(text.as_bytes()).expect("a file of our own");
        self.put(file.path(), name);
    }

    /// Copies a file of this machine onto it.
    pub fn put(&self, file: &Path, name: &str) {
        run(Command::new("mcopy").arg("-oi").arg(&self.place).arg(file).arg(format!("::{name}")));
    }

    pub fn make_folder(&self, name: &str) {
        run(Command::new("mmd").arg("-i").arg(&self.place).arg(format!("::{name}")));
    }

    pub fn remove(&self, name: &str) {
        run(Command::new("mdel").arg("-i").arg(&self.place).arg(format!("::{name}")));
    }

    /// The text under this name; `None` if there is none.
    pub fn read(&self, name: &str) -> Option<String> {
        let read = Command::new("mtype").arg("-i").arg(&self.place).arg(format!("::{name}")).output().expect("mtools");
        read.status.success().then(|| String::from_utf8_lossy(&read.stdout).into_owned())
    }

    /// What is in a folder.
    pub fn names(&self, folder: &str) -> Vec<String> {
        let listed = Command::new("mdir").arg("-bi").arg(&self.place).arg(format!("::{folder}")).output();
        let listed = String::from_utf8_lossy(&listed.expect("mtools").stdout).into_owned();
        listed
            .lines()
            .filter_map(|line| Some(PathBuf::from(line).file_name()?.to_string_lossy().into_owned()))
            .collect()
    }
}

pub fn run(command: &mut Command) -> Vec<u8> {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}
