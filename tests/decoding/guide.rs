//! The guide for integrators, followed word for word: its printout and its profile are written where it says, and the commands
//! print what it shows. `UPDATE=1` writes the line that is printed into the guide.

use super::support::{decode, profile_args, root};
use gateway_daemon::commands::{check, decode::Args};
use gateway_daemon::configuration::Source;
use std::path::Path;

/// The block of the guide under that name, the text between its fences.
fn block<'g>(guide: &'g str, name: &str) -> &'g str {
    let fence = guide.lines().find(|line| line.starts_with("```") && line.ends_with(&format!(" {name}")));
    let fence = fence.unwrap_or_else(|| panic!("the guide has no block {name}"));
    let (_, after) = guide.split_once(&format!("{fence}\n")).unwrap();
    after.split("```").next().unwrap()
}

#[test]
fn the_guide_followed_word_for_word_yields_a_working_analyzer() {
    let path = root().join("docs/adding-an-analyzer.md");
    let guide = std::fs::read_to_string(&path).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let file = folder.path().join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, text).unwrap();
        file
    };
    let printout = write("printout.txt", block(&guide, "printout.txt"));
    let profile = "profiles/example-uroread-200.yaml";
    assert!(guide.contains(&format!("decode --profile {profile} printout.txt")));
    let profile = write(profile, block(&guide, "example-uroread-200.yaml"));
    let printed = decode(profile_args(&profile.display().to_string(), &printout));
    assert_eq!((printed.status, printed.notes.as_str()), (0, ""), "{}", printed.text);
    let expected = block(&guide, "expected.jsonl");
    if std::env::var_os("UPDATE").is_some() {
        let fence = "```json expected.jsonl\n";
        std::fs::write(&path, guide.replace(&format!("{fence}{expected}```"), &format!("{fence}{}```", printed.text)))
            .unwrap();
    } else {
        assert_eq!(printed.text, expected, "UPDATE=1 writes it into the guide");
    }
    let pieces = Args { chunks: Some("1".to_owned()), ..profile_args(&profile.display().to_string(), &printout) };
    assert_eq!(decode(pieces).text, printed.text);
    // As the analyzer sends it: with CR LF.
    let sent = write("sent.bin", &block(&guide, "printout.txt").replace('\n', "\r\n"));
    let sent = decode(profile_args(&profile.display().to_string(), &sent)).lines();
    assert_eq!(sent[0]["test"]["results"].as_array().map(Vec::len), Some(5));
    let settings = write("settings.yaml", block(&guide, "settings.yaml"));
    assert_eq!(
        checked(&settings),
        (0, format!("{}: good: 1 analyzer, 0 webhooks, embedded MQTT broker\n", settings.display()))
    );
}

fn checked(settings: &Path) -> (u8, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let source = Source { file: Some(settings.to_owned()), ..Source::default() };
    let status = check::run_from(&source, &mut out, &mut err);
    (status, String::from_utf8([out, err].concat()).unwrap())
}

#[test]
fn every_profile_that_the_guide_names_is_brought_along() {
    let guide = std::fs::read_to_string(root().join("docs/adding-an-analyzer.md")).unwrap();
    let named = guide.lines().filter_map(|line| line.strip_prefix("| ")?.trim_end_matches(" |").rsplit('|').next());
    let named = named.flat_map(|cell| cell.split(',')).map(str::trim).filter(|name| name.matches('-').count() >= 2);
    let named: Vec<&str> = named.filter(|name| !name.contains(' ')).collect();
    assert!(named.len() > 5, "{named:?}");
    for name in named {
        assert!(gateway_daemon::configuration::PROFILES.iter().any(|(known, _)| *known == name), "{name}");
    }
}
