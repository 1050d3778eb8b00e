//! Errors as answers: problem details (RFC 9457), with the place of each fault.
//!
//! Invariant: no problem quotes a value that was sent.

use crate::store::StoreError;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use gateway_core::config::{Mistake, Place};
use gateway_core::dialects::catalogue::Fault;
use schemars::JsonSchema;
use serde::Serialize;

/// The media type of problem details.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// Why a request was not done: problem details as of RFC 9457.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Problem {
    /// Always `about:blank`: the status says what kind of problem it is.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The status in words.
    title: &'static str,
    /// The HTTP status.
    #[schemars(range(min = 400, max = 599))]
    status: u16,
    /// What is wrong and what to do.
    detail: String,
    /// Each fault of the request with its place, a JSON pointer.
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    errors: Box<[Fault]>,
    /// A word for programs, where a person and a program need to know more than the status says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    /// What is wrong with settings, in the order of the file.
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    mistakes: Box<[MistakeView]>,
    #[serde(skip)]
    retry_after_seconds: Option<u32>,
}

/// A mistake in settings.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct MistakeView {
    /// From 1; null: the file as a whole, or an environment variable.
    line: Option<usize>,
    column: Option<usize>,
    /// The key, such as `webhooks[0].url`; empty: the file as a whole.
    path: String,
    problem: String,
    /// What to write instead.
    suggestion: Option<String>,
}

impl From<&Mistake> for MistakeView {
    fn from(mistake: &Mistake) -> MistakeView {
        let (line, column, before) = match &mistake.place {
            Place::Whole => (None, None, None),
            Place::At { line, column } => (Some(*line), Some(*column), None),
            Place::In { file, line, column } => (Some(*line), Some(*column), Some(file)),
            Place::Variable(name) => (None, None, Some(name)),
        };
        let error = &mistake.error;
        let problem = before.map_or_else(|| error.problem.clone(), |before| format!("{before}: {}", error.problem));
        let (path, suggestion) = (error.path.clone(), error.suggestion.clone());
        MistakeView { line, column, path, problem, suggestion }
    }
}

impl Problem {
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Problem {
        let title = status.canonical_reason().unwrap_or("Problem");
        let status = status.as_u16();
        let detail = detail.into();
        let (errors, mistakes) = (Box::default(), Box::default());
        Problem { kind: "about:blank", title, status, detail, errors, code: None, mistakes, retry_after_seconds: None }
    }

    pub fn coded(self, code: &'static str) -> Problem {
        Problem { code: Some(code), ..self }
    }

    pub fn with_mistakes(self, mistakes: Vec<MistakeView>) -> Problem {
        Problem { mistakes: mistakes.into(), ..self }
    }

    /// 400
    pub fn bad_request(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, detail)
    }

    /// 404 for a thing of this kind.
    pub fn unknown(what: &str) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, format!("there is no such {what}"))
    }

    /// 409
    pub fn conflict(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::CONFLICT, detail)
    }

    /// 422 with the faults.
    pub fn faults(errors: Vec<Fault>) -> Problem {
        let detail = match errors.as_slice() {
            [one] if one.path.is_empty() => format!("the body: {}", one.problem),
            [one] => format!("{}: {}", one.path, one.problem),
            several => format!("{} faults; nothing was stored", several.len()),
        };
        Problem { errors: errors.into(), ..Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail) }
    }

    /// 422 with one fault.
    pub fn fault(path: &str, problem: impl Into<String>) -> Problem {
        Problem::faults(vec![Fault { path: path.to_owned(), problem: problem.into() }])
    }

    /// 422 with one fault, whose sentence is whole without its place: a person may have asked by a command or over MQTT.
    pub fn told(path: &str, problem: &str) -> Problem {
        Problem { detail: problem.to_owned(), ..Problem::fault(path, problem) }
    }

    /// 429
    pub fn slow_down(detail: impl Into<String>, seconds: u32) -> Problem {
        Problem::come_again(StatusCode::TOO_MANY_REQUESTS, detail, seconds)
    }

    /// Not now: with `Retry-After`.
    pub fn come_again(status: StatusCode, detail: impl Into<String>, seconds: u32) -> Problem {
        Problem { retry_after_seconds: Some(seconds), ..Problem::new(status, detail) }
    }

    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// In a word, for the audit log.
    pub fn outcome(&self) -> String {
        format!("refused: {}", self.status)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self).expect("a problem has only string keys");
        let mut response = (self.status(), [(header::CONTENT_TYPE, PROBLEM_JSON)], body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.status == 401 {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after_seconds {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// The store's words are made for the clinic and hold no data.
impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Problem {
        if error.is_refusal() {
            return Problem::conflict(error.to_string());
        }
        tracing::error!(%error, "the store does not answer the API");
        let detail = format!("the store does not answer just now: {error}");
        Problem { retry_after_seconds: Some(5), ..Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail) }
    }
}
