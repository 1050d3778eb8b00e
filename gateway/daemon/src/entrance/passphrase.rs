//! Passphrases: Argon2id (RFC 9106) with 12 MiB, three passes and one lane, which takes a Raspberry Pi well under a second and
//! leaves it its memory.

use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};

const MEMORY_KIB: u32 = 12 * 1024;
const PASSES: u32 = 3;
const LANES: u32 = 1;
/// Random bytes of a salt.
pub const SALT_BYTES: usize = 16;

fn argon2() -> Argon2<'static> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).expect("these parameters are in the ranges of RFC 9106");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

/// The PHC string to keep; `None`: there is no memory for it just now.
pub fn hash(passphrase: &str, salt: [u8; SALT_BYTES]) -> Option<String> {
    argon2().hash_password_with_salt(passphrase.as_bytes(), &salt).ok().map(|hash| hash.to_string())
}

/// Whether it is the passphrase of this PHC string. A string that cannot be read fits none.
pub fn check(passphrase: &str, kept: &str) -> bool {
    argon2().verify_password(passphrase.as_bytes(), kept).is_ok()
}

/// A hash that fits nothing: names that nobody has take as long as those that somebody has.
pub fn stand_in() -> String {
    let salt = "AAAAAAAAAAAAAAAAAAAAAA";
    let nothing = "A".repeat(43);
    format!("$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p={LANES}${salt}${nothing}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_passphrase_fits_its_own_hash_and_no_other() {
        let kept = hash("a long enough one", [7; SALT_BYTES]).unwrap();
        assert!(kept.starts_with("$argon2id$v=19$m=12288,t=3,p=1$"), "{kept}");
        assert!(check("a long enough one", &kept));
        for wrong in ["a long enough", "", "A long enough one"] {
            assert!(!check(wrong, &kept), "{wrong}");
        }
        assert!(!check("", &stand_in()) && !check("x", "") && !check("x", "$argon2id$"));
        // As long as the real thing: it has to be readable.
        assert!(argon2::PasswordHash::new(&stand_in()).is_ok());
    }
}
