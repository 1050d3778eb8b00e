//! What analyzers are told when they ask: the orders of registrations, and that they were taken.
//!
//! Invariant: a sample's id leads to the registration to which its results would lead. Whose orders went to which analyzer is
//! in the audit log before they go.

use super::{Telling, by_id, by_number, many, newest_of, results, save};
use crate::store::error::StoreError;
use crate::store::hand::Writer;
use crate::store::{AuditEntry, Cause, Store, audit, requests};
use gateway_core::event::{AnalyzerId, Personal};
use gateway_core::registration::{Refused, Registration};
use gateway_core::time::Now;
use gateway_core::worklist::{ORDERS_MAX, Question, WorkOrder};
use rusqlite::Connection;
use std::collections::HashSet;
use std::time::Duration;

/// How many of the newest registrations are looked through for those that wait.
const REGISTRATIONS_READ_MAX: i64 = 5_000;

/// What is to be done, and whose orders these are.
#[derive(Debug, Clone, Default)]
pub struct Worklist {
    pub orders: Vec<WorkOrder>,
    /// The numbers of their registrations.
    pub registrations: Vec<i64>,
}

impl Store {
    /// What the analyzer is to do with the samples that it asks for.
    pub async fn worklist(&self, analyzer: &AnalyzerId, question: Question, at: Now) -> Result<Worklist, StoreError> {
        let found = self.read(move |connection| look_up(connection, &question)).await?;
        if found.is_empty() {
            return Ok(Worklist::default());
        }
        let client = format!("analyzer:{analyzer}");
        let entries: Vec<AuditEntry> = found.iter().map(|(registration, _)| entry(&client, registration, at)).collect();
        let note =
            move |writer: &mut Writer| entries.iter().try_for_each(|entry| audit::add(&writer.connection, entry));
        self.shared.write(Duration::ZERO, note).await?;
        let (registrations, orders) =
            found.into_iter().map(|(registration, order)| (registration.number, order)).unzip();
        Ok(Worklist { orders, registrations })
    }

    /// An analyzer has these registrations' orders.
    pub async fn orders_taken(&self, registrations: Vec<i64>, at: Now) -> Result<(), StoreError> {
        let work = move |writer: &mut Writer| {
            for number in &registrations {
                if let Some(mut registration) = by_number(&writer.connection, *number)? {
                    registration.take_orders(at.wall);
                    save(&writer.connection, &registration)?;
                }
            }
            Ok(())
        };
        self.shared.write(Duration::ZERO, work).await
    }

    /// The ordered tests are not wanted any more; `cause` as for [`Store::register`].
    pub async fn cancel(
        &self,
        id: &str,
        at: Now,
        cause: impl Into<Cause>,
    ) -> Result<Result<Registration, Refused>, StoreError> {
        self.change(id, at, cause, move |registration| registration.cancel(at.wall).map(super::one)).await
    }

    /// The sample is to be run again: gives the registration that waits for it, made now unless there is one.
    pub async fn rerun(
        &self,
        id: &str,
        at: Now,
        cause: impl Into<Cause>,
    ) -> Result<Result<Registration, Refused>, StoreError> {
        let (id, boot, cause) = (id.to_owned(), self.shared.clock.boot(), cause.into());
        let work = move |writer: &mut Writer| rerun(&Telling::new(&writer.connection, at, boot, cause), &id);
        let done = self.shared.write(Duration::ZERO, work).await?;
        self.shared.registered.step();
        Ok(done)
    }
}

fn rerun(telling: &Telling<'_>, id: &str) -> Result<Result<Registration, Refused>, StoreError> {
    if let Some(known) = telling.repeated()? {
        return Ok(known);
    }
    let Some(first) = by_id(telling.connection, id)? else { return Ok(Err(Refused::Unknown)) };
    if let Err(refused) = first.can_be_rerun() {
        return Ok(Err(refused));
    }
    let waits = |found: &Registration| {
        found.retest_of.as_ref() == Some(&first.id) && found.results_at.is_none() && found.cancelled_at.is_none()
    };
    for sample_id in &first.sample_ids {
        if let Some(open) = newest_of(telling.connection, sample_id)?.filter(waits) {
            requests::note(telling.connection, telling.cause, open.number)?;
            return Ok(Ok(open));
        }
    }
    let (made, events) = telling.make_retest(&first)?;
    telling.tell_retest(&first, &made, events)?;
    requests::note(telling.connection, telling.cause, made.number)?;
    Ok(Ok(made))
}

fn entry(client: &str, registration: &Registration, at: Now) -> AuditEntry {
    AuditEntry {
        at: at.wall,
        client: client.to_owned(),
        action: "orders".to_owned(),
        object: format!("registration/{}", registration.id),
        outcome: "ok".to_owned(),
    }
}

fn look_up(connection: &Connection, question: &Question) -> Result<Vec<(Registration, WorkOrder)>, StoreError> {
    match question {
        Question::All => waiting(connection),
        Question::Samples(asked) => {
            let mut found = Vec::new();
            let mut seen = HashSet::new();
            for sample_id in asked.iter().take(ORDERS_MAX) {
                let Some(registration) = newest_of(connection, sample_id)? else { continue };
                if seen.insert(registration.number) {
                    found.extend(order(connection, sample_id, registration)?);
                }
            }
            Ok(found)
        }
    }
}

fn waiting(connection: &Connection) -> Result<Vec<(Registration, WorkOrder)>, StoreError> {
    let newest =
        many(connection, "SELECT body FROM registrations ORDER BY number DESC LIMIT ?1", [REGISTRATIONS_READ_MAX])?;
    let mut found = Vec::new();
    for registration in newest.into_iter().filter(Registration::awaits_analyzer) {
        let Some(sample_id) = registration.sample_ids.first().cloned() else { continue };
        // A newer registration of the same sample counts instead of it.
        if newest_of(connection, &sample_id)?.is_some_and(|newest| newest.number == registration.number) {
            found.extend(order(connection, &sample_id, registration)?);
        }
        if found.len() == ORDERS_MAX {
            break;
        }
    }
    // As they came in.
    found.reverse();
    Ok(found)
}

fn order(
    connection: &Connection,
    sample_id: &Personal,
    registration: Registration,
) -> Result<Option<(Registration, WorkOrder)>, StoreError> {
    let mut codes = HashSet::new();
    if registration.results_at.is_some() {
        let tests = results(connection, registration.number)?.into_iter().filter_map(|event| event.kind.test);
        codes.extend(tests.flat_map(|test| test.results).map(|result| result.code));
    }
    let Some((action, tests)) = registration.ordered(|code| codes.contains(code)) else { return Ok(None) };
    let order = WorkOrder { sample_id: sample_id.clone(), patient: registration.patient.clone(), tests, action };
    Ok(Some((registration, order)))
}
