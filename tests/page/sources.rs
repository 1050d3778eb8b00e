//! The page's sources, read as text.

use gateway_core::delivery::ReasonCode;
use gateway_core::event::EventName;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Of all that one visit fetches, as it is written.
const BYTES_MAX: usize = 144 << 10;
const LANGUAGES: [&str; 2] = ["en", "de"];
/// What the gateway says itself, in English; other languages have it by its sentence.
const SAID: &str = "said.";

fn sources() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../gateway/page");
    let entries = fs::read_dir(folder).expect("the page's folder").map(|entry| entry.expect("an entry").path());
    let mut sources: Vec<(String, String)> = entries
        .map(|path| {
            let name = path.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
            (name, fs::read_to_string(&path).expect("text"))
        })
        .collect();
    sources.sort();
    sources
}

fn scripts() -> Vec<(String, String)> {
    sources().into_iter().filter(|(name, _)| name.ends_with(".js")).collect()
}

fn messages(language: &str) -> Map<String, Value> {
    let name = format!("messages.{language}.json");
    let text = sources().into_iter().find(|(known, _)| *known == name).expect("a file of messages").1;
    serde_json::from_str(&text).expect("an object of messages")
}

/// The forms of a message: one, or one for each plural.
fn forms(message: &Value) -> Vec<&str> {
    match message {
        Value::String(text) => vec![text],
        Value::Object(forms) => forms.values().map(|form| form.as_str().expect("text")).collect(),
        other => panic!("no message: {other}"),
    }
}

/// The `{names}` in a text.
fn holes(text: &str) -> BTreeSet<&str> {
    text.split('{').skip(1).filter_map(|part| part.split_once('}')).map(|(name, _)| name).collect()
}

#[test]
fn every_message_is_in_both_languages_with_the_same_holes() {
    let [english, german] = LANGUAGES.map(messages);
    let own = |messages: &Map<String, Value>| -> BTreeSet<String> {
        messages.keys().filter(|key| !key.starts_with(SAID)).cloned().collect()
    };
    assert_eq!(own(&english), own(&german));
    for (key, message) in &english {
        assert!(!key.starts_with(SAID), "{key}: the gateway says it in English itself");
        let all = |message| forms(message).into_iter().flat_map(holes).collect::<BTreeSet<_>>();
        assert_eq!(all(message), all(&german[key]), "{key}");
        let counted = message.is_object();
        assert_eq!(counted, german[key].is_object(), "{key}");
        assert!(!counted || message.get("other").is_some() && german[key].get("other").is_some(), "{key}");
        assert!(forms(message).iter().chain(&forms(&german[key])).all(|form| !form.is_empty()), "{key} is empty");
    }
    for code in ReasonCode::ALL {
        assert!(german.contains_key(&format!("{SAID}{}", code.next_step())), "no next step for {}", code.as_str());
        assert!(german.contains_key(&format!("{SAID}why.{}", code.as_str())), "no reason for {}", code.as_str());
    }
    for name in EventName::ALL {
        assert!(english.contains_key(&format!("event.{}", name.as_str())), "no word for {}", name.as_str());
    }
}

/// What to do is said in the page's own words: by its buttons and views, not by commands that somebody would have to type.
#[test]
fn the_next_steps_of_the_page_name_no_command() {
    for messages in LANGUAGES.map(messages) {
        let steps: Vec<_> = messages.iter().filter(|(key, _)| key.starts_with("next.")).collect();
        assert!(steps.len() > 8, "{steps:?}");
        let typed = ["`analyzer-gateway", "redrive", "sudo"];
        for (key, step) in
            steps.into_iter().flat_map(|(key, step)| forms(step).into_iter().map(move |step| (key, step)))
        {
            assert!(!typed.iter().any(|word| step.contains(word)), "{key}: {step}");
        }
        for code in ReasonCode::ALL.iter().filter(|code| code.next_step().contains("redrive")) {
            assert!(messages.contains_key(&format!("next.{}", code.as_str())), "{} has a button", code.as_str());
        }
    }
}

