//! What waits at each destination, lane by lane: why, and when it is tried next.

use super::deliveries::{Why, no_destination};
use super::extract::Query;
use super::problem::Problem;
use super::table::Route;
use super::{Api, axum_json};
use crate::store::{DestinationCounts, Queued};
use axum::extract::State;
use axum::http::Method;
use axum::response::Response;
use axum::routing::get;
use gateway_core::config::Scope;
use gateway_core::delivery::DeliveryState;
use gateway_core::time::{Now, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

pub fn routes() -> Vec<Route> {
    let about =
        ("queue", "What waits at each destination, lane by lane: why, and when it is tried next. No patient data");
    let queue = Route::new(Method::GET, "/api/queue", Some(Scope::Read), about, get(queue))
        .query::<Wanted>()
        .answer::<Queue>(200, "As it is on disk now");
    vec![queue]
}

/// Where a delivery stands.
#[derive(Serialize, JsonSchema)]
pub struct Standing {
    /// `queued`, `waiting` (for its next attempt), `held` (for a person or other settings), `dead` or `delivered`.
    state: &'static str,
    /// How many attempts were made.
    attempts: u32,
    /// Of the last failure.
    reason: Option<Why>,
    /// When the next attempt is due, in seconds from now; null: nothing is planned.
    due_in_seconds: Option<u64>,
}

impl Standing {
    pub fn of(state: &DeliveryState, now: Now) -> Standing {
        let (word, reason, due) = match state {
            DeliveryState::Queued { .. } => ("queued", None, None),
            DeliveryState::Waiting { reason, due, .. } => {
                ("waiting", Some(reason), Some(due.since(now.mono).as_secs()))
            }
            DeliveryState::Held { reason, .. } => ("held", Some(reason), None),
            DeliveryState::Dead { reason, .. } => ("dead", Some(reason), None),
            DeliveryState::Delivered { .. } => ("delivered", None, None),
        };
        Standing { state: word, attempts: state.attempts(), reason: reason.map(Why::from), due_in_seconds: due }
    }
}

/// Which destinations.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
struct Wanted {
    /// Only this destination: `mqtt`, `webhook:lims` or `lims`.
    destination: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct Queue {
    destinations: Vec<Waiting>,
}

/// What waits at one destination.
#[derive(Serialize, JsonSchema)]
struct Waiting {
    destination: String,
    /// What stands in the way of all of it.
    reason: Option<Why>,
    /// Neither delivered nor dead.
    undone: u64,
    held: u64,
    dead: u64,
    /// Of `undone`: not looked at yet; they come when what is before them has gone.
    beyond: u64,
    /// In the order of their first events. What is in one lane goes in order; lanes do not wait for each other.
    lanes: Vec<Lane>,
}

#[derive(Serialize, JsonSchema)]
struct Lane {
    /// `t:` and a test's id, or `a:` and an analyzer's.
    lane: String,
    events: Vec<Undone>,
}

#[derive(Serialize, JsonSchema)]
struct Undone {
    seq: i64,
    id: String,
    name: String,
    #[schemars(with = "String")]
    received_at: Timestamp,
    #[serde(flatten)]
    standing: Standing,
    /// A person has sent it again.
    redriven: bool,
}

async fn queue(State(api): State<Arc<Api>>, Query(wanted): Query<Wanted>) -> Result<Response, Problem> {
    let only = match &wanted.destination {
        Some(named) => {
            let found = api.destination(named).await?;
            Some(found.ok_or_else(no_destination)?)
        }
        None => None,
    };
    let mut destinations = Vec::new();
    for counted in api.store.counts().await?.destinations {
        if only.as_ref().is_none_or(|only| *only == counted.id) {
            let queued = api.store.queued(&counted.id).await?;
            destinations.push(api.waiting(&counted, queued));
        }
    }
    Ok(axum_json(&Queue { destinations }))
}

impl Api {
    fn waiting(&self, counted: &DestinationCounts, queued: Vec<Queued>) -> Waiting {
        let now = self.platform.clock.now();
        let mut lanes: Vec<Lane> = Vec::new();
        let rows = queued.len() as u64;
        for Queued { row, id, name, received_at } in queued {
            let standing = Standing::of(&row.state, now);
            let undone =
                Undone { seq: row.seq.0, id: id.to_string(), name, received_at, standing, redriven: row.redriven };
            match lanes.iter_mut().find(|lane| lane.lane == row.lane.0) {
                Some(lane) => lane.events.push(undone),
                None => lanes.push(Lane { lane: row.lane.0, events: vec![undone] }),
            }
        }
        let reason = self.board.destination_trouble(&counted.id.0);
        Waiting {
            destination: counted.id.0.clone(),
            reason: reason.as_ref().map(Why::from),
            undone: counted.undone,
            held: counted.held,
            dead: counted.dead,
            beyond: counted.undone.saturating_sub(rows),
            lanes,
        }
    }
}
