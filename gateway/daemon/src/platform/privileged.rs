//! What the privileged half of the box leaves for the others to read, and the system's own programs that it uses.
//!
//! Invariant: a file that is missing, torn or of a newer shape is as if that part did not exist. No shell is ever asked.

use super::plain::open_itself;
use super::replace::replace;
use gateway_core::appliance::{Appliance, Image, layout};
use rustix::fs::CWD;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

/// More than any of the files has.
const FILE_BYTES_MAX: u64 = 64 << 10;
/// More than any word of the lights has.
const WORD_BYTES_MAX: usize = 32;
/// For each step of asking the page.
const PAGE_SECONDS_MAX: u64 = 5;
/// Of a program's words as many as an error text shows.
const WORDS_BYTES_MAX: usize = 600;

/// Reads all of it below this root.
pub fn said(root: &Path) -> Appliance {
    let says = below(root, layout::SAYS);
    let command_line = fs::read_to_string(root.join("proc/cmdline")).unwrap_or_default();
    let slot = command_line.split_whitespace().find_map(|word| word.strip_prefix(layout::SLOT_ARGUMENT));
    let said = Appliance {
        image: read::<Image>(&below(root, layout::IMAGE)).map(|image| Image { slot: slot.map(str::to_owned), ..image }),
        network: read(&says.join("network.json")),
        update: read(&says.join("update.json")),
        card: read(&says.join("card.json")),
        backup: read(&below(root, layout::SYSTEM).join("backup.json")),
        obeyed: read(&says.join("obeyed.json")),
        light: None,
    };
    // The gateway asks for a light anywhere; only a box shows it.
    let light = (said != Appliance::default()).then(|| word(&told(root, layout::TOLD_LIGHT)?));
    Appliance { light: light.flatten(), ..said }
}

/// The one word of a small file.
fn word(text: &str) -> Option<String> {
    let word = text.trim();
    let is_word =
        !word.is_empty() && word.len() <= WORD_BYTES_MAX && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    is_word.then(|| word.to_owned())
}

/// Leaves one part for the others: `name` is `network`, `update`, `card` ...
pub fn say(root: &Path, name: &str, value: &impl Serialize) -> io::Result<()> {
    let folder = below(root, layout::SAYS);
    fs::create_dir_all(&folder)?;
    replace(&folder.join(format!("{name}.json")), &serde_json::to_vec(value)?, 0o644)
}

/// The same for what must outlast a start of the box: `name` is `backup`.
pub fn keep(root: &Path, name: &str, value: &impl Serialize) -> io::Result<()> {
    let folder = below(root, layout::SYSTEM);
    fs::create_dir_all(&folder)?;
    replace(&folder.join(format!("{name}.json")), &serde_json::to_vec(value)?, 0o644)
}

/// What the gateway has left in [`layout::TOLD`] under this name, if it is text in a plain file.
pub fn told(root: &Path, name: &str) -> Option<String> {
    String::from_utf8(plain(CWD, &below(root, layout::TOLD).join(name), FILE_BYTES_MAX)?).ok()
}

/// All of a plain file of at most so many bytes. The folder may be another user's, whom root must not trust: a link, a pipe and
/// anything longer are as if they were not there. `folder`: where a relative path begins.
pub fn plain(folder: impl AsFd, path: &Path, bytes_max: u64) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    open_itself(folder, path).ok()?.take(bytes_max + 1).read_to_end(&mut bytes).ok()?;
    (bytes.len() as u64 <= bytes_max).then_some(bytes)
}

/// A path of the box below this root, which is `/` but in tests.
pub fn below(root: &Path, path: &str) -> std::path::PathBuf {
    root.join(path.trim_start_matches('/'))
}

/// A plain file of JSON; `None` if there is none that can be read.
pub fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&plain(CWD, path, FILE_BYTES_MAX)?).ok()
}

/// Runs one of the system's programs and returns what it printed. The error names the program and quotes the end of what it
/// complained about, on one line.
pub fn system(program: &str, arguments: &[&str]) -> Result<String, String> {
    fed(program, arguments, "")
}

