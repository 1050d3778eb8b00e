//! The entrance for people: who has signed in at the page, how often somebody may guess, and the code that lets the first one
//! in. Programs have tokens and do not come by here.
//!
//! Invariants: of a session's token only its hash is kept; times are monotonic, so a clock that is set signs nobody out and lets
//! nobody stay; a restart of the gateway signs nobody out, one of the box everybody; every list has a bound.

mod attempts;
mod kept;
mod pairing;
mod passphrase;

pub use attempts::Attempts;
pub use pairing::{AGAIN_SECONDS_MAX, Pairing, Tried};
pub use passphrase::{check, hash, stand_in};

use crate::platform::disk::aside;
use crate::platform::{Disk, Entropy};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gateway_core::config::Scope;
use gateway_core::time::Mono;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use subtle::ConstantTimeEq;
use tokio::sync::{Semaphore, watch};

/// A page that nobody uses signs itself out.
pub const IDLE_SECONDS_MAX: u64 = 3_600;
/// A shift: after that the passphrase is asked for again, however busy the page was.
pub const SESSION_SECONDS_MAX: u64 = 12 * 3_600;
/// Sessions at once; one more ends the one that was idle for longest.
const SESSIONS_MAX: usize = 64;
/// Pages that look on live, at once. Each may hold a part of the log in memory.
pub const STREAMS_MAX: usize = 16;
/// Sign-ins that wait for their turn; passphrases are checked one after the other, because each check takes memory.
const WAITING_MAX: usize = 8;
/// Random bytes of a session's token.
const TOKEN_BYTES: usize = 32;

/// A session's token as it is kept.
pub type TokenHash = [u8; 32];

/// Who has signed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    pub name: String,
    pub role: Scope,
    began: Mono,
    used: Mono,
}

/// Shared by everything that serves the page; it outlives a change of the settings.
pub struct Entrance {
    sessions: Mutex<HashMap<TokenHash, Session>>,
    attempts: Mutex<Attempts>,
    pub pairing: Pairing,
    /// Those who wait for the turn, and the turn itself.
    waiting: Semaphore,
    turn: tokio::sync::Mutex<()>,
    pub streams: Arc<Semaphore>,
    /// Changes when somebody's right to look on may have ended.
    ended: watch::Sender<u64>,
    /// Whether the sessions of before a restart were taken up.
    restored: AtomicBool,
    /// Held while they are written down, so that no older list replaces a newer one.
    writing: tokio::sync::Mutex<()>,
}

impl Default for Entrance {
    fn default() -> Entrance {
        Entrance {
            sessions: Mutex::default(),
            attempts: Mutex::default(),
            pairing: Pairing::default(),
            waiting: Semaphore::new(WAITING_MAX),
            turn: Default::default(),
            streams: Arc::new(Semaphore::new(STREAMS_MAX)),
            ended: watch::Sender::new(0),
            restored: AtomicBool::new(false),
            writing: Default::default(),
        }
    }
}

impl Entrance {
    /// Signs somebody in and gives the token for the cookie; it is kept nowhere.
    pub fn open(&self, now: Mono, entropy: &dyn Entropy, name: &str, role: Scope) -> String {
        let mut random = [0; TOKEN_BYTES];
        entropy.fill(&mut random);
        let token = URL_SAFE_NO_PAD.encode(random);
        let mut sessions = self.sessions();
        sessions.retain(|_, session| session.is_open(now));
        if sessions.len() >= SESSIONS_MAX {
            let idlest = sessions.iter().min_by_key(|(_, session)| session.used).map(|(hash, _)| *hash);
            idlest.map(|hash| sessions.remove(&hash));
        }
        sessions.insert(hashed(&token), Session { name: name.to_owned(), role, began: now, used: now });
        token
    }

    /// The open session of this token. To ask is to use it.
    pub fn session(&self, now: Mono, token: &TokenHash) -> Option<Session> {
        let mut sessions = self.sessions();
        let session = sessions.get_mut(token)?;
        if !session.is_open(now) {
            sessions.remove(token);
            return None;
        }
        session.used = now;
        Some(session.clone())
    }

    /// Takes up the sessions of before a restart of the gateway. `people` are those who may still sign in, with their roles of now.
    pub async fn restore(&self, disk: &dyn Disk, state_dir: &Path, boot: &str, people: &[(String, Scope)], now: Mono) {
        if self.restored.swap(true, Ordering::Relaxed) {
            return;
        }
        let (folder, boot) = (state_dir.to_owned(), boot.to_owned());
        let kept = aside(disk, move || kept::read(&folder, &boot)).await.unwrap_or_default();
        let key = crate::store::people::key;
        let mut sessions = self.sessions();
        for (hash, session) in kept {
            let person = people.iter().find(|(name, _)| key(name) == key(&session.name));
            if let Some((_, role)) = person.filter(|_| session.is_open(now)) {
                sessions.entry(hash).or_insert(Session { role: *role, ..session });
            }
        }
    }

