//! The profiles: those that the gateway brings along, and the user's own in the folder `profiles` beside the settings.

use super::{file, yaml};
use gateway_core::config::{Place, WrittenProfile};
use std::path::{Path, PathBuf};

/// Every profile of `config/profiles/`, by name. A test holds list and folder together.
pub const PROFILES: &[(&str, &str)] = &[
    ("abaxis-piccolo-xpress", include_str!("../../../../config/profiles/abaxis-piccolo-xpress.yaml")),
    ("abbott-afinion-2", include_str!("../../../../config/profiles/abbott-afinion-2.yaml")),
    ("abbott-alinity-ci", include_str!("../../../../config/profiles/abbott-alinity-ci.yaml")),
    ("abbott-architect", include_str!("../../../../config/profiles/abbott-architect.yaml")),
    ("abbott-cell-dyn-emerald-22", include_str!("../../../../config/profiles/abbott-cell-dyn-emerald-22.yaml")),
    ("arkray-spotchem-el", include_str!("../../../../config/profiles/arkray-spotchem-el.yaml")),
    ("beckman-access-2", include_str!("../../../../config/profiles/beckman-access-2.yaml")),
    ("bio-rad-d10", include_str!("../../../../config/profiles/bio-rad-d10.yaml")),
    ("bio-rad-ih-1000", include_str!("../../../../config/profiles/bio-rad-ih-1000.yaml")),
    ("biomerieux-mini-vidas", include_str!("../../../../config/profiles/biomerieux-mini-vidas.yaml")),
    ("cepheid-genexpert", include_str!("../../../../config/profiles/cepheid-genexpert.yaml")),
    ("diasorin-liaison", include_str!("../../../../config/profiles/diasorin-liaison.yaml")),
    ("erba-em-200", include_str!("../../../../config/profiles/erba-em-200.yaml")),
    ("euroimmun-analyzer-i", include_str!("../../../../config/profiles/euroimmun-analyzer-i.yaml")),
    ("generic-ihe-law", include_str!("../../../../config/profiles/generic-ihe-law.yaml")),
    ("hologic-panther", include_str!("../../../../config/profiles/hologic-panther.yaml")),
    ("horiba-abx-micros-60", include_str!("../../../../config/profiles/horiba-abx-micros-60.yaml")),
    ("horiba-pentra-60", include_str!("../../../../config/profiles/horiba-pentra-60.yaml")),
    ("horiba-pentra-xlr", include_str!("../../../../config/profiles/horiba-pentra-xlr.yaml")),
    ("horiba-yumizen-h500", include_str!("../../../../config/profiles/horiba-yumizen-h500.yaml")),
    ("human-humacount-30ts", include_str!("../../../../config/profiles/human-humacount-30ts.yaml")),
    ("immucor-galileo-echo", include_str!("../../../../config/profiles/immucor-galileo-echo.yaml")),
    ("mindray-bc-2800", include_str!("../../../../config/profiles/mindray-bc-2800.yaml")),
    ("mindray-bc-5380", include_str!("../../../../config/profiles/mindray-bc-5380.yaml")),
    ("mindray-bc-6800", include_str!("../../../../config/profiles/mindray-bc-6800.yaml")),
    ("mindray-bs-200", include_str!("../../../../config/profiles/mindray-bs-200.yaml")),
    ("nova-statstrip", include_str!("../../../../config/profiles/nova-statstrip.yaml")),
    ("ortho-vision", include_str!("../../../../config/profiles/ortho-vision.yaml")),
    ("quidel-sofia-2", include_str!("../../../../config/profiles/quidel-sofia-2.yaml")),
    ("radiometer-abl80", include_str!("../../../../config/profiles/radiometer-abl80.yaml")),
    ("radiometer-abl800", include_str!("../../../../config/profiles/radiometer-abl800.yaml")),
    ("radiometer-abl9", include_str!("../../../../config/profiles/radiometer-abl9.yaml")),
    ("roche-cobas-c111", include_str!("../../../../config/profiles/roche-cobas-c111.yaml")),
    ("roche-cobas-c311", include_str!("../../../../config/profiles/roche-cobas-c311.yaml")),
    ("roche-cobas-e411", include_str!("../../../../config/profiles/roche-cobas-e411.yaml")),
    ("siemens-advia-centaur", include_str!("../../../../config/profiles/siemens-advia-centaur.yaml")),
    ("siemens-clinitek-status-plus", include_str!("../../../../config/profiles/siemens-clinitek-status-plus.yaml")),
    ("siemens-dca-vantage-poct1a", include_str!("../../../../config/profiles/siemens-dca-vantage-poct1a.yaml")),
    ("siemens-dca-vantage", include_str!("../../../../config/profiles/siemens-dca-vantage.yaml")),
    ("siemens-immulite", include_str!("../../../../config/profiles/siemens-immulite.yaml")),
    ("siemens-rapidlab-348", include_str!("../../../../config/profiles/siemens-rapidlab-348.yaml")),
    ("stago-sta-compact-max", include_str!("../../../../config/profiles/stago-sta-compact-max.yaml")),
    ("stago-sta-satellite-max", include_str!("../../../../config/profiles/stago-sta-satellite-max.yaml")),
    ("sysmex-kx-21n", include_str!("../../../../config/profiles/sysmex-kx-21n.yaml")),
    ("sysmex-xn-l", include_str!("../../../../config/profiles/sysmex-xn-l.yaml")),
    ("sysmex-xn-series", include_str!("../../../../config/profiles/sysmex-xn-series.yaml")),
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
