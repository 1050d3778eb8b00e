//! The diagnostic bundle: what a support engineer asks for, in one file that may leave the clinic.
//!
//! Invariants: it is put together from a list of what may leave, never by taking out what may not; it holds no secret and
//! nothing about a person; what was left out is named with its reason; it is bounded in size and made in memory.

mod told;

use crate::board::Board;
use crate::metrics;
use crate::platform::Platform;
use crate::platform::journal;
use crate::store::{Content, MessageHead, Store, StoreError};
use data_encoding::HEXLOWER;
use flate2::Compression;
use flate2::write::GzEncoder;
use gateway_core::config::{Analyzer, Config};
use gateway_core::drivers::driver;
use gateway_core::scrub::Pseudonyms;
use gateway_core::time::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::io;

/// All files together, before they are compressed.
const BUNDLE_BYTES_MAX: usize = 20 << 20;
/// The newest messages of each analyzer.
const MESSAGES_MAX: usize = 10;
/// A longer message is left out.
const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// What is in a bundle and what is not.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Manifest {
    pub schema: u32,
    pub gateway: String,
    pub version: String,
    #[schemars(with = "String")]
    pub at: Timestamp,
    /// The file that holds them all is called so.
    pub name: String,
    pub files: Vec<FileTold>,
    pub left_out: Vec<LeftOut>,
}

/// One file of the bundle.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct FileTold {
    pub name: String,
    pub about: String,
    pub bytes: usize,
    /// In hexadecimal.
    pub sha256: String,
}

/// What a person might look for in vain.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct LeftOut {
    pub what: String,
    pub why: String,
}

/// The files and their manifest.
pub struct Bundle {
    pub manifest: Manifest,
    files: Vec<(String, Vec<u8>)>,
}

/// Where everything comes from.
pub struct Sources<'a> {
    pub config: &'a Config,
    pub platform: &'a Platform,
    pub store: &'a Store,
    pub board: &'a Board,
}

/// Puts a bundle together.
pub async fn collect(sources: &Sources<'_>) -> Result<Bundle, StoreError> {
    let now = sources.platform.clock.now();
    let overview = sources.board.overview(now);
    let stamp: String = now.wall.to_string().chars().take(19).filter(|c| c.is_ascii_alphanumeric()).collect();
    let mut bundle = Bundle {
        manifest: Manifest {
            schema: 1,
            gateway: overview.gateway.clone(),
            version: overview.version.clone(),
            at: now.wall,
            name: format!("diagnostics-{}-{stamp}.tar.gz", overview.gateway),
            files: Vec::new(),
            left_out: Vec::new(),
        },
        files: Vec::new(),
    };
    bundle.add_json("overview.json", "Everything at a glance, as the page shows it", &overview);
    bundle.add_json("settings.json", "The settings in force without any secret", &told::settings(sources.config));
    let metrics = metrics::text(&overview, &sources.board.tally, sources.store.wal_bytes());
    bundle.add("metrics.txt", "What has happened since the start, counted", metrics.into_bytes());
    let lines = journal::recent();
    let lines: String = lines.iter().filter_map(|line| Some(serde_json::to_string(line).ok()? + "\n")).collect();
    bundle.add("log.ndjson", "The last lines of the log since the start", lines.into_bytes());
    let particulars = sources.platform.machine.particulars().await;
    let versions: serde_json::Map<String, Value> =
        particulars.versions.into_iter().map(|(name, value)| (name, value.into())).collect();
    bundle.add_json("machine.json", "The system, its kernel and the board", &versions);
    match particulars.kernel {
        Ok(lines) => {
            bundle.add("kernel.txt", "The kernel's lines about adapters, cards and power", lines.join("\n").into())
        }
        Err(why) => bundle.leave_out("the kernel's lines about adapters", &why),
    }
    let counts = sources.store.counts().await?;
    bundle.add_json("store.json", "How much there is of everything", &told::counts(&counts));
    let attempts = sources.store.attempt_reasons().await?;
    let attempts: Vec<Value> = attempts.iter().map(told::attempt).collect();
    bundle.add_json("attempts.json", "Attempts by destination, reason and status", &attempts);
    bundle.add_captures(sources).await?;
    bundle.leave_out("events, results, registrations and the audit log", "they are about persons");
    bundle.leave_out("answers of receivers and reasons in their words", "they may quote what they were sent");
    bundle.leave_out("the log of earlier starts", "it is in the journal: journalctl -u analyzer-gateway");
    bundle.leave_out("secrets, tokens and paths of urls", "they open doors");
    Ok(bundle)
}

