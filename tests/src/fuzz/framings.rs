//! The framings alone: whatever the bytes and however they are cut, each piece is handed out once and none is made up.

use super::{below, range};
use gateway_core::framing::keyboard::Keyboard;
use gateway_core::framing::lines::{Line, Lines};
use gateway_core::framing::{astm, mllp, xml};
use gateway_daemon::simulated::seeded::Seeded;

/// Longest frame, line, block and document here.
const UNIT_BYTES_MAX: usize = 1024;
const HEAD_BYTES_MAX: usize = 256;

/// Cuts bytes into frames.
pub type Framing = fn(&[u8], &mut Seeded);

/// Every framing by its file's name. Each panics where it breaks its word.
pub const FRAMINGS: &[(&str, Framing)] =
    &[("astm", astm_frames), ("keyboard", keys), ("lines", lines), ("mllp", blocks), ("xml", documents)];

/// Feeds pieces of any length; `drain` takes out what is whole and returns how many bytes that was.
fn fed(bytes: &[u8], draw: &mut Seeded, mut drain: impl FnMut(&[u8]) -> usize) -> usize {
    let mut rest = bytes;
    let mut taken = 0;
    while !rest.is_empty() {
        let (part, after) = rest.split_at(1 + below(draw, rest.len().min(300)));
        taken += drain(part);
        rest = after;
    }
    taken
}

fn astm_frames(bytes: &[u8], draw: &mut Seeded) {
    let mut scanner = astm::Scanner::new(UNIT_BYTES_MAX);
    let mut inside = false;
    let taken = fed(bytes, draw, |part| {
        scanner.push(part);
        let mut taken = 0;
        while let Some(piece) = if inside { scanner.next_inside() } else { scanner.next_outside() } {
            taken += match &piece {
                astm::Piece::Enq | astm::Piece::Eot => 1,
                astm::Piece::Frame(frame) => frame.text.len() + 3,
                astm::Piece::Noise(noise) => noise.len(),
                _ => 0,
            };
            inside = !matches!(piece, astm::Piece::Eot) && (inside || piece == astm::Piece::Enq);
        }
        taken
    });
    assert!(taken + scanner.take_rest().0.len() <= bytes.len(), "bytes were made up");
}

fn keys(bytes: &[u8], _: &mut Seeded) {
    let mut keyboard = Keyboard::default();
    let typed = bytes.chunks(24).filter_map(|record| keyboard.event(record)).count();
    assert!(typed <= bytes.len() / 8, "more keys than records");
}

fn lines(bytes: &[u8], draw: &mut Seeded) {
    let mut lines = Lines::ended_by(b"\r\n", UNIT_BYTES_MAX);
    let length = |line: &Line| match line {
        Line::Whole(line) => line.len(),
        Line::TooLong { bytes, .. } => *bytes,
    };
    let taken = fed(bytes, draw, |part| {
        lines.push(part);
        std::iter::from_fn(|| lines.next_line()).map(|line| length(&line)).sum()
    });
    assert_eq!(taken + lines.take_rest().map_or(0, |rest| length(&rest)), bytes.len(), "every byte is in one line");
}

fn blocks(bytes: &[u8], draw: &mut Seeded) {
    for mut scanner in [
        mllp::Scanner::new(UNIT_BYTES_MAX, HEAD_BYTES_MAX),
        mllp::Scanner::unframed(b"MSH", UNIT_BYTES_MAX, HEAD_BYTES_MAX),
    ] {
        let taken = fed(bytes, draw, |part| {
            scanner.push(part);
            std::iter::from_fn(|| scanner.next_piece()).map(|piece| piece.bytes().len()).sum()
        });
        let rest = scanner.take_rest().map_or(0, |piece| piece.bytes().len());
        assert!(taken + rest <= bytes.len(), "bytes were made up");
    }
}

fn documents(bytes: &[u8], draw: &mut Seeded) {
    let (from, _) = range(draw, 4);
    let any: fn(&[u8]) -> bool = |_| true;
    let some: fn(&[u8]) -> bool = |name| name.ends_with(b".R01");
    let is_possible = if from == 0 { any } else { some };
    let mut documents = xml::Documents::new(UNIT_BYTES_MAX, xml::Roots { is_possible, is_certain: some });
    let pieces = fed(bytes, draw, |part| {
        documents.push(part);
        std::iter::from_fn(|| documents.next_piece()).count()
    });
    assert!(pieces + usize::from(documents.take_rest().is_some()) <= bytes.len(), "more pieces than bytes");
    assert!(documents.held() <= 2 * UNIT_BYTES_MAX, "more is held than a document may have");
}
