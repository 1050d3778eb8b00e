//! Finds the settings, reads them and lays the environment over them. What is allowed is decided in
//! [`gateway_core::config`].
//!
//! The layers, from the strongest: `--state-dir`, the environment (`ANALYZER_GATEWAY__...`), the file, the defaults (which
//! `config/gateway.yaml` shows). A bad file never stops a box that ran before: [`load_for_run`] falls back to the last good
//! settings and hands the mistakes over to be told.

mod beside;
mod broken;
mod environment;
mod file;
mod last_good;
mod letters;
mod pem;
mod profiles;
mod pushed;
mod remarks;
mod yaml;

pub use file::behind;
pub use last_good::{as_own, keep_in, keep_last_good, shown};
pub use profiles::{PROFILES, folder_beside};
pub use pushed::{Pushed, check_pushed, check_text, keep_pushed, try_to_keep};

use crate::platform::Clock;
use crate::platform::clock::SystemClock;
use crate::platform::disk::unsafe_for_events;
use data_encoding::HEXLOWER;
use gateway_core::appliance::report::{Outcome, Settings};
use gateway_core::config::{self, Config, Gateway, Mistake, Node, Outside, Pem, Place, Unfit, Value, Variable};
use gateway_core::time::{ClockQuality, Timestamp};
use sha2::{Digest, Sha256};
use std::ffi::OsString;
use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The annotated default: the manual.
pub const MANUAL: &str = include_str!("../../../../config/gateway.yaml");
/// The settings with which a new card comes.
pub const OF_NEW_CARD: &str = include_str!("../../../../config/card.yaml");
/// What errors call `--state-dir`.
const STATE_DIR_ARGUMENT: &str = "--state-dir";

/// Where settings come from.
#[derive(Debug, Clone, Default)]
pub struct Source {
    /// `--config`
    pub file: Option<PathBuf>,
    /// `--state-dir`
    pub state_dir: Option<PathBuf>,
    /// All of the environment.
    pub environment: Vec<(OsString, OsString)>,
    /// Where the file is looked for if none is named.
    pub usual: Vec<PathBuf>,
}

impl Source {
    /// This process's own environment and the usual places. The boot partition comes first: it is what a person reaches
    /// with the SD card in another computer.
    pub fn of_process(file: Option<PathBuf>, state_dir: Option<PathBuf>) -> Source {
        let usual = ["/boot/firmware/gateway.yaml", "/etc/analyzer-gateway/gateway.yaml"];
        Source { file, state_dir, environment: std::env::vars_os().collect(), usual: usual.map(PathBuf::from).to_vec() }
    }
}

/// Good settings.
#[derive(Clone)]
pub struct Loaded {
    pub config: Config,
    /// The file they came from; `None` if there was none and the defaults hold.
    pub path: Option<PathBuf>,
    /// File and environment together, as `last-good.yaml` keeps them. Holds secrets.
    pub text: String,
    /// Every file that they name, by the place of its key. In `text` what those files hold has taken their place.
    pub named: Vec<(String, PathBuf)>,
    /// Warnings of values that a remark may have cut, in sentences.
    cut: Vec<String>,
    /// SHA-256 of `text` in hexadecimal: equal settings, equal hash.
    pub hash: String,
}

impl Loaded {
    fn new(config: Config, path: Option<PathBuf>, text: String) -> Loaded {
        let hash = hash_of(&text);
        Loaded { config: Config { hash: hash.clone(), ..config }, path, text, named: Vec::new(), cut: Vec::new(), hash }
    }

    /// What is allowed and should be known all the same, in sentences.
    pub fn warnings(&self) -> Vec<String> {
        let folder = &self.config.gateway.state_dir;
        let place = unsafe_for_events(folder).map(|why| format!("gateway.state_dir: {} {why}", folder.display()));
        self.config.warnings().into_iter().chain(self.cut.iter().cloned()).chain(place).collect()
    }
}

/// As [`Loaded::hash`] is made of a text.
fn hash_of(text: &str) -> String {
    HEXLOWER.encode(&Sha256::digest(text))
}

/// Shows where the settings came from, never what they hold.
impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaded").field("path", &self.path).field("hash", &self.hash).finish_non_exhaustive()
    }
}

/// Settings that cannot be used: every mistake, in the order of the file. Prints as one block a mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The file, if there is one.
    pub path: Option<PathBuf>,
    pub mistakes: Vec<Mistake>,
}

