//! Stored bytes are read again: the text of a message that a restart has cut off, and records for looking at.

use super::records::{Record, parse_records};
use super::soh::SOH;
use crate::framing::astm::{ENQ, EOT, Frame, Piece, Scanner, frame};
use crate::reading::Encoding;
use crate::session::Framing;
use std::borrow::Cow;

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

/// Good frames with records, but no ENQ: what was stored of a session's later message, and what tools have saved that begin
/// at the first frame.
pub fn lacks_enq(capture: &[u8]) -> bool {
    !capture.contains(&ENQ) && !records_of(capture, Framing::E1381, Encoding::Auto).is_empty()
}

/// A stored message as a session takes it: with the ENQ, the numbers from 1 and the EOT that its own session has had. One
/// that the analyzer had not `ended` stays as it is: nothing may make it whole.
pub(super) fn from_the_start(message: &[u8], frame_bytes_max: usize, ended: bool) -> Cow<'_, [u8]> {
    if !ended {
        return Cow::Borrowed(message);
    }
    let mut bytes = match lacks_enq(message) {
        true => {
            let frames = acknowledged_frames(message, frame_bytes_max);
            let numbered = (1..8).chain([0]).cycle().zip(&frames);
            let framed = numbered.flat_map(|(number, part)| frame(number, &part.text, part.last));
            [ENQ].into_iter().chain(framed).collect()
        }
        false => message.to_vec(),
    };
    if bytes.contains(&ENQ) {
        bytes.push(EOT);
    }
    Cow::Owned(bytes)
}

/// The text that was acknowledged in these bytes.
pub(super) fn acknowledged_text(capture: &[u8], frame_bytes_max: usize) -> Vec<u8> {
    text_of(&acknowledged_frames(capture, frame_bytes_max))
}

/// The frames that were acknowledged in these bytes. They also hold refused frames, but the last good frame was accepted
/// and so were those whose numbers lead to it.
fn acknowledged_frames(capture: &[u8], frame_bytes_max: usize) -> Vec<Frame> {
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
    let Some(chain) = (0..starts).map(chain).find(reaches_the_last) else { return frames };
    chain.into_iter().map(|place| frames[place].clone()).collect()
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

    #[test]
    fn a_later_message_of_a_session_is_read_from_its_start() {
        let session =
            [frame(6, b"H|\\^&\rO|1|S-1\rR|1|^^^A|", false), frame(7, b"5\r", true), frame(0, b"L|1\r", true)];
        let whole = [&[ENQ][..], &frame(1, b"H|\\^&\rO|1|S-1\rR|1|^^^A|", false), &frame(2, b"5\r", true)];
        let whole = [&whole.concat()[..], &frame(3, b"L|1\r", true), &[EOT]].concat();
        assert_eq!(from_the_start(&session.concat(), 100, true), whole);
        assert_eq!(from_the_start(&whole[..whole.len() - 1], 100, true), whole);
        assert_eq!(from_the_start(b"no frame", 100, true), &b"no frame"[..]);
        assert_eq!(from_the_start(&session.concat(), 100, false), session.concat());
    }

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
