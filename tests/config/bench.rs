//! A settings file in a folder of its own, with an environment.

use gateway_core::config::Config;
use gateway_daemon::configuration::{Failure, Loaded, Source, load};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

/// A secret of the right form.
pub const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLw0s";

/// A file in a folder of its own, with an environment.
pub struct Bench {
    pub folder: tempfile::TempDir,
    pub environment: Vec<(OsString, OsString)>,
}

impl Bench {
    pub fn new() -> Bench {
        Bench { folder: tempfile::tempdir().expect("a temporary folder"), environment: Vec::new() }
    }

    pub fn with(text: impl AsRef<[u8]>) -> Bench {
        let bench = Bench::new();
        bench.write(text);
        bench
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, text: impl AsRef<[u8]>) {
        fs::write(self.path("gateway.yaml"), text).expect("a file in the temporary folder");
    }

    /// A file beside the settings, such as `profiles/own.yaml`.
    pub fn write_beside(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder in the temporary folder");
        fs::write(path, text).expect("a file in the temporary folder");
    }

    pub fn set(&mut self, name: &str, value: &str) {
        self.environment.push((name.into(), value.into()));
    }

    pub fn source(&self) -> Source {
        Source { file: Some(self.path("gateway.yaml")), environment: self.environment.clone(), ..Source::default() }
    }

    pub fn load(&self) -> Result<Loaded, Failure> {
        load(&self.source())
    }

    pub fn good(&self) -> Config {
        let loaded = self.load().unwrap_or_else(|failure| panic!("{failure}"));
        assert_eq!(loaded.config.hash, loaded.hash);
        Config { hash: String::new(), ..loaded.config }
    }

    /// What a person reads.
    pub fn told(&self) -> String {
        match self.load() {
            Ok(_) => "good".to_owned(),
            Err(failure) => told(&failure, &self.path("gateway.yaml")),
        }
    }
}

/// What a person reads, with FILE for the file and FOLDER for where it is.
pub fn told(failure: &Failure, file: &Path) -> String {
    let told = failure.to_string().replace(&file.display().to_string(), "FILE");
    match file.parent().filter(|folder| folder.parent().is_some()) {
        Some(folder) => told.replace(&folder.display().to_string(), "FOLDER"),
        None => told,
    }
}
