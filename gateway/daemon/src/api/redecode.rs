//! Reading stored messages again with today's decoders.
//!
//! Invariant: one message is in memory at a time, and a request ends after a bounded time or number of changes and says
//! where it stopped; `next` goes on from there.

use super::auth::Client;
use super::extract::Json;
use super::problem::Problem;
use super::table::Route;
use super::{Api, axum_json};
use crate::redecode::{Change, Reading, Redecoder, Why};
use crate::store::{MessageHead, Which};
use axum::extract::State;
use axum::http::Method;
use axum::response::Response;
use axum::routing::post;
use gateway_core::config::Scope;
use gateway_core::event::{AnalyzerId, ResultValue, Test};
use gateway_core::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// A request ends behind the message in which this is reached.
const WORK_SECONDS: u64 = 10;
const CHANGES_MAX: usize = 500;
/// Messages whose heads are read at once.
const PAGE_MESSAGES: usize = 50;

pub fn routes() -> Vec<Route> {
    let about = ("redecode", "Read stored messages again as they are read today; what changes becomes a new version");
    let redecode = Route::new(Method::POST, "/api/redecode", Some(Scope::Operate), about, post(redecode))
        .body::<Redecode>()
        .answer::<Redecoded>(200, "What changed, or would with `dry_run`, as far as this request came");
    vec![redecode]
}

/// Which messages, and whether anything is stored.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Redecode {
    /// Only messages received at or after that moment (RFC 3339).
    since: Option<String>,
    /// Only of this analyzer.
    analyzer: Option<String>,
    /// The `next` of the request before.
    #[serde(default)]
    #[schemars(range(min = 0))]
    after: u32,
    /// Say what would change, and store nothing.
    #[serde(default)]
    dry_run: bool,
    /// Show the values too, not only their codes.
    #[serde(default)]
    show_data: bool,
}

#[derive(Serialize, JsonSchema)]
struct Redecoded {
    /// Nothing was stored: this is what would change.
    dry_run: bool,
    /// Messages that this request has looked at.
    messages: u64,
    changes: Vec<ChangeView>,
    left: Left,
    /// What to write into `after` to go on; null: there are no more.
    next: Option<i64>,
}

/// Messages that were not read again, and tests whose bytes are gone.
#[derive(Serialize, JsonSchema, Default)]
struct Left {
    /// A person's data was erased from them.
    erased: u64,
    /// Finished tests whose received bytes were given up for space or age; counted by the first request.
    evicted: u64,
    /// The database is damaged there.
    unreadable: u64,
    /// Everything in them is known from an earlier message.
    repeated: u64,
    /// Their analyzer is not in the settings any more.
    unknown_analyzer: u64,
    /// They cannot be read without the messages before them, or today's decoder reads nothing in them.
    not_alone: u64,
}

/// One test that is read otherwise today.
#[derive(Serialize, JsonSchema)]
struct ChangeView {
    analyzer: String,
    /// The message's id: `/api/captures/{id}`.
    message: i64,
    #[schemars(with = "String")]
    received_at: Timestamp,
    /// `corrected`, or `recovered`: it could not be read when it came.
    what: &'static str,
    test: String,
    /// The version that it becomes.
    version: u32,
    /// The codes of the results that are different.
    codes: Vec<String>,
    /// What else is: `sample_id`, `patient_id`, `qc` ...
    fields: Vec<&'static str>,
    /// With `show_data`: each of these results before and after.
    #[serde(skip_serializing_if = "Option::is_none")]
    results: Option<Vec<ResultChange>>,
}

#[derive(Serialize, JsonSchema)]
struct ResultChange {
    code: String,
    before: Option<String>,
    after: Option<String>,
}

impl ChangeView {
    fn new(message: &MessageHead, change: &Change, show_data: bool) -> ChangeView {
        let Change { before, after, .. } = change;
        let codes = match before {
            Some(_) => after.corrected.clone(),
            None => after.results.iter().map(|result| result.code.clone()).collect(),
        };
        let change_of = |code: &String| {
            let of = |test: &Test| test.results.iter().find(|result| result.code == *code).cloned();
            let (was, is) = (before.as_ref().and_then(of), of(after));
            // Where value, unit and flags say nothing of the change, the rest of the result is told too.
            let same = was.as_ref().map(shown) == is.as_ref().map(shown);
            let tell = |result: &ResultValue| if same { shown_whole(result) } else { shown(result) };
            ResultChange { code: code.clone(), before: was.as_ref().map(tell), after: is.as_ref().map(tell) }
        };
        ChangeView {
            analyzer: message.analyzer.0.clone(),
            message: message.id,
            received_at: message.parts.last().map(|part| part.received_at).unwrap_or_default(),
            what: if before.is_some() { "corrected" } else { "recovered" },
            test: after.id.to_string(),
            version: after.version,
            fields: before.as_ref().map(|before| fields(before, after)).unwrap_or_default(),
            results: show_data.then(|| codes.iter().map(change_of).collect()),
            codes,
        }
    }
}

