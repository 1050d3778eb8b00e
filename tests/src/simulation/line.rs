//! Serial lines and the analyzers at their far ends.
//!
//! The gateway opens a line and gets one end of a pipe; the analyzer has the other. An analyzer is not told when the
//! gateway dies: its bytes go nowhere, as on a real cable, and its own timers tell it. What it was promised (frames and
//! messages that got their ACK) it writes down.

use super::world::{Life, World, digest};
use gateway_core::config::{Line, Port};
use gateway_core::time::Mono;
use gateway_daemon::platform::{BoxFuture, PortError, SerialBus, Stream};
use gateway_daemon::simulated::Pace;
use gateway_daemon::simulated::astm::{Message, Note, PeerAction, PeerInput, Sender, Style};
use gateway_daemon::simulated::test_v0::Run;
use rusqlite::Connection;
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};
use tokio::sync::mpsc;

const ENQ: u8 = 0x05;
const ACK: u8 = 0x06;
const STX: u8 = 0x02;
const ETX: u8 = 0x03;
/// More than anybody says at once, so that a write is never partial.
const PIPE_BYTES: usize = 1 << 20;

/// What an analyzer wrote down.
#[derive(Debug, Clone, Default)]
pub struct Notes {
    /// Everything that it has to say is said and acknowledged.
    pub done: bool,
    /// Keys of messages, see `simulated::ledger::key_of`.
    pub sent: Vec<String>,
    pub acknowledged: Vec<String>,
    /// Frames with an ACK, STX to LF.
    pub frames: Vec<Vec<u8>>,
    /// Attempts at a message that ended after at least one frame had its ACK and before the last one was sent.
    pub interrupted: usize,
    /// Damaged frames that got an ACK.
    pub accepted_damaged: u64,
    /// An ACK for a frame that was not in the database at that moment.
    pub acknowledged_unstored: Vec<String>,
}

/// All lines of a run, by the path of the port.
#[derive(Clone, Default)]
pub struct Lines(Arc<Mutex<BTreeMap<PathBuf, FarEnd>>>);

struct FarEnd {
    plugged: mpsc::UnboundedSender<DuplexStream>,
    notes: Notes,
    /// The adapter is away between these moments.
    away: Vec<(Duration, Duration)>,
}

impl Lines {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<PathBuf, FarEnd>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lays a line. What the gateway opens comes out of the receiver.
    pub fn lay(&self, path: PathBuf, away: Vec<(Duration, Duration)>) -> mpsc::UnboundedReceiver<DuplexStream> {
        let (plugged, opened) = mpsc::unbounded_channel();
        self.lock().insert(path, FarEnd { plugged, notes: Notes::default(), away });
        opened
    }

    pub fn note(&self, path: &PathBuf, write: impl FnOnce(&mut Notes)) {
        if let Some(end) = self.lock().get_mut(path) {
            write(&mut end.notes);
        }
    }

    pub fn notes(&self) -> BTreeMap<PathBuf, Notes> {
        self.lock().iter().map(|(path, end)| (path.clone(), end.notes.clone())).collect()
    }

    pub fn all_done(&self) -> bool {
        self.lock().values().all(|end| end.notes.done)
    }
}

/// The serial bus of one life of the gateway.
pub struct SimSerial {
    pub life: Life,
    pub lines: Lines,
}

impl SerialBus for SimSerial {
    fn open(&self, port: &Port, _: &Line) -> BoxFuture<'static, Result<Box<dyn Stream>, PortError>> {
        let Port::Path(path) = port else { panic!("the simulation knows only paths") };
        let now = self.life.world().now();
        let lines = self.lines.lock();
        let end = lines.get(path).expect("every analyzer of the settings has a line");
        let away = |(from, to): &&(Duration, Duration)| (*from..*to).contains(&now);
        if end.away.iter().any(|span| away(&span)) {
            return Box::pin(async { Err(PortError("no such device".to_owned())) });
        }
        let next_away = end.away.iter().map(|(from, _)| *from).find(|from| *from > now);
        let (ours, theirs) = tokio::io::duplex(PIPE_BYTES);
        let _ = end.plugged.send(theirs);
        let unplugged = next_away.map(|from| Box::pin(tokio::time::sleep(from - now)));
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let stream = SimStream { life: self.life.clone(), pipe: ours, unplugged, name, gone: false };
        Box::pin(async move { Ok(Box::new(stream) as Box<dyn Stream>) })
    }
}

