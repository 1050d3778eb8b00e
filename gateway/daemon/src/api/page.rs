//! The page's files, compiled in, and what every answer tells a browser.
//!
//! Invariants: the files hold no data, so anybody may read them; a browser runs no script but the gateway's own, sends
//! nothing to anybody else, and shows nothing of the gateway inside of another page.

use super::Api;
use super::caller::Host;
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::sync::Arc;

/// One file of `gateway/page/`.
pub struct File {
    /// `/` for index.html.
    pub path: &'static str,
    kind: &'static str,
    /// Of the content: equal tags, equal files.
    tag: &'static str,
    pub plain: &'static [u8],
    /// As gzip.
    pub packed: &'static [u8],
}

include!(concat!(env!("OUT_DIR"), "/page_files.rs"));

const OF_PAGE: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                       manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
/// Documents that the API makes, such as a printed report: they bring their style along, and run nothing.
const OF_DOCUMENT: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; base-uri 'none'; \
                           form-action 'none'; frame-ancestors 'none'";
const OF_DATA: &str = "default-src 'none'; frame-ancestors 'none'";

/// The page's addresses.
pub fn router() -> Router<Arc<Api>> {
    let serve = |file: &'static File| get(async move |_: Host, headers: HeaderMap| answer(file, &headers));
    FILES.iter().fold(Router::new(), |router, file| router.route(file.path, serve(file)))
}

fn answer(file: &'static File, headers: &HeaderMap) -> Response {
    let takes_gzip = list(headers, header::ACCEPT_ENCODING).any(is_gzip);
    let tag = format!("\"{}{}\"", file.tag, if takes_gzip { "-gz" } else { "" });
    let known = list(headers, header::IF_NONE_MATCH).any(|known| known == "*" || known.trim_start_matches("W/") == tag);
    let mut response = match (known, takes_gzip) {
        (true, _) => StatusCode::NOT_MODIFIED.into_response(),
        (false, true) => ([(header::CONTENT_ENCODING, "gzip")], Body::from(file.packed)).into_response(),
        (false, false) => Body::from(file.plain).into_response(),
    };
    let own = response.headers_mut();
    own.insert(header::CONTENT_TYPE, HeaderValue::from_static(file.kind));
    // Asked for again each time, which costs nothing while it is the same: an update shows at once.
    own.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    own.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        own.insert(header::ETAG, tag);
    }
    own.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(OF_PAGE));
    response
}

fn list(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

/// `gzip`, not `gzip;q=0`.
fn is_gzip(coding: &str) -> bool {
    let mut parts = coding.split(';').map(str::trim);
    let is_named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
    let refused = parts.any(|part| part.strip_prefix("q=").and_then(|q| q.parse::<f32>().ok()) == Some(0.0));
    is_named && !refused
}

/// Adds to every answer what keeps a browser out of trouble. What a route has said itself stands.
pub async fn guard(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let policy = if kind.starts_with("text/html") || kind.starts_with("image/svg") { OF_DOCUMENT } else { OF_DATA };
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}
