//! The house rules that no compiler knows: who may know whom, where effects live, and that everything is registered.
//!
//! Each test reads the sources as text. What stands behind `#[cfg(test)]` at the end of a file is not the product and is
//! left out where only the product is meant.

use gateway_core::dialects::DIALECTS;
use gateway_core::drivers::DRIVERS;
use gateway_daemon::configuration::{PROFILES, profile};
use std::fs;
use std::path::{Path, PathBuf};

const LINES_MAX: usize = 500;
const MAIN_LINES_MAX: usize = 80;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the project").to_owned()
}

/// Every file below a folder of the project, by its path in the project, without what is built.
fn files(below: &str) -> Vec<(String, PathBuf)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(below)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the project") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
            if path.is_symlink() {
                continue;
            } else if path.is_dir() {
                if !["target", ".git", "__pycache__"].contains(&name.as_str()) {
                    folders.push(path);
                }
            } else {
                let shown = path.strip_prefix(root()).expect("below the project").display().to_string();
                found.push((shown, path));
            }
        }
    }
    found.sort();
    found
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn sources(below: &str) -> Vec<(String, String)> {
    let rust = files(below).into_iter().filter(|(name, _)| name.ends_with(".rs"));
    rust.map(|(name, path)| (name, text(&path))).collect()
}

/// The product's part of each source: no test modules, no comments.
fn product(below: &str) -> Vec<(String, String)> {
    let is_test = |name: &str| name.ends_with("tests.rs");
    let sources = sources(below).into_iter().filter(|(name, _)| !is_test(name));
    let product = |text: String| {
        let upto = text.find("#[cfg(test)]\nmod ").unwrap_or(text.len());
        let lines = text[..upto].lines().filter(|line| !line.trim_start().starts_with("//"));
        lines.collect::<Vec<_>>().join("\n")
    };
    sources.map(|(name, text)| (name, product(text))).collect()
}

/// Fails with every line of these sources that holds one of the words, except in files for which `allowed` is true.
fn forbid(sources: &[(String, String)], words: &[&str], allowed: impl Fn(&str) -> bool, why: &str) {
    let mut found = Vec::new();
    for (name, text) in sources.iter().filter(|(name, _)| !allowed(name)) {
        for line in text.lines().filter(|line| words.iter().any(|word| line.contains(word))) {
            found.push(format!("{name}: {}", line.trim()));
        }
    }
    assert!(found.is_empty(), "{why}\n{}", found.join("\n"));
}

#[test]
fn every_profile_is_brought_along_and_good() {
    let files = files("config/profiles").into_iter().map(|(name, _)| name);
    let files: Vec<String> = files.map(|name| name.trim_start_matches("config/profiles/").to_owned()).collect();
    let listed: Vec<String> = PROFILES.iter().map(|(name, _)| format!("{name}.yaml")).collect();
    assert_eq!(files, listed, "configuration/profiles.rs lists what config/profiles holds, in its order");
    for (name, _) in PROFILES {
        if let Err(told) = profile(name, None) {
            panic!("{told}");
        }
    }
}

#[test]
fn every_file_of_truth_is_registered_and_described() {
    let manifest = text(&root().join("tests/Cargo.toml"));
    assert!(manifest.contains("autotests = false"));
    let readme = text(&root().join("tests/README.md"));
    for entry in fs::read_dir(root().join("tests")).expect("the folder of this file") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let name = path.file_stem().and_then(|stem| stem.to_str()).expect("a name");
        let registered = format!("[[test]]\nname = \"{name}\"\npath = \"{name}.rs\"");
        assert!(manifest.contains(&registered), "tests/{name}.rs never runs: tests/Cargo.toml lacks\n{registered}");
        assert!(readme.contains(&format!("`{name}`")), "tests/README.md does not say what {name} proves");
    }
}

#[test]
fn each_public_capture_that_is_judged_is_in_the_table() {
    let readme = text(&root().join("tests/README.md"));
    let files = ["tests/decoding/captures.rs", "tests/decoding/hl7_captures.rs", "tests/decoding/text_captures.rs"];
    let judge: String = files.iter().map(|file| text(&root().join(file))).collect();
    let ends = [".astm", ".e1394", ".mllp", ".txt", ".bin", ".tsv", ".csv"];
    let is_capture = |word: &&str| ends.iter().any(|end| !word.starts_with('.') && word.ends_with(end));
    let names = judge.split('"').filter(is_capture);
    for name in names {
        assert!(readme.contains(&format!("`{name}`")), "tests/README.md does not say what {name} proves");
    }
}

