//! The tables `registrations` and `registration_samples`: samples expected or received.
//!
//! Invariant: a change of a registration and the events that follow from it are one transaction, and so are a finished test
//! or a scanned sample and what follows from them. Each event's id is derived from its cause, so that a repeat of the cause
//! stores nothing twice.

mod worklist;

pub use worklist::Worklist;

use super::error::StoreError;
use super::events::{self, Origin};
use super::hand::Writer;
use super::requests::{self, Cause, Known};
use super::{HeadWatch, Store, done::STEP_ROWS_MAX, versions};
use gateway_core::event::*;
use gateway_core::registration::{Amendment, Finished, NewRegistration, Refused, Registration, is_repeat, made_id};
use gateway_core::time::{Now, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::time::Duration;

/// Finished tests of one registration that are looked at to tell a repetition.
const TESTS_READ_MAX: i64 = 200;
/// Ids that are tried for a registration before giving up: one in a hundred million is taken at first.
const TURNS_MAX: u32 = 1_000;

impl Store {
    /// Makes a registration; `REGISTRATION_CREATED`, and `REGISTRATION_COMPLETED` if it has patient details, are of the same
    /// transaction. Asked a second time by the same `cause` (`Idempotency-Key`), it answers with the registration as it is now
    /// and does nothing; the same id with another body is [`Refused::OtherRequest`].
    pub async fn register(
        &self,
        new: NewRegistration,
        at: Now,
        cause: impl Into<Cause>,
    ) -> Result<Result<Registration, Refused>, StoreError> {
        let (boot, cause) = (self.shared.clock.boot(), cause.into());
        let work = move |writer: &mut Writer| register(&Telling::new(&writer.connection, at, boot, cause), new.clone());
        let done = self.shared.write(Duration::ZERO, work).await?;
        self.shared.registered.step();
        Ok(done)
    }

    /// Changes a registration; what follows is of the same transaction. `cause` as for [`Store::register`].
    pub async fn amend(
        &self,
        id: &str,
        amendment: Amendment,
        at: Now,
        cause: impl Into<Cause>,
    ) -> Result<Result<Registration, Refused>, StoreError> {
        self.change(id, at, cause, move |registration| registration.amend(amendment.clone(), at.wall)).await
    }

    /// The sample has come in at `received_at`.
    pub async fn sample_received(
        &self,
        id: &str,
        received_at: Timestamp,
        at: Now,
        cause: impl Into<Cause>,
    ) -> Result<Result<Registration, Refused>, StoreError> {
        let change = move |registration: &mut Registration| registration.receive_sample(None, received_at).map(one);
        self.change(id, at, cause, change).await
    }

    /// The laboratory's own id is known. It must be one ([`gateway_core::registration::is_lab_id`]).
    pub async fn assign_lab_id(
        &self,
        id: &str,
        lab_id: &str,
        at: Now,
        cause: impl Into<Cause>,
    ) -> Result<Result<Registration, Refused>, StoreError> {
        let lab_id = lab_id.to_owned();
        self.change(id, at, cause, move |registration| registration.assign_lab_id(&lab_id).map(one)).await
    }

    /// A person has verified the newest results; `by` is the client by which they did.
    pub async fn verify(
        &self,
        id: &str,
        by: &str,
        at: Now,
        cause: impl Into<Cause>,
    ) -> Result<Result<Registration, Refused>, StoreError> {
        let by = by.to_owned();
        self.change(id, at, cause, move |registration| registration.verify(&by, at.wall).map(one)).await
    }

    /// The registration of that id.
    pub async fn registration(&self, id: &str) -> Result<Option<Registration>, StoreError> {
        let id = id.to_owned();
        self.read(move |connection| by_id(connection, &id)).await
    }

    /// The registrations behind that number, oldest first, at most `limit`; with a sample's id only those of that sample.
    pub async fn registrations(
        &self,
        after: i64,
        limit: usize,
        sample_id: Option<&str>,
    ) -> Result<Vec<Registration>, StoreError> {
        let sample_id = sample_id.map(str::to_owned);
        self.show(move |connection| page(connection, after, limit, sample_id.as_deref())).await
    }

    /// The `TEST_FINISHED` events of a registration, oldest first.
    pub async fn results_of(&self, id: &str) -> Result<Vec<Event>, StoreError> {
        let id = id.to_owned();
        self.read(move |connection| match by_id(connection, &id)? {
            Some(registration) => results(connection, registration.number),
            None => Ok(Vec::new()),
        })
        .await
    }

    /// The numbers of registrations that are complete and to which the laboratory has given no id, the lowest first, at most
    /// `limit`. Only the index is read.
    pub async fn awaiting_lab_id(&self, limit: usize) -> Result<BTreeSet<i64>, StoreError> {
        self.read(move |connection| {
            let sql = "SELECT number FROM registrations WHERE awaits_lab_id = 1 ORDER BY number LIMIT ?1";
            let mut select = connection.prepare_cached(sql)?;
            let numbers = select.query_map([i64::try_from(limit).unwrap_or(i64::MAX)], |row| row.get(0))?;
            Ok(numbers.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// The registration of that number.
    pub async fn registration_numbered(&self, number: i64) -> Result<Option<Registration>, StoreError> {
        self.read(move |connection| by_number(connection, number)).await
    }

    /// Moves on when a registration may have changed. What it counts is nobody's place in the log.
    pub fn registered(&self) -> HeadWatch {
        self.shared.registered.watch()
    }

    async fn change(
        &self,
        id: &str,
        at: Now,
        cause: impl Into<Cause>,
        change: impl Fn(&mut Registration) -> Result<Vec<EventKind>, Refused> + Send + 'static,
    ) -> Result<Result<Registration, Refused>, StoreError> {
        let (id, boot, cause) = (id.to_owned(), self.shared.clock.boot(), cause.into());
        let work = move |writer: &mut Writer| {
            let telling = Telling::new(&writer.connection, at, boot, cause);
            if let Some(known) = telling.repeated()? {
                // Whether it was the same request cannot be told any more.
                return Ok(known.and_then(|known| match known.erased_at {
                    Some(_) => Err(Refused::Erased),
                    None => Ok(known),
                }));
            }
            let Some(mut registration) = by_id(telling.connection, &id)? else { return Ok(Err(Refused::Unknown)) };
            let before = registration.clone();
            let events = match change(&mut registration) {
                Ok(events) => events,
                Err(refused) => return Ok(Err(refused)),
            };
            if registration != before {
                save(telling.connection, &registration)?;
                telling.tell(&registration, events)?;
            }
            requests::note(telling.connection, cause, registration.number)?;
            Ok(Ok(registration))
        };
        let done = self.shared.write(Duration::ZERO, work).await?;
        self.shared.registered.step();
        Ok(done)
    }
}

fn one(event: Option<EventKind>) -> Vec<EventKind> {
    event.into_iter().collect()
}

/// The transaction in which something happens, and what caused it.
struct Telling<'a> {
    connection: &'a Connection,
    at: Now,
    boot: Id,
    cause: Cause,
    /// How many events have followed so far.
    told: Cell<u64>,
}

impl<'a> Telling<'a> {
    fn new(connection: &'a Connection, at: Now, boot: Id, cause: Cause) -> Telling<'a> {
        Telling { connection, at, boot, cause, told: Cell::new(0) }
    }

    /// The id of the event that follows as number `told`, from 0.
    fn id_of(&self, told: u64) -> EventId {
        Id::derived(&[b"follows", &self.cause.id.0, &told.to_be_bytes()])
    }

    /// Appends what follows. An event that is known is a repeat.
    fn tell(&self, about: &Registration, events: Vec<EventKind>) -> Result<(), StoreError> {
        for kind in events {
            let id = self.id_of(self.told.replace(self.told.get() + 1));
            if events::seq_of(self.connection, id)?.is_none() {
                let origin = Origin { at: self.at, boot: self.boot, capture: None };
                let gateway = AnalyzerId(events::GATEWAY.to_owned());
                events::append(self.connection, id, &gateway, origin, &kind, Some(about.number))?;
            }
        }
        Ok(())
    }

    /// The answer to a cause that has changed a registration before.
    fn repeated(&self) -> Result<Option<Result<Registration, Refused>>, StoreError> {
        match requests::known(self.connection, self.cause)? {
            Known::Same(number) => return Ok(by_number(self.connection, number)?.map(Ok)),
            Known::Other => return Ok(Some(Err(Refused::OtherRequest))),
            Known::Nothing => {}
        }
        let number: Option<Option<i64>> = self
            .connection
            .prepare_cached("SELECT registration FROM facts JOIN events USING (seq) WHERE events.id = ?1")?
            .query_row([self.id_of(0).0], |row| row.get(0))
            .optional()?;
        Ok(number.flatten().map_or(Ok(None), |number| by_number(self.connection, number))?.map(Ok))
    }

    /// An id that nobody has.
    fn free_id(&self) -> Result<String, StoreError> {
        let salt = Id::derived(&[&self.cause.id.0, &self.told.get().to_be_bytes()]);
        for turn in 0..TURNS_MAX {
            let id = made_id(salt, turn);
            if !is_taken(self.connection, &id)? {
                return Ok(id);
            }
        }
        Err(StoreError::new("no free id can be found for a registration"))
    }

    fn make(&self, id: String, new: NewRegistration) -> Result<Registration, StoreError> {
        let (made, events) = Registration::make(next_number(self.connection)?, id, new, self.at.wall);
        save(self.connection, &made)?;
        self.tell(&made, events)?;
        Ok(made)
    }

    /// Stores a registration for the repetition of `of`, and gives what follows.
    fn make_retest(&self, of: &Registration) -> Result<(Registration, Vec<EventKind>), StoreError> {
        let (made, events) = of.make_retest(next_number(self.connection)?, self.free_id()?, self.at.wall);
        save(self.connection, &made)?;
        Ok((made, events))
    }

    /// The last of these is about the one that is repeated, the others are about the new one.
    fn tell_retest(
        &self,
        of: &Registration,
        made: &Registration,
        mut events: Vec<EventKind>,
    ) -> Result<(), StoreError> {
        let retest = events.pop();
        self.tell(made, events)?;
        self.tell(of, retest.into_iter().collect())
    }
}

fn register(telling: &Telling<'_>, new: NewRegistration) -> Result<Result<Registration, Refused>, StoreError> {
    if let Some(known) = telling.repeated()? {
        return Ok(known);
    }
    let id = match new.id.clone() {
        Some(id) if is_taken(telling.connection, &id)? => return Ok(Err(Refused::Taken)),
        Some(id) => id,
        None => telling.free_id()?,
    };
    let made = telling.make(id, new)?;
    requests::note(telling.connection, telling.cause, made.number)?;
    Ok(Ok(made))
}

/// Stores one event, and with it whatever follows from it for the registration of its sample.
pub(super) fn store(
    connection: &Connection,
    id: EventId,
    analyzer: &AnalyzerId,
    origin: Origin,
    kind: &EventKind,
) -> Result<Seq, StoreError> {
    let telling = Telling::new(connection, origin.at, origin.boot, id.into());
    match (kind.name, &kind.test, &kind.registration) {
        (EventName::SampleScanned, _, Some(RegistrationFact { sample_id: Some(sample_id), .. })) => {
            scanned(&telling, sample_id, kind, |kind, number| {
                events::append(connection, id, analyzer, origin, kind, Some(number))
            })
        }
        (EventName::TestFinished, Some(test), _) if !test.qc && !test.calibration => {
            let before = versions::before(connection, test)?;
            let corrects = before.as_ref().map(|(before, _)| before);
            match expecting(connection, test, before.as_ref().and_then(|(_, registration)| *registration))? {
                Some((sample_id, registration)) => {
                    finished(&telling, (test, corrects), &sample_id, registration, |number| {
                        events::append(connection, id, analyzer, origin, kind, Some(number))
                    })
                }
                None => events::append(connection, id, analyzer, origin, kind, None),
            }
        }
        _ => events::append(connection, id, analyzer, origin, kind, None),
    }
}

/// A sample's id was scanned. A sample that nobody has registered is registered by that.
fn scanned(
    telling: &Telling<'_>,
    sample_id: &Personal,
    kind: &EventKind,
    append: impl FnOnce(&EventKind, i64) -> Result<Seq, StoreError>,
) -> Result<Seq, StoreError> {
    let known = newest_of(telling.connection, sample_id)?;
    let (number, registration) = match &known {
        Some(known) => (known.number, known.id.clone()),
        None => (next_number(telling.connection)?, telling.free_id()?),
    };
    let fact =
        RegistrationFact { id: registration.clone(), number, sample_id: Some(sample_id.clone()), ..Default::default() };
    let seq = append(&EventKind { registration: Some(fact), ..kind.clone() }, number)?;
    let mut registration = match known {
        Some(known) => known,
        None => {
            let new = NewRegistration { sample_ids: vec![sample_id.clone()], ..NewRegistration::default() };
            telling.make(registration, new)?
        }
    };
    // A tombstone's samples lead nowhere, so this one is not refused.
    if let Ok(Some(event)) = registration.receive_sample(Some(sample_id), telling.at.wall) {
        save(telling.connection, &registration)?;
        telling.tell(&registration, vec![event])?;
    }
    Ok(seq)
}

/// A test of a registered sample has finished.
fn finished(
    telling: &Telling<'_>,
    (test, corrects): (&Test, Option<&Test>),
    sample_id: &Personal,
    mut registration: Registration,
    append: impl FnOnce(i64) -> Result<Seq, StoreError>,
) -> Result<Seq, StoreError> {
    let earlier: Vec<Test> =
        results(telling.connection, registration.number)?.into_iter().filter_map(|event| event.kind.test).collect();
    let repeated = match corrects.is_none() && is_repeat(&earlier, test) {
        true => {
            let (made, events) = telling.make_retest(&registration)?;
            Some((std::mem::replace(&mut registration, made), events))
        }
        false => None,
    };
    let seq = append(registration.number)?;
    if let Some((first, events)) = repeated {
        telling.tell_retest(&first, &registration, events)?;
    }
    let finished = Finished { test, corrects, result: seq.0, sample_id, at: telling.at.wall };
    let linked = registration.finish(finished);
    save(telling.connection, &registration)?;
    telling.tell(&registration, linked.events)?;
    if linked.retest {
        let (made, events) = telling.make_retest(&registration)?;
        telling.tell_retest(&registration, &made, events)?;
    }
    Ok(seq)
}

/// The registration that waits for this test, and the sample's id that leads there. A correction belongs where its earlier
/// version does (`known`).
fn expecting(
    connection: &Connection,
    test: &Test,
    known: Option<i64>,
) -> Result<Option<(Personal, Registration)>, StoreError> {
    if let (Some(number), Some(sample_id)) = (known, &test.sample_id)
        && let Some(found) = by_number(connection, number)?
    {
        return Ok(Some((sample_id.clone(), found)));
    }
    for sample_id in test.sample_id.iter().chain(&test.instrument_sample_id) {
        if let Some(found) = newest_of(connection, sample_id)? {
            return Ok(Some((sample_id.clone(), found)));
        }
    }
    Ok(None)
}

pub(super) fn newest_of(connection: &Connection, sample_id: &Personal) -> Result<Option<Registration>, StoreError> {
    let newest: Option<i64> = connection
        .prepare_cached("SELECT max(registration) FROM registration_samples WHERE sample_id = ?1")?
        .query_row([sample_id.expose()], |row| row.get(0))?;
    newest.map_or(Ok(None), |number| by_number(connection, number))
}

fn next_number(connection: &Connection) -> Result<i64, StoreError> {
    let given_out: Option<i64> = connection
        .prepare_cached("SELECT seq FROM sqlite_sequence WHERE name = 'registrations'")?
        .query_row([], |row| row.get(0))
        .optional()?;
    Ok(given_out.unwrap_or(0) + 1)
}

fn is_taken(connection: &Connection, id: &str) -> Result<bool, StoreError> {
    Ok(connection.prepare_cached("SELECT 1 FROM registrations WHERE id = ?1")?.exists([id])?)
}

/// Writes a registration, new or changed, and which samples lead to it.
pub(super) fn save(connection: &Connection, registration: &Registration) -> Result<(), StoreError> {
    let body =
        serde_json::to_string(registration).map_err(|_| StoreError::new("a registration cannot be written as JSON"))?;
    let number = registration.number;
    connection
        .prepare_cached(
            "INSERT INTO registrations (number, id, awaits_lab_id, body, created_at) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (number) DO UPDATE SET awaits_lab_id = excluded.awaits_lab_id, body = excluded.body",
        )?
        .execute(params![number, registration.id, registration.awaits_lab_id(), body, registration.created_at.0])?;
    connection.prepare_cached("DELETE FROM registration_samples WHERE registration = ?1")?.execute([number])?;
    let mut add = connection
        .prepare_cached("INSERT OR IGNORE INTO registration_samples (sample_id, registration) VALUES (?1, ?2)")?;
    for sample_id in &registration.sample_ids {
        add.execute(params![sample_id.expose(), number])?;
    }
    if registration.erased_at.is_some() {
        requests::forget(connection, number)?;
    }
    Ok(())
}

/// A body that this version cannot read is as if it were not there: it must not keep a result from being stored.
pub(super) fn many(
    connection: &Connection,
    sql: &str,
    parameters: impl rusqlite::Params,
) -> Result<Vec<Registration>, StoreError> {
    let mut select = connection.prepare_cached(sql)?;
    let bodies = select.query_map(parameters, |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()?;
    Ok(bodies.iter().filter_map(|body| serde_json::from_str(body).ok()).collect())
}

pub(super) fn by_number(connection: &Connection, number: i64) -> Result<Option<Registration>, StoreError> {
    Ok(many(connection, "SELECT body FROM registrations WHERE number = ?1", [number])?.pop())
}

/// The registration of that id.
pub(super) fn by_id(connection: &Connection, id: &str) -> Result<Option<Registration>, StoreError> {
    Ok(many(connection, "SELECT body FROM registrations WHERE id = ?1", [id])?.pop())
}

fn page(
    connection: &Connection,
    after: i64,
    limit: usize,
    sample_id: Option<&str>,
) -> Result<Vec<Registration>, StoreError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    match sample_id {
        None => {
            let sql = "SELECT body FROM registrations WHERE number > ?1 ORDER BY number LIMIT ?2";
            many(connection, sql, params![after, limit])
        }
        Some(sample_id) => {
            let sql = "SELECT body FROM registrations JOIN registration_samples ON registration = number
                       WHERE sample_id = ?3 AND number > ?1 ORDER BY number LIMIT ?2";
            many(connection, sql, params![after, limit, sample_id])
        }
    }
}

/// The finished tests of a registration, oldest first.
fn results(connection: &Connection, number: i64) -> Result<Vec<Event>, StoreError> {
    let sql = format!(
        "SELECT {} FROM events WHERE name = 'TEST_FINISHED' AND seq IN (SELECT seq FROM facts WHERE registration = ?1)
         ORDER BY seq LIMIT ?2",
        events::COLUMNS
    );
    let mut select = connection.prepare_cached(&sql)?;
    let events = select.query_map(params![number, TESTS_READ_MAX], events::read)?.collect::<Result<_, _>>()?;
    Ok(events)
}

/// Deletes a bounded number of registrations that were made before then and of which no event is left.
pub(super) fn forget(connection: &Connection, before: Timestamp) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "DELETE FROM registrations WHERE number IN
                 (SELECT number FROM registrations WHERE created_at < ?1 AND NOT EXISTS
                      (SELECT 1 FROM facts WHERE facts.registration = registrations.number) LIMIT ?2)",
        )?
        .execute(params![before.0, STEP_ROWS_MAX as i64])?;
    Ok(())
}
