//! Puts the simulated analyzers on a stream: a pseudo-terminal, a TCP connection, or a pipe in memory.

use super::astm::{Note, PeerAction, PeerInput};
use super::test_v0::{Line, Run};
use super::{Pace, Peer, Told};
use gateway_core::time::Mono;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;

/// A clock for the machines that counts with tokio's time, so that it can be paused in a simulation.
pub fn stopwatch() -> impl Fn() -> Mono + Send + Clone {
    let started = Instant::now();
    move || Mono(u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX))
}

/// Lets the sender say what it has to say: submits `first`, then performs its actions until every message has its last
/// ACK. It then stands in its pause between two sessions and can be called again at once. After an error (the
/// cable was pulled) the next call must be preceded by [`PeerInput::Reconnected`].
pub async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    sender: &mut impl Peer,
    now: impl Fn() -> Mono,
    first: PeerInput<'_>,
    mut watch: impl FnMut(&Note, &Told),
) -> io::Result<()> {
    let mut actions = sender.handle(now(), first);
    let mut buffer = [0; 64];
    loop {
        for action in std::mem::take(&mut actions) {
            match action {
                PeerAction::Send { bytes, pace } => write_paced(stream, &bytes, pace).await?,
                PeerAction::Note(note) => watch(&note, sender.told()),
            }
        }
        if sender.is_done() {
            return Ok(());
        }
        let wait = sender.deadline().map_or(Duration::MAX, |due| due.since(now()));
        tokio::select! {
            biased;
            read = stream.read(&mut buffer) => match read? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => actions = sender.handle(now(), PeerInput::Received(&buffer[..count])),
            },
            () = tokio::time::sleep(wait) => actions = sender.handle(now(), PeerInput::DeadlineReached),
        }
    }
}

/// Writes a run's lines as they fall due, `speed` times as fast as they were measured. Nothing answers a line, so a line
/// that was written whole counts as acknowledged: true as long as the gateway lives. A judge that kills the gateway must
/// leave these promises out; the next line makes them good, because data are cumulative.
pub async fn tell_run<S: AsyncWrite + Unpin>(
    stream: &mut S,
    run: &Run,
    speed: f64,
    told: &mut Told,
    mut watch: impl FnMut(&Line, &Told),
) -> io::Result<()> {
    let started = Instant::now();
    told.sent.extend(run.lines.iter().map(|line| line.key.clone()));
    for line in &run.lines {
        let due = line.at.div_f64(speed.max(f64::MIN_POSITIVE));
        tokio::time::sleep(due.saturating_sub(started.elapsed())).await;
        stream.write_all(line.text.as_bytes()).await?;
        stream.write_all(b"\n").await?;
        stream.flush().await?;
        told.acknowledged.push(line.key.clone());
        watch(line, told);
    }
    Ok(())
}

/// Writes all bytes, in pieces if asked.
pub async fn write_paced<S: AsyncWrite + Unpin>(stream: &mut S, bytes: &[u8], pace: Pace) -> io::Result<()> {
    for (index, piece) in bytes.chunks(pace.piece.max(1)).enumerate() {
        if index > 0 && !pace.gap.is_zero() {
            tokio::time::sleep(pace.gap).await;
        }
        stream.write_all(piece).await?;
        stream.flush().await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulated::astm::{Faults, Sender, Style, Timers, sample_key};
    use crate::simulated::messages::{Kind, Worklist};
    use gateway_core::time::Timestamp;

    /// ACK to ENQ and to every line end, unread otherwise: enough to keep a faultless sender going.
    async fn agree<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) {
        let mut buffer = [0; 1000];
        while let Ok(count) = stream.read(&mut buffer).await {
            if count == 0 {
                return;
            }
            for byte in &buffer[..count] {
                if matches!(byte, 0x05 | 0x0a) && stream.write_all(&[0x06]).await.is_err() {
                    return;
                }
            }
        }
    }

    #[tokio::test]
    async fn a_conversation_over_a_pipe_ends_with_every_promise() {
        let (mut ours, theirs) = tokio::io::duplex(32);
        let mut peers = tokio::task::JoinSet::new();
        peers.spawn(agree(theirs));
        let faults = Faults { noise: 500, slow: 500, ..Faults::default() };
        let mut sender = Sender::new(Style::Cut(240), Timers::STANDARD.scaled(0.01), faults, 5);
        let mut worklist = Worklist::new(Kind::Hematology, 5, 1);
        let now = stopwatch();
        let mut noted = 0;
        for _ in 0..3 {
            let message = worklist.draw(Timestamp(0));
            let submit = PeerInput::Submit(message);
            converse(&mut ours, &mut sender, &now, submit, |_, _| noted += 1).await.expect("an open pipe");
        }
        assert_eq!(sender.told().acknowledged, ["H0001", "H0002", "H0003"].map(sample_key));
        assert_eq!(noted, 3);
    }

    #[tokio::test]
    async fn a_run_is_told_in_compressed_time() {
        let (mut ours, mut theirs) = tokio::io::duplex(1 << 20);
        let run = Run::new(1, 3_100_000_017, 1, Timestamp(0), 6);
        let started = Instant::now();
        let mut told = Told::default();
        tell_run(&mut ours, &run, 1000.0, &mut told, |_, _| {}).await.expect("an open pipe");
        assert!(started.elapsed() >= run.duration() / 1000);
        assert_eq!(told.acknowledged.len(), 9);
        drop(ours);
        let mut read = String::new();
        theirs.read_to_string(&mut read).await.expect("UTF-8");
        assert!(read.lines().eq(run.lines.iter().map(|line| line.text.as_str())));
    }
}
