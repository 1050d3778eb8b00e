//! What the report says in each situation, word for word: `fixtures/appliance/reports`. `UPDATE=1` writes it anew, and the diff is
//! reviewed. And that it keeps still while nothing changes that a person would act on.

use gateway_core::appliance::report::{Dated, Down, Outcome, Page, Report, Settings, same};
use gateway_core::appliance::{
    Appliance, Card, Image, Network, NetworkSource, Obeyed, Update, UpdatePhase, light::Light,
};
use gateway_core::config::{Http, MetricsDoor, Mistake, Place};
use gateway_core::event::AnalyzerId;
use gateway_core::health::{ConfiguredAnalyzer, Fact, Health};
use gateway_core::overview::{StoreOverview, Vitals};
use gateway_core::time::{ClockQuality, Mono, Now, Timestamp};
use std::fs;
use std::path::Path;

const AT: Timestamp = Timestamp(1_795_292_043_120);
const FILE: &str = "/boot/firmware/gateway.yaml";
const SPARE: &str = "  # /dev/ttyUSB1, usb 1a86:7523, no serial number, QinHeng USB Serial\n  - id: analyzer-3\n    driver: astm\n    \
                     port: { by_path: \"platform-fd500000.pcie-pci-0000:01:00.0-usb-0:1.2:1.0-port0\" }\n    baud: 9600\n";

fn now(quality: ClockQuality) -> Now {
    Now { mono: Mono(60_000_000_000), wall: AT, quality }
}

/// Two analyzers, one of them found, and a broker.
fn health(quality: ClockQuality) -> Health {
    let mut health = Health::new("clinic-7", "1.4.0", "boot".to_owned(), now(quality));
    let analyzer = |id: &str, port: &str, model: Option<&str>| ConfiguredAnalyzer {
        id: AnalyzerId(id.to_owned()),
        port: port.to_owned(),
        model: model.map(str::to_owned),
    };
    let analyzers = vec![
        analyzer("hematology", "usb 0403:6001 serial A50285BI", Some("Sysmex XP-300")),
        analyzer("coagulation", "tcp listen 0.0.0.0:4001", None),
    ];
    health.configure("clinic-7", "3f2a91c4d7", analyzers, &["mqtt".to_owned()], now(quality));
    health.learn(now(quality), Fact::LinkOpened { analyzer: AnalyzerId("hematology".to_owned()) });
    health.learn(now(quality), Fact::LinkOpened { analyzer: AnalyzerId("coagulation".to_owned()) });
    health
}

fn image() -> Option<Image> {
    Some(Image {
        version: "2026.11".to_owned(),
        compatible: "raspberrypi-armv8".to_owned(),
        slot: Some("A".to_owned()),
    })
}

fn settings(outcome: Outcome, beside: &[&str]) -> Settings {
    let file = (!matches!(outcome, Outcome::Missing | Outcome::Gone)).then(|| FILE.to_owned());
    Settings { file, outcome, beside: beside.iter().map(|name| (*name).to_owned()).collect(), warnings: Vec::new() }
}

fn report(health: &Health, settings: Settings) -> Report {
    Report {
        version: "1.4.0".to_owned(),
        dated: Dated::LastChange(AT, ClockQuality::Synchronized),
        settings,
        overview: Some(health.overview(now(ClockQuality::Synchronized), None)),
        down: None,
        page: Page::At(vec!["http://192.0.2.17:8080/".to_owned(), "http://clinic-7.local:8080/".to_owned()]),
        pairing_code: None,
        spare: Vec::new(),
    }
}

fn mistakes() -> Vec<Mistake> {
    vec![
        Mistake::new(
            Place::At { line: 12, column: 5 },
            "analyzers[0].driver",
            "there is no driver `astmm`",
            "write `astm`",
        ),
        Mistake::new(
            Place::At { line: 20, column: 9 },
            "webhooks[0].url",
            "would send results through the network unencrypted, which is only done where somebody has said so",
            "write https, or `allow_plain: true` if the network is your own",
        ),
        Mistake::new(Place::Variable("ANALYZER_GATEWAY__MQTT__URL".to_owned()), "mqtt.url", "is no address", ""),
    ]
}

/// More than are shown.
fn warnings() -> Vec<String> {
    let webhook = |number| format!("webhook `w{number}`: no secret is set: the receiver cannot tell who sends");
    (1..=6).map(webhook).collect()
}

