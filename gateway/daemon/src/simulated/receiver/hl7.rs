//! HL7 version 2 as a receiver sees it: MLLP frames and acknowledgements, written from the standard (MLLP release 1; HL7
//! 2.5.1 chapter 2).

use super::{BODY_BYTES_MAX, Given, Posted};
use std::collections::HashMap;
use std::io;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

pub(super) const START_OF_BLOCK: u8 = 0x0b;
/// Stands for a header in which MLLP has none: MSH-10.
pub(super) const CONTROL_ID: &str = "hl7-control-id";

/// One framed message, or `None` when the peer has closed the connection.
pub(super) async fn read_message(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<Option<Posted>> {
    let end = loop {
        if let Some(at) = buffer.windows(2).position(|two| two == b"\x1c\r") {
            break at;
        }
        if buffer.len() > BODY_BYTES_MAX || buffer.first().is_some_and(|first| *first != START_OF_BLOCK) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    };
    let body = buffer[1..end].to_vec();
    buffer.drain(..end + 2);
    let headers = HashMap::from([(CONTROL_ID.to_owned(), field(&body, 10))]);
    Ok(Some(Posted { path: String::new(), headers, body }))
}

/// The acknowledgement in its frame.
pub(super) fn framed(posted: &Posted, given: &Given) -> Vec<u8> {
    format!("\x0b{}\x1c\r", acknowledgement(posted, given)).into_bytes()
}

/// AA for 200, AR for what will never be taken, AE for what may be tried again.
pub(super) fn acknowledgement(posted: &Posted, given: &Given) -> String {
    let code = match given.status {
        200 => "AA",
        429 | 500..=599 => "AE",
        _ => "AR",
    };
    let of = |number| field(&posted.body, number);
    let (sender, receiver, id) = (format!("{}|{}", of(3), of(4)), format!("{}|{}", of(5), of(6)), of(10));
    let problem = given.problem.replace(['|', '^', '~', '\\', '&', '\r', '\n'], " ");
    format!("MSH|^~\\&|{receiver}|{sender}|{}||ACK|{id}A|{}|{}\rMSA|{code}|{id}|{problem}\r", of(7), of(11), of(12))
}

/// A field of the MSH segment, which counts its separator as the first one. Empty where there is none.
fn field(message: &[u8], number: usize) -> String {
    let text = String::from_utf8_lossy(message);
    let header = text.split('\r').next().unwrap_or_default();
    let Some(separator) = header.strip_prefix("MSH").and_then(|rest| rest.chars().next()) else {
        return String::new();
    };
    header.split(separator).nth(number - 1).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_acknowledgement_names_the_message_and_turns_the_parties_round() {
        let body = b"MSH|^~\\&|GW|BOX|LIS|LAB|20261121101500+0000||ORU^R01|M-1|T|2.5.1\rPID|1\r".to_vec();
        let posted = Posted { body, ..Posted::default() };
        let given = |status| Given { status, retry_after_seconds: None, problem: "a|b".to_owned() };
        let text = acknowledgement(&posted, &given(200));
        assert_eq!(text, "MSH|^~\\&|LIS|LAB|GW|BOX|20261121101500+0000||ACK|M-1A|T|2.5.1\rMSA|AA|M-1|a b\r");
        for (status, code) in [(503, "MSA|AE|"), (429, "MSA|AE|"), (400, "MSA|AR|")] {
            assert!(acknowledgement(&posted, &given(status)).contains(code), "{status}");
        }
    }
}