#[test]
fn the_core_is_pure() {
    let manifest = text(&root().join("gateway/core/Cargo.toml"));
    let dependencies = manifest.split("[dependencies]").nth(1).expect("it has some");
    let dependencies = dependencies.split("\n[").next().unwrap_or_default();
    for crate_name in ["tokio", "rusqlite", "reqwest", "rumqttc", "tokio-serial", "rustix", "libc", "rand", "tracing"] {
        let depends = dependencies.lines().any(|line| line.split(['.', ' ', '=']).next() == Some(crate_name));
        assert!(!depends, "gateway-core must not depend on {crate_name}");
    }
    // Of std::net the addresses are allowed, which are only words.
    let words = ["SystemTime", "Instant::now", "std::fs", "std::env", "std::process", "println!"];
    forbid(&product("gateway/core/src"), &words, |_| false, "the core has no clock, file, environment or output");
    let words = ["TcpStream", "TcpListener", "UdpSocket", "ToSocketAddrs", "thread::spawn", "thread::sleep"];
    forbid(&product("gateway/core/src"), &words, |_| false, "the core has no network and no threads");
}

#[test]
fn sql_stands_only_in_the_store() {
    let words = ["rusqlite", "INSERT INTO", "DELETE FROM", "CREATE TABLE", "\"SELECT ", "\"UPDATE ", "PRAGMA "];
    forbid(&product("gateway"), &words, |name| name.contains("/store/"), "only store/ writes SQL");
}

#[test]
fn tasks_are_spawned_only_where_they_are_owned() {
    let words = ["tokio::spawn", "spawn_blocking", ".spawn(", "thread::spawn"];
    let allowed = |name: &str| {
        let places = ["/app.rs", "/platform/", "/commands/", "/simulated/"];
        places.iter().any(|place| name.contains(place))
    };
    forbid(&product("gateway"), &words, allowed, "only app.rs and platform/ spawn");
}

#[test]
fn effects_come_through_the_platform() {
    let words = ["SystemTime::now", "Instant::now", "TcpStream", "TcpListener", "UdpSocket", "getrandom", "rand::"];
    let allowed = |name: &str| ["/platform/", "/simulated/", "/commands/demo"].iter().any(|place| name.contains(place));
    forbid(&product("gateway"), &words, allowed, "sockets, clocks and randomness are the platform's");
}

#[test]
fn the_two_sides_of_the_store_do_not_know_each_other() {
    let all = product("gateway/daemon/src");
    let of = |part: &str| -> Vec<_> { all.iter().filter(|(name, _)| name.contains(part)).cloned().collect() };
    let (link, dispatcher) = (of("/link"), of("/dispatcher"));
    assert!(!link.is_empty() && !dispatcher.is_empty());
    forbid(&link, &["dispatcher"], |_| false, "the link knows no destination");
    forbid(&dispatcher, &["crate::link", "SerialBus"], |_| false, "a destination knows no analyzer's port");
    let api = of("/api/");
    assert!(!api.is_empty());
    forbid(
        &api,
        &["crate::link", "crate::dispatcher", "SerialBus"],
        |_| false,
        "the API knows the store and the board",
    );
    let core = product("gateway/core/src");
    let of = |part: &str| -> Vec<_> { core.iter().filter(|(name, _)| name.contains(part)).cloned().collect() };
    forbid(&of("/drivers/"), &["dialects::"], |_| false, "an analyzer cannot tell who listens");
    forbid(&of("/dialects/"), &["drivers::", "framing::"], |_| false, "a webhook cannot tell how the bytes came");
    forbid(&of("/framing/"), &["drivers::", "dialects::", "event::"], |_| false, "framing knows no field");
}

#[test]
fn main_is_short_and_files_are_readable() {
    assert!(text(&root().join("gateway/daemon/src/main.rs")).lines().count() <= MAIN_LINES_MAX);
    for (name, text) in sources("gateway").into_iter().chain(sources("tests")) {
        let lines = text.lines().count();
        assert!(lines <= LINES_MAX, "{name} has {lines} lines: split it");
        assert!(text.starts_with("//!"), "{name} does not say what truth it holds");
        let next = text.lines().next().unwrap_or_default();
        assert!(next.len() > "//! x".len() + 10, "{name}: {next}");
    }
}