/// Each situation by its fixture's name.
fn situations() -> Vec<(&'static str, Report)> {
    let synchronized = ClockQuality::Synchronized;
    let fine = report(&health(synchronized), settings(Outcome::InForce, &[]));

    let mut first = Health::new("gateway", "1.4.0", "boot".to_owned(), now(ClockQuality::Unset));
    first.configure("gateway", "", Vec::new(), &["mqtt".to_owned()], now(ClockQuality::Unset));
    first.learn(
        now(ClockQuality::Unset),
        Fact::BoxSeen { appliance: Appliance { image: image(), ..Appliance::default() } },
    );
    let overview = first.overview(now(ClockQuality::Unset), None);
    let new_box = Report {
        dated: Dated::LastChange(Timestamp(75_600_000), ClockQuality::Unset),
        overview: Some(overview),
        pairing_code: Some("1234-5678".to_owned()),
        spare: vec![SPARE.replace("analyzer-3", "analyzer-1")],
        ..report(&first, settings(Outcome::Missing, &[]))
    };
    let misnamed = Report {
        spare: Vec::new(),
        pairing_code: None,
        settings: settings(Outcome::Missing, &["gateway.yaml.txt"]),
        ..new_box.clone()
    };

    let mut troubled = health(synchronized);
    let absent = "no USB adapter 0403:6001 with serial A50285BI is plugged in".to_owned();
    troubled
        .learn(now(synchronized), Fact::LinkAbsent { analyzer: AnalyzerId("hematology".to_owned()), reason: absent });
    let network = Network {
        in_force: NetworkSource::Fallback,
        reason: "nobody answers at the gateway 192.0.2.1".to_owned(),
        addresses: vec!["198.51.100.7/24".to_owned()],
        at: AT,
    };
    let update = Update {
        phase: UpdatePhase::RolledBack,
        percent: None,
        from: Some("2026.11".to_owned()),
        to: Some("2026.12".to_owned()),
        reason: "2026.12 did not open its database within five minutes".to_owned(),
        at: AT,
    };
    let card = Card { written: false, reason: "the card cannot be written".to_owned(), at: AT };
    let left =
        "the box's own broker stays as it is: /boot/firmware/key.pem cannot be read: Permission denied (os error 13)";
    let obeyed = Obeyed { left: vec![left.to_owned()], at: AT };
    let appliance = Appliance {
        image: image(),
        network: Some(network),
        update: Some(update),
        card: Some(card),
        obeyed: Some(obeyed),
        ..Appliance::default()
    };
    troubled.learn(now(synchronized), Fact::BoxSeen { appliance });
    let vitals = Vitals { disk_free_bytes: Some(200_000_000), cpu_celsius: Some(86.4), ..Vitals::default() };
    troubled.learn(now(synchronized), Fact::Measured { vitals, store: StoreOverview::default() });
    let troubled = Report {
        spare: vec![SPARE.to_owned()],
        page: Page::At(Vec::new()),
        settings: Settings { warnings: warnings(), ..settings(Outcome::InForce, &["gateway (1).yaml"]) },
        ..report(&troubled, settings(Outcome::InForce, &[]))
    };

    let mut refused = health(synchronized);
    refused.learn(now(synchronized), Fact::ConfigRefused { reason: "line 12".to_owned() });
    let refused = report(&refused, settings(Outcome::Refused(mistakes()), &[]));
    let gone = Report { settings: settings(Outcome::Gone, &[]), ..fine.clone() };
    let deaf = Report { overview: None, page: Page::Off, ..refused.clone() };
    let down = Report {
        down: Some(Down::because("the database cannot be opened: the disk is full".to_owned())),
        settings: settings(Outcome::InForce, &[]),
        ..deaf.clone()
    };
    vec![
        ("fine", fine),
        ("new-box", new_box),
        ("misnamed", misnamed),
        ("troubled", troubled),
        ("refused", refused),
        ("gone", gone),
        ("deaf", deaf),
        ("down", down),
    ]
}

#[test]
fn each_situation_is_told_word_for_word() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/appliance/reports");
    for (name, report) in situations() {
        let text = report.text();
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        assert!(lines.iter().all(|line| line.ends_with("\r\n") && !line.contains('\t')), "{name}");
        let to_copy = |line: &str| line.contains("by_path: ") || line.contains("http");
        assert!(lines.iter().all(|line| line.chars().count() <= 82 || to_copy(line)), "{name}:\n{text}");
        let text = text.replace("\r\n", "\n");
        let path = folder.join(format!("{name}.txt"));
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&path, &text).unwrap();
        }
        let before = fs::read_to_string(&path).unwrap_or_default();
        assert!(before == text, "{} differs; it would be:\n{text}", path.display());
    }
}