/// Value, unit, flags.
fn shown(result: &ResultValue) -> String {
    let parts = [result.value.expose(), &result.unit, &result.flags.join(" ")];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

/// The same, and whatever else a result says.
fn shown_whole(result: &ResultValue) -> String {
    let comments: Vec<&str> = result.comments.iter().map(|comment| comment.expose()).collect();
    let named = [
        ("name", result.name.as_str()),
        ("loinc", result.loinc.as_deref().unwrap_or_default()),
        ("run", result.run.as_deref().unwrap_or_default()),
        ("reference", &result.reference),
        ("status", &result.status),
        ("at", result.at.as_deref().unwrap_or(&result.at_text)),
        ("comments", &comments.join(" ")),
    ];
    let said = named.iter().filter(|(_, text)| !text.is_empty()).map(|(what, text)| format!("{what} {text}"));
    format!("{} ({})", shown(result), said.collect::<Vec<_>>().join(", "))
}

fn fields(before: &Test, after: &Test) -> Vec<&'static str> {
    let compared = [
        ("sample_id", before.sample_id != after.sample_id),
        ("instrument_sample_id", before.instrument_sample_id != after.instrument_sample_id),
        ("patient_id", before.patient_id != after.patient_id),
        ("qc", before.qc != after.qc),
        ("calibration", before.calibration != after.calibration),
        ("started_at", before.started_at != after.started_at),
        ("finished_at", before.finished_at != after.finished_at),
        ("comments", before.comments != after.comments),
        ("result", before.result != after.result),
    ];
    compared.into_iter().filter(|(_, differs)| *differs).map(|(field, _)| field).collect()
}

async fn redecode(
    State(api): State<Arc<Api>>,
    client: Client,
    Json(asked): Json<Redecode>,
) -> Result<Response, Problem> {
    let analyzer = asked.analyzer.clone().map(AnalyzerId);
    let which = Which { after: asked.after.into(), since: moment(asked.since.as_deref())?, analyzer };
    let mut done =
        Redecoded { dry_run: asked.dry_run, messages: 0, changes: Vec::new(), left: Left::default(), next: None };
    if which.after == 0 {
        done.left.evicted = api.store.tests_without_bytes(which.clone()).await?;
    }
    run(&api, &asked, which, &mut done, &client.id).await?;
    // What was stored is in the books with it.
    if !done.changes.is_empty() && asked.show_data {
        api.audit(&client.id, "read", &format!("redecode: {} tests", done.changes.len()), "ok").await?;
    }
    Ok(axum_json(&done))
}

async fn run(api: &Api, asked: &Redecode, mut which: Which, done: &mut Redecoded, client: &str) -> Result<(), Problem> {
    let redecoder = Redecoder { store: &api.store, analyzers: &api.config.analyzers };
    let clock = &api.platform.clock;
    let due = clock.now().mono.after(Duration::from_secs(WORK_SECONDS));
    loop {
        let page = api.store.messages(which.clone(), PAGE_MESSAGES).await?;
        if page.is_empty() {
            return Ok(());
        }
        for message in page {
            if api.stop.is_asked() || clock.now().mono >= due || done.changes.len() >= CHANGES_MAX {
                done.next = Some(which.after);
                return Ok(());
            }
            let changes = match redecoder.examine(&message).await? {
                Reading::Skipped(why) => {
                    done.left.count(why);
                    Vec::new()
                }
                Reading::Read(changes) => changes,
            };
            if !asked.dry_run && !changes.is_empty() {
                let statements = changes.iter().map(|change| change.statement.clone()).collect();
                api.store.restate(message.id, statements, clock.now(), client).await?;
            }
            done.messages += 1;
            done.changes.extend(changes.iter().map(|change| ChangeView::new(&message, change, asked.show_data)));
            which.after = message.id;
        }
    }
}

impl Left {
    fn count(&mut self, why: Why) {
        *match why {
            Why::Erased => &mut self.erased,
            Why::Unreadable => &mut self.unreadable,
            Why::Repeat => &mut self.repeated,
            Why::UnknownAnalyzer => &mut self.unknown_analyzer,
            Why::NotAlone => &mut self.not_alone,
        } += 1;
    }
}

fn moment(text: Option<&str>) -> Result<Option<Timestamp>, Problem> {
    let Some(text) = text else { return Ok(None) };
    let read: Result<jiff::Timestamp, _> = text.parse();
    let wrong = |_| Problem::fault("/since", "must be a moment such as 2026-11-21T20:14:03Z");
    read.map(|moment| Some(Timestamp(moment.as_millisecond()))).map_err(wrong)
}
