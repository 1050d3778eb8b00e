//! Today's decoder over yesterday's bytes: what it reads otherwise becomes the next version of its test.
//!
//! Only finished tests are read again. Invariants: a message is read alone and with what its analyzer's settings say today; a
//! test to which several messages have contributed (corrections) is put together again from all of them; what reads the
//! same changes nothing, so a second run finds nothing. Bytes that are gone leave their test as it is.

use crate::store::{Content, MessageHead, Statement, Store, StoreError};
use gateway_core::config::Analyzer;
use gateway_core::drivers::driver;
use gateway_core::event::{AnalyzerId, Event, EventId, EventKind, EventName, Id, Seq, Test, TestId};
use gateway_core::replay::reread;
use gateway_core::time::Now;
use gateway_core::versions::{is_correction, laid_over, read_anew};
use serde_json::json;

/// The store, and how each analyzer is read today.
pub struct Redecoder<'a> {
    pub store: &'a Store,
    pub analyzers: &'a [Analyzer],
}

/// What became of one message.
pub enum Reading {
    /// What changes; usually nothing.
    Read(Vec<Change>),
    Skipped(Why),
}

/// Why a message is not read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// A person's data was erased.
    Erased,
    /// The database is damaged there.
    Unreadable,
    /// Everything in it is known from an earlier message.
    Repeat,
    /// Its analyzer is not in the settings.
    UnknownAnalyzer,
    /// It says something only behind the messages before it, or the decoder reads nothing in it any more.
    NotAlone,
}

/// One test that is read otherwise.
pub struct Change {
    /// `None`: nothing could be read of it before.
    pub before: Option<Test>,
    pub after: Test,
    pub statement: Statement,
}

