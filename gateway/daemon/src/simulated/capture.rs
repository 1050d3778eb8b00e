//! Plays a capture: the recorded bytes, said by an analyzer that waits for answers where its protocol has them.
//!
//! After ENQ and after each frame an ACK is waited for, and a NAK brings the frame again; after an MLLP block, an
//! envelope and an XML document that is no answer itself some answer. Bytes in no frame are said as they are.

use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

const SOH: u8 = 0x01;
const STX: u8 = 0x02;
const ETX: u8 = 0x03;
const EOT: u8 = 0x04;
const ENQ: u8 = 0x05;
const ACK: u8 = 0x06;
const LF: u8 = 0x0a;
const VT: u8 = 0x0b;
const CR: u8 = 0x0d;
const NAK: u8 = 0x15;
const ETB: u8 = 0x17;
const FS: u8 = 0x1c;
/// A frame is said this often (LIS01-A2).
const TRIES: u64 = 6;

/// What is waited for before the next turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    None,
    Ack,
    /// Anything, up to a short silence.
    Any,
}

/// What is said in one breath.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    pub bytes: Vec<u8>,
    pub answer: Answer,
}

/// How a capture went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Played {
    /// Turns that wait for an answer.
    pub asked: u64,
    pub answered: u64,
    pub repeats: u64,
}

/// Cuts the recorded bytes into turns. Nothing is left out but what the other side had said (stray ACK and NAK).
pub fn turns(bytes: &[u8]) -> Vec<Turn> {
    let mut turns: Vec<Turn> = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let (length, answer) = turn(rest);
        let (bytes, after) = rest.split_at(length.clamp(1, rest.len()));
        rest = after;
        let theirs = matches!(bytes, [ACK | NAK]);
        match turns.last_mut() {
            _ if theirs => {}
            Some(last) if answer == Answer::None && last.answer == Answer::None => last.bytes.extend_from_slice(bytes),
            _ => turns.push(Turn { bytes: bytes.to_vec(), answer }),
        }
    }
    turns
}

/// The length of the first turn, and what it waits for.
fn turn(bytes: &[u8]) -> (usize, Answer) {
    let upto = |end: u8| bytes.iter().position(|byte| *byte == end).map(|place| place + 1);
    match bytes[0] {
        ENQ => (1, Answer::Ack),
        STX => match bytes.iter().position(|byte| matches!(*byte, ETX | ETB)) {
            Some(end) if bytes.get(1).is_some_and(u8::is_ascii_digit) => {
                let mut length = (end + 3).min(bytes.len());
                while bytes.get(length).is_some_and(|byte| matches!(*byte, CR | LF)) {
                    length += 1;
                }
                (length, Answer::Ack)
            }
            Some(end) => (end + 1, Answer::Any),
            None => (bytes.len(), Answer::None),
        },
        SOH => upto(EOT).map_or((bytes.len(), Answer::None), |length| (length, Answer::Ack)),
        VT => upto(FS).map_or((bytes.len(), Answer::None), |length| {
            (length + usize::from(bytes.get(length) == Some(&CR)), Answer::Any)
        }),
        b'<' => document(bytes).map_or((bytes.len(), Answer::None), |(root, length)| match root.as_str() {
            // Themselves answers: nobody answers them.
            "ACK.R01" | "ESC.R01" => (length, Answer::None),
            _ => (length, Answer::Any),
        }),
        _ => (1, Answer::None),
    }
}

/// The root of an XML document, and the document's length: to the root's end tag.
fn document(bytes: &[u8]) -> Option<(String, usize)> {
    let text = String::from_utf8_lossy(bytes);
    let root = text.split('<').find(|part| part.starts_with(|c: char| c.is_ascii_alphabetic()))?;
    let name = root.split(|c: char| c.is_whitespace() || matches!(c, '>' | '/')).next()?;
    let tag = format!("</{name}>");
    let end = bytes.windows(tag.len()).position(|window| window == tag.as_bytes())?;
    Some((name.to_owned(), end + tag.len()))
}