impl Failure {
    /// Whether it is only that a file that was named is not there.
    pub fn is_missing(&self) -> bool {
        let not_there =
            |path: &PathBuf| path.symlink_metadata().is_err_and(|error| error.kind() == ErrorKind::NotFound);
        self.path.as_ref().is_some_and(not_there)
    }
}

impl std::error::Error for Failure {}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.path.as_ref().map_or_else(|| "settings".to_owned(), |path| path.display().to_string());
        for (index, mistake) in self.mistakes.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            match &mistake.place {
                Place::Whole => write!(f, "{file}: ")?,
                Place::At { line, column } => write!(f, "{file}:{line}:{column}: ")?,
                Place::In { file, line, column } => write!(f, "{file}:{line}:{column}: ")?,
                Place::Variable(name) => write!(f, "{name}: ")?,
            }
            if !mistake.error.path.is_empty() {
                write!(f, "{}: ", mistake.error.path)?;
            }
            f.write_str(&mistake.error.problem)?;
            if let Some(suggestion) = &mistake.error.suggestion {
                write!(f, "\n    {suggestion}")?;
            }
        }
        Ok(())
    }
}

/// The settings that `run` goes on with.
#[derive(Debug)]
pub struct Running {
    pub loaded: Loaded,
    /// What is wrong with the present file, if these are the last good settings instead.
    pub refused: Option<Failure>,
}

/// Reads the settings. No file at all is good: the defaults hold, for a box that waits for its first analyzer.
pub fn load(source: &Source) -> Result<Loaded, Failure> {
    read(source).map_err(|(failure, _)| failure)
}

/// Reads the settings again. A file that has gone is refused: the defaults would look well and hear nothing.
pub fn load_again(source: &Source, current: &Loaded) -> Result<Loaded, Failure> {
    let loaded = load(source)?;
    if loaded.path.is_none() && current.path.is_some() { Err(no_file(source)) } else { Ok(loaded) }
}

/// Reads the settings, or the last good ones if the present ones cannot be used or their file has gone. Fails only if there
/// are no last good ones either.
pub fn load_for_run(source: &Source) -> Result<Running, Failure> {
    load_or_kept(source, None)
}

/// The same for root, who believes only the last good settings in this folder: the state folder is another user's.
pub fn load_for_root(source: &Source, kept: &Path) -> Result<Running, Failure> {
    load_or_kept(source, Some(kept))
}

fn load_or_kept(source: &Source, kept: Option<&Path>) -> Result<Running, Failure> {
    let only = |folders: Vec<PathBuf>| kept.map_or(folders, |kept| vec![kept.to_owned()]);
    let (failure, folders) = match read(source) {
        Ok(loaded) if loaded.path.is_some() => return Ok(Running { loaded, refused: None }),
        Ok(loaded) => match last_good::load(&only(vec![loaded.config.gateway.state_dir.clone()]), source) {
            // A file was there before: an unmounted boot partition must not switch the analyzers off.
            Some(Ok(earlier)) => return Ok(Running { loaded: earlier, refused: Some(no_file(source)) }),
            // To run on the defaults now would look well and hear nothing.
            Some(Err(broken)) => return Err(broken),
            None => return Ok(Running { loaded, refused: None }),
        },
        Err((failure, folders)) => (failure, only(folders)),
    };
    match last_good::load(&folders, source) {
        Some(Ok(loaded)) => Ok(Running { loaded, refused: Some(failure) }),
        _ => Err(failure),
    }
}

/// A text file as editors leave it (UTF-8 or UTF-16); `None` if it cannot be read as text.
pub fn text_of(path: &Path) -> Option<String> {
    file::text(path).ok()
}

/// The same settings as [`Loaded::text`] with every secret masked.
pub fn without_secrets(loaded: &Loaded) -> Option<String> {
    last_good::without_secrets(&loaded.text)
}

/// Every file that the settings name, by the place of its key (`webhooks[0].secret_file`), and the settings file itself; empty
/// if that cannot be read.
pub fn named_files(source: &Source) -> (Option<PathBuf>, Vec<(String, PathBuf)>) {
    let path = file::find(source);
    let text = path.as_deref().and_then(|path| file::text(path).ok());
    let tree = text.and_then(|text| yaml::parse(&text).ok());
    (path, tree.map(|(tree, _)| files_named_in(&tree)).unwrap_or_default())
}

fn files_named_in(tree: &Node) -> Vec<(String, PathBuf)> {
    let mut found = Vec::new();
    name_files(tree, "", &mut found);
    found
}

