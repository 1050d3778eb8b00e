//! One capture as a patch against an earlier one.
//!
//! Some analyzers repeat everything they have measured so far in every line (seed 000: up to 118 kB a line, hundreds a
//! test). A patch keeps what is new and points at the rest. It is lossless: whoever makes one re-applies it before use.
//!
//! Format: a version byte 1, then operations until the end. An operation is a number n (LEB128): n even means "the next
//! n/2 bytes of the patch are copied to the output"; n odd means "n/2 bytes of the base from the offset that follows".

use std::collections::HashMap;

/// Blocks of the base are found by their first bytes at multiples of this; a shorter match is not worth an operation.
const BLOCK_BYTES: usize = 32;
/// Longer captures are stored whole: looking for blocks in them would hold up the writer.
pub(super) const PATCHED_BYTES_MAX: usize = 1 << 20;
/// Shorter ones are stored whole: there is nothing to gain.
pub(super) const PATCHED_BYTES_MIN: usize = 256;
const VERSION: u8 = 1;

/// A patch that turns `base` into `new` and is at most half as long as `new`, or `None`.
pub fn make(base: &[u8], new: &[u8]) -> Option<Vec<u8>> {
    let sizes = PATCHED_BYTES_MIN..=PATCHED_BYTES_MAX;
    if !sizes.contains(&new.len()) || !sizes.contains(&base.len()) {
        return None;
    }
    let mut blocks: HashMap<&[u8], usize> = HashMap::with_capacity(base.len() / BLOCK_BYTES);
    for (index, block) in base.chunks_exact(BLOCK_BYTES).enumerate() {
        blocks.entry(block).or_insert(index * BLOCK_BYTES);
    }
    let bytes_max = new.len() / 2;
    let mut patch = vec![VERSION];
    // What is written: up to `done`. What has been looked at: up to `position`.
    let (mut done, mut position) = (0, 0);
    while position + BLOCK_BYTES <= new.len() {
        let Some(&found) = blocks.get(&new[position..position + BLOCK_BYTES]) else {
            position += 1;
            if position - done > bytes_max {
                return None;
            }
            continue;
        };
        let back = common_suffix(&base[..found], &new[done..position]);
        let forward = common_prefix(&base[found..], &new[position..]);
        insert(&mut patch, &new[done..position - back]);
        copy(&mut patch, found - back, back + forward);
        position += forward;
        done = position;
        if patch.len() > bytes_max {
            return None;
        }
    }
    insert(&mut patch, &new[done..]);
    (patch.len() <= bytes_max && apply(base, &patch, new.len()).as_deref() == Some(new)).then_some(patch)
}

/// The bytes that a patch stands for, or `None` if it does not fit the base or would give more than `bytes_max`.
pub fn apply(base: &[u8], patch: &[u8], bytes_max: usize) -> Option<Vec<u8>> {
    let (&VERSION, mut rest) = patch.split_first()? else { return None };
    let mut output = Vec::with_capacity(bytes_max.min(PATCHED_BYTES_MAX));
    while !rest.is_empty() {
        let operation = number(&mut rest)?;
        let length = operation >> 1;
        let piece = if operation & 1 == 0 {
            let (piece, after) = rest.split_at_checked(length)?;
            rest = after;
            piece
        } else {
            let offset = number(&mut rest)?;
            base.get(offset..offset.checked_add(length)?)?
        };
        if output.len() + piece.len() > bytes_max {
            return None;
        }
        output.extend_from_slice(piece);
    }
    Some(output)
}

fn common_prefix(one: &[u8], other: &[u8]) -> usize {
    one.iter().zip(other).take_while(|(a, b)| a == b).count()
}

fn common_suffix(one: &[u8], other: &[u8]) -> usize {
    one.iter().rev().zip(other.iter().rev()).take_while(|(a, b)| a == b).count()
}

fn insert(patch: &mut Vec<u8>, bytes: &[u8]) {
    if !bytes.is_empty() {
        push_number(patch, bytes.len() << 1);
        patch.extend_from_slice(bytes);
    }
}

fn copy(patch: &mut Vec<u8>, offset: usize, length: usize) {
    push_number(patch, length << 1 | 1);
    push_number(patch, offset);
}

fn push_number(patch: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        patch.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    patch.push(number as u8);
}

fn number(rest: &mut &[u8]) -> Option<usize> {
    let mut number: usize = 0;
    for shift in (0..35).step_by(7) {
        let (&byte, after) = rest.split_first()?;
        *rest = after;
        number |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(samples: usize) -> Vec<u8> {
        let samples: Vec<String> =
            (0..samples).map(|at| format!("{{\"time\":{at},\"temp\":{}}}", 20.0 + at as f64 * 0.37)).collect();
        format!("{{\"event\":\"NEW_DATA\",\"data\":[{}],\"count\":{}}}\n", samples.join(","), samples.len())
            .into_bytes()
    }

    #[test]
    fn a_cumulative_line_costs_only_what_is_new() {
        let (before, after) = (line(2_000), line(2_010));
        let patch = make(&before, &after).expect("much of it is the same");
        assert!(patch.len() < 600, "{} bytes for {}", patch.len(), after.len());
        assert_eq!(apply(&before, &patch, after.len()), Some(after));
    }

    #[test]
    fn what_has_nothing_in_common_is_stored_whole() {
        let noise: Vec<u8> = (0..4_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        assert_eq!(make(&line(100), &noise), None);
        assert_eq!(make(b"", &line(100)), None);
        assert_eq!(make(&line(100), b"short"), None);
    }

    #[test]
    fn a_damaged_patch_is_refused_and_never_panics() {
        let (before, after) = (line(50), line(55));
        let patch = make(&before, &after).expect("much of it is the same");
        for end in 0..patch.len() {
            assert_ne!(apply(&before, &patch[..end], after.len()), Some(after.clone()));
        }
        for at in 0..patch.len() {
            for flipped in [1, 0x80, 0xff] {
                let mut bad = patch.clone();
                bad[at] ^= flipped;
                let _ = apply(&before, &bad, after.len());
            }
        }
        assert_eq!(apply(&before, &[9, 0], 10), None);
    }
}
