//! What receivers do to a request: each has its verdict within the webhook's timeout.

use super::servers::{GOOD, Peer, Server, failure, read_request, send, send_by};
use gateway_core::config::Webhook;
use gateway_core::delivery::ReasonCode;
use gateway_daemon::platform::http::WebhookClient;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn webhook(server: &Server) -> Webhook {
    Webhook::new("lims", &format!("http://127.0.0.1:{}/hook?key=1", server.port), "cloudevents")
}

fn impatient(server: &Server) -> Webhook {
    Webhook { timeout: Duration::from_millis(700), ..webhook(server) }
}

/// Byte by byte, as slowly as a test can bear, for ever.
async fn trickle(peer: &mut Peer) -> io::Result<()> {
    loop {
        peer.write_all(b"x").await?;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn status_headers_and_the_beginning_of_the_body_come_back() {
    let answer =
        b"HTTP/1.1 503 Busy\r\nDate: Tue, 21 Oct 2025 07:28:00 GMT\r\nRetry-After: 7\r\ncontent-length: 5\r\n\r\nlater";
    let server = Server::answering(None, answer).await;
    let response = send(&webhook(&server)).await.expect("an answer");
    assert_eq!((response.status, response.body.as_slice()), (503, b"later".as_slice()));
    assert_eq!(response.header("date"), Some("Tue, 21 Oct 2025 07:28:00 GMT"));
    assert_eq!(response.header("retry-after"), Some("7"));
    assert!(server.heard()[0].starts_with("POST /hook?key=1 HTTP/1.1\r\n"), "{:?}", server.heard());
}

#[tokio::test]
async fn a_connection_is_used_again_and_replaced_when_the_receiver_has_closed_it() {
    let server = Server::start(None, |mut peer, notes| async move {
        // Two requests a connection, then it closes without a word.
        for _ in 0..2 {
            let Some(request) = read_request(&mut peer).await? else { break };
            notes.hear(request);
            peer.write_all(GOOD).await?;
        }
        Ok(())
    })
    .await;
    let (client, webhook) = (WebhookClient::default(), webhook(&server));
    for _ in 0..6 {
        assert_eq!(send_by(&client, &webhook).await.expect("an answer").status, 200);
    }
    assert_eq!(server.heard().len(), 6);
    assert!(server.connections() < 6, "{} connections for 6 requests", server.connections());
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let elsewhere = Server::answering(None, GOOD).await;
    let location = format!(
        "HTTP/1.1 307 Elsewhere\r\nlocation: http://127.0.0.1:{}/\r\ncontent-length: 0\r\n\r\n",
        elsewhere.port
    );
    let server = Server::answering(None, Box::leak(location.into_bytes().into_boxed_slice())).await;
    assert_eq!(send(&webhook(&server)).await.expect("an answer").status, 307);
    assert_eq!(elsewhere.connections(), 0);
}

#[tokio::test]
async fn of_an_endless_body_a_little_is_read_and_the_connection_is_dropped() {
    let server = Server::start(None, |mut peer, notes| async move {
        read_request(&mut peer).await?;
        peer.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10737418240\r\n\r\n").await?;
        while peer.write_all(&[b'x'; 65_536]).await.is_ok() {}
        notes.hear("dropped");
        Ok(())
    })
    .await;
    let response = send(&webhook(&server)).await.expect("an answer");
    assert_eq!((response.status, response.body.len()), (200, 4096));
    while server.heard().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn slow_headers_end_with_the_timeout() {
    let server = Server::start(None, |mut peer, _| async move {
        read_request(&mut peer).await?;
        peer.write_all(b"HTTP/1.1 200 OK\r\nx-slow: ").await?;
        trickle(&mut peer).await
    })
    .await;
    let (class, code, detail) = failure(send(&impatient(&server)).await);
    assert_eq!((class, code, detail.as_str()), ("passing", ReasonCode::Timeout, "no answer within 0.7 s"));
}

#[tokio::test]
async fn a_slow_body_does_not_change_the_verdict() {
    let server = Server::start(None, |mut peer, _| async move {
        read_request(&mut peer).await?;
        peer.write_all(b"HTTP/1.1 204 OK\r\ntransfer-encoding: chunked\r\n\r\n").await?;
        trickle(&mut peer).await
    })
    .await;
    assert_eq!(send(&impatient(&server)).await.expect("an answer").status, 204);
    let server = Server::start(None, |mut peer, _| async move {
        read_request(&mut peer).await?;
        peer.write_all(b"HTTP/1.1 500 Broken\r\ncontent-length: 100000\r\n\r\n").await?;
        trickle(&mut peer).await
    })
    .await;
    let response = send(&impatient(&server)).await.expect("an answer");
    assert_eq!(response.status, 500);
    assert!(response.body.starts_with(b"x"), "what came in time is kept");
}

#[tokio::test]
async fn silence_ends_with_the_timeout() {
    let server = Server::start(None, |mut peer, _| async move {
        peer.read_to_end(&mut Vec::new()).await?;
        Ok(())
    })
    .await;
    assert_eq!(failure(send(&impatient(&server)).await).1, ReasonCode::Timeout);
}

#[tokio::test]
async fn a_closed_port_and_a_dropped_connection_are_told_apart() {
    let server = Server::start(None, |mut peer, _| async move {
        read_request(&mut peer).await?;
        Ok(())
    })
    .await;
    let mut webhook = webhook(&server);
    let (class, code, _) = failure(send(&webhook).await);
    assert_eq!((class, code), ("passing", ReasonCode::ConnectionLost));
    drop(server);
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    webhook.url = format!("http://{}/", listener.local_addr().expect("a bound address"));
    drop(listener);
    let (class, code, _) = failure(send(&webhook).await);
    assert_eq!((class, code), ("passing", ReasonCode::ConnectionRefused));
}

#[tokio::test]
async fn what_is_no_http_is_a_fault_of_the_receiver() {
    let server = Server::answering(None, b"SSH-2.0-OpenSSH_9.9\r\n\r\n").await;
    let (class, code, detail) = failure(send(&webhook(&server)).await);
    assert_eq!((class, code), ("passing", ReasonCode::ServerError), "{detail}");
}