fn name_files(node: &Node, place: &str, found: &mut Vec<(String, PathBuf)>) {
    match &node.value {
        Value::Group(entries) => {
            for entry in entries {
                let dot = if place.is_empty() { "" } else { "." };
                let place = format!("{place}{dot}{}", entry.key);
                match entry.node.as_text().filter(|_| entry.key.ends_with("_file")) {
                    Some(path) => found.push((place, PathBuf::from(path))),
                    None => name_files(&entry.node, &place, found),
                }
            }
        }
        Value::List(items) => {
            let items = items.iter().enumerate();
            items.for_each(|(index, item)| name_files(item, &format!("{place}[{index}]"), found));
        }
        Value::Nothing | Value::Text(_) => {}
    }
}

/// Files in the usual folders that look as if somebody meant them to be the settings.
pub fn beside(source: &Source) -> Vec<String> {
    beside::beside(&source.usual, file::find(source).as_deref())
}

/// The file as the report shows it; `hash` is that of the settings in force.
pub fn judged(source: &Source, hash: &str) -> Settings {
    let mut warnings = Vec::new();
    let (path, outcome) = match load(source).inspect(|loaded| warnings = loaded.warnings()) {
        Ok(loaded) if loaded.path.is_none() && loaded.hash != hash => (None, Outcome::Gone),
        Ok(Loaded { path: None, .. }) => (None, Outcome::Missing),
        Ok(loaded) if loaded.hash == hash => (loaded.path, Outcome::InForce),
        Ok(loaded) => (loaded.path, Outcome::Unread),
        Err(failure) if failure.is_missing() => (failure.path, Outcome::Gone),
        Err(failure) => (failure.path, Outcome::Refused(failure.mistakes)),
    };
    Settings { file: path.map(|path| path.display().to_string()), outcome, beside: beside(source), warnings }
}

/// The same of a file that is known to be refused.
pub fn judged_refused(source: &Source, failure: &Failure) -> Settings {
    let outcome = match failure.is_missing() {
        true => Outcome::Missing,
        false => Outcome::Refused(failure.mistakes.clone()),
    };
    let file = failure.path.as_ref().map(|path| path.display().to_string());
    Settings { file, outcome, beside: beside(source), warnings: Vec::new() }
}

fn no_file(source: &Source) -> Failure {
    let usual: Vec<String> = source.usual.iter().map(|path| path.display().to_string()).collect();
    let problem = format!("there is no settings file any more (looked for {})", usual.join(" and "));
    let suggestion = match beside(source).first() {
        Some(name) => format!("rename `{name}` to gateway.yaml"),
        None => "put it back, or remove last-good.yaml from the state folder if the box shall have none".to_owned(),
    };
    Failure { path: None, mistakes: vec![Mistake::new(Place::Whole, "", problem, &suggestion)] }
}

/// The settings, or the mistakes and the folders in which the last good ones may be.
fn read(source: &Source) -> Result<Loaded, (Failure, Vec<PathBuf>)> {
    let path = file::find(source);
    match path.as_deref().map(file::text).transpose() {
        Ok(text) => read_text(source, path, text.as_deref(), |_| Vec::new()),
        Err(mistake) => {
            let variables = environment::variables(&source.environment).unwrap_or_default();
            let folders = state_folders(source, &variables, None, "");
            Err((Failure { path, mistakes: vec![mistake] }, folders))
        }
    }
}

/// The same of this text, if there is one; `mend` may change what was written before anything is laid over it.
fn read_text(
    source: &Source,
    path: Option<PathBuf>,
    text: Option<&str>,
    mend: impl FnOnce(&mut Node) -> Vec<Mistake>,
) -> Result<Loaded, (Failure, Vec<PathBuf>)> {
    let variables = environment::variables(&source.environment);
    let layers = variables.as_ref().map(Vec::as_slice).unwrap_or_default();
    let fail = |mistakes, tree: Option<&Node>, text: &str| {
        Err((Failure { path: path.clone(), mistakes }, state_folders(source, layers, tree, text)))
    };
    let shown = text.unwrap_or_default();
    let (mut tree, mut mistakes) = match text.map(yaml::parse).transpose() {
        Ok(parsed) => parsed.unwrap_or_else(|| (Node::new(Value::Group(Vec::new()), Place::Whole), Vec::new())),
        Err(mistakes) => return fail(mistakes, None, shown),
    };
    let cut = remarks::behind_secrets(shown, &tree);
    mistakes.extend(mend(&mut tree));
    match &variables {
        Ok(variables) => mistakes.extend(config::overlay(&mut tree, variables)),
        Err(wrong) => mistakes.extend(wrong.iter().cloned()),
    }
    mistakes.extend(config::overlay(&mut tree, &state_dir_argument(source)));
    let machine = Machine { profiles: path.as_deref().map(folder_beside) };
    match config::read(&tree, &machine) {
        Ok(config) if mistakes.is_empty() => {
            let text = last_good::text(&tree, &machine);
            Ok(Loaded { cut, named: files_named_in(&tree), ..Loaded::new(config, path, text) })
        }
        Ok(_) => fail(mistakes, Some(&tree), shown),
        Err(more) => {
            // What YAML or the environment got wrong at a place is not told a second time.
            let told: Vec<Place> = mistakes.iter().map(|mistake| mistake.place.clone()).collect();
            mistakes.extend(more.into_iter().filter(|mistake| !told.contains(&mistake.place)));
            mistakes.sort_by(|a, b| a.place.cmp(&b.place));
            fail(mistakes, Some(&tree), shown)
        }
    }
}

