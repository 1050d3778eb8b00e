//! Packs the page's files (`gateway/page/`) into the program: as they are, and as gzip. Files for development stay out. And tells it
//! when it was built, in seconds since 1970: no clock that is right shows an earlier time.

use flate2::{Compression, GzBuilder};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// Endings and their media types; other files are not served.
const KINDS: [(&str, &str); 8] = [
    ("html", "text/html; charset=utf-8"),
    ("js", "text/javascript; charset=utf-8"),
    ("css", "text/css; charset=utf-8"),
    ("json", "application/json"),
    ("svg", "image/svg+xml"),
    ("png", "image/png"),
    ("ico", "image/x-icon"),
    ("webmanifest", "application/manifest+json"),
];

fn main() {
    // reproducible-builds.org: SOURCE_DATE_EPOCH stands for the time of the build.
    println!("cargo::rerun-if-env-changed=SOURCE_DATE_EPOCH");
    let given = env::var("SOURCE_DATE_EPOCH").ok().and_then(|text| text.trim().parse::<u64>().ok());
    let now = std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs());
    println!("cargo::rustc-env=BUILT_AT_SECONDS={}", given.unwrap_or(now));
    let folder =
        Path::new(&std::env::var("CARGO_MANIFEST_DIR").expect("cargo says where the package is")).join("../page");
    println!("cargo::rerun-if-changed={}", folder.display());
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo names it"));
    let mut files: Vec<PathBuf> = Vec::new();
    collect(&folder, &mut files);
    files.sort();
    let mut list = "pub static FILES: &[File] = &[\n".to_owned();
    for (number, file) in files.iter().enumerate() {
        let name = file.strip_prefix(&folder).expect("below the folder").to_str().expect("plain names");
        let ending = file.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        let Some((_, kind)) = KINDS.iter().find(|(known, _)| *known == ending) else { continue };
        let plain = fs::read(file).expect("a readable file");
        let mut packed = GzBuilder::new().write(Vec::new(), Compression::best());
        packed.write_all(&plain).expect("memory takes everything");
        let packed_at = out.join(format!("page-{number}.gz"));
        fs::write(&packed_at, packed.finish().expect("memory takes everything")).expect("cargo's folder is writable");
        let tag: String = Sha256::digest(&plain)[..12].iter().map(|byte| format!("{byte:02x}")).collect();
        let path = if name == "index.html" { "/".to_owned() } else { format!("/{name}") };
        let plain_at = fs::canonicalize(file).expect("a readable file");
        writeln!(
            list,
            "    File {{ path: {path:?}, kind: {kind:?}, tag: {tag:?}, plain: include_bytes!({plain_at:?}), packed: include_bytes!({packed_at:?}) }},"
        )
        .expect("memory takes everything");
    }
    list.push_str("];\n");
    fs::write(out.join("page_files.rs"), list).expect("cargo's folder is writable");
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(folder).expect("gateway/page is there");
    for path in entries.flatten().map(|entry| entry.path()) {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with('.') || ["node_modules", "tests"].contains(&name) {
            continue;
        } else if path.is_dir() {
            collect(&path, files);
        } else {
            files.push(path);
        }
    }
}
