//! The settings of receivers, of what comes in and of the API: what each key means, from the file and from the environment,
//! and that the last good settings need no other file.

use crate::bench::{Bench, SECRET};
use gateway_core::config::{Order, Port, Qc, Scope, Webhook};
use gateway_core::dialects::{Mode, PersonalData, Signature};
use gateway_core::event::AnalyzerId;
use gateway_core::time::Timestamp;
use gateway_daemon::configuration::{keep_last_good, load_for_run};
use std::fs;

fn webhook(keys: &str) -> Webhook {
    let text = format!("webhooks:\n  - id: w\n    url: https://a.example/hook\n{keys}");
    Bench::with(text).good().webhooks.remove(0)
}

#[test]
fn url_and_dialect_are_enough() {
    let webhook = webhook("");
    assert_eq!(webhook, {
        let mut expected = Webhook::new("w", "https://a.example/hook", "cloudevents");
        expected.endpoint.time_zone = "UTC".to_owned();
        expected
    });
    let text = "http: { public_url: 'https://box.example/' }\nwebhooks:\n\
                - { id: a, url: 'https://a.example', dialect: lab }\n\
                - { id: b, url: 'https://b.example', dialect: partner, secret: k }\n\
                - { id: c, url: 'https://c.example', dialect: session, secret: k }\n\
                - { id: d, url: 'https://d.example', dialect: test-v0 }\n\
                - { id: e, url: 'https://e.example', dialect: fhir }\n\
                - { id: f, url: 'mllps://f.example', dialect: hl7 }\n";
    let config = Bench::with(text).good();
    assert_eq!(config.webhooks[0].endpoint.public_url.as_deref(), Some("https://box.example"));
    let allowed: Vec<PersonalData> = config.webhooks.iter().map(|webhook| webhook.endpoint.personal_data).collect();
    assert_eq!((allowed[0], allowed[1]), (PersonalData::Documented, PersonalData::None));
    assert_eq!((config.webhooks[5].url.as_str(), config.webhooks[5].endpoint.mllp), ("mllps://f.example:2575", true));
    assert!(!config.webhooks[4].endpoint.mllp);
}

#[test]
fn every_key_of_a_webhook_means_what_it_says() {
    let webhook = webhook(&format!(
        "    qc: only\n    analyzers: [gateway]\n    events: [TEST_FINISHED]\n    mode: binary\n    posted: true\n    \
         personal_data: none\n    signatures: [{{ mac: X-Sum, secret: k }}, {{ standard_webhooks: {SECRET} }}]\n    \
         success_statuses: [200, 202-204]\n    order: none\n    backfill_per_second_max: 5\n    paused: true\n    \
         proxy: 'http://u:p@proxy.example:3128'\n    pinned_key: sha256/RBNvo1WzZ4oRRq0W9+hknpT7T8If536DEMBg9hyq/4o=\n    \
         secrets:\n      - {SECRET}\n      - {{ secret: {SECRET}, valid_until: 2099-12-31 }}\n      \
         - {{ secret: {SECRET}, valid_until: '2099-12-31T18:00:00+01:00' }}\n"
    ));
    assert_eq!((webhook.filter.qc, webhook.filter.analyzers), (Qc::Only, Some(vec![AnalyzerId("gateway".to_owned())])));
    let endpoint = &webhook.endpoint;
    assert_eq!((endpoint.mode, endpoint.posted, endpoint.personal_data), (Mode::Binary, true, PersonalData::None));
    assert_eq!(endpoint.success_statuses, Some(vec![200..=200, 202..=204]));
    let [Signature::Mac { header, secret }, Signature::StandardWebhooks(standard)] = endpoint.signatures.as_slice()
    else {
        panic!("{:?}", endpoint.signatures)
    };
    assert_eq!((header.as_str(), secret.expose(), standard.expose()), ("x-sum", "k", SECRET));
    assert_eq!((webhook.order, webhook.backfill_per_second_max, webhook.paused), (Order::None, Some(5), true));
    assert_eq!(webhook.proxy.map(|proxy| proxy.expose().to_owned()).as_deref(), Some("http://u:p@proxy.example:3128"));
    assert_eq!(webhook.pinned_key.map(|key| (key[0], key[31])), Some((0x44, 0x8a)));
    let until: Vec<Option<Timestamp>> = webhook.secrets.iter().map(|dated| dated.valid_until).collect();
    // A day counts to its end.
    assert_eq!(until, [None, Some(Timestamp(4_102_444_800_000)), Some(Timestamp(4_102_419_600_000))]);
}

#[test]
fn what_comes_in_and_who_may_ask_is_read() {
    let text = format!(
        "http:\n  tokens:\n    - {{ id: a, hash: {0}, scope: read }}\n    - {{ id: b, hash: {1}, scope: operate }}\n\
         sources:\n  - {{ id: page, dialect: test-v0, origins: ['*', 'https://App.example/'] }}\n  \
         - {{ id: other, dialect: cloudevents, secrets: [{SECRET}], analyzer: ward-2 }}\n  \
         - {{ id: desk, dialect: partner, secret: k }}\n\
         registrations: {{ lab_id_url: 'https://lab.example/ids/', lab_id_token: t }}\n\
         analyzers: [{{ id: reception, driver: scanner, port: {{ input: /dev/input/event3 }} }}]\n\
         webhooks: [{{ id: w, url: 'https://a.example', analyzers: [page, ward-2, reception] }}]\n",
        "A".repeat(64),
        "b".repeat(64)
    );
    let config = Bench::with(text).good();
    let tokens: Vec<(Scope, &str)> = config.http.tokens.iter().map(|token| (token.scope, &token.hash[..2])).collect();
    assert_eq!(tokens, [(Scope::Read, "aa"), (Scope::Operate, "bb")]);
    assert_eq!(config.sources[0].origins, ["*", "https://app.example"]);
    let analyzers: Vec<Option<&str>> =
        config.sources.iter().map(|source| source.analyzer.as_ref().map(|id| id.0.as_str())).collect();
    assert_eq!(analyzers, [Some("page"), Some("ward-2"), None]);
    assert_eq!(config.registrations.lab_id_url.as_deref(), Some("https://lab.example/ids"));
    assert_eq!(config.analyzers[0].port, Port::Input("/dev/input/event3".into()));
}