/// `--state-dir` as a layer.
fn state_dir_argument(source: &Source) -> Vec<Variable> {
    let variable = |path: &PathBuf| Variable {
        name: STATE_DIR_ARGUMENT.to_owned(),
        words: vec!["gateway".to_owned(), "state_dir".to_owned()],
        value: path.to_string_lossy().into_owned(),
    };
    source.state_dir.iter().map(variable).collect()
}

/// Where the last good settings may be, the best guess first, when the present ones cannot be trusted.
fn state_folders(source: &Source, variables: &[Variable], tree: Option<&Node>, text: &str) -> Vec<PathBuf> {
    if let Some(folder) = &source.state_dir {
        return vec![folder.clone()];
    }
    let set = variables.iter().find(|variable| variable.words == ["gateway", "state_dir"]);
    let read = tree.and_then(|tree| tree.get("gateway")?.get("state_dir")?.as_text().map(str::to_owned));
    let guesses = [set.map(|variable| variable.value.clone()), read, written_folder(text)];
    let guesses = guesses.into_iter().flatten().map(PathBuf::from).filter(|folder| folder.is_absolute());
    guesses.chain([Gateway::default().state_dir]).collect()
}

/// The value of `state_dir` in a text that is not YAML any more.
fn written_folder(text: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let line = line.split('#').next().unwrap_or_default();
        let (_, value) = line.split_once("state_dir:")?;
        let value = value.split([',', '}']).next().unwrap_or_default().trim().trim_matches(['"', '\'']);
        (!value.is_empty()).then(|| value.to_owned())
    })
}

/// A profile by its name, the user's own in that folder first. The error is what a person reads.
pub fn profile(name: &str, own: Option<PathBuf>) -> Result<config::Profile, String> {
    let machine = Machine { profiles: own };
    let written = machine.profile(name).ok_or_else(|| format!("there is no profile `{name}`"))?;
    let read = written.tree.and_then(|tree| config::profile(&tree, &machine));
    read.map_err(|mistakes| Failure { path: Some(PathBuf::from(written.file)), mistakes }.to_string())
}

/// The names of all profiles, sorted.
pub fn profile_names(own: Option<PathBuf>) -> Vec<String> {
    profiles::names(own.as_deref())
}

/// This machine, as the validation asks about it.
#[derive(Default)]
struct Machine {
    /// The folder of the user's own profiles.
    profiles: Option<PathBuf>,
}

impl Outside for Machine {
    fn read(&self, path: &Path) -> Result<String, String> {
        file::text(&file::behind(path)).map_err(|mistake| mistake.error.problem)
    }

    fn file(&self, path: &Path) -> Result<(), Unfit> {
        pem::file(&file::behind(path))
    }

    fn pem(&self, path: &Path, holds: Pem) -> Result<(), Unfit> {
        pem::fits(&file::behind(path), holds)
    }

    fn is_pair(&self, certificate: &Path, key: &Path) -> bool {
        pem::is_pair(&file::behind(certificate), &file::behind(key))
    }

    fn time_zones(&self) -> Vec<String> {
        jiff::tz::db().available().map(|name| name.as_str().to_owned()).collect()
    }

    fn profile(&self, name: &str) -> Option<config::WrittenProfile> {
        profiles::written(name, self.profiles.as_deref())
    }

    fn profiles(&self) -> Vec<String> {
        profiles::names(self.profiles.as_deref())
    }

    fn now(&self) -> Option<Timestamp> {
        let now = SystemClock::new().now();
        (now.quality != ClockQuality::Unset).then_some(now.wall)
    }
}
