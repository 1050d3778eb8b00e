//! Who speaks, and which profile fits best: asked of the drivers themselves, by replaying the bytes.

use super::{Protocol, holds};
use crate::config::Profile;
use crate::drivers::{converse, driver};
use crate::event::{Device, EventKind, EventName};
use crate::framing::astm::ENQ;
use crate::replay::Replay;
use crate::session::{DriverOptions, Framing};
use crate::time::Now;

/// A model's name shorter than this stands in too many headers by chance.
const MODEL_SIGNS_MIN: usize = 3;
/// So many of the codes must be the profile's where the name is not said.
const CODES_MIN: usize = 3;
/// Only the beginning says who speaks.
const HEADER_BYTES_MAX: usize = 400;

/// A profile by its name.
#[derive(Debug, Clone)]
pub struct Known {
    pub name: String,
    pub profile: Profile,
}

/// A profile that fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fit {
    pub name: String,
    /// Why, a phrase.
    pub because: String,
}

/// What the bytes say of their sender, as the protocol's own driver reads it.
pub fn identity(protocol: Protocol, bytes: &[u8]) -> Device {
    let options = DriverOptions { framing: protocol.framing(), ..DriverOptions::default() };
    let events = replayed(protocol.driver(), &options, bytes).unwrap_or_default();
    events.into_iter().filter_map(|event| event.device).next_back().unwrap_or_default()
}

/// The profile that fits these bytes best: the longest model name that their header holds, else the one whose patterns or
/// codes fit and no other's do as well.
pub fn fit(protocol: Protocol, bytes: &[u8], known: &[Known]) -> Option<Fit> {
    let candidates: Vec<&Known> = known.iter().filter(|known| known.profile.driver == protocol.driver()).collect();
    let header = plain(&String::from_utf8_lossy(&bytes[..bytes.len().min(HEADER_BYTES_MAX)]));
    let named = |known: &&&Known| {
        let model = plain(&known.profile.model);
        model.len() >= MODEL_SIGNS_MIN && header.contains(&model)
    };
    if let Some(found) = candidates.iter().filter(named).max_by_key(|known| plain(&known.profile.model).len()) {
        let because = format!("it calls itself {}", found.profile.model);
        return Some(Fit { name: found.name.clone(), because });
    }
    let mut fitting: Vec<(usize, usize, &Known)> = Vec::new();
    for candidate in candidates {
        let options = &candidate.profile.options;
        if protocol.driver() == "astm" && options.framing != protocol.framing() {
            continue;
        }
        let events = replayed(protocol.driver(), options, bytes).unwrap_or_default();
        let rejected = events.iter().any(|event| event.name == EventName::MessageRejected);
        let results: Vec<_> =
            events.iter().filter_map(|event| event.test.as_ref()).flat_map(|test| &test.results).collect();
        let codes = results.iter().filter(|result| options.reading.codes.contains_key(&result.code)).count();
        let by_codes = codes >= CODES_MIN && codes * 10 >= results.len() * 8;
        if !rejected && by_codes {
            fitting.push((codes, results.len(), candidate));
        }
    }
    fitting.sort_by_key(|(codes, results, _)| std::cmp::Reverse((*codes, *results)));
    match fitting.as_slice() {
        [(codes, results, known), rest @ ..] if rest.first().is_none_or(|(second, ..)| second < codes) => {
            let because = format!("it knows the codes of {codes} of {results} results");
            Some(Fit { name: known.name.clone(), because })
        }
        _ => None,
    }
}

/// Letters and digits alone, in small letters.
fn plain(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// The events of a driver; `None` if there is no such driver or its options are wrong.
fn replayed(name: &str, options: &DriverOptions, bytes: &[u8]) -> Option<Vec<EventKind>> {
    let mut replay = Replay::new(converse(driver(name)?, options).ok()?, Now::default());
    if name == "astm" && options.framing == Framing::E1381 && !holds(bytes, &[ENQ]) {
        replay.receive(&[ENQ]);
    }
    replay.receive(bytes);
    Some(replay.finish().events)
}
