//! Erasure: a person's data is taken out of everything that is stored; what stays are ids and results without a person.
//!
//! Invariants: an event is changed and marked (`facts.erased_at`) in one transaction; the registrations, which lead to the
//! events, become tombstones last, in the transaction of `DATA_ERASED`. What was asked for stands in the table `erasures` until
//! then (asked.rs), so an erasure that power or a closed connection cuts off is finished later. Deleted text is overwritten in the file (`secure_delete`) and the WAL is emptied into it at the end.
//!
//! The log has no index of persons: it is read through, in pages, between which commits go on.

use super::asked::{self, Asked, Found, State};
use super::deletion_requests::{forget_requests, heed_requests};
use super::done::Done;
use super::error::StoreError;
use super::events::{self, Origin};
use super::files::beside;
use super::hand::Writer;
use super::{AuditEntry, Erased, Store, Subject, audit, captures, registrations};
use gateway_core::erasure::{DELETION_REQUEST, Person};
use gateway_core::event::{AnalyzerId, EventId, EventKind, EventName, Id, Personal, TestId};
use gateway_core::registration::Registration;
use gateway_core::time::{Now, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::json;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Events looked at in one view.
pub(super) const PAGE_EVENTS_MAX: i64 = 500;
/// Events changed in one transaction.
const STEP_EVENTS_MAX: usize = 50;
/// Messages looked at in one view.
const PAGE_MESSAGES_MAX: i64 = 50;
/// Tests named in `DATA_ERASED`.
const TESTS_NAMED_MAX: usize = 1_000;
/// How often the WAL is tried to be emptied, and how long readers are waited for in between.
const WIPES_MAX: u32 = 20;
const WIPE_PAUSE: Duration = Duration::from_millis(500);

impl Store {
    /// Takes a person's data out of events, received bytes, registrations and receivers' answers, and appends `DATA_ERASED`
    /// with the id `id` (ids only, and only if there was something) and a line of the audit log for `client`. Events not
    /// delivered yet go out without the person, marked. Cut off in the middle, it is finished by [`Store::finish_erasures`].
    /// Messages that an analyzer has not ended yet are not looked at.
    pub async fn erase(&self, subject: Subject, at: Now, id: EventId, client: &str) -> Result<Erased, StoreError> {
        self.ask_to_erase(Asked { id, subject, client: client.to_owned() }, at.wall).await?;
        self.finish_erasure(id).await
    }

    /// Does what was asked for under this id, or goes on with it. If it is done already, gives what that has done.
    pub async fn finish_erasure(&self, id: EventId) -> Result<Erased, StoreError> {
        let _turn = self.shared.erasing.lock().await;
        let state = self.read(move |connection| asked::by_id(connection, id)).await?;
        match state {
            Some(State::Undone(asked, found)) => self.carry_out(asked, found).await,
            Some(State::Done(erased)) => Ok(erased),
            None => Err(StoreError::new("this erasure is not known; ask for it again")),
        }
    }

    async fn carry_out(&self, asked: Asked, found: Found) -> Result<Erased, StoreError> {
        let Asked { id, subject, client } = asked;
        let word = word(&subject);
        let mut person = self.read(move |connection| gather(connection, &subject)).await?;
        self.settle_samples(&mut person).await?;
        person.tests.extend(found.tests);
        person.samples_of_tests.extend(found.samples);
        // Twice: tests found on the way have earlier events that say nothing of the person.
        for found in self.look_through(&person).await? {
            person.tests.extend(found.test);
            person.samples_of_tests.extend(found.samples);
        }
        let found = Found { tests: person.tests.clone(), samples: person.samples_of_tests.clone() };
        self.shared.write(Duration::ZERO, move |writer| asked::note_found(&writer.connection, id, &found)).await?;
        let seqs: Vec<i64> = self.look_through(&person).await?.into_iter().map(|found| found.seq).collect();
        let person = Arc::new(person);
        for seqs in seqs.chunks(STEP_EVENTS_MAX) {
            let (seqs, person) = (seqs.to_vec(), Arc::clone(&person));
            let at = self.shared.clock.now().wall;
            let work = move |writer: &mut Writer| {
                let (events, messages) = take_out(writer, &seqs, &person, at)?;
                asked::count(&writer.connection, id, events, messages)
            };
            self.shared.write(Duration::ZERO, work).await?;
        }
        self.empty_stray_messages(&person, id).await?;
        let (clock, whose) = (Arc::clone(&self.shared.clock), Arc::clone(&person));
        let work = move |writer: &mut Writer| {
            let (connection, at) = (&writer.connection, clock.now());
            let registrations = bury(connection, &whose, at.wall)?;
            let (events, captures) = asked::counted(connection, id)?;
            let tests = whose.tests.iter().copied().collect();
            let erased = Erased { events, captures, registrations, tests, ..Erased::default() };
            say(connection, &erased, &word, at, clock.boot(), id, &client)?;
            heed_requests(connection, &whose)?;
            asked::end(connection, id, &erased)?;
            // The person's own requests, once everybody has heard them.
            let done = Done::load(connection)?;
            forget_requests(writer, at.wall, |connection, seq, kind| {
                Ok(whose.is_asked_for(kind) && done.is_heard(connection, seq, DELETION_REQUEST)?)
            })?;
            writer.erased = true;
            Ok(erased)
        };
        let erased = self.shared.write(Duration::ZERO, work).await?;
        Ok(Erased { wiped: self.wipe().await?, set_aside: set_aside(&self.shared.path), ..erased })
    }

    /// How often something was erased since the start: whoever keeps events in memory reads them again when this has changed.
    pub fn erasures(&self) -> u64 {
        self.shared.erasures.load(Ordering::Acquire)
    }

    /// Takes out the samples that tests of other patients have too: those tell nothing.
    async fn settle_samples(&self, person: &mut Person) -> Result<(), StoreError> {
        let (mut after, mut disputed) = (Some(0), BTreeSet::new());
        while let Some(from) = after.filter(|_| person.samples != person.asked) {
            let whose = person.clone();
            let (found, next) = self.read(move |connection| disputed_samples(connection, &whose, from)).await?;
            disputed.extend(found);
            after = next;
        }
        person.samples.retain(|sample| !disputed.contains(sample));
        Ok(())
    }

    async fn look_through(&self, person: &Person) -> Result<Vec<About>, StoreError> {
        let person = Arc::new(person.clone());
        let (mut all, mut after) = (Vec::new(), Some(0));
        while let Some(from) = after {
            let person = Arc::clone(&person);
            let (found, next) = self.read(move |connection| look(connection, &person, from)).await?;
            all.extend(found);
            after = next;
        }
        Ok(all)
    }

    /// Messages to which no event leads, because they were repeats or could not be understood, by what stands in them.
    async fn empty_stray_messages(&self, person: &Arc<Person>, id: EventId) -> Result<(), StoreError> {
        let mut after = 0;
        loop {
            let (needle, from) = (Arc::clone(person), after);
            let (found, next) = self.read(move |connection| stray_messages(connection, &needle, from)).await?;
            if !found.is_empty() {
                let work = move |writer: &mut Writer| {
                    let emptied = empty_messages(writer, &found)?;
                    asked::count(&writer.connection, id, 0, emptied)
                };
                self.shared.write(Duration::ZERO, work).await?;
            }
            match next {
                Some(next) => after = next,
                None => return Ok(()),
            }
        }
    }

    async fn wipe(&self) -> Result<bool, StoreError> {
        for _ in 0..WIPES_MAX {
            if self.checkpoint().await? {
                return Ok(true);
            }
            let clock = &self.shared.clock;
            clock.sleep_until(clock.now().mono.after(WIPE_PAUSE)).await;
        }
        self.shared.unwiped.store(true, Ordering::Release);
        Ok(false)
    }
}

fn word(subject: &Subject) -> String {
    match subject {
        Subject::Patient(_) => "patient".to_owned(),
        Subject::Sample(_) => "sample".to_owned(),
        Subject::User { .. } => "user".to_owned(),
        Subject::Registration(id) => format!("registration/{id}"),
    }
}

/// What is known of the person before the log is read.
fn gather(connection: &Connection, subject: &Subject) -> Result<Person, StoreError> {
    let mut person = Person::default();
    match subject {
        Subject::Patient(id) => person.patients.extend([id.trim().to_owned()]),
        Subject::Sample(id) => {
            person.samples.extend([id.trim().to_owned()]);
            person.asked.extend([id.trim().to_owned()]);
        }
        Subject::User { id, email, phone } => {
            person.user = *id;
            person.contacts.extend(email.iter().chain(phone).map(|contact| contact.trim().to_lowercase()));
        }
        Subject::Registration(id) => {
            if let Some(registration) = registrations::by_id(connection, id)? {
                learn(connection, &mut person, subject, &registration)?;
            }
        }
    }
    // Not an empty text: that would be everybody's.
    for known in [&mut person.patients, &mut person.samples, &mut person.asked, &mut person.contacts] {
        known.retain(|text| !text.is_empty());
    }
    // Retests lead from one to the next, in both directions.
    loop {
        let before = (person.registrations.len(), person.samples.len());
        let mut after = 0;
        loop {
            let sql = "SELECT body FROM registrations WHERE number > ?1 ORDER BY number LIMIT ?2";
            let page = registrations::many(connection, sql, params![after, PAGE_EVENTS_MAX])?;
            let Some(last) = page.last() else { break };
            after = last.number;
            for registration in &page {
                let first = registration.retest_of.as_deref();
                let first = first.map_or(Ok(None), |first| registrations::by_id(connection, first))?;
                let known = |number: i64| person.registrations.contains(&number);
                let theirs =
                    person.is_registered(registration) || first.as_ref().is_some_and(|first| known(first.number));
                if theirs {
                    for registration in [registration].into_iter().chain(&first) {
                        learn(connection, &mut person, subject, registration)?;
                    }
                }
            }
        }
        if before == (person.registrations.len(), person.samples.len()) {
            return Ok(person);
        }
    }
}

/// A patient's and a user's other registrations are theirs too. Who asks for a sample or a registration means that one. Its
/// samples lead further, but for one that a registration of another patient has too.
fn learn(
    connection: &Connection,
    person: &mut Person,
    subject: &Subject,
    registration: &Registration,
) -> Result<(), StoreError> {
    match subject {
        Subject::Patient(_) | Subject::User { .. } => person.learn_patient(registration),
        Subject::Sample(_) | Subject::Registration(_) => person.learn_registration(registration),
    }
    for sample in registration.sample_ids.iter().map(Personal::expose) {
        let sql = "SELECT body FROM registrations
                   WHERE number IN (SELECT registration FROM registration_samples WHERE sample_id = ?1)";
        let holders = registrations::many(connection, sql, [sample])?;
        if !holders.iter().any(|holder| person.is_anothers(holder)) {
            person.samples.insert(sample.to_owned());
        }
    }
    Ok(())
}

/// One page of the log: the samples of theirs that tests of other patients have, and where the next one begins.
fn disputed_samples(
    connection: &Connection,
    person: &Person,
    after: i64,
) -> Result<(Vec<String>, Option<i64>), StoreError> {
    let needles: Vec<String> = person.samples.iter().map(String::as_str).map(quoted).collect();
    let mut select = connection.prepare_cached(
        "SELECT seq, body, (SELECT registration FROM facts WHERE facts.seq = events.seq) FROM events
         WHERE seq > ?1 ORDER BY seq LIMIT ?2",
    )?;
    let mut rows = select.query(params![after, PAGE_EVENTS_MAX])?;
    let (mut found, mut seen, mut last) = (Vec::new(), 0, after);
    while let Some(row) = rows.next()? {
        (seen, last) = (seen + 1, row.get(0)?);
        let (body, registration): (String, Option<i64>) = (row.get(1)?, row.get(2)?);
        let linked = registration.is_some_and(|number| person.registrations.contains(&number));
        if linked || !needles.iter().any(|needle| body.contains(needle)) {
            continue;
        }
        let Ok(kind) = serde_json::from_str::<EventKind>(&body) else { continue };
        let tests = kind.test.iter().chain(&kind.partial);
        found.extend(tests.flat_map(|test| person.disputed(test)).map(str::to_owned));
    }
    Ok((found, (seen == PAGE_EVENTS_MAX).then_some(last)))
}

/// An event that is about the person.
struct About {
    seq: i64,
    test: Option<TestId>,
    /// The sample ids of that test.
    samples: Vec<String>,
}

/// One page of the log: what in it is about the person, and where the next one begins.
fn look(connection: &Connection, person: &Person, after: i64) -> Result<(Vec<About>, Option<i64>), StoreError> {
    let needles: Vec<String> =
        person.needles().chain(person.samples_of_tests.iter().map(String::as_str)).map(quoted).collect();
    let mut select = connection.prepare_cached(
        "SELECT seq, test_id, body, (SELECT registration FROM facts WHERE facts.seq = events.seq) FROM events
         WHERE seq > ?1 ORDER BY seq LIMIT ?2",
    )?;
    let mut rows = select.query(params![after, PAGE_EVENTS_MAX])?;
    let (mut found, mut seen, mut last) = (Vec::new(), 0, after);
    while let Some(row) = rows.next()? {
        (seen, last) = (seen + 1, row.get(0)?);
        let test: Option<[u8; 16]> = row.get(1)?;
        let (body, registration): (String, Option<i64>) = (row.get(2)?, row.get(3)?);
        let linked = registration.is_some_and(|number| person.registrations.contains(&number))
            || test.is_some_and(|test| person.tests.contains(&Id(test)));
        let says = || {
            let lower = if person.contacts.is_empty() { String::new() } else { body.to_lowercase() };
            needles.iter().any(|needle| body.contains(needle) || lower.contains(needle))
                || (person.user.is_some() && body.contains("\"userId\""))
        };
        if !linked && !says() {
            continue;
        }
        // A body of a newer version is left for that version.
        let Ok(kind) = serde_json::from_str::<EventKind>(&body) else { continue };
        if person.is_in(&kind, registration) {
            let test = kind.test.as_ref().filter(|test| linked || person.is_of(test));
            let ids = test.into_iter().flat_map(|test| test.sample_id.iter().chain(&test.instrument_sample_id));
            found.push(About {
                seq: last,
                test: test.map(|test| test.id),
                samples: ids.map(|id| id.expose().to_owned()).collect(),
            });
        }
    }
    Ok((found, (seen == PAGE_EVENTS_MAX).then_some(last)))
}

/// A text as it stands inside of JSON.
fn quoted(text: &str) -> String {
    let json = serde_json::to_string(text).unwrap_or_default();
    json.trim_matches('"').to_owned()
}

/// Takes the person out of these events, their received bytes and the answers to them. Returns how many events and how many
/// messages that changed.
fn take_out(writer: &mut Writer, seqs: &[i64], person: &Person, at: Timestamp) -> Result<(u64, u64), StoreError> {
    let (mut changed, mut messages) = (0, BTreeSet::new());
    for seq in seqs {
        let connection = &writer.connection;
        let row: Option<(String, Option<i64>, Option<i64>)> = connection
            .prepare_cached(
                "SELECT body, (SELECT message FROM captures WHERE captures.id = events.capture),
                        (SELECT registration FROM facts WHERE facts.seq = events.seq) FROM events WHERE seq = ?1",
            )?
            .query_row([seq], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .optional()?;
        let Some((body, message, registration)) = row else { continue };
        let Ok(before) = serde_json::from_str::<EventKind>(&body) else { continue };
        let mut after = before.clone();
        person.take_out(&mut after, registration);
        messages.extend(message);
        if after != before {
            changed += 1;
            rewrite(connection, *seq, &after, at)?;
        }
        connection.prepare_cached("UPDATE attempts SET answer = '' WHERE seq = ?1 AND answer <> ''")?.execute([seq])?;
    }
    writer.erased = true;
    let messages: Vec<i64> = messages.into_iter().collect();
    Ok((changed, empty_messages(writer, &messages)?))
}

pub(super) fn rewrite(connection: &Connection, seq: i64, kind: &EventKind, at: Timestamp) -> Result<(), StoreError> {
    connection
        .prepare_cached("UPDATE events SET body = ?2 WHERE seq = ?1")?
        .execute(params![seq, events::json(kind)?])?;
    connection
        .prepare_cached(
            "INSERT INTO facts (seq, erased_at) VALUES (?1, ?2)
             ON CONFLICT (seq) DO UPDATE SET erased_at = coalesce(erased_at, excluded.erased_at)",
        )?
        .execute(params![seq, at.0])?;
    Ok(())
}

/// Returns how many of them still held bytes.
pub(super) fn empty_messages(writer: &mut Writer, messages: &[i64]) -> Result<u64, StoreError> {
    let (mut going, mut emptied) = (Vec::new(), 0);
    for message in messages {
        let mut select =
            writer.connection.prepare_cached("SELECT id FROM captures WHERE message = ?1 AND bytes > 0")?;
        let ids = select.query_map([message], |row| row.get(0))?.collect::<Result<Vec<i64>, _>>()?;
        emptied += u64::from(!ids.is_empty());
        going.extend(ids);
    }
    captures::empty(writer, &going)?;
    Ok(emptied)
}

/// One page of the messages to which no readable event leads: those of them that hold something of the person, and where the
/// next page begins.
fn stray_messages(connection: &Connection, person: &Person, after: i64) -> Result<(Vec<i64>, Option<i64>), StoreError> {
    let mut select = connection.prepare_cached(
        "SELECT id FROM captures WHERE id > ?1 AND message = id AND EXISTS
             (SELECT 1 FROM captures AS part WHERE part.message = captures.id AND part.bytes > 0)
         AND (repeated = 1
              OR NOT EXISTS (SELECT 1 FROM captures AS part WHERE part.message = captures.id AND part.first_seq IS NOT NULL)
              OR EXISTS (SELECT 1 FROM events WHERE seq BETWEEN first_seq AND last_seq AND name = 'MESSAGE_REJECTED'))
         ORDER BY id LIMIT ?2",
    )?;
    let page =
        select.query_map(params![after, PAGE_MESSAGES_MAX], |row| row.get(0))?.collect::<Result<Vec<i64>, _>>()?;
    let mut found = Vec::new();
    for message in &page {
        // What cannot be read back cannot be told from theirs, and is of no use to anybody.
        let theirs = captures::of_message(connection, *message).map_or(true, |bytes| person.is_in_bytes(&bytes));
        if theirs {
            found.push(*message);
        }
    }
    let next = page.last().copied().filter(|_| page.len() as i64 == PAGE_MESSAGES_MAX);
    Ok((found, next))
}

/// Makes tombstones of the person's registrations. Returns their ids.
fn bury(connection: &Connection, person: &Person, at: Timestamp) -> Result<Vec<String>, StoreError> {
    let mut ids = Vec::new();
    for number in &person.registrations {
        let found = registrations::many(connection, "SELECT body FROM registrations WHERE number = ?1", [number])?;
        for mut registration in found {
            registration.erase(at);
            registrations::save(connection, &registration)?;
            ids.push(registration.id);
        }
    }
    Ok(ids)
}

fn say(
    connection: &Connection,
    erased: &Erased,
    subject: &str,
    at: Now,
    boot: Id,
    id: EventId,
    client: &str,
) -> Result<(), StoreError> {
    let something = erased.events + erased.captures > 0 || !erased.registrations.is_empty();
    if something && events::seq_of(connection, id)?.is_none() {
        let details = json!({
            "events": erased.events,
            "captures": erased.captures,
            "registrations": erased.registrations,
            "tests": erased.tests.iter().take(TESTS_NAMED_MAX).collect::<Vec<_>>(),
        });
        let kind = EventKind { details: Some(details), ..EventKind::bare(EventName::DataErased) };
        let origin = Origin { at, boot, capture: None };
        events::append(connection, id, &AnalyzerId(events::GATEWAY.to_owned()), origin, &kind, None)?;
    }
    let outcome = if something { "ok" } else { "ok: nothing was found" };
    let entry = AuditEntry {
        at: at.wall,
        client: client.to_owned(),
        action: "erase".to_owned(),
        object: subject.to_owned(),
        outcome: outcome.to_owned(),
    };
    audit::add(connection, &entry)
}

/// The names of damaged databases that were set aside beside this one.
fn set_aside(path: &Path) -> Vec<String> {
    let prefix = beside(path, ".damaged-");
    let prefix = prefix.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let entries = path.parent().and_then(|folder| std::fs::read_dir(folder).ok());
    let names = entries.into_iter().flatten().flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names.filter(|name| name.starts_with(&prefix)).collect();
    names.sort_unstable();
    names
}
