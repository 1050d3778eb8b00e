//! What RAUC says, in a clinic's words.
//!
//! Invariant: what is not known is told as RAUC told it.

/// Parts of RAUC's errors (src/bundle.c, src/install.c, src/signature.c of RAUC 1.8 to 1.13) and of the system's, each with its
/// sentence. The first that fits is told.
const SENTENCES: [(&[&str], &str); 11] = [
    (
        &["certificate is not yet valid", "certificate has expired"],
        "the bundle's signature is not valid at the time that this box believes it is: see that its clock is set, then try again",
    ),
    (
        &[
            "signature verification failed",
            "self-signed certificate",
            "self signed certificate",
            "unable to get local issuer",
        ],
        "the bundle is signed by somebody whom this box does not trust: take it from those who made this box's system",
    ),
    (
        &["Invalid bundle format", "Invalid identifier", "signature size", "Signature size", "squashfs", "bundle size"],
        "the bundle is torn or is none at all: copy or fetch it again",
    ),
    (
        &["dm-verity", "verity", "Input/output error", "checksum"],
        "the bundle is damaged: what is in it is not what was signed; copy or fetch it again",
    ),
    (&["incompatible", "Compatible mismatch"], "the bundle is for other hardware: take the one for this box"),
    (
        &["too large", "does not fit", "Slot size"],
        "the new system is larger than the place for it on this card: take a larger card",
    ),
    (&["No space left"], "the disk is full: free space, or take a larger card"),
    (&["Read-only file system"], "the card takes nothing more, it is worn out: replace it"),
    (
        &["No such file", "Failed to open"],
        "there is no such bundle: see that the stick is plugged in, or write the whole path",
    ),
    (
        &["Could not connect", "Error creating proxy", "org.freedesktop.DBus", "does not start"],
        "the system's updater (RAUC) does not run: start the box anew, then try again",
    ),
    (&["Already processing"], "an update is going on already: wait for its end"),
];

/// One sentence that says what to do, and the updater's own words behind it.
pub fn why(words: &str) -> String {
    let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
    let known = SENTENCES.iter().find(|(parts, _)| parts.iter().any(|part| words.contains(part)));
    match known {
        Some((_, sentence)) => (*sentence).to_owned(),
        None => format!("the update could not be installed: {words}"),
    }
}

/// How far RAUC is: `rauc install` prints lines such as ` 40% Checking slot rootfs.1 (B)`.
pub fn percent(line: &str) -> Option<u8> {
    let (number, _) = line.trim_start().split_once('%')?;
    number.parse().ok().filter(|percent| *percent <= 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_read_from_its_lines_and_from_no_others() {
        assert_eq!(percent(" 40% Checking slot rootfs.1 (B)"), Some(40));
        assert_eq!(percent("100% Installing done."), Some(100));
        for other in ["installing", "Installing `/data/a%20b.raucb` succeeded", "400% of nothing", "%"] {
            assert_eq!(percent(other), None, "{other}");
        }
    }

    #[test]
    fn what_is_unknown_is_told_as_it_was_said() {
        assert!(
            why("rauc: the moon\nis full (exit status: 1)")
                .ends_with("installed: rauc: the moon is full (exit status: 1)")
        );
    }
}
