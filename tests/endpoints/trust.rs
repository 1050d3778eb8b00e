//! Whom the gateway trusts, and how it says that it does not.

use super::servers::{Authority, GOOD, Server, Signed, failure, send, send_by};
use gateway_core::config::Webhook;
use gateway_core::delivery::ReasonCode;
use gateway_daemon::platform::http::WebhookClient;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const CERTIFICATE: (&str, ReasonCode) = ("configuration", ReasonCode::Certificate);

async fn server(authority: &Authority, signed: &Signed) -> Server {
    Server::answering(Some(authority.server(signed, None)), GOOD).await
}

fn webhook(server: &Server, ca: Option<&Authority>) -> Webhook {
    let mut webhook = Webhook::new("lims", &format!("https://localhost:{}/hook", server.port), "cloudevents");
    webhook.ca_file = ca.map(Authority::file);
    webhook
}

/// Sends, and wants a refusal with these words.
async fn refused(webhook: &Webhook, server: &Server, words: &[&str]) {
    let (class, code, detail) = failure(send(webhook).await);
    assert_eq!((class, code), CERTIFICATE, "{detail}");
    for word in words {
        assert!(detail.contains(word), "`{word}` is missing in: {detail}");
    }
    assert!(server.heard().is_empty(), "nothing was said to a peer that is not trusted");
}

#[tokio::test]
async fn an_authority_of_ones_own_is_trusted_where_it_is_named() {
    let ours = Authority::new("Clinic CA");
    let server = server(&ours, &ours.good("localhost")).await;
    let response = send(&webhook(&server, Some(&ours))).await.expect("an answer");
    assert_eq!((response.status, response.body.as_slice()), (200, b"ok".as_slice()));
    let heard = server.heard().concat();
    assert!(heard.starts_with("POST /hook HTTP/1.1\r\n"), "{heard}");
    assert!(
        heard.contains(&format!("host: localhost:{}\r\n", server.port)) && heard.contains("x-mark: m1\r\n"),
        "{heard}"
    );
}

#[tokio::test]
async fn an_unknown_authority_is_not() {
    let (ours, other) = (Authority::new("Clinic CA"), Authority::new("Other CA"));
    let server = server(&ours, &ours.good("localhost")).await;
    refused(&webhook(&server, None), &server, &["authority that is not trusted", "ca_file"]).await;
    refused(&webhook(&server, Some(&other)), &server, &["authority that is not trusted"]).await;
}

#[tokio::test]
async fn an_expired_certificate_is_told_with_its_day() {
    let ours = Authority::new("Clinic CA");
    let server = server(&ours, &ours.sign("localhost", (2020, 1, 1), (2024, 2, 29))).await;
    refused(&webhook(&server, Some(&ours)), &server, &["expired on 2024-02-29", "days ago"]).await;
}

#[tokio::test]
async fn a_certificate_of_tomorrow_is_told_with_its_day() {
    let ours = Authority::new("Clinic CA");
    let server = server(&ours, &ours.sign("localhost", (2119, 12, 31), (2120, 1, 31))).await;
    refused(&webhook(&server, Some(&ours)), &server, &["valid only from 2119-12-31"]).await;
}

#[tokio::test]
async fn a_certificate_for_another_name_is_told_with_both_names() {
    let ours = Authority::new("Clinic CA");
    let server = server(&ours, &ours.good("lims.example")).await;
    refused(&webhook(&server, Some(&ours)), &server, &["is for lims.example, not for localhost"]).await;
}

#[tokio::test]
async fn a_receiver_that_wants_a_client_certificate_gets_the_one_of_the_settings() {
    let (ours, clients) = (Authority::new("Clinic CA"), Authority::new("Clients CA"));
    let config = ours.server(&ours.good("localhost"), Some(&clients));
    let server = Server::answering(Some(config), GOOD).await;
    let mut webhook = webhook(&server, Some(&ours));
    refused(&webhook, &server, &["asks for a client certificate", "certificate_file"]).await;

    let foreign = ours.good("gateway");
    (webhook.certificate_file, webhook.key_file) = (Some(foreign.files.0), Some(foreign.files.1));
    refused(&webhook, &server, &["does not accept our client certificate"]).await;

    let own = clients.good("gateway");
    (webhook.certificate_file, webhook.key_file) = (Some(own.files.0), Some(own.files.1));
    assert_eq!(send(&webhook).await.expect("an answer").status, 200);
}

#[tokio::test]
async fn a_renewed_file_is_read_again_after_a_refusal() {
    let (ours, other) = (Authority::new("Clinic CA"), Authority::new("Other CA"));
    let server = server(&ours, &ours.good("localhost")).await;
    let webhook = webhook(&server, Some(&other));
    let client = WebhookClient::default();
    assert_eq!(failure(send_by(&client, &webhook).await).1, ReasonCode::Certificate);
    std::fs::copy(ours.file(), other.file()).expect("a folder of our own");
    assert_eq!(send_by(&client, &webhook).await.expect("an answer").status, 200);
}

#[tokio::test]
async fn a_file_that_is_no_certificate_is_named() {
    let ours = Authority::new("Clinic CA");
    let server = server(&ours, &ours.good("localhost")).await;
    std::fs::write(ours.file(), "no certificate").expect("a folder of our own");
    refused(&webhook(&server, Some(&ours)), &server, &["ca.pem", "holds no certificate"]).await;
}

#[tokio::test]
async fn a_pinned_key_is_trusted_and_nothing_else() {
    let (ours, other) = (Authority::new("Clinic CA"), Authority::new("Other CA"));
    // Whoever signed it, whatever it is for, and whatever day it is: the key is what counts.
    let pinned = ours.sign("elsewhere.example", (2020, 1, 1), (2021, 1, 1));
    let server = server(&ours, &pinned).await;
    let mut webhook = webhook(&server, None);
    webhook.pinned_key = Some(pinned.pin);
    assert_eq!(send(&webhook).await.expect("an answer").status, 200);

    // An authority that would be trusted does not help against a pin.
    let stranger = other.good("localhost");
    let stranger = Server::answering(Some(other.server(&stranger, None)), GOOD).await;
    webhook.url = format!("https://localhost:{}/hook", stranger.port);
    webhook.ca_file = Some(other.file());
    refused(&webhook, &stranger, &["not the one of `pinned_key`", "sha256/"]).await;
}

#[tokio::test]
async fn a_copied_certificate_without_its_key_is_worth_nothing() {
    let ours = Authority::new("Clinic CA");
    let (pinned, thief) = (ours.good("localhost"), ours.good("thief.example"));
    let provider = rustls::crypto::ring::default_provider();
    let key = provider.key_provider.load_private_key(thief.key.clone_key()).expect("a key");
    let stolen = rustls::sign::CertifiedKey::new(pinned.chain.clone(), key);
    let mut config = ours.server(&thief, None);
    config.cert_resolver = std::sync::Arc::new(rustls::sign::SingleCertAndKey::from(stolen));
    let server = Server::answering(Some(config), GOOD).await;
    let mut webhook = webhook(&server, None);
    webhook.pinned_key = Some(pinned.pin);
    refused(&webhook, &server, &[]).await;
}

#[tokio::test]
async fn a_port_without_tls_is_told_as_that() {
    let server = Server::start(None, |mut peer, _| async move {
        peer.read_buf(&mut Vec::new()).await?;
        peer.write_all(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n").await
    })
    .await;
    let (class, code, detail) = failure(send(&webhook(&server, None)).await);
    assert_eq!((class, code), CERTIFICATE, "{detail}");
    assert!(detail.contains("does not speak TLS"), "{detail}");
}
