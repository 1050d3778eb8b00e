//! Every profile on bytes: the public captures by the profile of their model, and a transmission of ours for each model of
//! which there is none (`fixtures/profiles/<profile>/`, invented values in that model's own layout; `UPDATE=1` writes what is
//! expected). Names, LOINC codes and serial numbers are what a profile adds, so they are what is looked at here.

use super::captures::folder;
use super::support::{Decoded, args, decode};
use gateway_core::config::Tried;
use gateway_daemon::commands::decode::Args;
use gateway_daemon::configuration::{PROFILES, profile};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Profile, public capture, and what it makes of it. A profile that another part has yet to bring is passed over.
const CAPTURES: &[(&str, &str, &str)] = &[
    (
        "abbott-afinion-2",
        "afinion2_single_frame.astm",
        "Afinion 2 Analyzer/AF20052397 sample 5 patient 3643: HbA1c=Hemoglobin A1c 4548-4",
    ),
    ("cepheid-genexpert", "genexpert_delims.astm", "GeneXpert/806149 sample PR25A137: 84 results, first MTB"),
    ("erba-em-200", "em200_query_two_tubes.astm", "QUERY 0000000406,00001001"),
    (
        "erba-em-200",
        "em200_two_sessions.astm",
        "EM-200/- sample Test Smith patient 0: GLU=Glucose 2345-7 | EM-200/- sample Test Smith1 patient 0: CRE=Creatinine 2160-0",
    ),
    (
        "horiba-pentra-xlr",
        "pentra_xlr_28_frames.astm",
        "Pentra XLR/- sample S1234: WBC=Leukocytes 6690-2, LYM#=Lymphocytes 731-0, LYM%=Lymphocytes, of leukocytes 736-9, 18 more",
    ),
    (
        "immucor-galileo-echo",
        "galileo_echo_records.e1394",
        "Echo/M0002 sample 0651439A patient 1171984: Rh Ctrl=Rh control -, Anti-A=Reaction with anti-A -, \
         Anti-B=Reaction with anti-B -, 6 more | Echo/M0002 sample 0651439A patient 1171984: Screen 1= -, Screen 2= -, \
         Screen 3= -, 2 more",
    ),
    (
        "ortho-vision",
        "ortho_vision_utf8.e1394",
        "VISION/J number sample SID999 patient PID77677: ABO=ABO group 883-9, Rh=Rh group 10331-7",
    ),
    ("roche-cobas-c111", "cobas_c111_etb_per_record.astm", "c111/13147 sample T20 10134GA D28: 413= -"),
    (
        "roche-cobas-e411",
        "cobas_e411_multiframe.astm",
        "cobas-e411/- sample 000002327: 8/1/not= -, 7/1/not= -, 6/1/not= -, 4 more",
    ),
    ("roche-cobas-e411", "cobas_e411_query.astm", "QUERY 0000000387"),
    ("roche-cobas-e411", "cobas_e411_trickle.astm", "cobas-e411/- sample 000009680: 1/1/not= -"),
    (
        "siemens-dca-vantage",
        "dca_vantage_astm.astm",
        "DCA VANTAGE/S067337 sample 660 patient BU24R554: Alb=Albumin in urine -, Crt=Creatinine in urine 2161-8, \
         Ratio=Albumin by creatinine in urine -",
    ),
    (
        "sysmex-xp-100",
        "sysmex_xp100.astm",
        "XP-100/A7869 sample 113: WBC=Leukocytes 6690-2, RBC=Erythrocytes 789-8, HGB=Hemoglobin 718-7, 17 more",
    ),
];

fn by_profile(name: &str, file: &Path) -> Args {
    Args { driver: None, profile: Some(name.to_owned()), ..args("", file) }
}

/// Decodes whole, in pieces of 1, 7 and 32 bytes and in the recorded reads; all must print the same.
fn every_way(profile: &str, file: &Path, recorded: Option<PathBuf>) -> Decoded {
    let whole = decode(by_profile(profile, file));
    let recorded = recorded.filter(|chunks| chunks.is_file()).map(|chunks| chunks.display().to_string());
    for chunks in ["1", "7", "32"].map(str::to_owned).into_iter().chain(recorded) {
        let again = decode(Args { chunks: Some(chunks.clone()), ..by_profile(profile, file) });
        assert_eq!(again.text, whole.text, "{profile} on {} in reads of {chunks}", file.display());
    }
    whole
}

