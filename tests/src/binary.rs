//! Which program the tests of processes run.

use std::path::{Path, PathBuf};

/// The binary under test: `ANALYZER_GATEWAY_BIN`, else the one beside this test.
pub fn binary() -> PathBuf {
    if let Some(named) = std::env::var_os("ANALYZER_GATEWAY_BIN") {
        return PathBuf::from(named);
    }
    let own = std::env::current_exe().expect("a running program has a path");
    let target = own.ancestors().find(|folder| folder.ends_with("deps")).and_then(Path::parent);
    let profiles = target.and_then(Path::parent).expect("tests live in target/PROFILE/deps");
    let built = ["release", "debug"].map(|profile| profiles.join(profile).join("analyzer-gateway"));
    let newest = built
        .iter()
        .filter(|path| path.is_file())
        .max_by_key(|path| std::fs::metadata(path).and_then(|file| file.modified()).expect("a file has a time"));
    newest.expect("build the binary first: cargo build --bin analyzer-gateway").clone()
}