#[test]
fn nothing_is_unwrapped_outside_of_tests() {
    forbid(&product("gateway"), &[".unwrap()"], |_| false, "write expect with the invariant, or an error");
}

#[test]
fn every_driver_and_dialect_is_a_triple() {
    let drivers = DRIVERS.iter().map(|driver| ("drivers", "analyzers", driver.name()));
    let dialects = DIALECTS.iter().map(|dialect| ("dialects", "dialects", dialect.name()));
    for (folder, fixtures, name) in drivers.chain(dialects) {
        let source = root().join("gateway/core/src").join(folder).join(name.replace('-', "_"));
        assert!(source.with_extension("rs").is_file() || source.join("mod.rs").is_file(), "{}", source.display());
        let cases = root().join("tests/fixtures").join(fixtures).join(name);
        let count =
            fs::read_dir(&cases).map_or(0, |entries| entries.flatten().filter(|entry| entry.path().is_dir()).count());
        assert!(count > 0, "{} has no case", cases.display());
        let manual = text(&root().join("config/gateway.yaml"));
        assert!(manual.contains(name), "the manual does not name {name}");
    }
}

#[test]
fn decisions_are_numbered_and_dated() {
    let mut numbers = Vec::new();
    for (name, path) in files("docs/decisions") {
        let stem = path.file_stem().and_then(|stem| stem.to_str()).expect("a name").to_owned();
        let (number, title) = stem.split_once('-').unwrap_or_else(|| panic!("{name}: NNNN-title.md"));
        assert!(number.len() == 4 && !title.is_empty(), "{name}: NNNN-title.md");
        numbers.push(number.parse::<usize>().unwrap_or_else(|_| panic!("{name}: NNNN-title.md")));
        let text = text(&path);
        assert!(text.starts_with(&format!("# {number}: ")), "{name}: the first line is `# {number}: ...`");
        let dated = text.lines().nth(2).unwrap_or_default();
        let date = dated.split(',').next().unwrap_or_default();
        let digits = date.split('-').map(str::len).collect::<Vec<_>>();
        assert!(digits == [4, 2, 2] && date.bytes().all(|b| b == b'-' || b.is_ascii_digit()), "{name}: `{dated}`");
        for part in ["**Problem.**", "**Decision.**", "**Consequences.**"] {
            assert!(text.contains(part), "{name} lacks {part}");
        }
    }
    assert_eq!(numbers, (1..=numbers.len()).collect::<Vec<_>>());
}

#[test]
fn log_messages_are_static() {
    let macros = ["tracing::trace!(", "tracing::debug!(", "tracing::info!(", "tracing::warn!(", "tracing::error!("];
    for (name, text) in product("gateway") {
        for start in macros.iter().flat_map(|word| text.match_indices(word).map(|(at, word)| at + word.len())) {
            let call = text[start..].split(");").next().unwrap_or_default();
            // The message is the last text; values before it are fields.
            let message = call.rsplit('"').nth(1).unwrap_or_default();
            assert!(!message.contains('{'), "{name}: values are fields, not parts of the message: {message}");
        }
    }
}

/// What belongs to the making of a change and not to the project.
#[test]
fn no_trace_of_a_workbench_is_left() {
    // Put together here, so that this file does not hold them itself.
    let words = [
        ["/wo", "rk/"],
        ["/ro", "ot/"],
        ["/ho", "me/"],
        ["issue", " #"],
        ["work", " session"],
        ["TO", "DO"],
        ["FIX", "ME"],
    ];
    let words: Vec<String> = words.iter().map(|parts| parts.concat()).collect();
    let known = ["rs", "md", "toml", "yaml", "yml", "sql", "sh", "py", "json", "service", "txt", "rules", "conf", ""];
    let mut found = Vec::new();
    for (name, path) in files("") {
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        if !known.contains(&extension) || ["Cargo.lock", ".git"].contains(&name.as_str()) {
            continue;
        }
        let Ok(text) = fs::read_to_string(&path) else { continue };
        let lines = text.lines().enumerate().filter(|(_, line)| words.iter().any(|word| line.contains(word.as_str())));
        found.extend(lines.map(|(number, line)| format!("{name}:{}: {}", number + 1, line.trim())));
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}
