//! The configurations of `config/monitoring`: certificates both ways, and no box that speaks for another.

use super::brokers::{Broker, free_port, mosquitto_with, nats_with};
use super::processes::{ended, eventually, json};
use gateway_core::health::Health;
use gateway_core::monitoring::{Publication, Status};
use gateway_core::time::{Now, Timestamp};
use gateway_daemon::platform::listening::BrokerAt;
use rcgen::{CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rumqttc::{AsyncClient, Event, Incoming, LastWill, PublishOptions, QoS};
use serde_json::Value;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

fn config(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/monitoring").join(name);
    std::fs::read_to_string(path).expect("a file of the project")
}

/// An authority, the brokers' certificate, and one for each box and for the watch.
fn make_certificates(folder: &TempDir) {
    let authority_key = KeyPair::generate().expect("a key");
    let mut authority = CertificateParams::new(Vec::new()).expect("no names");
    authority.distinguished_name.push(DnType::CommonName, "authority");
    authority.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let certificate = authority.self_signed(&authority_key).expect("a certificate");
    let write = |name: &str, text: String| std::fs::write(folder.path().join(name), text).expect("a folder of our own");
    write("fleet-ca.pem", certificate.pem());
    let issuer = Issuer::new(authority, authority_key);
    for name in ["server", "clinic-7", "clinic-8", "fleet-watch"] {
        let hosts = if name == "server" { vec!["127.0.0.1".to_owned()] } else { Vec::new() };
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(hosts).expect("a name");
        params.distinguished_name.push(DnType::CommonName, name);
        write(&format!("{name}.pem"), params.signed_by(&key, &issuer).expect("a certificate").pem());
        write(&format!("{name}.key"), key.serialize_pem());
    }
}

/// The broker, for somebody with this certificate.
fn at(folder: &TempDir, port: u16, name: &str) -> BrokerAt {
    let file = |name: String| Some(folder.path().join(name));
    BrokerAt {
        host: "127.0.0.1".to_owned(),
        port,
        tls: true,
        user: None,
        password: None,
        ca_file: file("fleet-ca.pem".to_owned()),
        certificate_file: file(format!("{name}.pem")),
        key_file: file(format!("{name}.key")),
    }
}

/// What the watch shows, with this certificate.
fn watched(folder: &TempDir, port: u16, name: &str) -> std::process::Output {
    let url = format!("mqtts://127.0.0.1:{port}");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (authority, certificate, key) =
        (path("fleet-ca.pem"), path(&format!("{name}.pem")), path(&format!("{name}.key")));
    ended(&[
        "fleet",
        "watch",
        "--url",
        &url,
        "--ca-file",
        &authority,
        "--certificate-file",
        &certificate,
        "--key-file",
        &key,
        "--once",
        "--settle",
        "500ms",
        "--json",
        "--all",
    ])
}

fn gateways(output: &std::process::Output) -> Vec<String> {
    let listing = json(output);
    let list = listing["gateways"].as_array().expect("a list").clone();
    list.iter().map(|one| one["gateway"].as_str().map(str::to_owned).expect("a name")).collect()
}

fn status_of(gateway: &str) -> Publication {
    let now = Now { wall: Timestamp(1_795_292_043_000), ..Now::default() };
    let health = Health::new(gateway, "1.0.0", "boot".to_owned(), now);
    Publication::state("status", &Status::from(&health.overview(now, None)))
}

/// Somebody with this certificate says that this gateway is well; the last will says the same of `will_of`. Returns once the
/// broker has acknowledged it, or has dropped the connection for it. The connection then breaks without a good-bye.
async fn say(at: &BrokerAt, gateway: &str, will_of: &str) -> Result<(), String> {
    let topic = |gateway: &str| format!("analyzer-gateway/{gateway}/status");
    let mut options = at.options(&format!("says-{gateway}")).expect("good files");
    let will = status_of(will_of).payload().to_vec();
    options.set_last_will(LastWill::new(topic(will_of), will, QoS::AtLeastOnce, true));
    let (client, mut events) = AsyncClient::builder(options).capacity(4).build();
    let saying = async {
        loop {
            match events.poll().await.map_err(|error| error.to_string())? {
                Event::Incoming(Incoming::ConnAck(_)) => {
                    let options = PublishOptions::new(QoS::AtLeastOnce).retain(true);
                    let payload = status_of(gateway).payload().to_vec();
                    client.publish(topic(gateway), payload, options).await.map_err(|error| error.to_string())?;
                }
                Event::Incoming(Incoming::PubAck(_)) => return Ok(()),
                _ => {}
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), saying).await.map_err(|_| "no answer".to_owned())?
}

/// A box speaks for itself and not for another, neither now nor with its last will; nobody but the watch hears them all.
async fn guarded(folder: &TempDir, broker: &Broker) {
    let seven = at(folder, broker.port, "clinic-7");
    say(&seven, "clinic-7", "clinic-7").await.expect("its own");
    // What becomes of these is up to the broker, as long as nobody hears it.
    let _ = say(&seven, "clinic-9", "clinic-7").await;
    let _ = say(&seven, "clinic-7", "clinic-9").await;
    let heard = watched(folder, broker.port, "fleet-watch");
    assert_eq!(gateways(&heard), ["clinic-7"]);
    let curious = watched(folder, broker.port, "clinic-7");
    let saw = if curious.stdout.is_empty() { Vec::new() } else { gateways(&curious) };
    assert!(saw.is_empty(), "a box heard the others: {saw:?}");
}

#[tokio::test]
async fn at_mosquitto_no_box_speaks_for_another() {
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    make_certificates(&folder);
    let (port, here) = (free_port(), folder.path().display().to_string());
    std::fs::write(folder.path().join("fleet.acl"), config("mosquitto-fleet.acl")).expect("a folder of our own");
    let text = config("mosquitto-fleet.conf")
        .replace("listener 8883", &format!("listener {port} 127.0.0.1"))
        .replace("/etc/mosquitto/", &format!("{here}/"))
        .replace("/var/lib/mosquitto/", &format!("{here}/"));
    let Some(broker) = mosquitto_with(&folder, port, &text) else { return };
    guarded(&folder, &broker).await;
    // Any certificate of the authority is a box; none is nobody.
    let nobody = ended(&["fleet", "watch", "--url", &format!("mqtts://127.0.0.1:{port}"), "--once"]);
    assert_eq!(nobody.status.code(), Some(3));
}

/// `nats-fleet.conf` for this machine, as one of these nodes; the last number is the port for MQTT.
fn nats_config(folder: &TempDir, node: usize, ports: &[[u16; 3]]) -> String {
    let here = folder.path().display().to_string();
    let [clients, routes, mqtt] = ports[node];
    let mut text = config("nats-fleet.conf")
        .replace("127.0.0.1:4222", &format!("127.0.0.1:{clients}"))
        .replace("0.0.0.0:6222", &format!("127.0.0.1:{routes}"))
        .replace("0.0.0.0:8883", &format!("127.0.0.1:{mqtt}"))
        .replace("/var/lib/nats", &format!("{here}/store-{node}"))
        .replace("/etc/nats/", &format!("{here}/"));
    for (number, ports) in ports.iter().enumerate() {
        text = text.replace(&format!("fleet-{}.example:6222", number + 1), &format!("127.0.0.1:{}", ports[1]));
    }
    text
}

#[tokio::test]
async fn at_a_cluster_of_nats_no_box_speaks_for_another_and_a_node_may_go() {
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    make_certificates(&folder);
    std::fs::write(folder.path().join("nats-fleet-users.conf"), config("nats-fleet-users.conf"))
        .expect("a folder of our own");
    let ports = [(); 3].map(|()| [free_port(), free_port(), free_port()]);
    let mut nodes = Vec::new();
    for (number, [_, _, mqtt]) in ports.iter().enumerate() {
        let text = nats_config(&folder, number, &ports);
        let Some(node) = nats_with(&folder, &format!("fleet-{}", number + 1), *mqtt, &text) else { return };
        nodes.push(node);
    }
    // A node takes clients once the cluster has chosen who leads.
    let seven = at(&folder, nodes[0].port, "clinic-7");
    let deadline = tokio::time::Instant::now() + super::processes::DEADLINE;
    while let Err(told) = say(&seven, "clinic-7", "clinic-7").await {
        assert!(tokio::time::Instant::now() < deadline, "the cluster does not come up: {told}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    guarded(&folder, &nodes[0]).await;
    // Its list of boxes does not know this one.
    let stranger = say(&at(&folder, nodes[0].port, "clinic-8"), "clinic-8", "clinic-8").await;
    assert!(stranger.is_err(), "a box that is not in the list");
    nodes[0].switch_off();
    let heard: Value = eventually("the other nodes' memory", || {
        let output = watched(&folder, nodes[2].port, "fleet-watch");
        (output.status.code() != Some(3)).then(|| json(&output)).filter(|heard| heard["census"]["gateways"] != 0)
    });
    assert_eq!(heard["gateways"][0]["gateway"], "clinic-7");
}
