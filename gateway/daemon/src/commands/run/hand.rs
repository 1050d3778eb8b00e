//! How settings that are kept get into their file where the gateway may not write it: on the box, whose card is root's. They are
//! handed to the privileged half (`appliance keep-settings`), which looks at them again.
//!
//! Invariant: a request that nobody has taken in time is taken back, so that it is not carried out when nobody waits for it any more.

use crate::commands::appliance::settings::not_read_by_root;
use crate::configuration::{Loaded, Pushed, Source};
use crate::platform::clock::SystemEntropy;
use crate::platform::privileged::{below, read, said};
use crate::platform::told::{leave, withdraw};
use crate::platform::{Clock, Entropy};
use crate::supervision::Refused;
use data_encoding::HEXLOWER;
use gateway_core::appliance::layout;
use gateway_core::appliance::pushed::{Answer, Asked, moved, only_on_the_card};
use gateway_core::time::Mono;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The privileged half is started by what it is asked, and takes it at once.
const TAKEN_SECONDS_MAX: u64 = 20;
/// What it has taken it has done by then, also on a slow card.
const DONE_SECONDS_MAX: u64 = 50;
/// Between two looks.
const LOOK_MILLIS: u64 = 200;

/// Settings on their way into the file, by the privileged half.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keeping {
    /// What its answer calls them.
    pub id: String,
    pub asked_at: Mono,
}

/// The privileged half, as one who asks it sees it.
#[derive(Clone)]
pub struct OtherHalf {
    root: PathBuf,
}

impl OtherHalf {
    /// Of the box below this root; `None`: this is no appliance.
    pub fn of(root: &Path) -> Option<OtherHalf> {
        below(root, layout::IMAGE).is_file().then(|| OtherHalf { root: root.to_owned() })
    }

    fn file(&self) -> PathBuf {
        below(&self.root, layout::BOOT).join(layout::SETTINGS)
    }

    /// Where pushed settings are looked for and go to. A card without any gets its first.
    pub fn source(&self, source: &Source) -> Source {
        let has_one = source.file.is_some() || source.usual.iter().any(|path| path.symlink_metadata().is_ok());
        if has_one { source.clone() } else { Source { file: Some(self.file()), ..source.clone() } }
    }

    /// Whether it would keep these in place of those that are in force.
    pub fn may_keep(&self, pushed: &Pushed, now: &Loaded) -> Result<(), Refused> {
        if pushed.path != self.file() {
            let file = pushed.path.display();
            let detail = format!("{file} is not the card's {}: remove it, then push again", layout::SETTINGS);
            return Err(Refused::Now { code: "not_writable", detail });
        }
        if let Some(card) = said(&self.root).card.filter(|card| !card.written) {
            return Err(Refused::Now { code: "not_writable", detail: card.reason });
        }
        let moved = moved(Some(&now.config), &pushed.loaded.config).map(only_on_the_card);
        let strange = || not_read_by_root(&self.root, &pushed.loaded).into_iter().next();
        match moved.or_else(strange) {
            Some(detail) => Err(Refused::Now { code: "mistakes", detail }),
            None => Ok(()),
        }
    }

    /// Asks for these settings to be kept.
    pub fn ask(&self, pushed: &Pushed, by: &str, now: Mono) -> Result<Keeping, Refused> {
        let mut random = [0; 16];
        SystemEntropy.fill(&mut random);
        let id = HEXLOWER.encode(&random);
        let asked = Asked {
            id: id.clone(),
            settings: pushed.text.clone(),
            replaces: pushed.replaces.clone(),
            by: by.to_owned(),
        };
        let bytes = serde_json::to_vec(&asked).map_err(|error| unanswered(&error.to_string()))?;
        leave(&self.root, &format!("{}/{}", layout::ASKED, layout::ASKED_SETTINGS), &bytes)
            .map_err(|error| unanswered(&error))?;
        Ok(Keeping { id, asked_at: now })
    }

    /// What became of it. May be cut off and asked again.
    pub async fn answer(&self, keeping: &Keeping, pushed: &Pushed, clock: &dyn Clock) -> Result<(), Refused> {
        let answers = below(&self.root, layout::SAYS).join(format!("{}.json", layout::PUSHED));
        loop {
            if let Some(answer) = read::<Answer>(&answers).filter(|answer| answer.id == keeping.id) {
                return answer.refused.map_or(Ok(()), |no| Err(refused(&no.code, no.reason)));
            }
            let now = clock.now().mono;
            let waited = now.since(keeping.asked_at);
            if waited >= Duration::from_secs(TAKEN_SECONDS_MAX) && self.take_back() {
                return Err(unanswered("it did not take the request"));
            }
            if waited >= Duration::from_secs(DONE_SECONDS_MAX) {
                // It was stopped in the middle, perhaps when all was done but the answer.
                let is_there = fs::read(&pushed.path).is_ok_and(|bytes| bytes == pushed.text.as_bytes());
                return if is_there { Ok(()) } else { Err(unanswered("it was stopped in the middle")) };
            }
            clock.sleep_until(now.after(Duration::from_millis(LOOK_MILLIS))).await;
        }
    }

    /// Whether a request was there that nobody had taken.
    pub fn take_back(&self) -> bool {
        withdraw(&self.root, layout::ASKED_SETTINGS)
    }
}

fn unanswered(why: &str) -> Refused {
    let detail = format!(
        "the settings are not on the card: the part of the box that writes it (analyzer-gateway-keep-settings.service) does not \
         answer: {why}; confirm again, or switch the box off and on"
    );
    Refused::Now { code: "not_writable", detail }
}

fn refused(code: &str, detail: String) -> Refused {
    let code = ["file_changed", "mistakes", "not_writable"].into_iter().find(|known| *known == code);
    Refused::Now { code: code.unwrap_or("not_writable"), detail }
}
