//! The profiles: those that the gateway brings along, and the user's own in the folder `profiles` beside the settings.

use super::{file, yaml};
use gateway_core::config::{Place, WrittenProfile};
use std::path::{Path, PathBuf};

/// Every profile of `config/profiles/`, by name. A test holds list and folder together.
pub const PROFILES: &[(&str, &str)] = &[
    ("abbott-cell-dyn-emerald-22", include_str!("../../../../config/profiles/abbott-cell-dyn-emerald-22.yaml")),
    ("arkray-spotchem-el", include_str!("../../../../config/profiles/arkray-spotchem-el.yaml")),
    ("biomerieux-mini-vidas", include_str!("../../../../config/profiles/biomerieux-mini-vidas.yaml")),
    ("horiba-abx-micros-60", include_str!("../../../../config/profiles/horiba-abx-micros-60.yaml")),
    ("human-humacount-30ts", include_str!("../../../../config/profiles/human-humacount-30ts.yaml")),
    ("mindray-bc-2800", include_str!("../../../../config/profiles/mindray-bc-2800.yaml")),
    ("radiometer-abl9", include_str!("../../../../config/profiles/radiometer-abl9.yaml")),
    ("siemens-rapidlab-348", include_str!("../../../../config/profiles/siemens-rapidlab-348.yaml")),
    ("sysmex-kx-21n", include_str!("../../../../config/profiles/sysmex-kx-21n.yaml")),
    ("sysmex-xp-100", include_str!("../../../../config/profiles/sysmex-xp-100.yaml")),
    ("sysmex-xp-300", include_str!("../../../../config/profiles/sysmex-xp-300.yaml")),
    ("wondfo-finecare-fs-205", include_str!("../../../../config/profiles/wondfo-finecare-fs-205.yaml")),
];

/// The folder of the user's own profiles, beside the settings file.
pub fn folder_beside(settings: &Path) -> PathBuf {
    settings.parent().unwrap_or(Path::new("/")).join("profiles")
}

/// The profile of that name, the user's own first.
pub fn written(name: &str, own: Option<&Path>) -> Option<WrittenProfile> {
    own_profile(name, own).or_else(|| {
        let (_, text) = PROFILES.iter().find(|(known, _)| *known == name)?;
        Some(parsed(format!("{name} (brought along)"), text))
    })
}

/// The same, only of the user's own.
pub fn own_profile(name: &str, folder: Option<&Path>) -> Option<WrittenProfile> {
    // A name is one file of that folder and nothing else.
    let plain = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let path = folder.filter(|_| plain)?.join(format!("{name}.yaml"));
    if path.symlink_metadata().is_err() {
        return None;
    }
    let shown = path.display().to_string();
    Some(match file::text(&path) {
        Ok(text) => parsed(shown, &text),
        Err(mistake) => WrittenProfile { file: shown, tree: Err(vec![mistake]) },
    })
}

/// The names of all of them, sorted.
pub fn names(own: Option<&Path>) -> Vec<String> {
    let files = own.and_then(|folder| std::fs::read_dir(folder).ok()).into_iter().flatten().flatten();
    let own = files.filter_map(|file| Some(file.file_name().to_str()?.strip_suffix(".yaml")?.to_owned()));
    let mut names: Vec<String> = PROFILES.iter().map(|(name, _)| (*name).to_owned()).chain(own).collect();
    names.sort();
    names.dedup();
    names
}

fn parsed(file: String, text: &str) -> WrittenProfile {
    let tree =
        yaml::parse(text).and_then(|(tree, mistakes)| if mistakes.is_empty() { Ok(tree) } else { Err(mistakes) });
    WrittenProfile { file, tree: tree.map_err(|mistakes| mistakes.into_iter().map(placed).collect()) }
}

/// A mistake about the file as a whole stands in its first line.
fn placed(mut mistake: gateway_core::config::Mistake) -> gateway_core::config::Mistake {
    if mistake.place == Place::Whole {
        mistake.place = Place::At { line: 1, column: 1 };
    }
    mistake
}