    /// Writes down who has signed in, for a restart.
    pub async fn keep(&self, disk: &dyn Disk, state_dir: &Path, boot: &str) {
        let _writing = self.writing.lock().await;
        let sessions = self.sessions().iter().map(|(hash, session)| (*hash, session.clone())).collect();
        let (folder, boot) = (state_dir.to_owned(), boot.to_owned());
        let written = aside(disk, move || kept::write(&folder, &boot, sessions)).await;
        if let Some(Err(error)) = written {
            tracing::warn!(%error, "who has signed in cannot be written down: a restart will sign everybody out");
        }
    }

    /// Signs out.
    pub fn close(&self, token: &TokenHash) {
        self.sessions().remove(token);
        self.ended();
    }

    /// Signs a person out everywhere.
    pub fn close_all_of(&self, name: &str) {
        let key = crate::store::people::key(name);
        self.sessions().retain(|_, session| crate::store::people::key(&session.name) != key);
        self.ended();
    }

    /// Somebody may do less than before: who looks on is asked again.
    pub fn ended(&self) {
        self.ended.send_modify(|count| *count += 1);
    }

    pub fn endings(&self) -> watch::Receiver<u64> {
        self.ended.subscribe()
    }

    pub fn attempts(&self) -> MutexGuard<'_, Attempts> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs work that takes much memory and time, one after the other, away from the tasks. `None`: too many wait already.
    pub async fn in_turn<T: Send + 'static>(
        &self,
        disk: &dyn Disk,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let _waiting = self.waiting.try_acquire().ok()?;
        let _turn = self.turn.lock().await;
        aside(disk, work).await
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<TokenHash, Session>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    fn is_open(&self, now: Mono) -> bool {
        now.since(self.used) < Duration::from_secs(IDLE_SECONDS_MAX)
            && now.since(self.began) < Duration::from_secs(SESSION_SECONDS_MAX)
    }
}

/// How a session's token is kept.
pub fn hashed(token: &str) -> TokenHash {
    Sha256::digest(token.as_bytes()).into()
}

/// What a page sends in `x-csrf-token` beside its cookie: it follows from the token, so nothing more is kept, and it does not
/// give the token away.
pub fn csrf(token: &str) -> String {
    let mut digest = Sha256::new();
    digest.update(b"csrf:");
    digest.update(token.as_bytes());
    URL_SAFE_NO_PAD.encode(digest.finalize())
}

/// Whether the header belongs to this token; compared in constant time.
pub fn is_csrf(token: &str, sent: &str) -> bool {
    csrf(token).as_bytes().ct_eq(sent.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::clock::SystemEntropy;

    fn at(seconds: u64) -> Mono {
        Mono(seconds * 1_000_000_000)
    }

    #[test]
    fn a_session_ends_when_it_is_idle_when_it_is_old_and_when_it_is_closed() {
        let entrance = Entrance::default();
        let sign_in = |name: &str| hashed(&entrance.open(at(0), &SystemEntropy, name, Scope::Read));
        let (idle, busy, closed) = (sign_in("a"), sign_in("b"), sign_in("c"));
        assert!(entrance.session(at(1), &closed).is_some());
        entrance.close_all_of("C");
        assert!(entrance.session(at(1), &closed).is_none());
        for hour in 0..12 {
            assert!(entrance.session(at(hour * 3_599), &busy).is_some(), "{hour}");
        }
        assert!(entrance.session(at(SESSION_SECONDS_MAX), &busy).is_none());
        assert!(entrance.session(at(IDLE_SECONDS_MAX), &idle).is_none());
    }

    #[test]
    fn sessions_are_bounded_and_the_idlest_gives_way() {
        let entrance = Entrance::default();
        let sign_in = |second| hashed(&entrance.open(at(second), &SystemEntropy, "a", Scope::Read));
        let first = sign_in(0);
        let second = sign_in(1);
        for more in 0..SESSIONS_MAX as u64 - 1 {
            sign_in(2 + more);
        }
        assert!(entrance.session(at(200), &first).is_none());
        assert!(entrance.session(at(200), &second).is_some());
    }

    #[test]
    fn the_csrf_token_belongs_to_one_session() {
        assert!(is_csrf("one", &csrf("one")));
        assert!(!is_csrf("one", &csrf("two")) && !is_csrf("one", "") && !is_csrf("one", "one"));
    }
}
