//! Trying an endpoint out: a marked request under the settings in force, and an account of every hop on its way.
//!
//! Invariant: nothing is stored, no ordinal is used up, and the request is the dialect's own probe, which no receiver can
//! take for a result. The account stops at the first hop that failed: what lies behind it is not known.

use super::{Platform, SendError};
use gateway_core::config::Webhook;
use gateway_core::delivery::{Outcome, Reason};
use gateway_core::dialects::{Attempt, Dialect, Request, Response, dialect};
use gateway_core::event::Id;
use gateway_core::time::{ClockQuality, Now, Timestamp};
use schemars::JsonSchema;
use serde::Serialize;
use std::time::Duration;

/// A difference between two clocks above which a person should know.
const SKEW_SECONDS_MAX: i64 = 60;
/// The first characters of the answer that are shown.
const ANSWER_CHARS_MAX: usize = 200;

/// What came of trying an endpoint out.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Report {
    /// The webhook's id in the settings.
    pub webhook: String,
    pub dialect: String,
    /// Whether every hop was passed.
    pub ok: bool,
    /// The id that the test event had, as in its headers.
    pub event_id: String,
    /// In the order in which they were met. The last one is the one that failed, if one did.
    pub hops: Vec<Hop>,
    /// The status of the answer, if there was one; 200 for an MLLP acknowledgement.
    pub status: Option<u16>,
    /// The first characters of the answer's body.
    pub answer: Option<String>,
}

/// One step of the way to an endpoint.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Hop {
    pub hop: HopName,
    pub ok: bool,
    pub milliseconds: u64,
    /// What was found, in a sentence.
    pub told: String,
    /// What a person can do: always where the hop failed, and where it passed with a warning.
    pub next_step: Option<String>,
}

/// The steps there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HopName {
    /// The request could be written in the endpoint's dialect and the settings' files could be read.
    Settings,
    /// The host's name has addresses.
    Dns,
    /// One of the addresses takes connections.
    Tcp,
    /// The proxy lets us through.
    Proxy,
    /// The certificate is trusted and the connection is encrypted.
    Tls,
    /// The request was answered.
    Answer,
    /// The receiver's clock and ours agree.
    Clock,
    /// The key or the signature is not refused.
    Authentication,
    /// The dialect takes the answer for success.
    Verdict,
}

impl HopName {
    /// The word in the JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            HopName::Settings => "settings",
            HopName::Dns => "dns",
            HopName::Tcp => "tcp",
            HopName::Proxy => "proxy",
            HopName::Tls => "tls",
            HopName::Answer => "answer",
            HopName::Clock => "clock",
            HopName::Authentication => "authentication",
            HopName::Verdict => "verdict",
        }
    }
}

impl Hop {
    /// A hop that was passed.
    pub fn passed(hop: HopName, took: Duration, told: impl Into<String>) -> Hop {
        Hop { hop, ok: true, milliseconds: milliseconds(took), told: told.into(), next_step: None }
    }

    /// A hop that was passed with something to look after.
    pub fn warned(hop: HopName, took: Duration, told: impl Into<String>, next_step: impl Into<String>) -> Hop {
        Hop { next_step: Some(next_step.into()), ..Hop::passed(hop, took, told) }
    }

    /// A hop that was not passed.
    pub fn failed(hop: HopName, took: Duration, reason: &Reason) -> Hop {
        Hop { ok: false, ..Hop::warned(hop, took, reason.detail.clone(), reason.code.next_step()) }
    }
}

fn milliseconds(took: Duration) -> u64 {
    u64::try_from(took.as_millis()).unwrap_or(u64::MAX)
}

