//! What differs between receivers: envelope, headers, signature, which answers count as success, the retry table.
//!
//! Invariant: a dialect knows neither the drivers nor the store. It gets committed events and gives back bytes.

mod cloudevents;
pub mod standard_webhooks;
mod test_v0;
mod verdict;

pub use cloudevents::envelope;

use crate::delivery::{Outcome, RetrySchedule};
use crate::event::{Event, EventId, EventName};
use crate::time::Now;
use std::time::Duration;

/// Every dialect there is. A new one is one file here and one line in this list.
pub const DIALECTS: &[&dyn Dialect] = &[&cloudevents::CloudEvents, &test_v0::TestV0];

/// The dialect of that name.
pub fn dialect(name: &str) -> Option<&'static dyn Dialect> {
    DIALECTS.iter().copied().find(|dialect| dialect.name() == name)
}

/// The words of one kind of receiver.
pub trait Dialect: Sync {
    /// The word in the YAML.
    fn name(&self) -> &'static str;

    /// A sentence for the manual.
    fn about(&self) -> &'static str;

    /// Whether events of this name have a form in this dialect.
    fn speaks(&self, name: EventName) -> bool;

    /// Whether this very event has one, as far as can be told without its history. An event without a form takes no
    /// ordinal and no attempt.
    fn has_form(&self, event: &Event) -> bool {
        self.speaks(event.kind.name)
    }

    /// Whether rendering this event needs the earlier events of its test ([`Attempt::history`]).
    fn needs_history(&self, name: EventName) -> bool;

    /// Checks a secret as it stands in the YAML; the sentence says what is wrong with it, without the secret.
    fn check_secret(&self, secret: Option<&str>) -> Result<(), String>;

    /// The request for these events, or `None` if they have no form in this dialect.
    fn render(&self, batch: &[Event], attempt: &Attempt<'_>) -> Result<Option<Request>, RenderError>;

    /// What this answer means for the events that were sent.
    fn judge(&self, sent: &[Event], response: &Response, now: Now) -> Outcome;

    /// The table used where the YAML writes none.
    fn schedule(&self) -> RetrySchedule;
}

/// Everything besides the events that a request depends on.
#[derive(Debug, Clone, Copy)]
pub struct Attempt<'a> {
    /// `gateway.id`: the first part of CloudEvents' `source`.
    pub gateway: &'a str,
    /// The secrets that sign, as in the YAML, newest first. Empty: the request is not signed.
    pub secrets: &'a [Secret],
    /// The time of this attempt: what signatures are made for.
    pub now: Now,
    /// 1 for the first attempt.
    pub number: u32,
    /// The dense count of events at this destination, from 1.
    pub ordinal: u64,
    /// Whether a person has sent it again.
    pub redriven: bool,
    /// The events of the same test up to and including the newest of the batch, oldest first, if the dialect asked.
    pub history: &'a [Event],
}

/// A secret that cannot be logged.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The secret itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[secret]")
    }
}

/// A request as it goes on the wire.
#[derive(Clone, PartialEq, Eq)]
pub enum Request {
    Http(HttpRequest),
}

/// A POST.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpRequest {
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// What came back. The body is cut at a few kilobytes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Response {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    /// The first header of that (lower-case) name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// The event cannot be written in this dialect: a fault of the gateway or of its settings, told to a person.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RenderError(pub String);

/// `Retry-After` (RFC 9110 section 10.2.3): seconds, or an HTTP date from which `now` is subtracted.
pub fn retry_after(response: &Response, now: Now) -> Option<Duration> {
    let value = response.header("retry-after")?.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(value).ok()?;
    let wait_ms = date.timestamp().as_millisecond().saturating_sub(now.wall.0);
    Some(Duration::from_millis(u64::try_from(wait_ms).unwrap_or(0)))
}

/// The one event of a request in a dialect that sends them singly.
fn single(batch: &[Event]) -> Result<&Event, RenderError> {
    match batch {
        [event] => Ok(event),
        _ => Err(RenderError(format!("{} events for one request; this dialect sends them singly", batch.len()))),
    }
}

/// A POST of this body with its headers: Standard Webhooks' own under the id given, if there is one, then ours.
fn post(
    event: &Event,
    attempt: &Attempt<'_>,
    content_type: &str,
    standard: Option<EventId>,
    body: Vec<u8>,
) -> Result<Request, RenderError> {
    let mut headers = vec![("content-type".to_owned(), content_type.to_owned())];
    if let Some(id) = standard {
        let standard = standard_webhooks::headers(attempt, id, &body);
        headers.extend(standard.map_err(|problem| RenderError(problem.to_string()))?);
    }
    headers.extend(gateway_headers(event, attempt));
    Ok(Request::Http(HttpRequest { headers, body }))
}

/// The headers that we add to any webhook (CONTRACT).
fn gateway_headers(event: &Event, attempt: &Attempt<'_>) -> Vec<(String, String)> {
    let mut headers = vec![
        ("x-gateway-event-id".to_owned(), event.id.to_string()),
        ("x-gateway-ordinal".to_owned(), attempt.ordinal.to_string()),
        ("x-gateway-attempt".to_owned(), attempt.number.to_string()),
    ];
    if attempt.redriven {
        headers.push(("x-gateway-redriven".to_owned(), "true".to_owned()));
    }
    headers
}
