//! What a person asks of the box by a small text file on the SD card: to forget everything, or to become what a backup holds.
//!
//! Invariant: nothing is forgotten by a file that happens to be there: it must name the box, and say so where something would be
//! lost that nobody else has.

/// On the card: forget everything.
pub const RESET: &str = "factory-reset.txt";
/// On the card: take the newest backup from the stick that is plugged in.
pub const RESTORE: &str = "restore.txt";
/// On a stick: the folder that asks for backups.
pub const BACKUPS: &str = "analyzer-gateway-backups";
/// In it: how the last one went, for a person.
pub const LAST_BACKUP: &str = "last-backup.txt";
/// So many backups of one gateway stay on a stick; older ones make room.
pub const BACKUPS_KEPT_MAX: usize = 7;

/// The words of a file as editors leave it: a mark at its beginning, any line ends, blank lines, notes after `#`.
fn lines(text: &str) -> Vec<String> {
    let lines =
        text.trim_start_matches('\u{feff}').lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    lines.filter(|line| !line.is_empty()).map(str::to_lowercase).collect()
}

/// Whether the box may forget everything. `gateway`: its id; `None` if no settings say it. `undelivered`: events that a receiver
/// still lacks; `None` if the database cannot be read. The error says what to write.
pub fn may_reset(text: &str, gateway: Option<&str>, undelivered: Option<u64>) -> Result<(), String> {
    let lines = lines(text);
    let named = gateway.unwrap_or("gateway");
    if lines.first().map(String::as_str) != Some(named) {
        return Err(format!("write this box's name into the first line of {RESET}: {named}"));
    }
    let anyway = lines.get(1).is_some_and(|line| line == "everything");
    let ask = format!("To give it up all the same, write the word everything into the second line of {RESET}.");
    match undelivered {
        _ if anyway => Ok(()),
        Some(0) => Ok(()),
        Some(1) => Err(format!("1 event has not reached all its receivers yet and would be lost. {ask}")),
        Some(events) => {
            Err(format!("{events} events have not reached all their receivers yet and would be lost. {ask}"))
        }
        None => Err(format!("the database cannot be read, so it is not known what would be lost. {ask}")),
    }
}

/// What is to be restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restore {
    /// This box goes on beside the one that was backed up.
    pub as_another: bool,
    /// Whose backup, if the stick has those of several.
    pub gateway: Option<String>,
}

/// Reads a [`RESTORE`] file: `same` or `new`, and in a second line whose backup. The error says what to write.
pub fn restore(text: &str) -> Result<Restore, String> {
    let lines = lines(text);
    let as_another = match lines.first().map(String::as_str) {
        Some("same") => false,
        Some("new") => true,
        _ => {
            return Err(format!(
                "write into the first line of {RESTORE}: same, if this box takes the place of the one that was backed up, or new, if that one goes on"
            ));
        }
    };
    Ok(Restore { as_another, gateway: lines.get(1).cloned() })
}

/// A backup on a stick, as its manifest says. The box's clock is not asked: it may have been wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    pub name: String,
    pub gateway: String,
    /// The place of the newest event in it. A restored box leaps ahead, so of one gateway the farther is the newer.
    pub head: i64,
}

/// The backup that reaches farthest. The error says what to do.
pub fn newest<'a>(backups: &'a [Kept], wanted: Option<&str>) -> Result<&'a Kept, String> {
    let mut gateways: Vec<&str> = backups.iter().map(|kept| kept.gateway.as_str()).collect();
    gateways.sort_unstable();
    gateways.dedup();
    if wanted.is_none() && gateways.len() > 1 {
        return Err(format!(
            "the stick has backups of {}: write the name of one into the second line of {RESTORE}",
            gateways.join(", ")
        ));
    }
    let of_wanted = backups.iter().filter(|kept| wanted.is_none_or(|wanted| kept.gateway == wanted));
    of_wanted.max_by_key(|kept| (kept.head, kept.name.as_str())).ok_or_else(|| match wanted {
        Some(wanted) => format!("the stick has no good backup of {wanted} in its folder {BACKUPS}"),
        None => format!("no stick with a good backup in a folder {BACKUPS} is plugged in"),
    })
}

/// Whether this box must not put a backup beside these: under its name there are some that reach farther, so it is a new card
/// and nobody has restored it.
pub fn is_behind(backups: &[Kept], gateway: &str, head: i64) -> bool {
    backups.iter().any(|kept| kept.gateway == gateway && kept.head > head)
}

/// Which backups of this gateway make room for the farthest `kept`.
pub fn too_old<'a>(backups: &'a [Kept], gateway: &str, kept: usize) -> Vec<&'a str> {
    let mut own: Vec<&Kept> = backups.iter().filter(|backup| backup.gateway == gateway).collect();
    own.sort_by_key(|backup| (backup.head, backup.name.as_str()));
    own.truncate(own.len().saturating_sub(kept));
    own.into_iter().map(|backup| backup.name.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reset_must_name_the_box() {
        assert!(may_reset("", Some("clinic-7"), Some(0)).unwrap_err().contains("clinic-7"));
        assert!(may_reset("clinic-8\n", Some("clinic-7"), Some(0)).is_err());
        assert_eq!(may_reset("\u{feff}Clinic-7\r\n", Some("clinic-7"), Some(0)), Ok(()));
        assert_eq!(may_reset("gateway", None, Some(0)), Ok(()));
    }

    #[test]
    fn what_only_this_box_has_must_be_given_up_by_name() {
        assert!(may_reset("clinic-7", Some("clinic-7"), Some(1)).unwrap_err().starts_with("1 event has"));
        assert!(may_reset("clinic-7", Some("clinic-7"), Some(12)).unwrap_err().contains("everything"));
        assert!(may_reset("clinic-7", Some("clinic-7"), None).is_err());
        assert_eq!(may_reset("clinic-7 # ours\n\nEverything\n", Some("clinic-7"), Some(12)), Ok(()));
    }

    #[test]
    fn a_restore_says_whether_the_old_box_goes_on() {
        assert!(restore("please").unwrap_err().contains("same"));
        assert_eq!(restore("same\n"), Ok(Restore { as_another: false, gateway: None }));
        assert_eq!(restore("NEW\nclinic-7"), Ok(Restore { as_another: true, gateway: Some("clinic-7".to_owned()) }));
    }

    #[test]
    fn the_farthest_backup_of_the_right_gateway_is_taken_and_the_nearest_make_room() {
        let kept = |name: &str, gateway: &str, head| Kept { name: name.to_owned(), gateway: gateway.to_owned(), head };
        // The names lie: the clock was wrong.
        let backups = [kept("z", "clinic-7", 4), kept("a", "clinic-7", 9), kept("m", "b", 50)];
        assert!(newest(&backups, None).unwrap_err().contains("b, clinic-7"));
        assert_eq!(newest(&backups, Some("clinic-7")).map(|kept| kept.name.as_str()), Ok("a"));
        assert!(newest(&backups, Some("c")).is_err());
        assert!(newest(&[], None).unwrap_err().contains("no stick"));
        assert_eq!(too_old(&backups, "clinic-7", 1), ["z"]);
        assert!(too_old(&backups, "clinic-7", 7).is_empty());
        assert!(
            is_behind(&backups, "clinic-7", 8) && !is_behind(&backups, "clinic-7", 9) && !is_behind(&backups, "x", 0)
        );
    }
}