/// An event in a line: the device, the ids, and of each result its code, name and LOINC code.
fn brief(event: &Value) -> String {
    let word = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    if let Some(ids) = event["query"]["sample_ids"].as_array() {
        return format!("QUERY {}", ids.iter().map(word).collect::<Vec<_>>().join(","));
    }
    let Some(results) = event["test"]["results"].as_array() else { return word(&event["event"]) };
    let known =
        |result: &Value| format!("{}={} {}", word(&result["code"]), word(&result["name"]), word(&result["loinc"]));
    let told = match results.as_slice() {
        [first, .., _] if results.len() > 50 => format!("{} results, first {}", results.len(), word(&first["name"])),
        [a, b, c, rest @ ..] if !rest.is_empty() => {
            format!("{}, {}, {}, {} more", known(a), known(b), known(c), rest.len())
        }
        all => all.iter().map(known).collect::<Vec<_>>().join(", "),
    };
    let patient = event["test"]["patient_id"].as_str().map_or(String::new(), |id| format!(" patient {id}"));
    let qc = if event["test"]["qc"] == true { " (control)" } else { "" };
    let (model, sn) = (word(&event["device"]["model"]), word(&event["device"]["sn"]));
    format!("{model}/{sn} sample {}{patient}{qc}: {told}", word(&event["test"]["sample_id"]))
}

fn is_known(name: &str) -> bool {
    PROFILES.iter().any(|(known, _)| *known == name)
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/profiles")
}

#[test]
fn public_captures_decode_by_the_profile_of_their_model() {
    let Some(folder) = folder() else { return };
    for (profile, capture, expected) in CAPTURES.iter().filter(|(profile, ..)| is_known(profile)) {
        let recorded = folder.join(Path::new(capture).with_extension("chunks.json"));
        let decoded = every_way(profile, &folder.join(capture), Some(recorded));
        assert_eq!(decoded.status, 0, "{capture}: {}", decoded.text);
        let told: Vec<String> = decoded.lines().iter().map(brief).collect();
        assert_eq!(told.join(" | "), *expected, "{profile} on {capture}");
    }
}

fn input(case: &Path) -> PathBuf {
    let candidates = ["input.astm", "input.hl7"].map(|name| case.join(name));
    candidates.into_iter().find(|file| file.is_file()).unwrap_or_else(|| panic!("{} has no input", case.display()))
}

#[test]
fn transmissions_of_other_models_decode_by_their_profile() {
    let mut wrong = Vec::new();
    let mut told = String::new();
    let mut cases: Vec<PathBuf> = std::fs::read_dir(fixtures()).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.retain(|case| case.is_dir());
    cases.sort();
    for case in cases {
        let profile = case.file_name().unwrap().to_str().unwrap();
        assert!(is_known(profile), "{} is named after no profile", case.display());
        let decoded = every_way(profile, &input(&case), None);
        assert_eq!(decoded.status, 0, "{profile}: {}", decoded.text);
        for event in decoded.lines() {
            told.push_str(&format!("{profile}: {}\n", brief(&event)));
        }
        expect(&case.join("expected.jsonl"), &decoded.text, &mut wrong);
    }
    // In a few words as well, so that a person reads the difference.
    expect(&fixtures().join("told.txt"), &told, &mut wrong);
    assert!(wrong.is_empty(), "not as expected (UPDATE=1 rewrites): {wrong:?}");
}

fn expect(file: &Path, now: &str, wrong: &mut Vec<String>) {
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(file, now).unwrap();
    } else if std::fs::read_to_string(file).unwrap_or_default() != now {
        wrong.push(file.display().to_string());
    }
}

/// Captures of other protocols, by the profile of their model: what they mean is looked at beside their drivers.
const OTHER_PROTOCOLS: &[(&str, &str)] = &[
    ("abbott-cell-dyn-emerald-22", "emerald22al_short.txt"),
    ("biomerieux-mini-vidas", "mini_vidas_raw.bin"),
    ("human-humacount-30ts", "human30_export.tsv"),
    ("siemens-clinitek-status-plus", "clinitek_status_patient.mllp"),
    ("siemens-dca-vantage-poct1a", "dca_vantage_poct1a_device.xml"),
    ("siemens-rapidlab-348", "siemens_348_bloodgas_print.txt"),
    ("wondfo-finecare-fs-205", "wondfo_finecare.csv"),
];

#[test]
fn captures_of_other_protocols_give_results_by_their_profile() {
    let Some(folder) = folder() else { return };
    for (profile, capture) in OTHER_PROTOCOLS.iter().filter(|(profile, _)| is_known(profile)) {
        let decoded = every_way(profile, &folder.join(capture), None);
        let results = |event: &Value| event["test"]["results"].as_array().map_or(0, Vec::len);
        let results: usize = decoded.lines().iter().map(results).sum();
        assert!(results > 0, "{profile} on {capture}: {}", decoded.text);
    }
}

#[test]
fn every_profile_that_claims_to_have_been_tried_on_bytes_is_run_on_some() {
    for (name, _) in PROFILES {
        let captures = CAPTURES.iter().map(|(profile, ..)| profile);
        let run_on_a_capture = captures.chain(OTHER_PROTOCOLS.iter().map(|(profile, _)| profile)).any(|it| it == name);
        let claims = profile(name, None).unwrap().tried == Tried::RealBytes;
        assert!(!claims || run_on_a_capture || fixtures().join(name).is_dir(), "{name} is run on nothing");
    }
}
