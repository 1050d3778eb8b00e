//! A test as a picture, as a table of samples and as a page to print.
//!
//! Invariant: every answer is about a person: it is audited and stays in no cache; what a browser shows of it can run nothing
//! and load nothing.

use super::Api;
use super::auth::Client;
use super::extract::{Path, Query};
use super::problem::Problem;
use super::table::Route;
use crate::platform::disk::aside;
use axum::extract::State;
use axum::http::{HeaderName, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use gateway_core::config::Scope;
use gateway_core::curve::{Curve, Heading, Theme, concerns, csv, png, svg};
use gateway_core::event::{Event, EventName, Id, Seq, TestId};
use gateway_core::report::words::Language;
use gateway_core::report::{CONTENT_SECURITY_POLICY, Report, html};
use schemars::{JsonSchema, json_schema};
use serde::Deserialize;
use std::sync::Arc;

const SVG: &str = "image/svg+xml";
const PNG: &str = "image/png";
pub const CSV: &str = "text/csv; charset=utf-8; header=present";
const HTML: &str = "text/html; charset=utf-8";

pub fn routes() -> Vec<Route> {
    let read = Some(Scope::Read);
    let about = ("curve_svg", "The curves of an amplification run as SVG");
    let svg = Route::new(Method::GET, "/api/tests/{id}/curve.svg", read, about, get(as_svg))
        .query::<Looks>()
        .answer_as(200, "The picture", SVG, |_| json_schema!({ "type": "string" }));
    let about = ("curve_png", "The same picture as PNG, 1600 by 900 pixels");
    let png = Route::new(Method::GET, "/api/tests/{id}/curve.png", read, about, get(as_png))
        .query::<Looks>()
        .answer_as(200, "The picture", PNG, |_| json_schema!({ "type": "string", "format": "binary" }));
    let about = ("curve_csv", "Every sample of an amplification run, one a row");
    let csv = Route::new(Method::GET, "/api/tests/{id}/curve.csv", read, about, get(as_csv)).answer_as(
        200,
        "The samples",
        "text/csv",
        |_| json_schema!({ "type": "string" }),
    );
    let about = ("report", "A test as one page to print: what it is of, its results, its curves and its versions");
    let report = Route::new(Method::GET, "/api/tests/{id}/report.html", read, about, get(report))
        .query::<Tongue>()
        .answer_as(200, "The page", "text/html", |_| json_schema!({ "type": "string" }));
    vec![svg, png, csv, report]
}

/// How a picture looks.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Looks {
    /// `light`, `dark`, or `auto`: as the reader's system has it (a PNG is light then).
    #[schemars(extend("enum" = ["light", "dark", "auto"]))]
    theme: String,
    /// The language of its words: `en` or `de`.
    #[schemars(extend("enum" = ["en", "de"]))]
    lang: String,
}

impl Default for Looks {
    fn default() -> Self {
        Looks { theme: Theme::Auto.as_str().to_owned(), lang: Language::default().words().tag.to_owned() }
    }
}

impl Looks {
    fn read(&self) -> Result<(Theme, Language), Problem> {
        let theme = Theme::of_word(&self.theme);
        let theme = theme.ok_or_else(|| Problem::bad_request("theme is light, dark or auto"))?;
        Ok((theme, language(&self.lang)?))
    }
}

/// How a page is written.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Tongue {
    /// The language of its words: `en` or `de`.
    #[schemars(extend("enum" = ["en", "de"]))]
    lang: String,
}

impl Default for Tongue {
    fn default() -> Self {
        Tongue { lang: Language::default().words().tag.to_owned() }
    }
}

fn language(tag: &str) -> Result<Language, Problem> {
    Language::of_tag(tag).ok_or_else(|| Problem::bad_request("lang is en or de"))
}

/// A test's events, and its curve if it has one.
pub struct Told {
    pub history: Vec<Event>,
    pub curve: Option<Curve>,
}

impl Api {
    /// Everything that is stored of a test.
    pub async fn told_of(&self, test: TestId) -> Result<Told, Problem> {
        let history = self.store.test_history(test, Seq(i64::MAX)).await?;
        let Some((first, newest)) = history.first().zip(history.last()) else { return Err(Problem::unknown("test")) };
        if !history.iter().any(|event| event.kind.test.as_ref().is_some_and(|test| test.data.is_some())) {
            return Ok(Told { history, curve: None });
        }
        let finished = history.iter().find(|event| event.kind.name == EventName::TestFinished);
        let upto = finished.unwrap_or(newest).seq;
        let mut gaps = self.store.gaps_between(newest.analyzer.clone(), first.seq, upto).await?;
        gaps.retain(|gap| concerns(gap, test));
        let curve = Curve::of(&history, &gaps);
        Ok(Told { history, curve })
    }