impl Bundle {
    fn add_json(&mut self, name: &str, about: &str, value: &impl Serialize) {
        match serde_json::to_vec_pretty(value) {
            Ok(bytes) => self.add(name, about, bytes),
            Err(error) => self.leave_out(name, &error.to_string()),
        }
    }

    fn add(&mut self, name: &str, about: &str, bytes: Vec<u8>) {
        let held: usize = self.files.iter().map(|(_, bytes)| bytes.len()).sum();
        if held + bytes.len() > BUNDLE_BYTES_MAX {
            return self.leave_out(name, &format!("the bundle would be larger than {BUNDLE_BYTES_MAX} bytes"));
        }
        let sha256 = HEXLOWER.encode(&Sha256::digest(&bytes));
        let told = FileTold { name: name.to_owned(), about: about.to_owned(), bytes: bytes.len(), sha256 };
        self.manifest.files.push(told);
        self.files.push((name.to_owned(), bytes));
    }

    fn leave_out(&mut self, what: &str, why: &str) {
        self.manifest.left_out.push(LeftOut { what: what.to_owned(), why: why.to_owned() });
    }

    /// The newest messages of each analyzer with everybody in them replaced by invented ones, where its driver can do that. The
    /// key is thrown away: nobody can try out who an invented one stands for.
    async fn add_captures(&mut self, sources: &Sources<'_>) -> Result<(), StoreError> {
        let mut key = [0; 32];
        sources.platform.entropy.fill(&mut key);
        let names = Pseudonyms::new(key);
        for analyzer in &sources.config.analyzers {
            for message in sources.store.newest_messages(&analyzer.id, MESSAGES_MAX).await? {
                let what = format!("message {} of {}", message.id, analyzer.id);
                let bytes: usize = message.parts.iter().map(|part| part.bytes).sum();
                if bytes > MESSAGE_BYTES_MAX {
                    self.leave_out(&what, &format!("it has {bytes} bytes, more than {MESSAGE_BYTES_MAX}"));
                    continue;
                }
                match sources.store.content(message.id).await? {
                    Content::Whole(bytes) => self.add_capture(&what, analyzer, &message, &bytes, &names),
                    Content::Erased => self.leave_out(&what, "a person's data was erased, and its bytes with it"),
                    Content::Unreadable => self.leave_out(&what, "the database is damaged where its bytes were"),
                }
            }
        }
        Ok(())
    }

    fn add_capture(
        &mut self,
        what: &str,
        analyzer: &Analyzer,
        message: &MessageHead,
        bytes: &[u8],
        names: &Pseudonyms,
    ) {
        let scrubbed = driver(&analyzer.driver).map(|driver| driver.scrub(&analyzer.options, bytes, names));
        let scrubbed = match scrubbed {
            Some(Ok(scrubbed)) => scrubbed,
            Some(Err(error)) => return self.leave_out(what, &error.to_string()),
            None => return self.leave_out(what, "its driver is not known"),
        };
        let part = |part: &crate::store::Part| json!({ "bytes": part.bytes, "received_at": part.received_at });
        let event = |event: &gateway_core::event::Event| {
            let code = event.kind.rejection.as_ref().map(|rejection| rejection.code.clone());
            json!({ "id": event.id, "name": event.kind.name, "rejected": code })
        };
        let head = json!({
            "analyzer": analyzer.id.0,
            "driver": analyzer.driver,
            "repeated": message.repeated,
            "chunks": message.parts.iter().map(part).collect::<Vec<_>>(),
            "events": message.events.iter().map(event).collect::<Vec<_>>(),
        });
        let name = format!("captures/{}-{}", analyzer.id, message.id);
        self.add(&format!("{name}.bin"), "A message with everybody in it replaced", scrubbed);
        self.add_json(&format!("{name}.json"), "When it came and what was read from it", &head);
    }

    /// All files as a compressed archive, the manifest first.
    pub fn pack(self) -> io::Result<Vec<u8>> {
        let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
        let manifest = serde_json::to_vec_pretty(&self.manifest)?;
        let seconds = u64::try_from(self.manifest.at.as_seconds()).unwrap_or(0);
        let folder = self.manifest.name.trim_end_matches(".tar.gz");
        let manifest = std::iter::once(("manifest.json".to_owned(), manifest));
        for (name, bytes) in manifest.chain(self.files) {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o600);
            header.set_mtime(seconds);
            archive.append_data(&mut header, format!("{folder}/{name}"), bytes.as_slice())?;
        }
        archive.into_inner()?.finish()
    }
}
