//! Where the results of a test have gone.
//!
//! Invariant: no data of a person: destinations, states, times and reasons.

use super::deliveries::Why;
use super::extract::Path;
use super::problem::Problem;
use super::table::Route;
use super::{Api, axum_json};
use axum::extract::State;
use axum::http::Method;
use axum::response::Response;
use axum::routing::get;
use gateway_core::config::Scope;
use gateway_core::delivery::DeliveryState;
use gateway_core::event::Id;
use gateway_core::time::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use std::sync::Arc;

pub fn routes() -> Vec<Route> {
    let about = ("test_deliveries", "Where the newest results of a test have gone, destination by destination");
    let sent = Route::new(Method::GET, "/api/tests/{id}/deliveries", Some(Scope::Read), about, get(sent))
        .answer::<Sent>(200, "Each destination that takes them; none while the test has no results");
    vec![sent]
}

#[derive(Serialize, JsonSchema)]
struct Sent {
    deliveries: Vec<Delivery>,
}

/// What has become of the results at one destination.
#[derive(Serialize, JsonSchema)]
struct Delivery {
    /// `mqtt`, or `webhook:` and the endpoint's id.
    destination: String,
    /// `delivered`, `queued` (not tried yet), `waiting` (for the next attempt), `held` (for a person) or `dead` (given up).
    state: &'static str,
    /// When the last attempt was made, as far as attempts are kept.
    #[schemars(with = "Option<String>")]
    at: Option<Timestamp>,
    attempts: u32,
    /// Why it is not there.
    reason: Option<Why>,
}

async fn sent(State(api): State<Arc<Api>>, Path(id): Path<String>) -> Result<Response, Problem> {
    let unknown = || Problem::unknown("test");
    let id: Id = id.parse().map_err(|_| unknown())?;
    let deliveries = match api.store.results_event(id).await? {
        Some(event) => api.store.deliveries_of(event).await?,
        None if api.store.has_test(id).await? => Vec::new(),
        None => return Err(unknown()),
    };
    let delivery = |delivery: crate::store::Delivery| {
        let (state, attempts, reason) = match &delivery.state {
            DeliveryState::Delivered { attempts } => ("delivered", attempts, None),
            DeliveryState::Queued { attempts } => ("queued", attempts, None),
            DeliveryState::Waiting { attempts, reason, .. } => ("waiting", attempts, Some(reason)),
            DeliveryState::Held { attempts, reason } => ("held", attempts, Some(reason)),
            DeliveryState::Dead { attempts, reason } => ("dead", attempts, Some(reason)),
        };
        Delivery {
            state,
            at: delivery.attempts.last().map(|attempt| attempt.at),
            attempts: *attempts,
            reason: reason.map(Why::from),
            destination: delivery.destination.0,
        }
    };
    Ok(axum_json(&Sent { deliveries: deliveries.into_iter().map(delivery).collect() }))
}
