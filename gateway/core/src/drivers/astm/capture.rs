//! Stored bytes are read again: the text of a message that a restart has cut off, and records for looking at.

use super::records::{Record, parse_records};
use super::soh::SOH;
use crate::framing::astm::{EOT, Frame, Piece, Scanner};
use crate::reading::Encoding;
use crate::session::Framing;

/// The records of a capture as lists of fields, delimiters and escapes resolved. Frames are taken whatever their number,
/// so that a capture may begin anywhere; bad ones and repeated ones are left out.
pub fn records_of(capture: &[u8], framing: Framing, encoding: Encoding) -> Vec<Vec<String>> {
    let text = match framing {
        Framing::None => capture.to_vec(),
        Framing::Soh => capture.iter().copied().filter(|byte| !matches!(*byte, SOH | EOT)).collect(),
        Framing::E1381 => {
            let mut frames = frames_of(capture, usize::MAX).0;
            frames.dedup_by(|next, last| next.number == last.number && next.text == last.text);
            text_of(&frames)
        }
    };
    parse_records(&text, encoding).iter().map(Record::plain_fields).collect()
}

/// The text that was acknowledged in these bytes. They also hold refused frames, but the last good frame was accepted
/// and so were those whose numbers lead to it.
pub(super) fn acknowledged_text(capture: &[u8], frame_bytes_max: usize) -> Vec<u8> {
    let (frames, from_enq) = frames_of(capture, frame_bytes_max);
    let chain = |first: usize| {
        let mut expected = if from_enq { 1 } else { frames[first].number };
        let mut chain: Vec<usize> = Vec::new();
        for (place, frame) in frames.iter().enumerate().skip(first) {
            if frame.number == expected {
                chain.push(place);
                expected = (expected + 1) % 8;
            }
        }
        chain
    };
    let starts = if from_enq { frames.len().min(1) } else { frames.len() };
    let reaches_the_last = |chain: &Vec<usize>| chain.last().is_some_and(|place| place + 1 == frames.len());
    let Some(chain) = (0..starts).map(chain).find(reaches_the_last) else { return text_of(&frames) };
    text_of(&chain.into_iter().map(|place| frames[place].clone()).collect::<Vec<_>>())
}

/// The good frames behind the last ENQ, and whether there was one.
fn frames_of(capture: &[u8], frame_bytes_max: usize) -> (Vec<Frame>, bool) {
    let mut scanner = Scanner::new(frame_bytes_max);
    scanner.push(capture);
    scanner.close_line();
    let pieces: Vec<Piece> = std::iter::from_fn(|| scanner.next_inside()).collect();
    let from_enq = matches!(pieces.iter().find(|piece| !matches!(piece, Piece::Noise(_))), Some(Piece::Enq));
    let frame = |piece| if let Piece::Frame(frame) = piece { Some(frame) } else { None };
    (pieces.into_iter().filter_map(frame).collect(), from_enq)
}

fn text_of(frames: &[Frame]) -> Vec<u8> {
    let mut text = Vec::new();
    for frame in frames {
        text.extend_from_slice(&frame.text);
        if frame.last && !frame.text.ends_with(b"\r") {
            text.push(b'\r');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::framing::astm::frame;

    #[test]
    fn refused_frames_in_a_capture_are_not_part_of_its_text() {
        let part = |number, text: &str| frame(number, text.as_bytes(), false);
        let session =
            [part(4, "H|"), part(6, "bad"), part(4, "other"), part(5, "\\^&\r"), part(5, "\\^&\r"), part(6, "P|")];
        assert_eq!(acknowledged_text(&session.concat(), 100), b"H|\\^&\rP|");
        let behind = [part(7, "bad"), part(3, "H|"), part(4, "\\^&\r")];
        assert_eq!(acknowledged_text(&behind.concat(), 100), b"H|\\^&\r");
        let from_enq = [vec![5], part(2, "bad"), part(1, "H|")];
        assert_eq!(acknowledged_text(&from_enq.concat(), 100), b"H|");
        assert_eq!(acknowledged_text(b"", 100), b"");
    }
}