impl Redecoder<'_> {
    /// Reads one message again; nothing is stored.
    pub async fn examine(&self, message: &MessageHead) -> Result<Reading, StoreError> {
        let finished: Vec<&Event> = finished(&message.events).collect();
        let bytes = match self.store.content(message.id).await? {
            _ if message.repeated && message.events.is_empty() => return Ok(Reading::Skipped(Why::Repeat)),
            Content::Erased => return Ok(Reading::Skipped(Why::Erased)),
            Content::Unreadable => return Ok(Reading::Skipped(Why::Unreadable)),
            Content::Whole(bytes) => bytes,
        };
        let Some(read) = self.read(message, &bytes).await? else {
            return Ok(Reading::Skipped(Why::UnknownAnalyzer));
        };
        if read.is_empty() && !finished.is_empty() {
            return Ok(Reading::Skipped(Why::NotAlone));
        }
        let mut changes = Vec::new();
        for (test, kind) in &read {
            changes.extend(self.change(message, *test, kind).await?);
        }
        Ok(Reading::Read(changes))
    }

    /// The finished tests that the message says today, each with the id that it has in the log or gets there. `None`: its
    /// analyzer is not in the settings.
    async fn read(&self, message: &MessageHead, bytes: &[u8]) -> Result<Option<Vec<(TestId, EventKind)>>, StoreError> {
        let Some(analyzer) = self.analyzers.iter().find(|analyzer| analyzer.id == message.analyzer) else {
            return Ok(None);
        };
        let Some(driver) = driver(&analyzer.driver) else { return Ok(None) };
        let ended = message.events.iter().all(|event| event.kind.rejection.is_none());
        let now = Now { wall: message.parts.last().map(|part| part.received_at).unwrap_or_default(), ..Now::default() };
        // The settings were checked, so a driver takes its options.
        let Ok(replayed) = reread(driver, &analyzer.options, bytes, ended, now) else { return Ok(None) };
        let kinds: Vec<EventKind> =
            replayed.events.into_iter().filter(|kind| kind.name == EventName::TestFinished).collect();
        let stored: Vec<&Event> = finished(&message.events).collect();
        let whose = whose(message);
        let mut free: Vec<&Event> = stored.clone();
        let mut read = Vec::new();
        let in_order = kinds.len() == stored.len();
        for (place, kind) in kinds.into_iter().enumerate() {
            let Some(said) = &kind.test else { continue };
            let known = match kind.derived_id(whose) {
                Some(id) => self.store.event_by_id(id).await?,
                None => None,
            };
            let own = recovered_id(&message.analyzer, message.id, place);
            let test = match known.and_then(|event| event.test_id()) {
                Some(test) => test,
                None if in_order => stored[place].test_id().unwrap_or(own),
                None => {
                    free.iter().find(|event| is_about(event, said)).and_then(|event| event.test_id()).unwrap_or(own)
                }
            };
            free.retain(|event| event.test_id() != Some(test));
            read.push((test, kind));
        }
        Ok(Some(read))
    }

    async fn change(
        &self,
        message: &MessageHead,
        test: TestId,
        kind: &EventKind,
    ) -> Result<Option<Change>, StoreError> {
        let Some(said) = &kind.test else { return Ok(None) };
        let history = self.store.test_history(test, Seq(i64::MAX)).await?;
        let versions: Vec<&Event> = finished(&history).collect();
        let Some(newest) = versions.last() else { return Ok(self.recovered(message, test, kind)) };
        let Some(before) = newest.kind.test.as_ref().filter(|_| !newest.erased) else { return Ok(None) };
        let Some(now) = self.put_together(message, &versions, test, said).await? else { return Ok(None) };
        let Some(after) = read_anew(before, &now) else { return Ok(None) };
        let id = next_id(newest.id, &after);
        let details = json!({ "corrects": newest.id, "redecoded": message.id });
        let kind = EventKind { test: Some(after.clone()), details: Some(details), identity: None, ..kind.clone() };
        let statement = Statement { id, analyzer: newest.analyzer.clone(), kind, follows: Some(newest.id) };
        Ok(Some(Change { before: Some(before.clone()), after, statement }))
    }

    /// What could not be read when it came. It is told as new, and names the rejection that it was.
    fn recovered(&self, message: &MessageHead, test: TestId, kind: &EventKind) -> Option<Change> {
        let rejection = message.events.iter().find(|event| event.kind.rejection.is_some());
        let after = Test { id: test, ..kind.test.clone()? };
        let received_at = message.parts.last().map(|part| part.received_at);
        let details = json!({
            "redecoded": message.id,
            "rejection": rejection.map(|event| event.id),
            "received_at": received_at,
        });
        let kind = EventKind { test: Some(after.clone()), details: Some(details), identity: None, ..kind.clone() };
        let analyzer = whose(message).clone();
        let statement = Statement { id: next_id(test, &after), analyzer, kind, follows: None };
        Some(Change { before: None, after, statement })
    }

    /// The test out of every message that has contributed to it, in their order; `None` if this message is not the last of
    /// them, so that it is looked at once. Where a message's bytes are gone, what was stored of it stands for them.
    async fn put_together(
        &self,
        message: &MessageHead,
        versions: &[&Event],
        test: TestId,
        said: &Test,
    ) -> Result<Option<Test>, StoreError> {
        let mut whole: Option<Test> = None;
        let mut seen: Vec<i64> = Vec::new();
        for version in versions {
            let Some(stored) = &version.kind.test else { continue };
            let Some(id) = self.store.message_of(version.id).await? else {
                whole = Some(stored.clone());
                continue;
            };
            if seen.contains(&id) {
                continue;
            }
            seen.push(id);
            let part = if id == message.id { Some(said.clone()) } else { self.said_in(id, test).await? };
            whole = Some(match (whole, part) {
                (_, None) => stored.clone(),
                (Some(earlier), Some(part)) if is_correction(&part) => laid_over(&earlier, &part),
                // What it corrects is gone by age: alone it would lose what it carries of it.
                (None, Some(part)) if is_correction(&part) && stored.version > 1 => stored.clone(),
                (_, Some(part)) => part,
            });
        }
        // A repeat of an earlier message has no version of its own.
        Ok(whole.filter(|_| seen.last() == Some(&message.id)))
    }

    /// What another message says of this test today.
    async fn said_in(&self, message: i64, test: TestId) -> Result<Option<Test>, StoreError> {
        let Some(head) = self.store.message(message).await? else { return Ok(None) };
        let Content::Whole(bytes) = self.store.content(message).await? else { return Ok(None) };
        let read = self.read(&head, &bytes).await?.unwrap_or_default();
        Ok(read.into_iter().find(|(id, _)| *id == test).and_then(|(_, kind)| kind.test))
    }
}

/// Who has spoken: what was stored with the message tells, else the port.
fn whose(message: &MessageHead) -> &AnalyzerId {
    finished(&message.events).next().map_or(&message.analyzer, |event| &event.analyzer)
}

fn finished(events: &[Event]) -> impl Iterator<Item = &Event> {
    events.iter().filter(|event| event.kind.name == EventName::TestFinished)
}

/// Whether a stored test may be the one that is read now, where their numbers differ.
fn is_about(event: &Event, now: &Test) -> bool {
    let Some(stored) = &event.kind.test else { return false };
    let shares = now.results.iter().any(|result| stored.results.iter().any(|known| known.code == result.code));
    stored.sample_id == now.sample_id && shares
}

/// The id of a test that was not read before: from its message and its place there.
fn recovered_id(analyzer: &AnalyzerId, message: i64, place: usize) -> TestId {
    Id::derived(&[b"redecoded", analyzer.0.as_bytes(), &message.to_be_bytes(), &(place as u64).to_be_bytes()])
}

/// The id of the event that states a version: from what it follows and what it says.
fn next_id(follows: EventId, test: &Test) -> EventId {
    let content = serde_json::to_vec(test).expect("a test has only string keys");
    Id::derived(&[b"version", &follows.0, &content])
}
