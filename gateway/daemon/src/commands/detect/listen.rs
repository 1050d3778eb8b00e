//! Listening: one setting after the other, each until something is heard or its time is over. What comes at a wrong setting
//! may name the right one, which is then tried next.

use super::Answer;
use crate::platform::{Platform, PortError, Stream};
use gateway_core::config::{Line, Port};
use gateway_core::detect::{Finding, LOOKED_BYTES_MAX, RECOGNISED, detect};
use gateway_core::line_model::{Parity, Suspicion, Uart, suspicion};
use gateway_core::time::Mono;
use std::collections::VecDeque;
use std::io::Write;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const ENQ: u8 = 0x05;
const ACK: u8 = 0x06;
const NAK: u8 = 0x15;
/// At one setting nothing is waited for longer than this at first: an analyzer that nobody answers asks again after 15 s.
const DWELL_SECONDS: u64 = 20;
/// After so much silence what came is looked at.
const QUIET: Duration = Duration::from_millis(1500);
/// From this score on nothing more is waited for.
const CERTAIN: u8 = 70;

/// What to listen to, and how.
pub struct Listener {
    pub port: Port,
    /// In this order; a single `None` where there is no speed.
    pub settings: Vec<Option<Uart>>,
    pub answer: Option<Answer>,
    pub patience: Duration,
    pub platform: Platform,
}

/// What was heard at one setting.
pub struct Heard {
    /// At which the bytes make sense; `None` where there is no speed.
    pub uart: Option<Uart>,
    pub bytes: Vec<u8>,
    pub finding: Option<Finding>,
    /// Why the setting is another than the one that was listened at.
    pub suspicion: Option<Suspicion>,
}

/// The likely settings of a port, the likeliest first.
pub fn settings(port: &Port, bauds: &[u32]) -> Vec<Option<Uart>> {
    if !port.is_serial() {
        return vec![None];
    }
    if !bauds.is_empty() {
        let formats = |baud: &u32| [Uart::plain(*baud), Uart::seven(*baud, Parity::Even)];
        return bauds.iter().flat_map(formats).map(Some).collect();
    }
    let mut likely = vec![Uart::plain(9600), Uart::seven(9600, Parity::Even)];
    likely.extend([19_200, 38_400, 4800, 115_200, 2400, 57_600, 1200].map(Uart::plain));
    let even = Uart { parity: Parity::Even, ..Uart::plain(9600) };
    likely.extend([Uart::seven(4800, Parity::Even), Uart::seven(9600, Parity::Odd), even]);
    likely.into_iter().map(Some).collect()
}

impl Listener {
    /// The first that was recognised; else the most that was heard; `None` if nothing was.
    pub async fn listen(&self, err: &mut dyn Write) -> Result<Option<Heard>, PortError> {
        let until = self.platform.clock.now().mono.after(self.patience);
        let mut most: Option<Heard> = None;
        let mut queue: VecDeque<Option<Uart>> = self.settings.iter().copied().collect();
        while let Some(uart) = queue.pop_front() {
            let now = self.platform.clock.now().mono;
            if now >= until {
                break;
            }
            let dwell = if self.settings.len() == 1 { self.patience } else { Duration::from_secs(DWELL_SECONDS) };
            say(err, &format!("listening at {}{} ...", self.name(), at(uart)));
            let bytes = self.hear(uart, until.min(now.after(dwell)), err).await?;
            let heard = understood(uart, bytes);
            if heard.finding.is_some() {
                return Ok(Some(heard));
            }
            // Whoever was silent may speak later.
            queue.push_back(uart);
            if let Some(suspicion) = heard.suspicion.as_ref().filter(|_| uart.is_some()) {
                say(err, &format!("{} bytes that make no sense; {suspicion}", heard.bytes.len()));
                queue.retain(|next| *next != Some(suspicion.settings));
                queue.push_front(Some(suspicion.settings));
            } else if !heard.bytes.is_empty() {
                say(err, &format!("{} bytes that make no sense", heard.bytes.len()));
            }
            if most.as_ref().is_none_or(|most| most.bytes.len() < heard.bytes.len()) && !heard.bytes.is_empty() {
                most = Some(heard);
            }
        }
        Ok(most)
    }

    fn name(&self) -> String {
        match &self.port {
            Port::TcpListen(address) | Port::TcpConnect(address) => address.clone(),
            Port::Path(path) | Port::Input(path) => path.display().to_string(),
            Port::ByPath(name) => name.clone(),
            Port::Usb { .. } => "the adapter".to_owned(),
        }
    }

