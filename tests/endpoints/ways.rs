//! Through a proxy: tunnelled or passed on, with a password, encrypted itself, and refused.

use super::servers::{Authority, GOOD, Notes, Peer, Server, failure, send};
use gateway_core::config::{Secret, Webhook};
use gateway_core::delivery::ReasonCode;
use std::io;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// `user:pass word` in base64.
const LOGIN: &str = "proxy-authorization: Basic dXNlcjpwYXNzIHdvcmQ=\r\n";

/// A proxy that knows one user.
async fn tunnel(mut peer: Peer, notes: Notes) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(tokio::io::AsyncReadExt::read_u8(&mut peer).await?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    notes.hear(head.clone());
    if !head.contains(LOGIN) {
        return peer.write_all(b"HTTP/1.1 407 Who are you\r\ncontent-length: 0\r\n\r\n").await;
    }
    let to = head.split(' ').nth(1).expect("CONNECT has a target");
    let Ok(mut onward) = TcpStream::connect(to).await else {
        return peer.write_all(b"HTTP/1.1 502 Nobody there\r\n\r\n").await;
    };
    peer.write_all(b"HTTP/1.1 200 Go\r\nx-proxy: yes\r\n\r\n").await?;
    tokio::io::copy_bidirectional(&mut peer, &mut onward).await.map(drop)
}

fn through(proxy: &Server, login: &str, url: String) -> Webhook {
    let mut webhook = Webhook::new("lims", &url, "cloudevents");
    webhook.proxy = Some(Secret::new(format!("http://{login}127.0.0.1:{}", proxy.port)));
    webhook
}

#[tokio::test]
async fn https_goes_through_a_tunnel_with_user_and_password() {
    let ours = Authority::new("Clinic CA");
    let server = Server::answering(Some(ours.server(&ours.good("localhost"), None)), GOOD).await;
    let proxy = Server::start(None, tunnel).await;
    let mut webhook = through(&proxy, "user:pass%20word@", format!("https://localhost:{}/hook", server.port));
    webhook.ca_file = Some(ours.file());
    assert_eq!(send(&webhook).await.expect("an answer").status, 200);
    assert!(proxy.heard()[0].starts_with(&format!("CONNECT localhost:{} HTTP/1.1\r\n", server.port)));
    assert!(!server.heard()[0].contains("proxy-authorization"), "the password is for the proxy alone");
}

#[tokio::test]
async fn a_proxy_with_tls_is_judged_by_its_own_certificate() {
    let ours = Authority::new("Clinic CA");
    let signed = ours.good("localhost");
    let server = Server::answering(Some(ours.server(&signed, None)), GOOD).await;
    let proxy = Server::start(Some(ours.server(&ours.good("localhost"), None)), tunnel).await;
    // The settings refuse a pin where both have one host name, so the receiver goes by its address here.
    let mut webhook = through(&proxy, "", format!("https://127.0.0.1:{}/hook", server.port));
    webhook.proxy = Some(Secret::new(format!("https://user:pass%20word@localhost:{}", proxy.port)));
    webhook.ca_file = Some(ours.file());
    // The pin is for the receiver, not for the proxy, which has another key.
    webhook.pinned_key = Some(signed.pin);
    assert_eq!(send(&webhook).await.expect("an answer").status, 200);
    webhook.pinned_key = Some([7; 32]);
    let (_, code, detail) = failure(send(&webhook).await);
    assert_eq!(code, ReasonCode::Certificate);
    assert!(detail.contains("not the one of `pinned_key`"), "the way through a proxy weakens no pin: {detail}");
    webhook.pinned_key = Some(signed.pin);
    webhook.ca_file = None;
    let (class, code, detail) = failure(send(&webhook).await);
    assert_eq!((class, code), ("configuration", ReasonCode::Certificate), "{detail}");
    assert!(detail.contains("the certificate of the proxy"), "{detail}");
}

#[tokio::test]
async fn plain_http_is_passed_on_with_the_whole_address() {
    let proxy = Server::answering(None, GOOD).await;
    let webhook = through(&proxy, "user:pass%20word@", "http://127.0.0.1:9/hook".to_owned());
    assert_eq!(send(&webhook).await.expect("an answer").status, 200);
    let heard = &proxy.heard()[0];
    assert!(heard.starts_with("POST http://127.0.0.1:9/hook HTTP/1.1\r\n"), "{heard}");
    assert!(heard.contains(LOGIN) && heard.contains("host: 127.0.0.1:9\r\n"), "{heard}");
}

#[tokio::test]
async fn a_proxy_that_refuses_is_named_and_its_password_is_not() {
    let proxy = Server::start(None, tunnel).await;
    let webhook = through(&proxy, "user:wrong-word@", "https://localhost:9/hook".to_owned());
    let (class, code, detail) = failure(send(&webhook).await);
    assert_eq!((class, code), ("configuration", ReasonCode::Unauthorized));
    assert!(detail.contains("proxy") && detail.contains("407") && !detail.contains("wrong-word"), "{detail}");

    let webhook = through(&proxy, "user:pass%20word@", "https://localhost:9/hook".to_owned());
    let (class, code, detail) = failure(send(&webhook).await);
    assert_eq!((class, code), ("passing", ReasonCode::ServerError));
    assert!(detail.contains("502"), "{detail}");

    let plain = Server::answering(None, b"HTTP/1.1 407 Who\r\ncontent-length: 0\r\n\r\n").await;
    let webhook = through(&plain, "", "http://127.0.0.1:9/hook".to_owned());
    assert_eq!(failure(send(&webhook).await).0, "configuration", "the proxy's answer is not the receiver's");
}

#[tokio::test]
async fn a_proxy_that_is_not_there_is_said_to_be_the_proxy() {
    let proxy = Server::answering(None, GOOD).await;
    let webhook = through(&proxy, "", "https://localhost:9/hook".to_owned());
    let port = proxy.port;
    drop(proxy);
    // Its port is closed once its task has seen that.
    while TcpStream::connect(("127.0.0.1", port)).await.is_ok() {}
    let (class, code, detail) = failure(send(&webhook).await);
    assert_eq!((class, code), ("passing", ReasonCode::ConnectionRefused), "{detail}");
    assert!(detail.contains("the proxy"), "{detail}");
}
