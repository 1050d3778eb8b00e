//! The receiver against requests written by hand.

use super::*;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn options(script: Script) -> Options {
    Options { verify: Arc::new(|_, _| Ok(())), script, wall: Arc::new(|| Timestamp(1_614_265_330_000)) }
}

/// Sends one POST on a connection of its own; the answer's first line and headers, empty if there is none.
async fn post(receiver: &Receiver, id: &str, ordinal: u64, body: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(receiver.address).await?;
    let request = format!(
        "POST /hook HTTP/1.1\r\nHost: x\r\nWebhook-Id: {id}\r\nX-Gateway-Ordinal: {ordinal}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await?;
    stream.shutdown().await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[tokio::test]
async fn ids_repeats_holes_and_changed_bodies_are_counted() {
    let receiver = Receiver::start(options(accept_all())).await.expect("a port");
    for (id, ordinal, body) in [("a", 1, "1"), ("b", 2, "2"), ("b", 2, "2"), ("d", 4, "4"), ("a", 1, "other")] {
        let answer = post(&receiver, id, ordinal, body).await.expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    let counts = receiver.counts();
    assert_eq!((counts.requests, counts.events, counts.repeats, counts.differing, counts.holes), (5, 3, 2, 1, 1));
    assert_eq!(receiver.ids(), ["a", "b", "d"]);
}

#[tokio::test]
async fn switched_off_it_refuses_and_cuts_and_comes_back_on_the_same_port() {
    let mut receiver = Receiver::start(options(accept_all())).await.expect("a port");
    let url = receiver.url();
    let mut open = TcpStream::connect(receiver.address).await.expect("a connection");
    for _ in 0..3 {
        receiver.switch(false).await.expect("off");
        let refused = post(&receiver, "a", 1, "").await.expect_err("nobody listens");
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        receiver.switch(true).await.expect("on again");
        assert!(post(&receiver, "a", 1, "").await.is_ok_and(|answer| answer.contains("200")));
    }
    let cut = open.read(&mut [0; 1]).await;
    assert!(matches!(cut, Ok(0) | Err(_)), "an idle connection does not outlive the receiver");
    assert_eq!((receiver.url(), receiver.counts().events), (url, 1));
}

#[tokio::test]
async fn it_answers_by_its_script() {
    let script: Script = Arc::new(|number, _| match number {
        1 => Answer::Refuse { status: 429, retry_after_seconds: Some(7) },
        2 => Answer::LoseAnswer,
        3 => Answer::Hang(Duration::from_millis(10)),
        _ => Answer::Accept,
    });
    let receiver = Receiver::start(options(script)).await.expect("a port");
    let mut answers = Vec::new();
    for _ in 0..4 {
        answers.push(post(&receiver, "a", 1, "x").await.unwrap_or_default());
    }
    assert!(answers[0].starts_with("HTTP/1.1 429 ") && answers[0].contains("retry-after: 7\r\n"));
    assert!(answers[1].is_empty() && answers[2].is_empty());
    let counts = receiver.counts();
    assert_eq!(
        (counts.events, counts.repeats, counts.refused),
        (1, 1, 2),
        "the lost answer was an event, the others not"
    );
}

#[tokio::test]
async fn several_requests_come_over_one_connection_in_any_pieces() {
    let receiver = Receiver::start(options(accept_all())).await.expect("a port");
    let mut stream = TcpStream::connect(receiver.address).await.expect("a connection");
    let request = "POST /hook HTTP/1.1\r\nx-gateway-event-id: a\r\ncontent-length: 3\r\n\r\nabc".repeat(3);
    for piece in request.as_bytes().chunks(17) {
        stream.write_all(piece).await.expect("an open connection");
        tokio::task::yield_now().await;
    }
    stream.shutdown().await.expect("an open connection");
    let mut answers = String::new();
    stream.read_to_string(&mut answers).await.expect("answers");
    assert_eq!((answers.matches("HTTP/1.1 200 ").count(), receiver.counts().repeats), (3, 2));
}

#[test]
fn signatures_are_verified_as_the_specification_says() {
    // The example of the reference libraries.
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let mut posted = Posted {
        headers: HashMap::from([
            header("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
            header("webhook-timestamp", "1614265330"),
            header("webhook-signature", "v1,bad v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
        ]),
        body: br#"{"test": 2432232314}"#.to_vec(),
        ..Posted::default()
    };
    let verify = standard_webhooks(SECRET);
    let now = Timestamp(1_614_265_330_000);
    assert_eq!(verify(&posted, now), Ok(()));
    assert!(verify(&posted, now.shifted(301_000)).is_err());
    posted.body.push(b' ');
    assert!(verify(&posted, now).is_err());
    posted.headers.remove("webhook-signature");
    assert!(verify(&posted, now).is_err());
}

#[tokio::test]
async fn a_wrong_signature_is_answered_401_and_counted() {
    let verified = Options { verify: standard_webhooks(SECRET), ..options(accept_all()) };
    let receiver = Receiver::start(verified).await.expect("a port");
    let answer = post(&receiver, "a", 1, "x").await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 401 "));
    let counts = receiver.counts();
    assert_eq!((counts.wrong_signatures, counts.events), (1, 0));
    assert_eq!(counts.first_complaint.as_deref(), Some("there is no header webhook-timestamp"));
}
