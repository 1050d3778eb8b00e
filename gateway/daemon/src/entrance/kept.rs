//! Sessions over a restart of the gateway: `<state_dir>/sessions.json`, for the service's user only.
//!
//! Invariants: only hashes of tokens stand in it, so whoever reads it cannot sign in; it counts within one boot alone, because
//! times are monotonic; what cannot be read signs people out and stops nothing.

use super::{SESSIONS_MAX, Session, TokenHash};
use crate::platform::replace::replace;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gateway_core::config::Scope;
use gateway_core::time::Mono;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{self, Read};
use std::path::Path;

/// The file's name in the state folder.
const NAME: &str = "sessions.json";
/// More than as many sessions as there may be take.
const FILE_BYTES_MAX: u64 = 64 << 10;

#[derive(Serialize, Deserialize)]
struct Kept {
    /// The kernel's id of the boot.
    boot: String,
    sessions: Vec<KeptSession>,
}

/// One session; times are nanoseconds since the boot.
#[derive(Serialize, Deserialize)]
struct KeptSession {
    /// SHA-256 of the token, base64url without padding.
    hash: String,
    name: String,
    role: Scope,
    began: u64,
    used: u64,
}

/// Those of this boot; none if there is no file or it cannot be read.
pub fn read(folder: &Path, boot: &str) -> Vec<(TokenHash, Session)> {
    let mut text = Vec::new();
    let read = fs::File::open(folder.join(NAME)).and_then(|file| file.take(FILE_BYTES_MAX).read_to_end(&mut text));
    let kept = read.ok().and_then(|_| serde_json::from_slice::<Kept>(&text).ok()).filter(|kept| kept.boot == boot);
    let session = |kept: KeptSession| {
        let hash: TokenHash = URL_SAFE_NO_PAD.decode(kept.hash).ok()?.try_into().ok()?;
        Some((hash, Session { name: kept.name, role: kept.role, began: Mono(kept.began), used: Mono(kept.used) }))
    };
    kept.map(|kept| kept.sessions).into_iter().flatten().take(SESSIONS_MAX).filter_map(session).collect()
}

/// Writes all of them.
pub fn write(folder: &Path, boot: &str, sessions: Vec<(TokenHash, Session)>) -> io::Result<()> {
    let kept = |(hash, session): (TokenHash, Session)| KeptSession {
        hash: URL_SAFE_NO_PAD.encode(hash),
        name: session.name,
        role: session.role,
        began: session.began.0,
        used: session.used.0,
    };
    let kept = Kept { boot: boot.to_owned(), sessions: sessions.into_iter().map(kept).collect() };
    replace(&folder.join(NAME), &serde_json::to_vec(&kept)?, 0o600)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn sessions_are_there_again_in_the_same_boot_only() {
        let folder = tempfile::tempdir().unwrap();
        assert!(read(folder.path(), "one").is_empty());
        let session = Session { name: "anna".to_owned(), role: Scope::Operate, began: Mono(5), used: Mono(7) };
        write(folder.path(), "one", vec![([3; 32], session.clone())]).unwrap();
        assert_eq!(read(folder.path(), "one"), [([3; 32], session)]);
        assert!(read(folder.path(), "two").is_empty());
        let path = folder.path().join(NAME);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(path, "{\"boot\":\"one\",\"sess").unwrap();
        assert!(read(folder.path(), "one").is_empty());
    }
}
