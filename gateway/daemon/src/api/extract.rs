//! What a request carries, read with its faults told as problem details.

use super::Api;
use super::problem::Problem;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use gateway_core::dialects::catalogue::Fault;
use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;
use std::sync::Arc;

/// The parts of the path, decoded.
pub struct Path<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Path<T>, Problem> {
        let read = axum::extract::Path::<T>::from_request_parts(parts, state).await;
        read.map(|axum::extract::Path(path)| Path(path))
            .map_err(|_: PathRejection| Problem::bad_request("the address holds text that is not UTF-8"))
    }
}

/// The query.
pub struct Query<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Query<T>, Problem> {
        let read = axum::extract::Query::<T>::from_request_parts(parts, state).await;
        read.map(|axum::extract::Query(query)| Query(query)).map_err(|rejection: QueryRejection| {
            let text = std::error::Error::source(&rejection).map_or_else(String::new, ToString::to_string);
            let key = text.split_once(": ").map_or("", |(key, _)| key);
            let detail = match key {
                "" => format!("the query {}", wanted(&text)),
                key => format!("the query's key {key} {}", wanted(&text)),
            };
            Problem::bad_request(detail)
        })
    }
}

/// A body of JSON, at most `http.body_bytes_max` long.
pub struct Json<T>(pub T);

impl<T: DeserializeOwned> FromRequest<Arc<Api>> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Arc<Api>) -> Result<Json<T>, Problem> {
        if !is_json(request.headers()) {
            let detail = "send the body as JSON, with the header `content-type: application/json`";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
        }
        let body = whole(request.into_body(), api.config.http.body_bytes_max).await?;
        from_json(&body).map(Json)
    }
}

/// The bytes of a body, at most `http.body_bytes_max`.
pub async fn whole(body: Body, bytes_max: usize) -> Result<Bytes, Problem> {
    to_bytes(body, bytes_max).await.map_err(|error| {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
        while let Some(current) = cause {
            // axum's limit is http-body-util's, whose text is the only thing of it that is public here.
            if current.to_string() == "length limit exceeded" {
                let detail = format!("the body is longer than {bytes_max} bytes (http.body_bytes_max)");
                return Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail);
            }
            cause = current.source();
        }
        Problem::bad_request("the body broke off")
    })
}

/// JSON that is wrong as such is 400, JSON of a wrong shape 422.
pub fn from_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let value: serde_json::Value = serde_json::from_slice(body).map_err(|error| {
        Problem::bad_request(format!("the body is not JSON: line {}, column {}", error.line(), error.column()))
    })?;
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path: String = error.path().iter().map(segment).collect();
        Problem::faults(vec![Fault { path, problem: wanted(&error.into_inner().to_string()) }])
    })
}

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"))
}

fn segment(segment: &Segment) -> String {
    match segment {
        Segment::Seq { index } => format!("/{index}"),
        Segment::Map { key } => format!("/{}", key.replace('~', "~0").replace('/', "~1")),
        Segment::Enum { variant } => format!("/{variant}"),
        Segment::Unknown => String::new(),
    }
}

/// serde's sentence without what it quotes of the value.
fn wanted(text: &str) -> String {
    let text = text.split(" at line ").next().unwrap_or_default();
    let expected = text.rsplit_once("expected ").map(|(_, expected)| expected);
    if let Some(at) = text.find("missing field ") {
        return format!("lacks {}", &text[at + "missing field ".len()..]);
    }
    match expected {
        // serde's word for one of our types, and a length that only its list form has.
        Some(expected) if expected.starts_with("struct ") => "must be an object".to_owned(),
        Some(expected) if text.contains("unknown field") => format!("has a key that is not known; known: {expected}"),
        Some(expected) => format!("must be {expected}"),
        None if text.contains("duplicate field") => "has a key twice".to_owned(),
        None => "has a value that does not fit".to_owned(),
    }
}
