//! The moods of a receiver as a line of text: `500x3,429:10,hang,drop,200`.

use super::{Answer, Script};
use std::sync::Arc;
use std::time::Duration;

/// How long a `hang` without seconds is silent: longer than any sender waits.
const HANG: Duration = Duration::from_secs(3600);
/// Steps in all.
const STEPS_MAX: usize = 10_000;

/// A script without moods.
pub fn accept_all() -> Script {
    Arc::new(|_, _| Answer::Accept)
}

/// Each request takes the next of these; then every one is accepted, for ever.
pub fn in_turn(steps: Vec<Answer>) -> Script {
    Arc::new(move |number, _| {
        let index = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
        index.and_then(|index| steps.get(index)).copied().unwrap_or(Answer::Accept)
    })
}

/// Reads the steps: `200` accepts, another STATUS refuses, STATUS:SECONDS with `Retry-After`, `hang` or `hang:SECONDS` is
/// silent, `drop` takes the event and hangs up without an answer; each with `xN` behind it N times.
pub fn steps(text: &str) -> Result<Vec<Answer>, String> {
    let mut steps = Vec::new();
    for word in text.split(',').map(str::trim) {
        let (step, times) = match word.rsplit_once('x') {
            Some((step, times)) => (step, times.parse().map_err(|_| wrong(word))?),
            None => (word, 1),
        };
        if steps.len() + times > STEPS_MAX {
            return Err(format!("more than {STEPS_MAX} steps"));
        }
        steps.extend(std::iter::repeat_n(one(step).ok_or_else(|| wrong(word))?, times));
    }
    Ok(steps)
}

fn wrong(word: &str) -> String {
    format!(
        "`{word}` is no step; write 200, 500, 429:10, hang, hang:30 or drop, each with x3 behind it for three times"
    )
}

fn one(step: &str) -> Option<Answer> {
    let (word, seconds) = match step.split_once(':') {
        Some((word, seconds)) => (word, Some(seconds.parse::<u32>().ok()?)),
        None => (step, None),
    };
    Some(match (word, seconds) {
        ("hang", seconds) => Answer::Hang(seconds.map_or(HANG, |seconds| Duration::from_secs(seconds.into()))),
        ("drop", None) => Answer::LoseAnswer,
        ("200", None) => Answer::Accept,
        (status, retry_after_seconds) => {
            let status = status.parse().ok().filter(|status| (201..=599).contains(status))?;
            Answer::Refuse { status, retry_after_seconds }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_read_and_repeated() {
        let refuse = |status, retry_after_seconds| Answer::Refuse { status, retry_after_seconds };
        let read = steps("500x2, 429:10,hang,hang:3,drop,200");
        let wanted = vec![
            refuse(500, None),
            refuse(500, None),
            refuse(429, Some(10)),
            Answer::Hang(HANG),
            Answer::Hang(Duration::from_secs(3)),
            Answer::LoseAnswer,
            Answer::Accept,
        ];
        assert_eq!(read, Ok(wanted));
    }

    #[test]
    fn what_is_no_step_is_said() {
        for text in ["", "50", "600", "500x", "500xx2", "hang:x", "drop:3", "200:5", "later", "500x99999"] {
            assert!(steps(text).is_err(), "{text}");
        }
    }
}