#[test]
fn the_environment_reaches_the_new_keys_by_id() {
    let mut bench = Bench::with(
        "http: { tokens: [{ id: portal, hash: '0', scope: read }] }\n\
         sources: [{ id: desk, dialect: partner, secret_file: /nonexistent }]\n\
         registrations: { lab_id_url: 'https://lab.example', lab_id_token_file: /nonexistent }\n\
         webhooks: [{ id: w, url: 'https://a.example', dialect: template, template: { body_file: /nonexistent } }]\n",
    );
    let hash = "c".repeat(64);
    for (name, value) in [
        ("HTTP__TOKENS__PORTAL__HASH", hash.as_str()),
        ("HTTP__LISTEN", "127.0.0.1:9000"),
        ("SOURCES__DESK__SECRET", "k"),
        ("SOURCES__DESK__ORIGINS", "https://a.example, https://b.example"),
        ("REGISTRATIONS__LAB_ID_TOKEN", "t"),
        ("WEBHOOKS__W__TEMPLATE__BODY", "{{ event.event }}"),
        ("WEBHOOKS__W__TEMPLATE__HEADERS__CONTENT_TYPE", "text/plain"),
        ("WEBHOOKS__W__SUCCESS_STATUSES", "200,202-204"),
        ("WEBHOOKS__W__PAUSED", "true"),
    ] {
        bench.set(&format!("ANALYZER_GATEWAY__{name}"), value);
    }
    let config = bench.good();
    assert_eq!(
        (config.http.tokens[0].hash.as_str(), config.http.listen.as_deref()),
        (hash.as_str(), Some("127.0.0.1:9000"))
    );
    assert_eq!((config.sources[0].secrets[0].expose(), config.sources[0].origins.len()), ("k", 2));
    assert!(config.registrations.lab_id_token.is_some());
    let webhook = &config.webhooks[0];
    assert!(webhook.paused && webhook.endpoint.template.is_some());
    assert_eq!(webhook.endpoint.success_statuses, Some(vec![200..=200, 202..=204]));
}

#[test]
fn the_last_good_settings_hold_every_secret_and_template_that_stood_in_a_file() {
    let bench = Bench::new();
    let file = |name: &str, text: &str| {
        fs::write(bench.path(name), text).expect("a file");
        bench.path(name).display().to_string()
    };
    let (key, standard, body) =
        (file("key", "k\n"), file("standard", SECRET), file("body", "{\n  \"a\": {{ event.event | tojson }}\n}\n"));
    bench.write(format!(
        "gateway: {{ state_dir: {} }}\n\
         sources: [{{ id: desk, dialect: partner, secret_file: {key} }}]\n\
         registrations: {{ lab_id_url: 'https://lab.example', lab_id_token_file: {key} }}\n\
         webhooks:\n  - id: w\n    url: https://a.example\n    dialect: template\n    template: {{ body_file: {body} }}\n    \
         signatures: [{{ mac: x-sum, secret_file: {key} }}, {{ standard_webhooks_file: {standard} }}]\n  \
         - {{ id: v, url: 'https://b.example', secrets: [{SECRET}, {{ secret_file: {standard}, valid_until: 2099-12-31 }}] }}\n",
        bench.path("state").display()
    ));
    let running = load_for_run(&bench.source()).expect("good settings");
    keep_last_good(&running.loaded).expect("kept");
    ["key", "standard", "body"].iter().for_each(|name| fs::remove_file(bench.path(name)).expect("removed"));
    let again = load_for_run(&bench.source()).expect("the last good settings");
    assert!(again.refused.is_some());
    assert_eq!(again.loaded.config, running.loaded.config);
}

#[test]
fn a_secret_that_has_run_out_does_not_stop_a_box_that_ran_with_it() {
    let bench = Bench::new();
    let state = bench.path("state");
    bench.write(format!(
        "gateway: {{ state_dir: {} }}\nwebhooks: [{{ id: w, url: 'https://a.example', secrets: [{{ secret: {SECRET}, \
         valid_until: 2099-12-31 }}] }}]\n",
        state.display()
    ));
    keep_last_good(&load_for_run(&bench.source()).expect("good settings").loaded).expect("kept");
    // The day has come: the same settings, kept when they were good.
    for path in [bench.path("gateway.yaml"), state.join("last-good.yaml")] {
        let text = fs::read_to_string(&path).expect("settings").replace("2099-12-31", "2020-01-01");
        fs::write(&path, text).expect("written");
    }
    let running = load_for_run(&bench.source()).expect("the last good settings");
    assert!(running.refused.expect("told").to_string().contains("has run out"));
    assert_eq!(running.loaded.config.webhooks.len(), 1);
}
