//! What differs between receivers: envelope, headers, signature, which answers count as success, the retry table.
//!
//! Invariant: a dialect knows neither the drivers nor the store. It gets committed events and gives back bytes.

pub mod catalogue;
mod cloudevents;
mod endpoint;
mod fhir;
mod findings;
mod hl7;
mod incoming;
mod lab;
mod local;
mod partner;
#[cfg(test)]
mod property_tests;
mod session;
pub mod standard_webhooks;
mod template;
#[cfg(test)]
mod template_tests;
mod test_v0;
mod verdict;

pub use cloudevents::envelope;
pub use endpoint::{Endpoint, Mode, PersonalData, Signature};
pub use session::{content_mac, session_of};
pub use template::{Template, TemplateError};
pub use test_v0::run_so_far;

use crate::delivery::{Outcome, RetrySchedule};
use crate::event::{AnalyzerId, Event, EventId, EventKind, EventName, Id, Seq};
use crate::time::{ClockQuality, Now, Timestamp};
use std::time::Duration;

/// Every dialect there is. A new one is one file here and one line in this list.
pub const DIALECTS: &[&dyn Dialect] = &[
    &cloudevents::CloudEvents,
    &test_v0::TestV0,
    &partner::Partner,
    &session::Session,
    &lab::Lab,
    &fhir::Fhir,
    &hl7::Hl7,
    &template::Templated,
];

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

    /// What an event of the gateway's own is called in this dialect; `None`: it has no form there. Posted events are
    /// never asked for here: they are in the catalogue.
    fn word(&self, name: EventName) -> Option<&'static str>;

    /// The events that other programs may post in this dialect.
    fn catalogue(&self) -> &'static [catalogue::Entry] {
        &[]
    }

    /// The event of that name that other programs may post.
    fn entry(&self, word: &str) -> Option<&'static catalogue::Entry> {
        self.catalogue().iter().find(|entry| entry.event == word)
    }

    /// Whether a posted event must name its session.
    fn numbers_sessions(&self) -> bool {
        false
    }

    /// Whether a filter may name this event.
    fn speaks(&self, word: &str) -> bool {
        EventName::from_word(word).is_some_and(|name| self.word(name).is_some()) || self.entry(word).is_some()
    }

    /// Whether this very event has a form at this endpoint, as far as can be told without its history. An event without a
    /// form takes no ordinal and no attempt.
    fn has_form(&self, event: &Event, endpoint: &Endpoint) -> bool {
        let _ = endpoint;
        match &event.kind.posted {
            Some(posted) => posted.dialect == self.name() && self.entry(&posted.event).is_some(),
            None => self.word(event.kind.name).is_some(),
        }
    }

    /// Whether rendering this event needs the earlier events of its test ([`Attempt::history`]).
    fn needs_history(&self, name: EventName) -> bool {
        let _ = name;
        false
    }

    /// Whether what is accepted holds all of its test's data so far, and no test's id: [`crate::run::take_new`] finds both.
    fn is_cumulative(&self) -> bool {
        false
    }

    /// Checks a secret as it stands in the YAML; the sentence says what is wrong with it, without the secret.
    fn check_secret(&self, secret: Option<&str>) -> Result<(), String>;

    /// What is missing in an endpoint's settings or has no meaning for this dialect.
    fn check_endpoint(&self, endpoint: &Endpoint) -> Vec<EndpointFault> {
        let _ = endpoint;
        Vec::new()
    }

    /// Which of the gateway's own events this endpoint could not be told, by made-up ones. `wanted`: whether it gets such.
    fn check_events(&self, endpoint: &Endpoint, wanted: &dyn Fn(EventName) -> bool) -> Vec<EndpointFault> {
        let _ = (endpoint, wanted);
        Vec::new()
    }

    /// Which personal data may leave where the settings say nothing.
    fn personal_data(&self) -> PersonalData {
        PersonalData::Documented
    }

    /// Whether a request carries one secret only, so that of several they are tried one after the other.
    fn takes_one_secret(&self) -> bool {
        false
    }

    /// How many events one request may carry, in the order of the log.
    fn events_per_request_max(&self, endpoint: &Endpoint) -> usize {
        let _ = endpoint;
        1
    }

    /// The request for these events, or `None` if they have no form in this dialect.
    fn render(&self, batch: &[Event], attempt: &Attempt<'_>) -> Result<Option<Request>, RenderError>;

    /// A request that tries the endpoint out, so marked that no receiver can take it for a result.
    fn probe(&self, id: EventId, attempt: &Attempt<'_>) -> Result<Request, RenderError>;

    /// What this answer means for the events that were sent.
    fn judge(&self, sent: &[Event], response: &Response, endpoint: &Endpoint, now: Now) -> Outcome;

    /// The table used where the YAML writes none.
    fn schedule(&self) -> RetrySchedule {
        RetrySchedule::standard()
    }

    /// Whether requests in this dialect can be received at all ([`Dialect::accept`]).
    fn receives(&self) -> bool {
        false
    }

    /// Reads a request that somebody else made in this dialect: who sent it is verified, then its events are taken out.
    fn accept(&self, received: &Received<'_>) -> Result<Vec<Accepted>, Refusal> {
        let _ = received;
        Err(Refusal { status: 404, problem: format!("requests in dialect {} cannot be received", self.name()) })
    }
}

/// A fault of an endpoint's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointFault {
    /// The key of the endpoint that is wrong or missing; `http.public_url` for that one.
    pub key: &'static str,
    pub problem: String,
    pub advice: String,
}