/// Tries an endpoint out. `gateway` is `gateway.id`. Takes no longer than the webhook's timeout and a little.
pub async fn run(platform: &Platform, webhook: &Webhook, gateway: &str) -> Report {
    let now = platform.clock.now();
    let mut random = [0; 10];
    platform.entropy.fill(&mut random);
    let id = Id::timed(now.wall, random);
    let mut report = Report {
        webhook: webhook.id.clone(),
        dialect: webhook.dialect.clone(),
        ok: false,
        event_id: id.to_string(),
        hops: Vec::new(),
        status: None,
        answer: None,
    };
    let (dialect, request) = match request(webhook, gateway, id, now) {
        Ok(made) => made,
        Err(problem) => {
            let next_step = "Mend this webhook in the settings file, then test again.".to_owned();
            let hop = Hop::warned(HopName::Settings, Duration::ZERO, problem, next_step);
            report.hops.push(Hop { ok: false, ..hop });
            return report;
        }
    };
    let trace = platform.http.trace(webhook, request).await;
    let ended = platform.clock.now();
    report.hops = trace.hops;
    match trace.answer {
        Ok(response) => {
            report.status = Some(response.status);
            report.answer = excerpt(&response);
            let halfway = Timestamp(now.wall.0 + (ended.wall.0 - now.wall.0) / 2);
            report.hops.extend(judged(webhook, dialect, &response, Now { wall: halfway, ..ended }));
        }
        Err(error) if report.hops.last().is_none_or(|hop| hop.ok) => {
            let took = ended.mono.since(now.mono);
            report.hops.push(Hop::failed(HopName::Answer, took, error.reason()));
        }
        Err(SendError::NoNetwork(_) | SendError::Passing(_) | SendError::Configuration(_)) => {}
    }
    report.ok = report.hops.iter().all(|hop| hop.ok);
    report
}

fn request(webhook: &Webhook, gateway: &str, id: Id, now: Now) -> Result<(&'static dyn Dialect, Request), String> {
    let dialect = dialect(&webhook.dialect).ok_or_else(|| format!("there is no dialect `{}`", webhook.dialect))?;
    let secrets = webhook.secrets_at(now);
    let attempt = Attempt {
        gateway,
        endpoint: &webhook.endpoint,
        secrets: &secrets,
        now,
        signed_at: now.wall,
        number: 1,
        ordinal: 0,
        ordinals: &[],
        redriven: false,
        historical: false,
        history: &[],
    };
    let request = dialect.probe(id, &attempt).map_err(|error| error.problem)?;
    Ok((dialect, request))
}

/// What the answer tells. `now` is the moment halfway between the request and its answer.
fn judged(webhook: &Webhook, dialect: &dyn Dialect, response: &Response, now: Now) -> Vec<Hop> {
    let mut hops: Vec<Hop> = clock(response, now).into_iter().collect();
    let outcome = dialect.judge(&[], response, &webhook.endpoint, now);
    let failed = |hop, reason: &Reason| Hop::failed(hop, Duration::ZERO, reason);
    match &outcome {
        Outcome::Delivered => {
            let told = match webhook.is_signed() {
                false => "nothing was shown: this webhook has no secret, no signature and no certificate of its own",
                true => "the key or the signature was not refused",
            };
            hops.push(Hop::passed(HopName::Authentication, Duration::ZERO, told));
            hops.push(Hop::passed(HopName::Verdict, Duration::ZERO, "the receiver has taken the test event"));
        }
        Outcome::Retryable { reason, .. }
        | Outcome::Held { reason }
        | Outcome::Rejected { reason }
        | Outcome::NoNetwork { reason } => {
            let refuses_us = matches!(response.status, 401 | 403);
            hops.push(failed(if refuses_us { HopName::Authentication } else { HopName::Verdict }, reason));
        }
    }
    hops
}

/// Compares the `Date` header (RFC 9110 section 6.6.1) with our clock. It counts whole seconds, which the bound forgives.
fn clock(response: &Response, now: Now) -> Option<Hop> {
    let date = jiff::fmt::rfc2822::parse(response.header("date")?.trim()).ok()?.timestamp();
    let skew = date.as_millisecond().saturating_sub(now.wall.0) / 1000;
    let hop = |told, next_step| Some(Hop::warned(HopName::Clock, Duration::ZERO, told, next_step));
    if now.quality == ClockQuality::Unset {
        let told = "the clock of the box is not set, so signatures and certificates cannot be judged".to_owned();
        return hop(told, "Give the box a time server that it can reach, then test again.");
    }
    if skew.abs() <= SKEW_SECONDS_MAX {
        return Some(Hop::passed(HopName::Clock, Duration::ZERO, format!("{} s apart", skew.abs())));
    }
    let side = if skew > 0 { "ahead of" } else { "behind" };
    let told = format!("the receiver's clock is {} s {side} the box's", skew.abs());
    let next_step = match now.quality {
        ClockQuality::Synchronized => {
            "The box's clock is kept by a time source, so the receiver's is wrong: tell its operator."
        }
        _ => "The box's clock is kept by no time source: give it a time server that it can reach.",
    };
    hop(told, next_step)
}

fn excerpt(response: &Response) -> Option<String> {
    let text: String = String::from_utf8_lossy(&response.body).chars().take(ANSWER_CHARS_MAX).collect();
    (!text.is_empty()).then_some(text)
}
