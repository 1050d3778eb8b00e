//! The list of tests: what ran when, on which analyzer, and how it ended.
//!
//! Invariant: a page is about persons: it is audited, by its places in the log only.

use super::auth::Client;
use super::extract::Query;
use super::problem::Problem;
use super::table::Route;
use super::{Api, axum_json};
use crate::store::{ListedTest, WhichTests};
use axum::extract::State;
use axum::http::Method;
use axum::response::Response;
use axum::routing::get;
use gateway_core::config::Scope;
use gateway_core::event::{AnalyzerId, Personal, ResultValue, Seq, Test, TestState};
use gateway_core::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

const PAGE_TESTS: u16 = 50;
const PAGE_TESTS_MAX: u16 = 500;
/// The code under which an amplification run's overall result stands.
const OVERALL: &str = "detectionResult";

pub fn routes() -> Vec<Route> {
    let about = ("tests", "The tests, newest first, each as far as it has come");
    vec![
        Route::new(Method::GET, "/api/tests", Some(Scope::Read), about, get(list))
            .query::<Wanted>()
            .answer::<Tests>(200, "The tests; `next` is the `before` of the next request, null at the end"),
    ]
}

/// Which tests.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Wanted {
    /// Only of this analyzer.
    analyzer: Option<String>,
    /// Only in this state.
    #[schemars(with = "Option<TestState>")]
    state: Option<TestState>,
    /// `true`: only quality control and calibration; `false`: only the others.
    qc: Option<bool>,
    /// Only tests whose newest event lies before this place in the log.
    #[schemars(range(min = 1))]
    before: Option<u32>,
    /// How many at most.
    #[schemars(range(min = 1, max = 500))]
    limit: u16,
}

impl Default for Wanted {
    fn default() -> Self {
        Wanted { analyzer: None, state: None, qc: None, before: None, limit: PAGE_TESTS }
    }
}

/// A page of tests. It may be shorter than asked for although more follow: `next` tells.
#[derive(Serialize, JsonSchema)]
struct Tests {
    tests: Vec<Listed>,
    next: Option<i64>,
}

/// One test.
#[derive(Serialize, JsonSchema)]
struct Listed {
    id: String,
    /// The place of its newest event in the log.
    seq: i64,
    analyzer: String,
    state: TestState,
    sample_id: Option<String>,
    instrument_sample_id: Option<String>,
    qc: bool,
    calibration: bool,
    version: u32,
    /// The analyzer's own local time.
    started_at: Option<String>,
    /// The analyzer's own local time.
    finished_at: Option<String>,
    /// When its newest event was received.
    #[schemars(with = "String")]
    received_at: Timestamp,
    results: usize,
    /// How many of them have a flag other than `N`.
    flagged: usize,
    /// Whether there are samples to draw.
    has_curve: bool,
    /// The overall result, where the analyzer gives one.
    summary: Option<String>,
    /// A person's data was taken out of it.
    erased: bool,
}

impl Listed {
    /// `None`: another version of the gateway stored it, and this one cannot read it.
    fn of(listed: ListedTest) -> Option<Listed> {
        let ListedTest { newest, has_curve } = listed;
        let test = newest.kind.test?;
        let exposed = |text: &Option<Personal>| text.as_ref().map(|text| text.expose().to_owned());
        let is_flagged = |result: &&ResultValue| result.flags.iter().any(|flag| !matches!(flag.as_str(), "" | "N"));
        Some(Listed {
            id: test.id.to_string(),
            seq: newest.seq.0,
            analyzer: newest.analyzer.0,
            state: test.state,
            sample_id: exposed(&test.sample_id),
            instrument_sample_id: exposed(&test.instrument_sample_id),
            qc: test.qc,
            calibration: test.calibration,
            version: test.version,
            received_at: newest.received_at,
            results: test.results.len(),
            flagged: test.results.iter().filter(is_flagged).count(),
            has_curve,
            summary: summary(&test),
            erased: newest.erased,
            started_at: test.started_at,
            finished_at: test.finished_at,
        })
    }
}

fn summary(test: &Test) -> Option<String> {
    let overall = test.results.iter().find(|result| result.code == OVERALL)?;
    Some(overall.value.expose().to_owned())
}

async fn list(State(api): State<Arc<Api>>, client: Client, Query(wanted): Query<Wanted>) -> Result<Response, Problem> {
    if wanted.limit == 0 || wanted.limit > PAGE_TESTS_MAX {
        return Err(Problem::bad_request(format!("limit is 1 to {PAGE_TESTS_MAX}")));
    }
    let what = format!("tests {:?} {:?} {:?}", wanted.analyzer, wanted.state, wanted.qc);
    let which = WhichTests {
        analyzer: wanted.analyzer.map(AnalyzerId),
        state: wanted.state.map(TestState::as_str),
        qc: wanted.qc,
        before: wanted.before.map(|before| Seq(before.into())),
    };
    let (found, next) = api.store.tests(which, wanted.limit.into()).await?;
    let tests: Vec<Listed> = found.into_iter().filter_map(Listed::of).collect();
    if let (Some(newest), Some(oldest)) = (tests.first(), tests.last()) {
        let object = format!("tests/{}-{}", oldest.seq, newest.seq);
        api.audit_look(&client, (&what, oldest.seq), &object).await?;
    }
    Ok(axum_json(&Tests { tests, next: next.map(|next| next.0) }))
}