/// The gateway's end of a line.
struct SimStream {
    life: Life,
    pipe: DuplexStream,
    unplugged: Option<Pin<Box<tokio::time::Sleep>>>,
    name: String,
    gone: bool,
}

impl SimStream {
    fn look(&mut self, context: &mut Context<'_>) {
        if let Some(unplugged) = &mut self.unplugged
            && unplugged.as_mut().poll(context).is_ready()
        {
            self.unplugged = None;
            self.gone = true;
        }
    }
}

impl AsyncRead for SimStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.life.is_over() {
            return Poll::Pending;
        }
        self.look(context);
        if self.gone {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.pipe).poll_read(context, buffer)
    }
}

impl AsyncWrite for SimStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.look(context);
        if self.gone {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if !self.life.effect(format!("send {} {}", self.name, named(bytes))) {
            return Poll::Pending;
        }
        let written = Pin::new(&mut self.pipe).poll_write(context, bytes);
        assert!(written.is_ready(), "the pipe is larger than anything said at once");
        if self.life.effect(format!("sent {}", self.name)) { written } else { Poll::Pending }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn named(bytes: &[u8]) -> String {
    match bytes {
        [ACK] => "ACK".to_owned(),
        [0x15] => "NAK".to_owned(),
        other => digest(other),
    }
}

/// An analyzer's own end: written into the void while nobody listens.
struct Cable {
    opened: mpsc::UnboundedReceiver<DuplexStream>,
    end: Option<DuplexStream>,
}

impl Cable {
    async fn write(&mut self, bytes: &[u8], pace: Pace) {
        for (index, piece) in bytes.chunks(pace.piece.clamp(1, PIPE_BYTES)).enumerate() {
            if index > 0 {
                tokio::time::sleep(pace.gap).await;
            }
            while let Ok(end) = self.opened.try_recv() {
                self.end = Some(end);
            }
            if let Some(end) = &mut self.end
                && end.write_all(piece).await.is_err()
            {
                self.end = None;
            }
        }
    }

    /// Hears whatever comes, for ever.
    async fn ignore(&mut self) {
        let mut buffer = [0; 16];
        loop {
            self.read(&mut buffer).await;
        }
    }

    /// The next bytes from the gateway; never ends while nobody is there.
    async fn read(&mut self, buffer: &mut [u8]) -> usize {
        loop {
            if let Some(end) = &mut self.end {
                tokio::select! {
                    biased;
                    Some(next) = self.opened.recv() => self.end = Some(next),
                    read = end.read(buffer) => match read {
                        Ok(count) if count > 0 => return count,
                        _ => self.end = None,
                    },
                }
            } else {
                match self.opened.recv().await {
                    Some(end) => self.end = Some(end),
                    None => std::future::pending().await,
                }
            }
        }
    }
}

/// An analyzer that speaks E1381.
pub struct Astm {
    pub world: World,
    pub lines: Lines,
    pub path: PathBuf,
    pub sender: Sender,
    pub style: Style,
    /// What it measures, and when.
    pub script: Vec<(Duration, Message)>,
    pub database: PathBuf,
    /// The frame that waits for its answer.
    awaiting: Option<Vec<u8>>,
    /// Frames of the present attempt that got their ACK.
    accepted: usize,
    reader: Option<Connection>,
}

impl Astm {
    pub fn new(
        world: &World,
        lines: &Lines,
        path: PathBuf,
        (sender, style): (Sender, Style),
        script: Vec<(Duration, Message)>,
        database: PathBuf,
    ) -> Astm {
        let (world, lines) = (world.clone(), lines.clone());
        Astm { world, lines, path, sender, style, script, database, awaiting: None, accepted: 0, reader: None }
    }

    /// Talks until the run ends.
    pub async fn run(mut self, opened: mpsc::UnboundedReceiver<DuplexStream>) {
        let mut cable = Cable { opened, end: None };
        let mut buffer = [0; 64];
        self.script.reverse();
        let total = self.script.len();
        loop {
            let now = Mono::default().after(self.world.now());
            if self.script.last().is_some_and(|(due, _)| *due <= self.world.now()) {
                let (_, message) = self.script.pop().expect("it was just looked at");
                let actions = self.sender.handle(now, PeerInput::Submit(message));
                self.perform(actions, &mut cable).await;
                continue;
            }
            if self.sender.deadline().is_some_and(|due| due <= now) {
                let actions = self.sender.handle(now, PeerInput::DeadlineReached);
                self.perform(actions, &mut cable).await;
                continue;
            }
            self.write_down(total);
            let submit = self.script.last().map(|(due, _)| *due - self.world.now());
            let deadline = self.sender.deadline().map(|due| due.since(now));
            let wait = [submit, deadline].into_iter().flatten().min().unwrap_or(Duration::from_secs(1 << 32));
            tokio::select! {
                biased;
                count = cable.read(&mut buffer) => {
                    for byte in &buffer[..count] {
                        self.hear(*byte);
                        let now = Mono::default().after(self.world.now());
                        let actions = self.sender.handle(now, PeerInput::Received(&[*byte]));
                        self.perform(actions, &mut cable).await;
                    }
                }
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    fn hear(&mut self, byte: u8) {
        let Some(frame) = self.awaiting.take() else { return };
        if byte != ACK {
            return;
        }
        self.accepted += 1;
        let stored = self.is_stored(&frame);
        self.lines.note(&self.path, |notes| {
            if !stored {
                notes.acknowledged_unstored.push(digest(&frame));
            }
            notes.frames.push(frame);
        });
    }

    /// Whether the frame is in the database now, by a look of our own.
    fn is_stored(&mut self, frame: &[u8]) -> bool {
        let reader = self.reader.get_or_insert_with(|| super::check::read_only(&self.database));
        let name = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        super::check::captures_hold(reader, &name, frame)
    }

    async fn perform(&mut self, actions: Vec<PeerAction>, cable: &mut Cable) {
        for action in actions {
            match action {
                PeerAction::Send { bytes, pace } => {
                    self.awaiting = bytes.iter().position(|byte| *byte == STX).map(|start| bytes[start..].to_vec());
                    if bytes == [ENQ] {
                        self.accepted = 0;
                    }
                    self.world.note(format!("{} says {} bytes {}", self.name(), bytes.len(), digest(&bytes)));
                    // A byte takes time on the line; without that nothing could happen in the middle of a frame.
                    let slow = Pace { piece: pace.piece.min(48), gap: pace.gap.max(Duration::from_millis(3)) };
                    cable.write(&bytes, slow).await;
                }
                PeerAction::Note(Note::Acknowledged { id, .. }) => {
                    self.accepted = 0;
                    self.world.note(format!("{} has its last ACK for {id}", self.name()));
                }
                PeerAction::Note(Note::Abandoned { reason, .. }) => {
                    let before_last = self.awaiting.as_ref().is_none_or(|frame| !self.is_last(frame));
                    let interrupted = self.accepted > 0 && before_last;
                    self.accepted = 0;
                    self.world.note(format!("{} gives up: {reason}", self.name()));
                    self.lines.note(&self.path, |notes| notes.interrupted += usize::from(interrupted));
                }
                PeerAction::Note(_) => {}
            }
        }
    }

    /// Whether this frame is the last one of its message.
    fn is_last(&self, frame: &[u8]) -> bool {
        let text_has = |part: &[u8]| frame.windows(part.len()).any(|window| window == part);
        frame.contains(&ETX) && (self.style != Style::RecordPerFrame || text_has(b"L|1|N"))
    }

    fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    fn write_down(&self, total: usize) {
        let told = self.sender.told();
        let done = self.script.is_empty() && self.sender.is_done() && told.acknowledged.len() >= total;
        self.lines.note(&self.path, |notes| {
            notes.done = done;
            notes.sent.clone_from(&told.sent);
            notes.acknowledged.clone_from(&told.acknowledged);
            notes.accepted_damaged = told.accepted_damaged;
        });
    }
}

/// An analyzer that prints lines and hears nothing. `speed`: how much faster than measured.
pub async fn talk(
    world: World,
    lines: Lines,
    path: PathBuf,
    run: Run,
    (start, speed): (Duration, f64),
    opened: mpsc::UnboundedReceiver<DuplexStream>,
) {
    let mut cable = Cable { opened, end: None };
    for line in &run.lines {
        let due = start + line.at.div_f64(speed);
        let wait = due.saturating_sub(world.now());
        let _ = tokio::time::timeout(wait, cable.ignore()).await;
        let bytes = format!("{}\n", line.text).into_bytes();
        world.note(format!("{} prints {}", path.display(), line.key));
        cable.write(&bytes, Pace { piece: bytes.len() / 2 + 1, gap: Duration::from_millis(7) }).await;
        let heard = cable.end.is_some();
        lines.note(&path, |notes| {
            notes.sent.push(line.key.clone());
            if heard {
                notes.acknowledged.push(line.key.clone());
            }
        });
    }
    lines.note(&path, |notes| notes.done = true);
    // The line stays plugged in.
    cable.ignore().await;
}
