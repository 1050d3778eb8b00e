//! Results by the thousand, as NDJSON or CSV: read page by page while they are sent, so that memory stays small however many
//! there are, and a slow reader slows the reading.
//!
//! Invariant: what breaks off in the middle is seen to: the body then lacks its end.

use super::Api;
use super::auth::Client;
use super::curves::CSV;
use super::extract::Query;
use super::problem::Problem;
use super::table::Route;
use crate::store::{ExportedTo, StoreError, WhichResults};
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{Method, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::stream;
use gateway_core::config::Scope;
use gateway_core::event::{AnalyzerId, Event};
use gateway_core::export;
use gateway_core::time::Timestamp;
use schemars::{JsonSchema, json_schema};
use serde::Deserialize;
use std::sync::Arc;

const NDJSON: &str = "application/x-ndjson";

pub fn routes() -> Vec<Route> {
    let read = Some(Scope::Read);
    let about = ("results_ndjson", "Every result, oldest first, one a line, as `/api/results/{id}` has it");
    let ndjson = Route::new(Method::GET, "/api/results.ndjson", read, about, get(as_ndjson))
        .query::<Wanted>()
        .answer_as(200, "The results", NDJSON, |_| json_schema!({ "type": "string" }));
    let about = ("results_csv", "Every result, oldest first, one value a row");
    let csv = Route::new(Method::GET, "/api/results.csv", read, about, get(as_csv)).query::<Wanted>().answer_as(
        200,
        "The results",
        "text/csv",
        |_| json_schema!({ "type": "string" }),
    );
    vec![ndjson, csv]
}

/// Which results.
#[derive(Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields, default)]
struct Wanted {
    /// Received at or after that moment (RFC 3339).
    since: Option<String>,
    /// Received before that moment (RFC 3339).
    until: Option<String>,
    /// Only of this analyzer.
    analyzer: Option<String>,
    /// `true`: only quality control and calibration; `false`: only the others.
    qc: Option<bool>,
    /// `newest` (the default): of each test the version that counts; `all`: also those that it has replaced.
    #[schemars(extend("enum" = ["newest", "all"]))]
    versions: Option<String>,
}

impl Wanted {
    fn read(self) -> Result<WhichResults, Problem> {
        let all_versions = match self.versions.as_deref() {
            None | Some("newest") => false,
            Some("all") => true,
            Some(_) => return Err(Problem::bad_request("versions is newest or all")),
        };
        Ok(WhichResults {
            analyzer: self.analyzer.map(AnalyzerId),
            since: moment("since", self.since.as_deref())?,
            until: moment("until", self.until.as_deref())?,
            qc: self.qc,
            all_versions,
        })
    }
}

fn moment(key: &str, text: Option<&str>) -> Result<Option<Timestamp>, Problem> {
    let Some(text) = text else { return Ok(None) };
    let moment: Result<jiff::Timestamp, _> = text.parse();
    let moment =
        moment.map_err(|_| Problem::bad_request(format!("{key} must be a moment such as 2026-11-21T20:14:03Z")))?;
    Ok(Some(Timestamp(moment.as_millisecond())))
}

async fn as_ndjson(
    State(api): State<Arc<Api>>,
    client: Client,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Problem> {
    let line = |api: &Api, mut event: Event| {
        // What was new in the last message of a run says nothing beside its results.
        if let Some(test) = &mut event.kind.test {
            test.data = None;
        }
        let view = api.result_view(&event)?;
        Some(serde_json::to_string(&view).expect("a result has only string keys") + "\n")
    };
    export(api, client, wanted, ("results.ndjson", NDJSON, String::new()), line).await
}

async fn as_csv(
    State(api): State<Arc<Api>>,
    client: Client,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Problem> {
    let rows = |api: &Api, event: Event| Some(export::rows(&api.config.gateway.id, &event));
    export(api, client, wanted, ("results.csv", CSV, export::head()), rows).await
}

/// What is still to be sent.
enum Rest {
    Slice(Vec<Event>, Option<ExportedTo>),
    After(ExportedTo),
    Nothing,
}

/// Streams the results; the first of them are read before anything is answered, so that a store in trouble is told as such.
async fn export(
    api: Arc<Api>,
    client: Client,
    wanted: Wanted,
    (name, media, head): (&'static str, &'static str, String),
    write: fn(&Api, Event) -> Option<String>,
) -> Result<Response, Problem> {
    let which = wanted.read()?;
    let (first, to) = api.store.exported_results(which.clone(), None).await?;
    api.audit(&client.id, "read", name, "ok").await?;
    let state = (api, which, Rest::Slice(first, to), head);
    let chunks = stream::try_unfold(state, move |(api, which, mut rest, mut text)| async move {
        loop {
            let (slice, to) = match rest {
                Rest::Nothing if text.is_empty() => return Ok(None),
                Rest::Nothing => (Vec::new(), None),
                Rest::Slice(slice, to) => (slice, to),
                Rest::After(to) => {
                    let read = api.store.exported_results(which.clone(), Some(to)).await;
                    read.inspect_err(|error| tracing::error!(%error, "an export of results breaks off"))?
                }
            };
            text.extend(slice.into_iter().filter_map(|event| write(&api, event)));
            rest = to.map_or(Rest::Nothing, Rest::After);
            if !text.is_empty() {
                let chunk = Bytes::from(std::mem::take(&mut text));
                return Ok::<_, StoreError>(Some((chunk, (api, which, rest, text))));
            }
            if matches!(rest, Rest::Nothing) {
                return Ok(None);
            }
        }
    });
    let headers = [
        (header::CONTENT_TYPE, media.to_owned()),
        (header::CACHE_CONTROL, "no-store, private".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
    ];
    Ok((headers, Body::from_stream(chunks)).into_response())
}
