//! HL7's own wire: a frame out, a frame back, over one connection as long as it lasts.

use super::servers::{Authority, DEADLINE, Notes, Peer, Server, failure};
use gateway_core::config::Webhook;
use gateway_core::delivery::ReasonCode;
use gateway_core::dialects::{HttpRequest, Request, Response};
use gateway_daemon::platform::http::WebhookClient;
use gateway_daemon::platform::{HttpClient, SendError};
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const MESSAGE: &[u8] = b"MSH|^~\\&|GW|BOX|||20261121||ORU^R01|M1|T|2.5.1\r";
const ACK: &[u8] = b"\x0bMSH|^~\\&|L|L|GW|BOX|20261121||ACK|A1|T|2.5.1\rMSA|AA|M1\r\x1c\r";

fn webhook(server: &Server) -> Webhook {
    let url = format!("mllp://127.0.0.1:{}", server.port);
    Webhook { timeout: Duration::from_secs(5), ..Webhook::new("lab", &url, "hl7") }
}

async fn ask_by(client: &WebhookClient, webhook: &Webhook) -> Result<Response, SendError> {
    let asking = client.send(webhook, Request::Mllp(MESSAGE.to_vec()));
    tokio::time::timeout(DEADLINE, asking).await.expect("it ends")
}

async fn ask(webhook: &Webhook) -> Result<Response, SendError> {
    ask_by(&WebhookClient::default(), webhook).await
}

/// One framed message; `None` at the end of the connection.
async fn read_frame(peer: &mut Peer) -> io::Result<Option<Vec<u8>>> {
    let mut read = Vec::new();
    while !read.ends_with(b"\x1c\r") {
        if peer.read_buf(&mut read).await? == 0 {
            return Ok(None);
        }
    }
    Ok(Some(read))
}

/// Answers each message with these bytes.
async fn answering(tls: Option<rustls::ServerConfig>, answer: &'static [u8]) -> Server {
    Server::start(tls, move |mut peer: Peer, notes: Notes| async move {
        while let Some(frame) = read_frame(&mut peer).await? {
            notes.hear(String::from_utf8_lossy(&frame));
            peer.write_all(answer).await?;
            peer.flush().await?;
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_message_is_framed_and_its_acknowledgement_comes_back_bare() {
    let server = answering(None, ACK).await;
    let client = WebhookClient::default();
    for _ in 0..3 {
        let response = ask_by(&client, &webhook(&server)).await.expect("an answer");
        assert_eq!((response.status, response.headers.len()), (200, 0));
        assert_eq!(response.body, &ACK[1..ACK.len() - 2]);
    }
    let framed = [b"\x0b", MESSAGE, b"\x1c\r"].concat();
    assert_eq!(server.heard(), vec![String::from_utf8_lossy(&framed).into_owned(); 3]);
    assert_eq!(server.connections(), 1, "the connection is kept");
}

#[tokio::test]
async fn mllps_is_the_same_under_tls() {
    let ours = Authority::new("Clinic CA");
    let server = answering(Some(ours.server(&ours.good("localhost"), None)), ACK).await;
    let mut webhook = webhook(&server);
    webhook.url = format!("mllps://localhost:{}", server.port);
    let (class, code, detail) = failure(ask(&webhook).await);
    assert_eq!((class, code), ("configuration", ReasonCode::Certificate), "{detail}");
    webhook.ca_file = Some(ours.file());
    let client = WebhookClient::default();
    for _ in 0..2 {
        assert_eq!(ask_by(&client, &webhook).await.expect("an answer").status, 200);
    }
    assert_eq!(server.connections(), 2, "one that was refused, one that is kept");
}

#[tokio::test]
async fn a_connection_that_broke_is_made_anew() {
    // The first closes after its answer, the second takes a message and closes without one, the third is well.
    let server = Server::start(None, |mut peer, notes| async move {
        read_frame(&mut peer).await?;
        peer.write_all(ACK).await?;
        if notes.connection == 1 {
            return Ok(());
        }
        read_frame(&mut peer).await?;
        notes.hear(format!("again on {}", notes.connection));
        if notes.connection == 2 {
            return Ok(());
        }
        peer.write_all(ACK).await
    })
    .await;
    let (client, webhook) = (WebhookClient::default(), webhook(&server));
    for _ in 0..4 {
        assert_eq!(ask_by(&client, &webhook).await.expect("an answer").status, 200);
    }
    assert_eq!(server.connections(), 3);
    assert_eq!(server.heard(), ["again on 2", "again on 3"]);
}

#[tokio::test]
async fn an_answer_that_comes_too_late_is_not_taken_for_the_next_one() {
    let server = Server::start(None, |mut peer, notes| async move {
        while read_frame(&mut peer).await?.is_some() {
            peer.write_all(ACK).await?;
            if notes.connection == 1 {
                // A second answer to one message.
                peer.write_all(b"\x0bMSH|late\r\x1c\r").await?;
            }
        }
        Ok(())
    })
    .await;
    let (client, webhook) = (WebhookClient::default(), webhook(&server));
    for _ in 0..3 {
        let response = ask_by(&client, &webhook).await.expect("an answer");
        assert_eq!(response.body, &ACK[1..ACK.len() - 2]);
        // Time for what is late to come.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn broken_frames_are_a_fault_of_the_receiver() {
    for (answer, word) in [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n".as_slice(), "start of a block"),
        (b"\x0bMSH|^~\\&|half of it".as_slice(), "middle"),
        (Box::leak([b"\x0b".as_slice(), &[b'x'; 100_000]].concat().into_boxed_slice()), "does not end"),
    ] {
        let server = Server::start(None, move |mut peer, _| async move {
            read_frame(&mut peer).await?;
            peer.write_all(answer).await
        })
        .await;
        let (class, code, detail) = failure(ask(&webhook(&server)).await);
        assert_eq!((class, code), ("passing", ReasonCode::ServerError), "{detail}");
        assert!(detail.contains(word), "{detail}");
    }
}

#[tokio::test]
async fn a_frame_without_its_last_byte_is_understood() {
    let server = answering(None, &ACK[..ACK.len() - 1]).await;
    let client = WebhookClient::default();
    for _ in 0..2 {
        let response = ask_by(&client, &webhook(&server)).await.expect("an answer");
        assert_eq!(response.body, &ACK[1..ACK.len() - 2]);
    }
    assert_eq!(server.connections(), 2, "but such a connection is not trusted further");
}

#[tokio::test]
async fn silence_and_closed_ports_are_told_as_for_http() {
    let server = answering(None, b"").await;
    let mut webhook = webhook(&server);
    webhook.timeout = Duration::from_millis(300);
    let (class, code, _) = failure(ask(&webhook).await);
    assert_eq!((class, code), ("passing", ReasonCode::Timeout));
    drop(server);
    let (class, code, _) = failure(ask(&webhook).await);
    assert_eq!((class, code), ("passing", ReasonCode::ConnectionRefused));
}

#[tokio::test]
async fn a_request_of_the_other_kind_is_not_sent() {
    let server = answering(None, ACK).await;
    let webhook = webhook(&server);
    let request = Request::Http(HttpRequest { headers: Vec::new(), body: Vec::new() });
    let (class, ..) = failure(WebhookClient::default().send(&webhook, request).await);
    assert_eq!((class, server.connections()), ("configuration", 0));
}
