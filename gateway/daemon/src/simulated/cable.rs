//! The cable between a simulated analyzer and whoever listens: it carries bytes both ways and does what bad cables do, at
//! chances fixed by a seed. The analyzer at its near end knows nothing of it, as a real one does not.

use super::Pace;
use super::seeded::Seeded;
use super::wire::write_paced;
use crate::platform::Stream;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

const EOT: u8 = 0x04;
const ENQ: u8 = 0x05;
const FS: u8 = 0x1c;
/// What the analyzer says in one breath is seen at once up to this length.
const BREATH_BYTES_MAX: usize = 64 * 1024;
/// How long a pulled cable stays out, and between two attempts to reach the other side.
const AWAY: Duration = Duration::from_secs(2);

/// What a cable, or the analyzer at it, can do wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Fault {
    /// Stray bytes before what is said
    Noise,
    /// One bit of what is said is turned
    BitFlip,
    /// What is said comes in small pieces
    Slow,
    /// An answer does not arrive
    LostAck,
    /// The analyzer says ENQ just when the gateway does
    Contention,
    /// The cable is pulled in the middle of what is said, and plugged in again
    Unplug,
    /// The end of what is said does not come: no EOT, no FS
    NeverEot,
}

impl Fault {
    pub const ALL: [Fault; 7] =
        [Fault::Noise, Fault::BitFlip, Fault::Slow, Fault::LostAck, Fault::Contention, Fault::Unplug, Fault::NeverEot];

    /// The word of the command line.
    pub fn word(self) -> &'static str {
        match self {
            Fault::Noise => "noise",
            Fault::BitFlip => "bit-flip",
            Fault::Slow => "slow",
            Fault::LostAck => "lost-ack",
            Fault::Contention => "contention",
            Fault::Unplug => "unplug",
            Fault::NeverEot => "never-eot",
        }
    }

    fn place(self) -> usize {
        Fault::ALL.iter().position(|fault| *fault == self).expect("ALL holds every fault")
    }
}

/// How often each fault happens, in thousandths of what is said or answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Faults([u32; 7]);

impl Faults {
    pub fn set(&mut self, fault: Fault, per_thousand: u32) {
        self.0[fault.place()] = per_thousand;
    }

    pub fn of(&self, fault: Fault) -> u32 {
        self.0[fault.place()]
    }
}

/// What has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Happened([u64; 7]);

impl Happened {
    pub fn of(&self, fault: Fault) -> u64 {
        self.0[fault.place()]
    }
}

/// The cable.
pub struct Cable {
    pub faults: Faults,
    pub happened: Happened,
    chance: Seeded,
}

/// How a stretch of carrying ended.
enum End {
    /// The analyzer has said everything.
    Done,
    /// The other side is gone, or the cable was pulled.
    Away,
}

impl Cable {
    pub fn new(faults: Faults, seed: u64) -> Cable {
        Cable { faults, happened: Happened::default(), chance: Seeded::new(seed) }
    }

    /// Carries until the near end is closed. `open` plugs the far end in, again whenever it was lost.
    pub async fn carry(
        &mut self,
        mut near: DuplexStream,
        mut open: impl AsyncFnMut() -> io::Result<Box<dyn Stream>>,
    ) -> io::Result<()> {
        loop {
            let mut far = open().await?;
            let end = self.stretch(&mut near, &mut far).await;
            // An answer that was under way is read before it is gone.
            drop(far);
            match end {
                End::Done => return Ok(()),
                End::Away => tokio::time::sleep(AWAY).await,
            }
        }
    }

    async fn stretch(&mut self, near: &mut DuplexStream, far: &mut Box<dyn Stream>) -> End {
        let (mut said, mut answered) = (vec![0; BREATH_BYTES_MAX], vec![0; 4096]);
        loop {
            tokio::select! {
                biased;
                read = near.read(&mut said) => match read {
                    Ok(0) | Err(_) => return End::Done,
                    Ok(count) => match self.say(far, said[..count].to_vec()).await {
                        Ok(true) => {}
                        Ok(false) | Err(_) => return End::Away,
                    },
                },
                read = far.read(&mut answered) => match read {
                    Ok(0) | Err(_) => return End::Away,
                    Ok(count) => if self.hear(near, far, &answered[..count]).await.is_err() {
                        return End::Done;
                    },
                },
            }
        }
    }

