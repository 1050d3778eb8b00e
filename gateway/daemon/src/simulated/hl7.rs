//! An analyzer that speaks HL7 over MLLP: one message, then its acknowledgement, then the next. The message goes again
//! where none comes in time or it says AE; AR ends the attempts, because the same message would be refused again.
//! Independent of the gateway's own reader.

use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

const VT: u8 = 0x0b;
const FS: u8 = 0x1c;
const CR: u8 = 0x0d;
/// An acknowledgement longer than this is none.
const ANSWER_BYTES_MAX: usize = 65_536;

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Said {
    pub acknowledged: bool,
    /// Beyond the first.
    pub repeats: u64,
}

/// Says this message (segments ended by CR) until it is answered, `tries` times at most.
pub async fn say<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    message: &[u8],
    patience: Duration,
    tries: u64,
) -> io::Result<Said> {
    let framed = [&[VT], message, &[FS, CR]].concat();
    for repeats in 0..tries {
        stream.write_all(&framed).await?;
        stream.flush().await?;
        let control_id = control_id(message);
        // No answer in time: again.
        if let Ok(code) = tokio::time::timeout(patience, answer(stream, &control_id)).await {
            match code?.as_str() {
                "AA" | "CA" => return Ok(Said { acknowledged: true, repeats }),
                "AR" | "CR" => return Ok(Said { acknowledged: false, repeats }),
                _ => tokio::time::sleep(patience.min(Duration::from_secs(1))).await,
            }
        }
    }
    Ok(Said { acknowledged: false, repeats: tries.saturating_sub(1) })
}

/// MSH-10, with the message's own delimiter.
fn control_id(message: &[u8]) -> Vec<u8> {
    let Some(delimiter) = message.get(3) else { return Vec::new() };
    let header = message.split(|byte| *byte == CR).next().unwrap_or_default();
    header.split(|byte| byte == delimiter).nth(9).unwrap_or_default().to_vec()
}

/// MSA-1 of the first acknowledgement of that message.
async fn answer<S: AsyncRead + Unpin>(stream: &mut S, control_id: &[u8]) -> io::Result<String> {
    let mut block = Vec::new();
    loop {
        match stream.read_u8().await? {
            VT => block.clear(),
            FS => {
                if let Some(code) = code(&block, control_id) {
                    return Ok(code);
                }
                block.clear();
            }
            byte if block.len() < ANSWER_BYTES_MAX => block.push(byte),
            _ => {}
        }
    }
}

fn code(block: &[u8], control_id: &[u8]) -> Option<String> {
    let segment = block.split(|byte| *byte == CR).find(|segment| segment.starts_with(b"MSA"))?;
    let delimiter = segment.get(3)?;
    let mut fields = segment.split(|byte| byte == delimiter).skip(1);
    let code = fields.next()?;
    (fields.next()? == control_id).then(|| String::from_utf8_lossy(code).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: &[u8] = b"MSH|^~\\&|XQ||||20260112||ORU^R01|17|P|2.3.1\rOBX|1|NM|K||4.1\r";

    async fn answered(answers: &[&[u8]]) -> Said {
        let (mut ours, mut theirs) = tokio::io::duplex(4096);
        let answering = async {
            let mut block = [0; 4096];
            for answer in answers {
                if theirs.read(&mut block).await.expect("a pipe") == 0 {
                    return;
                }
                theirs.write_all(answer).await.expect("a pipe");
            }
        };
        let (said, ()) = tokio::join!(say(&mut ours, MESSAGE, Duration::from_secs(5), 3), answering);
        said.expect("an open pipe")
    }

    #[tokio::test(start_paused = true)]
    async fn only_an_acknowledgement_of_this_message_counts() {
        let aa: &[u8] = b"\x0bMSH|^~\\&|\rMSA|AA|17\r\x1c\r";
        assert_eq!(answered(&[aa]).await, Said { acknowledged: true, repeats: 0 });
        let other = b"\x0bMSH|^~\\&|\rMSA|AA|16\r\x1c\r\x0bMSH|^~\\&|\rMSA|AR|17\r\x1c\r";
        assert_eq!(answered(&[other]).await, Said { acknowledged: false, repeats: 0 });
        assert_eq!(answered(&[b"\x0bMSA|AE|17\r\x1c\r", aa]).await, Said { acknowledged: true, repeats: 1 });
        assert_eq!(answered(&[b""]).await, Said { acknowledged: false, repeats: 2 });
    }
}
