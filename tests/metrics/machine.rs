//! How long certificates hold, read from files as the settings name them.

use gateway_core::config::Config;
use gateway_core::time::{Now, Timestamp};
use gateway_core::vitals::{CertificateFile, certificate_files};
use gateway_daemon::platform::Machine;
use gateway_daemon::platform::machine::ThisMachine;
use rcgen::{CertificateParams, KeyPair, date_time_ymd};

fn certificate(year: i32) -> String {
    let mut params = CertificateParams::new(vec!["box.example".to_owned()]).expect("a name");
    params.not_before = date_time_ymd(2026, 1, 1);
    params.not_after = date_time_ymd(year, 1, 11);
    params.self_signed(&KeyPair::generate().expect("a key")).expect("a certificate").pem()
}

#[tokio::test]
async fn of_its_own_certificate_the_first_counts_and_of_authorities_the_one_that_holds_longest() {
    let folder = tempfile::tempdir().expect("a folder");
    let both = folder.path().join("both.pem");
    std::fs::write(&both, certificate(2027) + &certificate(2029)).expect("a folder of our own");
    // 2027-01-01T00:00:00Z
    let now = Now { wall: Timestamp(1_798_761_600_000), ..Now::default() };
    let file = |what| CertificateFile { of: "mqtt".to_owned(), what, path: both.clone() };
    let gone = CertificateFile { of: "mqtt".to_owned(), what: "ca_file", path: folder.path().join("gone.pem") };
    let left = ThisMachine::default().certificates(&[file("certificate_file"), file("ca_file"), gone], now).await;
    let days: Vec<(&str, i64)> = left.iter().map(|one| (one.what.as_str(), one.days_left)).collect();
    assert_eq!(days, [("certificate_file", 10), ("ca_file", 741)]);
}

#[test]
fn every_certificate_of_the_settings_is_watched() {
    let mut config = Config::default();
    config.mqtt.ca_file = Some("/a".into());
    config.monitoring.broker = Some(gateway_core::config::Mqtt {
        certificate_file: Some("/b".into()),
        ..gateway_core::config::Mqtt::default()
    });
    let mut webhook = gateway_core::config::Webhook::new("lims", "https://lims.example", "cloudevents");
    webhook.ca_file = Some("/c".into());
    config.webhooks = vec![webhook];
    let files = certificate_files(&config);
    let told: Vec<(&str, &str)> = files.iter().map(|file| (file.of.as_str(), file.what)).collect();
    assert_eq!(told, [("mqtt", "ca_file"), ("monitoring", "certificate_file"), ("webhook:lims", "ca_file")]);
}
