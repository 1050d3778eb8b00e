//! What a status means, for the dialects whose receivers share HTTP's own words. Where they differ is data.

use super::{Endpoint, Response, retry_after};
use crate::delivery::{Outcome, Reason, ReasonCode};
use crate::mutants::{Mutant, planted};
use crate::time::{ClockQuality, Now};
use std::ops::RangeInclusive;

/// How one dialect departs from HTTP's plain meaning.
pub(super) struct Statuses {
    /// Statuses that refuse this one event, whatever they mean elsewhere.
    pub(super) refuse_one_event: &'static [u16],
    /// Statuses that mean success.
    pub(super) success: RangeInclusive<u16>,
}

impl Statuses {
    /// Reads an answer. What is success the endpoint may say; a fault of configuration holds the endpoint; trouble of the receiver's own is
    /// tried again; what is left refuses the event.
    pub(super) fn judge(&self, response: &Response, endpoint: &Endpoint, now: Now) -> Outcome {
        let status = response.status;
        let is_success = match &endpoint.success_statuses {
            Some(ranges) => ranges.iter().any(|range| range.contains(&status)),
            None => self.success.contains(&status),
        };
        let told = |text: &str| format!("HTTP {status}, {text}");
        let held = |code, text: &str| Outcome::Held { reason: Reason::new(code, told(text)) };
        let rejected = |code, text: &str| Outcome::Rejected { reason: Reason::new(code, told(text)) };
        let retryable = |code, text: &str| Outcome::Retryable {
            reason: Reason::new(code, told(text)),
            retry_after: retry_after(response, now),
        };
        match status {
            _ if planted(Mutant::AnyStatusDelivers) => Outcome::Delivered,
            _ if is_success => Outcome::Delivered,
            // Another one of the 2xx than the one that is asked for: the receiver's document has it tried again.
            200..=299 => retryable(ReasonCode::ServerError, "which is not the status that means success here"),
            _ if self.refuse_one_event.contains(&status) => rejected(ReasonCode::Refused, "this event is refused"),
            300..=399 => held(ReasonCode::Redirected, &target(response)),
            // A signature carries the time, so a receiver must refuse one from a box that does not know it. The probes go
            // on without using up attempts, and the first one after the clock is set gets through.
            401 | 403 if now.quality == ClockQuality::Unset => {
                held(ReasonCode::Unauthorized, "while the clock of the box is not set, which may be all that is wrong")
            }
            401 | 403 => held(ReasonCode::Unauthorized, "the key or the signature is refused"),
            404 => held(ReasonCode::NotFound, "this address is unknown there"),
            410 => held(ReasonCode::Gone, "this address is closed for good"),
            429 => retryable(ReasonCode::TooManyRequests, "a slower pace is asked for"),
            408 | 425 | 500..=599 => retryable(ReasonCode::ServerError, "the receiver has trouble of its own"),
            413 => rejected(ReasonCode::TooLarge, "the body is too large for it"),
            400..=499 => rejected(ReasonCode::Refused, "this event is refused"),
            _ => retryable(ReasonCode::ServerError, "which is not an answer to a POST"),
        }
    }
}

/// The host that a redirect names, and no more of it: paths and queries may carry keys.
fn target(response: &Response) -> String {
    let Some(location) = response.header("location") else {
        return "another address, which it does not name".to_owned();
    };
    match url::Url::parse(location) {
        Ok(url) => format!("another address at {}", url.host_str().unwrap_or("an unnamed host")),
        Err(_) => "another path of the same host".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;
    use std::time::Duration;

    const PLAIN: Statuses = Statuses { refuse_one_event: &[], success: 200..=299 };

    fn answer(status: u16, header: Option<(&str, &str)>) -> Outcome {
        let headers = header.map(|(name, value)| (name.to_owned(), value.to_owned())).into_iter().collect();
        let wall = Timestamp(1_445_412_420_000);
        let now = Now { wall, quality: ClockQuality::Synchronized, ..Now::default() };
        PLAIN.judge(&Response { status, headers, body: Vec::new() }, &Endpoint::default(), now)
    }

    #[test]
    fn every_status_has_a_meaning() {
        for status in 0..=999 {
            let delivered = answer(status, None) == Outcome::Delivered;
            assert_eq!(delivered, (200..300).contains(&status), "{status}");
        }
    }

    #[test]
    fn retry_after_is_read_as_seconds_and_as_a_date() {
        let asked = |value| match answer(429, Some(("retry-after", value))) {
            Outcome::Retryable { retry_after, .. } => retry_after,
            other => panic!("{other:?}"),
        };
        assert_eq!(asked("120"), Some(Duration::from_secs(120)));
        assert_eq!(asked("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::from_secs(60)));
        assert_eq!(asked("Wed, 21 Oct 2015 07:20:00 GMT"), Some(Duration::ZERO));
        assert_eq!(asked("later"), None);
    }

    #[test]
    fn a_date_is_measured_by_the_answers_own_clock() {
        let asked = |date: Option<&str>| {
            let headers = [("retry-after", Some("Wed, 21 Oct 2015 07:28:00 GMT")), ("date", date)];
            let headers = headers.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())));
            let response = Response { status: 503, headers: headers.collect(), body: Vec::new() };
            crate::dialects::retry_after(&response, Now::default())
        };
        assert_eq!(asked(Some("Wed, 21 Oct 2015 07:26:00 GMT")), Some(Duration::from_secs(120)));
        assert_eq!(asked(None), None, "our clock is not set");
    }

    #[test]
    fn a_redirect_names_the_host_only() {
        let detail = |location| match answer(308, Some(("location", location))) {
            Outcome::Held { reason } => reason.detail,
            other => panic!("{other:?}"),
        };
        let absolute = detail("https://user:pw@other.example/hook?key=s3cret");
        assert!(absolute.ends_with("at other.example"), "{absolute}");
        assert!(!detail("/hook?key=s3cret").contains("s3cret"));
    }

    #[test]
    fn a_refused_signature_from_a_box_without_a_clock_names_the_clock() {
        let answer = Response { status: 401, ..Response::default() };
        let Outcome::Held { reason } = PLAIN.judge(&answer, &Endpoint::default(), Now::default()) else {
            panic!("held")
        };
        assert!(reason.detail.contains("clock"), "{reason}");
    }
}