/// A request that came in.
#[derive(Debug, Clone, Copy)]
pub struct Received<'a> {
    /// Names in lower case.
    pub headers: &'a [(String, String)],
    pub body: &'a [u8],
    /// The secrets that may have signed it. Empty: nothing is verified.
    pub secrets: &'a [Secret],
    pub now: Now,
}

/// One event of a request that came in.
#[derive(Debug, Clone, PartialEq)]
pub struct Accepted {
    /// What makes a repeat of it the same; `None`: the request carries nothing that would tell.
    pub identity: Option<crate::event::Identity>,
    /// `test-v0`: with cumulative data; whoever stores it takes out what is new.
    pub kind: EventKind,
}

/// Why a request that came in is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct Refusal {
    /// 400, 401, 404, 409 or 422.
    pub status: u16,
    /// A sentence that quotes no value.
    pub problem: String,
}

/// Everything besides the events that a request depends on.
#[derive(Debug, Clone, Copy)]
pub struct Attempt<'a> {
    /// `gateway.id`: the first part of CloudEvents' `source`.
    pub gateway: &'a str,
    pub endpoint: &'a Endpoint,
    /// The secrets that sign, as in the YAML, newest first. Empty: the request is not signed.
    pub secrets: &'a [Secret],
    /// The time of this attempt.
    pub now: Now,
    /// What signatures are made for: the time of this attempt by the receiver's clock, as far as that is known.
    pub signed_at: Timestamp,
    /// 1 for the first attempt.
    pub number: u32,
    /// The dense count of events at this destination, from 1; of the first event of the batch.
    pub ordinal: u64,
    /// Of a batch: those of all its events, in their order.
    pub ordinals: &'a [u64],
    /// Whether a person has sent it again.
    pub redriven: bool,
    /// Whether it is sent later than newer events, out of a backlog.
    pub historical: bool,
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
    /// One HL7 message, its segments ended by CR; whoever sends it frames it.
    Mllp(Vec<u8>),
}

impl Request {
    /// The same with this (lower-case) header, in place of another of that name. An MLLP request has none.
    fn with_header(mut self, name: &str, value: impl Into<String>) -> Request {
        if let Request::Http(request) = &mut self {
            request.headers.retain(|(other, _)| other != name);
            let after_content_type = request.headers.len().min(1);
            request.headers.insert(after_content_type, (name.to_owned(), value.into()));
        }
        self
    }

    /// The same, marked as a probe.
    fn marked_as_test(self) -> Request {
        self.with_header("x-gateway-test", "true")
    }
}

/// A POST.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpRequest {
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// What came back. The body is cut at a few kilobytes. The answer to an MLLP request has the status 200, no headers, and the
/// acknowledging message as its body.
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
#[error("{problem}")]
pub struct RenderError {
    pub problem: String,
    /// Whether other settings would help, so that the event is held rather than dead.
    pub is_settings: bool,
}

impl RenderError {
    /// A fault of the gateway.
    pub fn ours(problem: impl Into<String>) -> RenderError {
        RenderError { problem: problem.into(), is_settings: false }
    }

    /// A fault of the settings.
    pub fn settings(problem: impl Into<String>) -> RenderError {
        RenderError { problem: problem.into(), is_settings: true }
    }
}

/// `Retry-After` (RFC 9110 section 10.2.3): seconds, or an HTTP date, from which the answer's own `Date` is subtracted. An answer
/// without one is measured by our clock, if that is set.
pub fn retry_after(response: &Response, now: Now) -> Option<Duration> {
    let value = response.header("retry-after")?.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let millisecond = |date: &str| Some(jiff::fmt::rfc2822::parse(date.trim()).ok()?.timestamp().as_millisecond());
    let ours = (now.quality != ClockQuality::Unset).then_some(now.wall.0);
    let answered_at = response.header("date").and_then(millisecond).or(ours)?;
    let wait_ms = millisecond(value)?.saturating_sub(answered_at);
    Some(Duration::from_millis(u64::try_from(wait_ms).unwrap_or(0)))
}