/// The same; the program reads this text, which is short, on its standard input.
pub fn fed(program: &str, arguments: &[&str], text: &str) -> Result<String, String> {
    let output = answered(program, arguments, text).map_err(|error| format!("{program} does not start: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(complaint(program, arguments, &output.stderr, output.status))
}

/// The same for a program that takes long: each line that it prints is told when it comes.
pub fn watched(program: &str, arguments: &[&str], mut line: impl FnMut(&str)) -> Result<(), String> {
    let mut command = Command::new(program);
    let command = command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.env("LC_ALL", "C").spawn().map_err(|error| format!("{program} does not start: {error}"))?;
    let stderr = child.stderr.take();
    // Both are read at once, or a program that fills one waits for ever.
    let complaining = std::thread::spawn(move || {
        let mut words = Vec::new();
        let _ = stderr.map(|stderr| stderr.take(FILE_BYTES_MAX).read_to_end(&mut words));
        words
    });
    for told in child.stdout.take().map(BufReader::new).into_iter().flat_map(BufRead::lines).map_while(Result::ok) {
        line(&told);
    }
    let status = child.wait().map_err(|error| format!("{program}: {error}"))?;
    let words = complaining.join().unwrap_or_default();
    if status.success() { Ok(()) } else { Err(complaint(program, arguments, &words, status)) }
}

fn complaint(program: &str, arguments: &[&str], words: &[u8], status: std::process::ExitStatus) -> String {
    let words = String::from_utf8_lossy(words);
    let words: Vec<&str> = words.split_whitespace().collect();
    let words = words.join(" ");
    let from = words.char_indices().map(|(at, _)| at).find(|at| words.len() - at <= WORDS_BYTES_MAX).unwrap_or(0);
    format!("{program} {}: {} ({status})", arguments.join(" "), words[from..].trim())
}

/// Whether anything that speaks HTTP answers where the gateway listens (`http.listen`). The error is the end of a sentence.
pub fn answers(listen: &str) -> Result<(), String> {
    let patience = Duration::from_secs(PAGE_SECONDS_MAX);
    let listen = listen.replace("0.0.0.0:", "127.0.0.1:").replace("[::]:", "[::1]:");
    let ask = || {
        let address = listen.to_socket_addrs()?.next().ok_or_else(|| io::Error::other("no such address"))?;
        let mut stream = TcpStream::connect_timeout(&address, patience)?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        write!(stream, "GET / HTTP/1.0\r\nHost: {listen}\r\n\r\n")?;
        let mut first = [0; 5];
        stream.read_exact(&mut first)?;
        if &first == b"HTTP/" { Ok(()) } else { Err(io::Error::other("that is not HTTP")) }
    };
    ask().map_err(|error: io::Error| format!("its page does not answer at {listen} ({error})"))
}

fn answered(program: &str, arguments: &[&str], text: &str) -> io::Result<Output> {
    let mut command = Command::new(program);
    command.args(arguments).env("LC_ALL", "C").stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.stdin(if text.is_empty() { Stdio::null() } else { Stdio::piped() }).spawn()?;
    if let Some(mut input) = child.stdin.take() {
        // A program that ends without reading says why itself.
        let _ = input.write_all(text.as_bytes());
    }
    child.wait_with_output()
}

#[cfg(test)]
mod tests {
    use super::*;
    use gateway_core::appliance::Card;
    use gateway_core::time::Timestamp;

    #[test]
    fn what_is_said_is_read_and_what_is_torn_does_not_exist() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(said(root.path()), Appliance::default());
        let card = Card { written: true, reason: String::new(), at: Timestamp(1_800_000_000_000) };
        say(root.path(), "card", &card).unwrap();
        let torn = below(root.path(), layout::SAYS).join("update.json");
        fs::write(torn, r#"{"phase":"insta"#).unwrap();
        let image = below(root.path(), layout::IMAGE);
        fs::create_dir_all(image.parent().unwrap()).unwrap();
        fs::write(image, r#"{"version":"1.2","compatible":"vm"}"#).unwrap();
        fs::create_dir_all(root.path().join("proc")).unwrap();
        fs::write(root.path().join("proc/cmdline"), "ro quiet analyzer-gateway.slot=B panic=10\n").unwrap();
        let told = below(root.path(), layout::TOLD);
        fs::create_dir_all(&told).unwrap();
        fs::write(told.join(layout::TOLD_LIGHT), "degraded\n").unwrap();
        let said = said(root.path());
        assert_eq!(said.light.as_deref(), Some("degraded"));
        assert_eq!(said.card, Some(card));
        assert_eq!(said.update, None);
        assert_eq!(said.image.unwrap().slot.as_deref(), Some("B"));
    }

    #[test]
    fn what_is_no_plain_file_of_a_fair_size_is_not_told() {
        let root = tempfile::tempdir().unwrap();
        let folder = below(root.path(), layout::TOLD);
        fs::create_dir_all(folder.join("folder")).unwrap();
        fs::write(folder.join("light"), "fine\n").unwrap();
        fs::write(folder.join("long"), vec![b' '; (64 << 10) + 1]).unwrap();
        fs::write(folder.join("no-text"), [0xff]).unwrap();
        std::os::unix::fs::symlink("light", folder.join("link")).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            folder.join("pipe"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )
        .unwrap();
        assert_eq!(told(root.path(), "light").as_deref(), Some("fine\n"));
        for name in ["folder", "long", "no-text", "link", "pipe", "nothing"] {
            assert_eq!(told(root.path(), name), None, "{name}");
        }
    }

    #[test]
    fn a_program_that_fails_is_named_with_its_last_words() {
        assert_eq!(system("echo", &["a"]).unwrap(), "a\n");
        assert_eq!(fed("cat", &[], "b").unwrap(), "b");
        let error = system("ls", &["/nowhere at all"]).unwrap_err();
        assert!(error.starts_with("ls /nowhere at all: ") && error.contains("cannot access"), "{error}");
    }
}
