//! The real gateway leaves its report and its light where the privileged half takes them: at a start, at a change of the settings,
//! without usable settings, and when it is stopped. Files as Windows and people leave them.

use super::home::Home;
use rustix::process::Signal;
use std::fs;

struct Told(Home);

impl Told {
    fn new() -> Told {
        let mut home = Home::new();
        let folder = home.path("told");
        fs::create_dir(&folder).expect("a folder of our own");
        home.set("RUNTIME_DIRECTORY", &folder.display().to_string());
        Told(home)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.0.path("told").join(name)).unwrap_or_default()
    }

    /// The report once it has all of these words, as one line.
    async fn report_with(&self, words: &[&str]) -> String {
        let all = || {
            let report = self.read("report.txt").split_whitespace().collect::<Vec<_>>().join(" ");
            words.iter().all(|word| report.contains(word)).then_some(report)
        };
        self.0.eventually(&format!("a report with {words:?} in place of {}", self.read("report.txt")), all).await
    }

    async fn light(&self, word: &str) {
        self.0.eventually(&format!("the light {word}"), || (self.read("light").trim() == word).then_some(())).await;
    }
}

const SECTIONS: &str = "mqtt: { url: 'mqtt://127.0.0.1:9' }\nhttp: { listen: off }\n\
                        analyzers: [{ id: hematology, driver: astm, port: { usb: '0403:6001', serial: ABSENT } }]\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_a_bad_change_and_a_stop_are_told() {
    let told = Told::new();
    told.0.configure(SECTIONS);
    let mut gateway = told.0.start_ready().await;
    let report = told.report_with(&["SETTINGS: IN FORCE", "ANALYZERS: 0 OF 1 FOUND", "with serial ABSENT"]).await;
    assert!(report.contains("Box: box") && report.contains("Plug in, or switch on: hematology."), "{report}");
    // A change is told, whatever was told a moment ago.
    told.0.configure(&SECTIONS.replace("driver: astm", "driver: astmm"));
    gateway.signal(Signal::HUP);
    let report = told.report_with(&["SETTINGS: REFUSED. THE LAST GOOD ONES STAY IN FORCE", "astmm"]).await;
    assert!(
        report.contains("Line 4, column 39, at analyzers[0].driver:") && report.contains("What to do:"),
        "{report}"
    );
    told.light("config_error").await;
    told.0.configure(SECTIONS);
    gateway.signal(Signal::HUP);
    told.report_with(&["SETTINGS: IN FORCE"]).await;
    let before = told.read("report.txt");
    gateway.signal(Signal::TERM);
    assert!(gateway.ended().await.success());
    assert_eq!((told.read("light").as_str(), told.read("report.txt")), ("", before), "the light is the system's again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_usable_settings_the_report_holds_the_mistakes() {
    let told = Told::new();
    let settings = told.0.settings_path();
    let utf16 = |text: &str| {
        let units = text.encode_utf16().flat_map(u16::to_le_bytes);
        units.collect::<Vec<u8>>()
    };
    for (bytes, words) in [
        (b"".to_vec(), "is empty"),
        (vec![0; 4096], "holds zero bytes"),
        (b"gateway:\r\n  id: a\r\n\0\0\0\0".to_vec(), "Line 3, column 1: this file is damaged: it holds zero bytes"),
        (b"gateway:\r\n\tid: a\r\n".to_vec(), "Line 2, column 1: this line is indented with a tab"),
        (
            "gateway:\n\u{a0}\u{a0}id: a\n version: 1\n".as_bytes().to_vec(),
            "Line 2, column 1: here stands a no-break space (U+00A0)",
        ),
        (b"{\\rtf1\\ansi gateway: }".to_vec(), "a word processor (RTF)"),
        (b"PK\x03\x04\x14\0\x06\0".to_vec(), "or a ZIP archive"),
        (b"<!DOCTYPE html>\n<html>".to_vec(), "is a web page"),
        (utf16("gateway: { id: a }\r\n"), "is UTF-16 text without the mark"),
        ([vec![0xff, 0xfe], utf16("gateway: { id: A B }\r\n")].concat(), "Line 1, column 16, at gateway.id:"),
        (vec![0xff, 0xfe, b'a', 0, b'b'], "begins as UTF-16 text"),
        (b"gateway:\r\n  id: caf\xe9\r\n".to_vec(), "Line 2, column 10: is not UTF-8 text"),
        (vec![b'#'; 10 << 20], "is larger than 1 MiB"),
    ] {
        fs::write(&settings, bytes).expect("a folder of our own");
        let mut gateway = told.0.start();
        assert_eq!(gateway.ended().await.code(), Some(78), "{words}");
        let report = told.report_with(&["SETTINGS: REFUSED. THE BOX READS NO ANALYZER", words]).await;
        assert!(report.contains("Correct the settings file"), "{report}");
        told.light("config_error").await;
    }
    fs::remove_file(&settings).expect("it is there");
    fs::create_dir(&settings).expect("a folder of our own");
    assert_eq!(told.0.start().ended().await.code(), Some(78));
    told.report_with(&["is a folder, not a file"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_file_is_called_so_and_why_it_does_not_run_is_said_once() {
    let told = Told::new();
    let (settings, state) = (told.0.path("nowhere.yaml"), told.0.path("new"));
    let arguments = ["run", "--config", &settings.to_string_lossy(), "--state-dir", &state.to_string_lossy()];
    assert_eq!(told.0.start_so(&arguments).ended().await.code(), Some(78));
    let report = told.report_with(&["SETTINGS: MISSING", "There is no /"]).await;
    assert!(report.contains("nowhere.yaml. The box reads no analyzer.") && !report.contains("REFUSED"), "{report}");
    let occupied = told.0.path("occupied");
    fs::write(&occupied, "").expect("a folder of our own");
    fs::write(told.0.settings_path(), format!("gateway: {{ state_dir: {} }}\n", occupied.display()))
        .expect("a folder of our own");
    assert_eq!(told.0.start().ended().await.code(), Some(1));
    let report = told.report_with(&["THE GATEWAY DOES NOT RUN", "cannot create the folder"]).await;
    assert_eq!(report.matches("cannot create the folder").count(), 1, "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_windows_does_to_good_settings_does_no_harm() {
    let home = Home::new();
    let text = "gateway:\r\n  id: clinic-7\r\n";
    let units = || text.encode_utf16();
    let big: Vec<u8> = [0xfe, 0xff].into_iter().chain(units().flat_map(u16::to_be_bytes)).collect();
    let little: Vec<u8> = [0xff, 0xfe].into_iter().chain(units().flat_map(u16::to_le_bytes)).collect();
    for bytes in [text.as_bytes().to_vec(), format!("\u{feff}{text}").into_bytes(), big, little] {
        home.write("gateway.yaml", bytes);
        let told = home.command(&["check", "gateway.yaml"]).output().await.expect("it runs");
        assert_eq!(told.status.code(), Some(0), "{}", String::from_utf8_lossy(&told.stderr));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_of_nearly_the_right_name_is_named() {
    let told = Told::new();
    told.0.configure(SECTIONS);
    fs::write(told.0.path("gateway.yaml.txt"), "version: 1\n").expect("a folder of our own");
    fs::write(told.0.path("gateway (1).yaml"), "version: 1\n").expect("a folder of our own");
    let mut gateway = told.0.start_ready().await;
    told.report_with(&["gateway.yaml.txt lies on the card too", "gateway (1).yaml lies on the card too"]).await;
    // The file itself has gone: what lies beside it is what somebody meant.
    fs::remove_file(told.0.settings_path()).expect("it is there");
    gateway.signal(Signal::HUP);
    told.report_with(&["MISSING", "any more", "Rename gateway (1).yaml to gateway.yaml"]).await;
    gateway.signal(Signal::TERM);
    assert!(gateway.ended().await.success());
}