    /// Reads until it is certain what this is, or until then.
    async fn hear(&self, uart: Option<Uart>, until: Mono, err: &mut dyn Write) -> Result<Vec<u8>, PortError> {
        let mut bytes = Vec::new();
        let mut buffer = [0; 4096];
        let mut stream = None;
        loop {
            let left = until.since(self.platform.clock.now().mono);
            if left.is_zero() || bytes.len() >= LOOKED_BYTES_MAX {
                return Ok(bytes);
            }
            let open = match &mut stream {
                Some(open) => open,
                None => match tokio::time::timeout(left, self.open(uart)).await {
                    Ok(Ok(opened)) => stream.insert(opened),
                    // What was heard before it went counts.
                    Ok(Err(_)) | Err(_) if !bytes.is_empty() => return Ok(bytes),
                    Ok(Err(error)) => return Err(error),
                    Err(_) => return Ok(bytes),
                },
            };
            let wait = if bytes.is_empty() { left } else { left.min(QUIET) };
            match tokio::time::timeout(wait, open.read(&mut buffer)).await {
                Ok(Ok(0) | Err(_)) => stream = None,
                Ok(Ok(count)) => {
                    if bytes.is_empty() {
                        say(err, "something is being said ...");
                    }
                    bytes.extend_from_slice(&buffer[..count]);
                    self.reply(open, &bytes).await;
                }
                // Quiet: enough was said, or it makes no sense at this setting.
                Err(_) => {
                    let heard = understood(uart, bytes);
                    let certain = heard.finding.as_ref().is_some_and(|finding| finding.score >= CERTAIN);
                    if certain || (heard.suspicion.is_some() && heard.finding.is_none()) {
                        return Ok(heard.bytes);
                    }
                    bytes = heard.bytes;
                }
            }
            if stream.is_none() {
                tokio::time::sleep(left.min(Duration::from_millis(200))).await;
            }
        }
    }

    async fn open(&self, uart: Option<Uart>) -> Result<Box<dyn Stream>, PortError> {
        let uart = uart.unwrap_or(Uart::plain(9600));
        let Uart { baud, data_bits, parity, stop_bits } = uart;
        let line = Line { baud, data_bits, parity, stop_bits, ..Line::default() };
        self.platform.serial.open(&self.port, &line).await
    }

    /// One byte for an ENQ that nothing followed, if anything is answered at all.
    async fn reply(&self, stream: &mut Box<dyn Stream>, bytes: &[u8]) {
        let Some(answer) = self.answer.filter(|_| bytes.last() == Some(&ENQ)) else { return };
        let byte = if answer == Answer::Busy { NAK } else { ACK };
        // A port that takes no byte still may be listened at.
        let _ = stream.write_all(&[byte]).await;
        let _ = stream.flush().await;
    }
}

/// What the bytes are, read at this setting or with their eighth bit taken for a parity bit.
fn understood(uart: Option<Uart>, bytes: Vec<u8>) -> Heard {
    let recognised = |bytes: &[u8]| detect(bytes).into_iter().next().filter(|finding| finding.score >= RECOGNISED);
    let finding = recognised(&bytes);
    let suspicion = uart.and_then(|uart| suspicion(&bytes, &uart)).filter(|_| finding.is_none());
    if let (Some(uart), Some(other)) = (uart, &suspicion)
        && other.settings.baud == uart.baud
        && other.settings.data_bits == 7
    {
        let seven: Vec<u8> = bytes.iter().map(|byte| byte & 0x7f).collect();
        if let Some(finding) = recognised(&seven) {
            return Heard { uart: Some(other.settings), bytes: seven, finding: Some(finding), suspicion };
        }
    }
    Heard { uart, bytes, finding, suspicion }
}

fn at(uart: Option<Uart>) -> String {
    uart.map(|uart| format!(", {uart}")).unwrap_or_default()
}

/// A closed standard error leaves nobody to tell.
fn say(err: &mut dyn Write, sentence: &str) {
    let _ = writeln!(err, "{sentence}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use gateway_core::detect::Protocol;
    use gateway_core::line_model::{Faulty, Receiver, heard};

    #[test]
    fn a_session_with_parity_is_understood_although_it_was_read_without() {
        let session = b"\x05\x021H|\\^&|||XQ-1^1^A1|||||||P|LIS2-A2|20260112093000\r\x03";
        let ours = Uart::plain(9600);
        let receiver = Receiver { uart: ours, faulty: Faulty::Kept, hasty: false, phase_thousandths: 500 };
        let theirs = Uart::seven(9600, Parity::Even);
        let sum = session[2..].iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
        let whole = [session, format!("{sum:02X}\r\n").as_bytes()].concat();
        let read = understood(Some(ours), heard(&whole, &theirs, &receiver));
        assert_eq!(read.uart, Some(theirs));
        assert_eq!(read.finding.map(|finding| finding.protocol), Some(Protocol::E1381));
    }

    #[test]
    fn the_usual_setting_comes_first_and_a_network_has_none() {
        let path = Port::Path("/dev/ttyUSB0".into());
        assert_eq!(settings(&path, &[]).first(), Some(&Some(Uart::plain(9600))));
        assert_eq!(settings(&path, &[4800]), [Some(Uart::plain(4800)), Some(Uart::seven(4800, Parity::Even))]);
        assert_eq!(settings(&Port::TcpListen("0.0.0.0:1".to_owned()), &[4800]), [None]);
    }
}
