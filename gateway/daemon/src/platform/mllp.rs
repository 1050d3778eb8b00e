//! The sender's side of MLLP (HL7 Minimal Lower Layer Protocol, release 1): one framed message, one framed answer.
//!
//! Invariant: an answer belongs to the message just sent. A connection on which anything else has come is not used again.

use super::SendError;
use super::dial::{Wire, from_io, passing};
use futures_util::FutureExt;
use gateway_core::delivery::ReasonCode;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const START_OF_BLOCK: u8 = 0x0b;
const END_OF_BLOCK: u8 = 0x1c;
const CARRIAGE_RETURN: u8 = 0x0d;
/// The longest acknowledgement that is read.
const ACKNOWLEDGEMENT_BYTES_MAX: usize = 64 * 1024;
/// How long the byte behind the end of a block is waited for: some senders leave it out.
const LAST_BYTE_MS_MAX: u64 = 500;

/// What came back.
pub(super) struct Answer {
    /// Without its frame.
    pub(super) message: Vec<u8>,
    /// Whether the frame was whole and nothing came behind it, so that the connection can be used again.
    pub(super) is_clean: bool,
}

/// No answer.
pub(super) struct Broken {
    pub(super) error: SendError,
    /// Whether anything of an answer had come.
    pub(super) began: bool,
}

/// Whether a kept connection is still open and silent.
pub(super) fn is_idle(wire: &mut Wire) -> bool {
    wire.read(&mut [0; 1]).now_or_never().is_none()
}

/// Sends one message and reads its answer. The caller bounds the time.
pub(super) async fn exchange(wire: &mut Wire, message: &[u8]) -> Result<Answer, Broken> {
    let broken = |began| move |error: std::io::Error| Broken { error: from_io(&error, "the receiver"), began };
    let strange = |what: &str| {
        let detail = format!("the receiver's answer is not framed as MLLP: {what}");
        Broken { error: passing(ReasonCode::ServerError, detail), began: true }
    };
    let mut framed = Vec::with_capacity(message.len() + 3);
    framed.push(START_OF_BLOCK);
    framed.extend_from_slice(message);
    framed.extend([END_OF_BLOCK, CARRIAGE_RETURN]);
    wire.write_all(&framed).await.map_err(broken(false))?;
    wire.flush().await.map_err(broken(false))?;

    let mut read = Vec::new();
    let end = loop {
        let seen = read.len();
        if wire.read_buf(&mut read).await.map_err(broken(!read.is_empty()))? == 0 {
            return Err(match read.is_empty() {
                true => broken(false)(std::io::ErrorKind::UnexpectedEof.into()),
                false => strange("the connection was closed in the middle of it"),
            });
        }
        // Line ends between two frames do no harm.
        if seen == 0 {
            let noise = read.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
            read.drain(..noise);
        }
        match read.first() {
            None => continue,
            Some(&START_OF_BLOCK) => {}
            Some(_) => return Err(strange("it does not begin with the start of a block")),
        }
        if let Some(end) = read.iter().position(|byte| *byte == END_OF_BLOCK) {
            break end;
        }
        if read.len() > ACKNOWLEDGEMENT_BYTES_MAX {
            return Err(strange("it does not end"));
        }
    };
    let mut behind = read.split_off(end + 1);
    if behind.is_empty() {
        let last = wire.read_buf(&mut behind);
        let _ = tokio::time::timeout(Duration::from_millis(LAST_BYTE_MS_MAX), last).await;
    }
    let is_clean = behind == [CARRIAGE_RETURN];
    read.truncate(end);
    read.remove(0);
    Ok(Answer { message: read, is_clean })
}