/// Says every turn. An answer that does not come within `patience` is not waited for any longer.
pub async fn play<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    turns: &[Turn],
    patience: Duration,
) -> io::Result<Played> {
    let mut played = Played::default();
    for turn in turns {
        played.asked += u64::from(turn.answer != Answer::None);
        for tried in 0..TRIES {
            played.repeats += u64::from(tried > 0);
            stream.write_all(&turn.bytes).await?;
            stream.flush().await?;
            let heard = match turn.answer {
                Answer::None => break,
                Answer::Ack => control(stream, patience).await?,
                Answer::Any => anything(stream, patience).await?,
            };
            match heard {
                Some(NAK) => {}
                Some(_) => {
                    played.answered += 1;
                    break;
                }
                None => break,
            }
        }
    }
    Ok(played)
}

/// The next ACK or NAK.
async fn control<S: AsyncRead + Unpin>(stream: &mut S, patience: Duration) -> io::Result<Option<u8>> {
    let waiting = async {
        loop {
            match stream.read_u8().await? {
                byte @ (ACK | NAK) => return Ok(byte),
                // EOT in the place of ACK: accepted, and please stop.
                EOT => return Ok(ACK),
                _ => {}
            }
        }
    };
    tokio::time::timeout(patience, waiting).await.ok().transpose()
}

/// Whatever is said, to its end.
async fn anything<S: AsyncRead + Unpin>(stream: &mut S, patience: Duration) -> io::Result<Option<u8>> {
    let mut buffer = [0; 4096];
    let mut heard = None;
    loop {
        let wait = if heard.is_some() { Duration::from_millis(300) } else { patience };
        match tokio::time::timeout(wait, stream.read(&mut buffer)).await {
            Ok(read) => match read? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => heard = Some(if buffer[..count] == [NAK] { NAK } else { ACK }),
            },
            Err(_) => return Ok(heard),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(bytes: &[u8]) -> Vec<(usize, Answer)> {
        turns(bytes).iter().map(|turn| (turn.bytes.len(), turn.answer)).collect()
    }

    #[test]
    fn a_capture_is_cut_where_its_protocol_waits() {
        let session = b"\x06\x05\x021H|\\^&\x0312\r\n\x022L|1\x0334\r\n\x04";
        assert_eq!(shape(session), [(1, Answer::Ack), (12, Answer::Ack), (10, Answer::Ack), (1, Answer::None)]);
        assert_eq!(shape(b"\x0bMSH|\r\x1c\r\x0bMSH|\r\x1c\r"), [(8, Answer::Any), (8, Answer::Any)]);
        assert_eq!(shape(b"<?xml?><A><B/></A><C V=\"1\"></C>"), [(18, Answer::Any), (13, Answer::Any)]);
        assert_eq!(shape(b"<A></A><ACK.R01><B/></ACK.R01>"), [(7, Answer::Any), (23, Answer::None)]);
        assert_eq!(shape(b"\x01H|\r\x04"), [(5, Answer::Ack)]);
        assert_eq!(shape(b"pH 7.41\r\nK 4.1\r\n"), [(16, Answer::None)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_frame_comes_again_and_silence_is_not_waited_for_for_ever() {
        let (mut ours, mut theirs) = tokio::io::duplex(4096);
        let turns = turns(b"\x05\x021L|1\x0334\r\n\x04");
        let answering = async {
            let mut heard = Vec::new();
            let mut buffer = [0; 100];
            for answer in [ACK, NAK] {
                let count = theirs.read(&mut buffer).await.expect("a pipe");
                heard.extend_from_slice(&buffer[..count]);
                theirs.write_all(&[answer]).await.expect("a pipe");
            }
            // To the second copy of the frame nothing is said.
            let count = theirs.read(&mut buffer).await.expect("a pipe");
            heard.extend_from_slice(&buffer[..count]);
            heard
        };
        let (played, heard) = tokio::join!(play(&mut ours, &turns, Duration::from_secs(15)), answering);
        let played = played.expect("an open pipe");
        assert_eq!(played, Played { asked: 2, answered: 1, repeats: 1 });
        assert_eq!(heard, b"\x05\x021L|1\x0334\r\n\x021L|1\x0334\r\n");
    }
}