    /// The curve of the test of that id and what stands above it. Reading it is in the audit log.
    async fn curve_of(&self, client: &Client, id: &str, object: &str) -> Result<(Curve, Heading), Problem> {
        let id: Id = id.parse().map_err(|_| Problem::unknown("test"))?;
        let Told { history, curve } = self.told_of(id).await?;
        let curve = curve.ok_or_else(|| {
            Problem::new(
                StatusCode::NOT_FOUND,
                "this test has no curves: its analyzer told no samples, or they are gone",
            )
        })?;
        self.audit(&client.id, "read", &format!("test/{id}/{object}"), "ok").await?;
        Ok((curve, heading(&history)))
    }
}

/// What a picture is of: analyzer and sample, then device and time.
fn heading(history: &[Event]) -> Heading {
    let Some(newest) = history.last() else { return Heading::default() };
    let received = newest.received_at.to_string();
    let test = newest.kind.test.as_ref();
    let sample = test.and_then(|test| test.sample_id.as_ref()).map(|sample| sample.expose());
    let device = history.iter().rev().find_map(|event| event.kind.device.as_ref());
    let device = device.into_iter().flat_map(|device| [&device.model, &device.sn]).flatten().map(String::as_str);
    let title: Vec<&str> = [Some(newest.analyzer.0.as_str()), sample].into_iter().flatten().collect();
    let state = test.map(|test| test.state.as_str());
    let subtitle: Vec<&str> = device.chain([received.as_str()]).chain(state).collect();
    Heading { title: title.join(" · "), subtitle: subtitle.join(" · ") }
}

/// What is drawn is drawn where the disk's work is done: a picture takes a processor for a moment.
async fn drawn<T: Send + 'static>(api: &Api, draw: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    let stopping = || Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the gateway is stopping");
    aside(&*api.platform.disk, draw).await.ok_or_else(stopping)
}

async fn as_svg(
    State(api): State<Arc<Api>>,
    client: Client,
    Path(id): Path<String>,
    Query(looks): Query<Looks>,
) -> Result<Response, Problem> {
    let (theme, language) = looks.read()?;
    let (curve, heading) = api.curve_of(&client, &id, "curve.svg").await?;
    let picture = drawn(&api, move || svg::svg(&curve, &heading, language.words(), theme)).await?;
    Ok(shown(SVG, picture))
}

async fn as_png(
    State(api): State<Arc<Api>>,
    client: Client,
    Path(id): Path<String>,
    Query(looks): Query<Looks>,
) -> Result<Response, Problem> {
    let (theme, language) = looks.read()?;
    let (curve, heading) = api.curve_of(&client, &id, "curve.png").await?;
    let picture = drawn(&api, move || png::png(&curve, &heading, language.words(), theme)).await?;
    let picture = picture.map_err(|error| Problem::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()))?;
    Ok(shown(PNG, picture))
}

async fn as_csv(State(api): State<Arc<Api>>, client: Client, Path(id): Path<String>) -> Result<Response, Problem> {
    let (curve, _) = api.curve_of(&client, &id, "curve.csv").await?;
    let name = format!("attachment; filename=\"curve-{id}.csv\"");
    Ok(([(header::CONTENT_DISPOSITION, name)], shown(CSV, csv::csv(&curve))).into_response())
}

async fn report(
    State(api): State<Arc<Api>>,
    client: Client,
    Path(id): Path<String>,
    Query(tongue): Query<Tongue>,
) -> Result<Response, Problem> {
    let language = language(&tongue.lang)?;
    let unknown = || Problem::unknown("test");
    let id: Id = id.parse().map_err(|_| unknown())?;
    let Told { history, curve } = api.told_of(id).await?;
    let newest = history.last().ok_or_else(unknown)?;
    let registration = api.store.registration_of(newest.seq).await?;
    let made_at = api.platform.clock.now().wall;
    api.audit(&client.id, "read", &format!("test/{id}/report.html"), "ok").await?;
    let gateway = api.config.gateway.id.clone();
    let page = drawn(&api, move || {
        let (curve, registration) = (curve.as_ref(), registration.as_ref());
        let report = Report { gateway: &gateway, history: &history, curve, registration, made_at, made_by: &client.id };
        html(&report, language)
    });
    Ok(shown(HTML, page.await?.ok_or_else(unknown)?))
}

/// 200 with what a browser may show: no scripts, nothing from elsewhere, no guessing of what it is.
fn shown(media: &'static str, body: impl IntoResponse) -> Response {
    let headers = [
        (header::CONTENT_TYPE, media),
        (header::CACHE_CONTROL, "no-store, private"),
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (HeaderName::from_static("referrer-policy"), "no-referrer"),
    ];
    (headers, body).into_response()
}