    fn strikes(&mut self, fault: Fault) -> bool {
        let strikes = self.chance.chance(self.faults.of(fault));
        self.happened.0[fault.place()] += u64::from(strikes);
        strikes
    }

    /// Whether the cable is still plugged in afterwards.
    async fn say(&mut self, far: &mut Box<dyn Stream>, mut bytes: Vec<u8>) -> io::Result<bool> {
        let ends = bytes.last() == Some(&EOT) || bytes.contains(&FS);
        if ends && self.strikes(Fault::NeverEot) {
            bytes.retain(|byte| !matches!(*byte, EOT | FS));
        }
        if !bytes.is_empty() && self.strikes(Fault::BitFlip) {
            let at = self.chance.below(bytes.len() as u64) as usize;
            bytes[at] ^= 1 << self.chance.below(8);
        }
        if self.strikes(Fault::Noise) {
            bytes.splice(0..0, [0x00, 0xff, b'~']);
        }
        if self.strikes(Fault::Unplug) {
            write_paced(far, &bytes[..bytes.len() / 2], Pace::AT_ONCE).await?;
            return Ok(false);
        }
        let slow = self.strikes(Fault::Slow);
        let pace = match slow {
            true => Pace { piece: (bytes.len() / 500).max(1), gap: Duration::from_millis(2) },
            false => Pace::AT_ONCE,
        };
        write_paced(far, &bytes, pace).await?;
        Ok(true)
    }

    async fn hear(&mut self, near: &mut DuplexStream, far: &mut Box<dyn Stream>, bytes: &[u8]) -> io::Result<()> {
        if bytes.contains(&ENQ) && self.strikes(Fault::Contention) {
            write_paced(far, &[ENQ], Pace::AT_ONCE).await?;
        }
        if self.strikes(Fault::LostAck) {
            return Ok(());
        }
        near.write_all(bytes).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes out of a cable of these faults when these breaths go in.
    async fn carried(faults: &[(Fault, u32)], breaths: &[&[u8]]) -> (Vec<u8>, Happened) {
        let mut set = Faults::default();
        faults.iter().for_each(|(fault, rate)| set.set(*fault, *rate));
        let mut cable = Cable::new(set, 1);
        let (mut analyzer, near) = tokio::io::duplex(1 << 16);
        let (far, mut listener) = tokio::io::duplex(1 << 16);
        let mut far = Some(far);
        let open = async || match far.take() {
            Some(far) => Ok(Box::new(far) as Box<dyn Stream>),
            None => Err(io::ErrorKind::NotFound.into()),
        };
        let speaking = async {
            for breath in breaths {
                analyzer.write_all(breath).await.expect("an open pipe");
                tokio::task::yield_now().await;
            }
            drop(analyzer);
        };
        let (ended, ()) = tokio::join!(cable.carry(near, open), speaking);
        assert_eq!(ended.is_err(), faults.iter().any(|(fault, _)| *fault == Fault::Unplug));
        let mut heard = Vec::new();
        listener.read_to_end(&mut heard).await.expect("a pipe");
        (heard, cable.happened)
    }

    #[tokio::test(start_paused = true)]
    async fn a_good_cable_changes_nothing_and_each_fault_is_its_own() {
        let said: &[u8] = b"a whole message";
        assert_eq!(carried(&[], &[said]).await.0, said);
        assert_eq!(carried(&[(Fault::Slow, 1000)], &[said]).await.0, said);
        let (flipped, happened) = carried(&[(Fault::BitFlip, 1000)], &[said]).await;
        let turned: u32 = flipped.iter().zip(said).map(|(one, other)| (one ^ other).count_ones()).sum();
        assert_eq!((turned, happened.of(Fault::BitFlip), happened.of(Fault::Noise)), (1, 1, 0));
        assert_eq!(carried(&[(Fault::Noise, 1000)], &[said]).await.0, [b"\x00\xff~", said].concat());
        assert_eq!(carried(&[(Fault::NeverEot, 1000)], &[b"\x04"]).await.0, b"");
        assert_eq!(carried(&[(Fault::Unplug, 1000)], &[b"abcdef"]).await.0, b"abc");
    }
}
