//! Files that settings name: what is no certificate and no key is told where it is named, and what is missing is called so.

use crate::bench::Bench;
use gateway_daemon::commands::check;
use rcgen::{CertificateParams, KeyPair};
use std::fs;
use std::os::unix::fs::PermissionsExt;

/// A certificate and its key, as PEM.
fn pair() -> (String, String) {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["box.example".to_owned()]).expect("a name");
    (params.self_signed(&key).expect("a certificate").pem(), key.serialize_pem())
}

/// What is told of a box's own broker with these two files.
fn told(certificate: &[u8], key: &[u8]) -> String {
    let bench = Bench::new();
    fs::write(bench.path("c.pem"), certificate).expect("a file");
    fs::write(bench.path("k.pem"), key).expect("a file");
    let of = |name: &str| bench.path(name).display().to_string();
    bench.write(format!(
        "mqtt: {{ url: mosquitto }}\nbroker:\n  listen: 0.0.0.0:8883\n  certificate_file: {}\n  key_file: {}\n  \
         users: [{{ id: a, password: hunter2 hunter2 }}]\n",
        of("c.pem"),
        of("k.pem")
    ));
    bench.told()
}

#[test]
fn a_pair_of_files_is_looked_into() {
    let ((certificate, key), (other, _)) = (pair(), pair());
    assert_eq!(told(certificate.as_bytes(), key.as_bytes()), "good");
    // A key after its certificate in one file is usual too.
    let both = format!("{certificate}{key}");
    assert_eq!(told(both.as_bytes(), both.as_bytes()), "good");
    let first = |told: String| told.lines().next().unwrap_or_default().to_owned();
    let key_is = |text: &[u8], problem: &str| {
        assert_eq!(first(told(certificate.as_bytes(), text)), format!("FILE:5:13: broker.key_file: {problem}"));
    };
    let certificate_is = |text: &[u8], problem: &str| {
        assert_eq!(first(told(text, key.as_bytes())), format!("FILE:4:21: broker.certificate_file: {problem}"));
    };
    key_is(b"hunter2\n", "this file holds no private key");
    key_is(certificate.as_bytes(), "this file holds a certificate where the private key belongs");
    key_is(
        key.replace("BEGIN PRIVATE", "BEGIN ENCRYPTED PRIVATE").as_bytes(),
        "the key in this file is locked with a password, which nobody types in at a box",
    );
    key_is(&key.as_bytes()[..key.len() / 2], "the key in this file is damaged");
    key_is(b"", "this file holds no private key");
    certificate_is(b"hunter2\n", "this file holds no certificate");
    certificate_is(key.as_bytes(), "this file holds a private key where the certificate belongs");
    let request = certificate.replace("CERTIFICATE", "CERTIFICATE REQUEST");
    certificate_is(request.as_bytes(), "this file holds a request for a certificate, not the certificate");
    certificate_is(&certificate.as_bytes()[..certificate.len() / 2], "the certificate in this file is damaged");
    let middle = certificate.len() / 2;
    let cut = format!("{}{}", &certificate[..middle - 64], &certificate[middle..]);
    certificate_is(cut.as_bytes(), "the certificate in this file is damaged");
    certificate_is(b"\x30\x82\x01\x00\x02\x01\x03", "this file is no certificate as text (PEM)");
    assert_eq!(
        first(told(other.as_bytes(), key.as_bytes())),
        "FILE:5:13: broker.key_file: is not the key that the certificate in `certificate_file` was made for"
    );
}

#[test]
fn every_connection_with_certificates_has_them_looked_into() {
    let bench = Bench::new();
    fs::write(bench.path("no.pem"), "hunter2\n").expect("a file");
    let no = bench.path("no.pem").display().to_string();
    let files = format!("ca_file: {no}, certificate_file: {no}, key_file: {no}");
    bench.write(format!(
        "mqtt: {{ url: 'mqtts://a.example', {files} }}\nmonitoring: {{ url: 'mqtts://b.example', {files} }}\n\
         sparkplug: {{ url: 'mqtts://c.example', group_id: g, {files} }}\n\
         webhooks: [{{ id: w, url: 'https://d.example', {files} }}]\n"
    ));
    let told = bench.told();
    for part in ["mqtt", "monitoring", "sparkplug", "webhooks[0]"] {
        for key in ["ca_file: this file holds no certificate", "key_file: this file holds no private key"] {
            assert!(told.contains(&format!(": {part}.{key}")), "{part}.{key} in {told}");
        }
    }
    assert_eq!(told.lines().filter(|line| line.starts_with("FILE")).count(), 12, "{told}");
}

#[test]
fn the_mark_that_notepad_puts_in_front_of_a_password_is_no_part_of_it() {
    let bench = Bench::new();
    fs::write(bench.path("key"), "\u{feff}SecretKey12345\r\n").expect("a file");
    bench.write(format!(
        "mqtt: {{ url: 'mqtts://a.example', user: u, password_file: {} }}",
        bench.path("key").display()
    ));
    let loaded = gateway_daemon::configuration::load(&bench.source()).expect("good settings");
    assert_eq!(loaded.config.mqtt.password.expect("a password").expose(), "SecretKey12345");
}

#[test]
fn what_may_not_be_read_is_told_apart_from_what_is_not_there() {
    let bench = Bench::new();
    let path = bench.path("ca.pem");
    fs::write(&path, pair().0).expect("a file");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).expect("our own file");
    bench.write(format!("mqtt: {{ url: 'mqtts://a.example', ca_file: {} }}", path.display()));
    // Root reads it all the same.
    let expected = if fs::File::open(&path).is_ok() { "good" } else { "may not read it" };
    assert!(bench.told().contains(expected), "{}", bench.told());
    bench.write(format!("mqtt: {{ url: 'mqtts://a.example', ca_file: {} }}", bench.folder.path().display()));
    assert!(bench.told().contains("is a folder, not a file"), "{}", bench.told());
    bench.write("mqtt: { url: 'mqtts://a.example', ca_file: /dev/null }");
    assert!(bench.told().contains("is not a plain file"), "{}", bench.told());
}

#[test]
fn a_file_that_is_not_there_is_called_so_and_what_lies_beside_it_is_named() {
    let told = |bench: &Bench| {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let status = check::run_from(&bench.source(), &mut out, &mut err);
        (
            status,
            String::from_utf8(err).expect("text").replace(&bench.path("gateway.yaml").display().to_string(), "FILE"),
        )
    };
    let bench = Bench::new();
    let (status, said) = told(&bench);
    assert_eq!((status, said.lines().next()), (78, Some("FILE: there is no such file")));
    assert!(!said.contains("mistake"), "{said}");
    bench.write_beside("gateway.yaml.txt", "version: 1\n");
    assert_eq!(told(&bench).1, "FILE: there is no such file\n    rename `gateway.yaml.txt` to `gateway.yaml`\n");
}

#[test]
fn a_file_in_a_folder_that_root_does_not_read_is_warned_of() {
    let bench = Bench::new();
    fs::write(bench.path("wifi"), "hunter2 hunter2\n").expect("a file");
    let path = bench.path("wifi").display().to_string();
    bench.write(format!("network: {{ wifi: {{ ssid: Clinic, password_file: {path}, country: DE }} }}"));
    let (mut out, mut err) = (Vec::new(), Vec::new());
    assert_eq!(check::run_from(&bench.source(), &mut out, &mut err), 0);
    let out = String::from_utf8(out).expect("text");
    assert!(out.contains("warning: network.wifi.password_file: for this the box reads only files in"), "{out}");
}
