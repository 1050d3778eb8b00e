//! Documents are cut at their roots' ends, whatever stands around and in between, in reads of any size.

use super::*;

fn is_message(name: &[u8]) -> bool {
    name.len() == 5 && name.starts_with(b"M.R")
}

const ROOTS: Roots = Roots { is_possible: |name| name != b"x", is_certain: is_message };

fn cut(bytes: &[u8], step: usize) -> Vec<Piece> {
    let mut documents = Documents::new(120, ROOTS);
    let mut pieces = Vec::new();
    for part in bytes.chunks(step) {
        documents.push(part);
        pieces.extend(std::iter::from_fn(|| documents.next_piece()));
    }
    pieces.extend(documents.take_rest());
    // How many bytes of noise come in one piece means nothing.
    pieces.into_iter().fold(Vec::new(), |mut joined, piece| {
        match (joined.last_mut(), piece) {
            (Some(Piece::Noise(before)), Piece::Noise(more)) => before.extend(more),
            (_, piece) => joined.push(piece),
        }
        joined
    })
}

/// `D` document, `E` one in an envelope, `B` broken, `L` too long, `N` noise, each with its bytes.
fn brief(pieces: Vec<Piece>) -> String {
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let brief = |piece| match piece {
        Piece::Document { bytes, enveloped: false } => format!("D {}", text(bytes)),
        Piece::Document { bytes, enveloped: true } => format!("E {}", text(bytes)),
        Piece::Broken(bytes) => format!("B {}", text(bytes)),
        Piece::TooLong { head, bytes } => format!("L {} of {bytes}", head.len()),
        Piece::Noise(bytes) => format!("N {}", text(bytes)),
    };
    pieces.into_iter().map(brief).collect::<Vec<_>>().join(" | ")
}

#[test]
fn a_document_ends_with_its_root() {
    for (bytes, expected) in [
        ("<a/>", "D <a/>"),
        ("<a></a><b></b >", "D <a></a> | D <b></b >"),
        ("<a><a.x V='</a>'/></a>", "D <a><a.x V='</a> | N '/></a>"),
        ("<a V=\">\"/><b V='/>' W=\"'\"/>", "D <a V=\">\"/> | D <b V='/>' W=\"'\"/>"),
        ("<?xml version='1.0'?>\n<!-- </a> --><a><![CDATA[</a>]]>]]&gt;</a>", "D whole"),
        ("<!DOCTYPE a [ <!ENTITY x '<a></a>'> ]><a>&x;</a>", "D whole"),
        ("<a V=unquoted><b V=\"open></b></a>", "D whole"),
        ("<a><b></a>", "D whole"),
        ("\u{b}<a/>\u{1c}\r\u{b}<b></b>\u{1c}\r<c/>", "E <a/> | N \r | E <b></b> | N \r | D <c/>"),
        ("\u{feff}<a/>\r\n\r\n<b/>", "N \u{feff} | D <a/> | N \r\n\r\n | D <b/>"),
        ("1 < 2 </x> <<a/>", "N 1 < 2 </x> < | D <a/>"),
        ("<x V='1'/><a/>", "N <x V='1'/> | D <a/>"),
        ("<x><x></x><?xml version='1.0'?><x/>", "N <x><x></x> | D <?xml version='1.0'?><x/>"),
    ] {
        let expected = expected.replace("whole", bytes);
        for step in [bytes.len(), 1, 2, 3, 7] {
            assert_eq!(brief(cut(bytes.as_bytes(), step)), expected, "in reads of {step}");
        }
    }
}

#[test]
fn what_was_begun_and_not_ended_costs_no_other() {
    for (bytes, expected) in [
        ("<M.R01><x><?xml version='1.0'?><M.R02/>", "B <M.R01><x> | D <?xml version='1.0'?><M.R02/>"),
        ("<M.R01><x V='<M.R02></M.R02>", "B <M.R01><x V=' | D <M.R02></M.R02>"),
        ("<a><b><a><b/></a>", "B <a><b> | D <a><b/></a>"),
        ("\u{b}<a><b\u{b}<a/>\u{1c}\r", "B <a><b | E <a/> | N \r"),
        ("\u{b}<a><b\u{1c}\r<a/>", "B <a><b | N \r | D <a/>"),
        ("<?xml version='1.0'?><?xml version='1.0'?><a/>", "B <?xml version='1.0'?> | D <?xml version='1.0'?><a/>"),
        ("<a><?other <a/> ?></a>", "D <a><?other <a/> ?></a>"),
        ("<a><b/>", "B <a><b/>"),
    ] {
        for step in [bytes.len(), 1, 2, 3, 7] {
            assert_eq!(brief(cut(bytes.as_bytes(), step)), expected, "in reads of {step}");
        }
    }
}

#[test]
fn a_document_over_the_limit_is_counted_and_the_next_one_is_whole() {
    let long = format!("<a>{}</a>", "<b/>".repeat(100));
    let bytes = format!("{long}<c/>{long}");
    let expected = format!("L 120 of {0} | D <c/> | L 120 of {0}", long.len());
    for step in [bytes.len(), 1, 7] {
        assert_eq!(brief(cut(bytes.as_bytes(), step)), expected);
    }
    let restarted = format!("<M.R01>{}<M.R02/>", "<b/>".repeat(100));
    assert_eq!(brief(cut(restarted.as_bytes(), 1)), "L 120 of 413 | D <M.R02/>");
}

#[test]
fn noise_and_nesting_without_end_stay_in_bounds() {
    let mut documents = Documents::new(1000, ROOTS);
    for _ in 0..100_000 {
        documents.push(b"<y><!");
        while documents.next_piece().is_some() {}
        assert!(documents.held() <= 1000);
    }
    let mut documents = Documents::new(1000, ROOTS);
    let mut noise = 0;
    for _ in 0..100_000 {
        documents.push(b"~~< ~<<");
        noise += std::iter::from_fn(|| documents.next_piece()).count();
        assert!(documents.held() <= NOISE_BYTES_MAX + 7);
    }
    assert!(noise > 100);
}