#[test]
fn what_ticks_is_no_news_and_what_a_person_would_act_on_is() {
    let (_, troubled) = situations().remove(3);
    let with = |change: fn(&mut Report)| {
        let mut other = troubled.clone();
        change(&mut other);
        other
    };
    fn overview(report: &mut Report) -> &mut gateway_core::overview::Overview {
        report.overview.as_mut().expect("it runs")
    }
    for ticking in [
        with(|report| report.dated = Dated::LastChange(Timestamp(AT.0 + 9_999_999), ClockQuality::Synchronized)),
        with(|report| overview(report).at = Timestamp(0)),
        with(|report| overview(report).troubles.iter_mut().for_each(|one| one.reason = one.reason.replace("86", "87"))),
        with(|report| overview(report).analyzers[0].events += 1),
        with(|report| overview(report).analyzers[0].last_event_at = Some(AT)),
        with(|report| overview(report).appliance.card = None),
        with(|report| overview(report).troubles.retain(|one| one.code != "card_read_only")),
        with(|report| overview(report).appliance.update.as_mut().expect("there is one").percent = Some(43)),
    ] {
        assert_eq!(ticking.essence(), troubled.essence());
    }
    for news in [
        with(|report| overview(report).analyzers.clear()),
        with(|report| overview(report).troubles.clear()),
        with(|report| overview(report).configuration.hash = "0000000000".to_owned()),
        with(|report| overview(report).clock = ClockQuality::Unset),
        with(|report| report.spare.clear()),
        with(|report| report.pairing_code = Some("8765-4321".to_owned())),
    ] {
        assert!(news.essence() != troubled.essence() || news.pairing_code.is_some());
    }
    let (text, later) =
        (troubled.text(), with(|report| report.dated = Dated::LastChange(Timestamp(0), ClockQuality::Unset)));
    assert!(same(&text, &later.text()) && text != later.text());
    assert!(!same(&text, &with(|report| report.spare.clear()).text()));
}

#[test]
fn the_light_tells_the_worst() {
    let light = |health: &Health, addresses: Option<&[String]>| {
        Light::of(&health.overview(now(ClockQuality::Synchronized), None), addresses)
    };
    let now = now(ClockQuality::Synchronized);
    let mut health = health(now.quality);
    let some = ["192.0.2.17".to_owned()];
    assert_eq!((light(&health, None), light(&health, Some(&some))), (Light::Fine, Light::Fine));
    assert_eq!(light(&health, Some(&[])), Light::NoNetwork);
    // Switched off for the night: nobody need come.
    let away = |id: &str| Fact::LinkAbsent { analyzer: AnalyzerId(id.to_owned()), reason: "away".to_owned() };
    health.learn(now, away("hematology"));
    assert_eq!(light(&health, None), Light::Fine);
    health.learn(now, Fact::StoreFailed { reason: "the disk is full".to_owned() });
    assert_eq!(light(&health, None), Light::Degraded);
    health.learn(now, Fact::ConfigRefused { reason: "line 1".to_owned() });
    assert_eq!(light(&health, Some(&[])), Light::ConfigError);
    let update =
        Update { phase: UpdatePhase::Installing, percent: None, from: None, to: None, reason: String::new(), at: AT };
    health.learn(now, Fact::BoxSeen { appliance: Appliance { update: Some(update), ..Appliance::default() } });
    assert_eq!(light(&health, None), Light::Updating);
}

#[test]
fn the_page_is_where_a_browser_finds_it() {
    let page = |listen: Option<&str>, url: Option<&str>, served: bool| {
        let http = Http {
            listen: listen.map(str::to_owned),
            public_url: url.map(str::to_owned),
            tokens: Vec::new(),
            body_bytes_max: 1,
            metrics: MetricsDoor::default(),
            page: served,
        };
        Page::of(
            &http,
            &["192.0.2.17/24".to_owned(), "fe80::1".to_owned(), "2001:db8::7/64".to_owned()],
            Some("clinic-7"),
        )
    };
    let at = |addresses: &[&str]| Page::At(addresses.iter().map(|one| (*one).to_owned()).collect());
    assert_eq!((page(None, None, true), page(Some("0.0.0.0:80"), None, false)), (Page::Off, Page::Off));
    assert_eq!(page(Some("127.0.0.1:8080"), None, true), Page::BoxOnly("127.0.0.1:8080".to_owned()));
    assert_eq!(page(Some("192.0.2.9:81"), None, true), at(&["http://192.0.2.9:81/"]));
    assert_eq!(page(Some("0.0.0.0:80"), Some("https://box.example"), true), at(&["https://box.example/"]));
    let all = ["http://192.0.2.17:8080/", "http://[2001:db8::7]:8080/", "http://clinic-7.local:8080/"];
    assert_eq!((page(Some("0.0.0.0:8080"), None, true), page(Some("[::]:8080"), None, true)), (at(&all), at(&all)));
}