/// The event that a probe carries: of no analyzer, at the time of the attempt. It is never stored.
fn probe_event(id: EventId, attempt: &Attempt<'_>, kind: EventKind) -> Event {
    Event {
        seq: Seq(0),
        id,
        analyzer: AnalyzerId("webhook-test".to_owned()),
        received_at: attempt.now.wall,
        clock: attempt.now.quality,
        boot: Id([0; 16]),
        mono: attempt.now.mono,
        sequence: Some(0),
        erased: false,
        kind,
    }
}

/// What [`Dialect::check_secret`] says where the secret is a key that both sides have agreed on.
fn check_shared_key(secret: Option<&str>, what: &str) -> Result<(), String> {
    match secret {
        None => Err(format!("{what} is missing; write the one that the receiver has as `secret:`")),
        Some(key) if key.trim() != key || key.is_empty() => {
            Err(format!("{what} is empty or has blanks at its ends; write it as the receiver has it"))
        }
        Some(_) => Ok(()),
    }
}

/// The one secret of an attempt in a dialect that carries one.
fn one_secret<'a>(attempt: &Attempt<'a>) -> Result<&'a Secret, RenderError> {
    let none = "no secret of this webhook is valid any more; write a new one into its settings";
    attempt.secrets.first().ok_or_else(|| RenderError::settings(none))
}

/// The one event of a request in a dialect that sends them singly.
fn single(batch: &[Event]) -> Result<&Event, RenderError> {
    match batch {
        [event] => Ok(event),
        _ => Err(RenderError::ours(format!("{} events for one request; this dialect sends them singly", batch.len()))),
    }
}

/// A POST of this body with its headers: Standard Webhooks' own under the id given, if there is one, then ours, then what
/// `signatures` of the endpoint adds.
fn post(
    event: &Event,
    attempt: &Attempt<'_>,
    content_type: &str,
    standard: Option<EventId>,
    body: Vec<u8>,
) -> Result<Request, RenderError> {
    post_with(event, attempt, vec![("content-type".to_owned(), content_type.to_owned())], standard, body)
}

/// The same with headers of the dialect's own, which come first (`content-type` among them). No header stands twice: of two
/// with one name the first is sent.
fn post_with(
    event: &Event,
    attempt: &Attempt<'_>,
    own: Vec<(String, String)>,
    standard: Option<EventId>,
    body: Vec<u8>,
) -> Result<Request, RenderError> {
    let mut secrets = standard.map(|_| attempt.secrets.to_vec()).unwrap_or_default();
    let mut macs = Vec::new();
    for signature in &attempt.endpoint.signatures {
        match signature {
            Signature::StandardWebhooks(secret) if !secrets.contains(secret) => secrets.push(secret.clone()),
            Signature::StandardWebhooks(_) => {}
            Signature::Mac { header, secret } => {
                macs.push((header.clone(), session::content_mac(secret.expose(), &body)))
            }
        }
    }
    let mut headers = own;
    if standard.is_some() || !secrets.is_empty() {
        let standard = standard_webhooks::headers(attempt, &secrets, standard.unwrap_or(event.id), &body);
        headers.extend(standard.map_err(|problem| RenderError::settings(problem.to_string()))?);
    }
    headers.extend(gateway_headers(event, attempt));
    headers.extend(macs);
    let mut names = std::collections::BTreeSet::new();
    headers.retain(|(name, _)| names.insert(name.clone()));
    Ok(Request::Http(HttpRequest { headers, body }))
}

/// The headers that we add to any webhook (CONTRACT).
fn gateway_headers(event: &Event, attempt: &Attempt<'_>) -> Vec<(String, String)> {
    let mut headers = vec![
        ("x-gateway-event-id".to_owned(), event.id.to_string()),
        ("x-gateway-ordinal".to_owned(), attempt.ordinal.to_string()),
        ("x-gateway-attempt".to_owned(), attempt.number.to_string()),
    ];
    if attempt.ordinals.len() > 1 {
        let ordinals: Vec<String> = attempt.ordinals.iter().map(u64::to_string).collect();
        headers.push(("x-gateway-ordinals".to_owned(), ordinals.join(",")));
    }
    if attempt.redriven {
        headers.push(("x-gateway-redriven".to_owned(), "true".to_owned()));
    }
    if attempt.historical {
        headers.push(("x-gateway-historical".to_owned(), "true".to_owned()));
    }
    if event.erased {
        headers.push(("x-gateway-erased".to_owned(), "true".to_owned()));
    }
    headers
}