/// The quoted words of a script that follow one of these calls, each up to its end or to where a value is put in.
fn keys_in(text: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut whole, mut begun) = (BTreeSet::new(), BTreeSet::new());
    let quoted =
        |text: &str, quote: char| -> Vec<String> { text.split(quote).skip(1).step_by(2).map(str::to_owned).collect() };
    let is_key = |word: &str| word.contains('.') && !word.contains(['/', ' ', '<']);
    whole.extend(text.lines().flat_map(|line| quoted(line, '"')).filter(|word| is_key(word)));
    for template in text.lines().flat_map(|line| quoted(line, '`')) {
        match template.split_once("${") {
            Some((beginning, _)) if is_key(beginning) => drop(begun.insert(beginning.to_owned())),
            None if is_key(&template) => drop(whole.insert(template)),
            _ => {}
        }
    }
    // `word("clock", said)` and `state("clock", said)` look below `clock.`.
    for call in ["word(\"", "state(\""] {
        let groups = text.split(call).skip(1).filter_map(|rest| rest.split('"').next());
        begun.extend(groups.map(|group| format!("{group}.")));
    }
    (whole, begun)
}

#[test]
fn every_message_is_used_and_every_used_one_is_there() {
    let english = messages("en");
    let (mut whole, mut begun) = (BTreeSet::new(), BTreeSet::new());
    for (_, text) in scripts() {
        let (words, beginnings) = keys_in(&text);
        whole.extend(words);
        begun.extend(beginnings);
    }
    // The menu shortens its titles.
    let titles: Vec<String> = whole.iter().filter(|key| key.ends_with(".title")).cloned().collect();
    whole.extend(titles.iter().map(|title| format!("{title}_short")));
    let unused = english.keys().filter(|key| !whole.contains(*key) && !begun.iter().any(|part| key.starts_with(part)));
    assert_eq!(unused.collect::<Vec<_>>(), Vec::<&String>::new(), "nobody says these");
    let groups: BTreeSet<&str> = english.keys().filter_map(|key| key.split('.').next()).collect();
    let is_message = |key: &&String| key.split('.').next().is_some_and(|group| groups.contains(group));
    let is_file = |key: &&String| [".js", ".json"].iter().any(|end| key.ends_with(end));
    let missing = whole.iter().filter(is_message).filter(|key| !is_file(key) && !key.ends_with("_short"));
    let missing: Vec<_> = missing.filter(|key| !english.contains_key(*key)).collect();
    assert_eq!(missing, Vec::<&String>::new(), "these have no words");
}

#[test]
fn nothing_becomes_markup_and_nobody_else_is_asked() {
    let makes_markup = [
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "new Function",
        "DOMParser",
        "createContextualFragment",
        "srcdoc",
        "javascript:",
    ];
    for (name, text) in scripts() {
        for word in makes_markup {
            assert!(!text.contains(word), "{name}: {word} makes markup of text");
        }
    }
    for (name, text) in sources() {
        let addresses = text.split("http").skip(1).filter(|rest| rest.starts_with("://") || rest.starts_with("s://"));
        // The name of a vocabulary is no address: nothing is fetched from it.
        let foreign: Vec<&str> = addresses.filter(|rest| !rest.contains("www.w3.org")).collect();
        assert!(foreign.is_empty(), "{name} asks somebody else");
    }
    let page = sources().into_iter().find(|(name, _)| name == "index.html").expect("the page").1;
    assert!(!page.contains("style=") && !page.contains("<style"), "the policy forbids styles in the page");
    assert!(page.split("<script").skip(1).all(|script| script.contains("></script>")), "and scripts");
    let listens = |word: &str| word.starts_with("on") && word.contains('=');
    assert!(!page.split_whitespace().any(listens), "and what listens in attributes");
}

#[test]
fn the_page_is_small_and_each_file_says_what_it_is() {
    let sources = sources();
    let bytes: usize = sources.iter().filter(|(name, _)| name != "messages.de.json").map(|(_, text)| text.len()).sum();
    assert!(bytes <= BYTES_MAX, "one visit fetches {bytes} bytes");
    for (name, text) in &sources {
        let head = match name.rsplit('.').next() {
            Some("js") => "// ",
            Some("css") => "/* ",
            Some("html") => "<!doctype html>\n<!-- ",
            _ => continue,
        };
        assert!(text.starts_with(head), "{name} does not say what it is");
        assert!(text.lines().count() <= 350, "{name} is too long to read");
    }
}
