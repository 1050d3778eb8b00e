//! What a failed handshake means, in words for a clinic, and whether a person must act.

use super::pinned::OtherKey;
use crate::platform::SendError;
use gateway_core::delivery::{Reason, ReasonCode};
use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, Error, InvalidMessage};

/// `peer` is what we talked to: `the receiver` or `the proxy`.
pub(in crate::platform) fn explain(error: &Error, peer: &str) -> SendError {
    let settings = |detail: String| SendError::Configuration(Reason::new(ReasonCode::Certificate, detail));
    let detail = match error {
        Error::InvalidCertificate(fault) => certificate(fault, peer),
        Error::NoCertificatesPresented => format!("{peer} shows no certificate"),
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            format!("{peer} does not speak TLS on this port: look whether the port is right")
        }
        Error::PeerIncompatible(_) => format!("{peer} speaks no TLS that is safe today; it needs TLS 1.2 or newer"),
        Error::AlertReceived(alert) => match refusal(*alert) {
            Some(why) => format!("{peer} {why}"),
            None => {
                let detail = format!("{peer} ended the encryption ({alert:?})");
                return SendError::Passing(Reason::new(ReasonCode::ConnectionLost, detail));
            }
        },
        other => format!("the connection to {peer} cannot be encrypted: {other}"),
    };
    settings(detail)
}

fn certificate(fault: &CertificateError, peer: &str) -> String {
    let whose = format!("the certificate of {peer}");
    match fault {
        CertificateError::ExpiredContext { time, not_after } => {
            let days = time.as_secs().saturating_sub(not_after.as_secs()) / 86_400;
            let ago = match days {
                0 => "less than a day ago".to_owned(),
                1 => "1 day ago".to_owned(),
                days => format!("{days} days ago"),
            };
            format!("{whose} expired on {}, {ago}", date(*not_after))
        }
        CertificateError::Expired => format!("{whose} has expired"),
        CertificateError::NotValidYetContext { not_before, .. } => {
            format!("{whose} is valid only from {} on", date(*not_before))
        }
        CertificateError::NotValidYet => format!("{whose} is not valid yet"),
        CertificateError::NotValidForNameContext { expected, presented } => {
            let names: Vec<String> = presented.iter().take(5).map(|name| plain(name)).collect();
            let names = if names.is_empty() { "no name at all".to_owned() } else { names.join(", ") };
            format!("{whose} is for {names}, not for {}", expected.to_str())
        }
        CertificateError::NotValidForName => format!("{whose} is for another name"),
        CertificateError::UnknownIssuer => format!(
            "{whose} comes from an authority that is not trusted here; if it is your own, name its certificate as `ca_file`"
        ),
        CertificateError::Revoked => format!("{whose} has been revoked by its authority"),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            format!("{whose} is not made for servers")
        }
        CertificateError::Other(other) if other.0.downcast_ref::<OtherKey>().is_some() => {
            format!("{}; if its key was changed on purpose, write the new one", other.0)
        }
        other => format!("{whose} is not good: {other}"),
    }
}

/// The alerts (RFC 8446 section 6.2) with which a server refuses a client for what it is or speaks.
fn refusal(alert: AlertDescription) -> Option<&'static str> {
    Some(match alert {
        AlertDescription::CertificateRequired => {
            "asks for a client certificate: name one as `certificate_file` and `key_file`"
        }
        AlertDescription::CertificateExpired => "says that our client certificate has expired",
        AlertDescription::CertificateRevoked => "says that our client certificate has been revoked",
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnknownCA
        | AlertDescription::DecryptError
        | AlertDescription::AccessDenied => "does not accept our client certificate",
        AlertDescription::HandshakeFailure
        | AlertDescription::ProtocolVersion
        | AlertDescription::InsufficientSecurity => {
            "and the box find no common way to encrypt; it may also miss a client certificate"
        }
        AlertDescription::UnrecognisedName => "does not know the host name of the url",
        _ => return None,
    })
}

/// `2026-11-21`, in UTC.
fn date(moment: UnixTime) -> String {
    let seconds = i64::try_from(moment.as_secs()).unwrap_or(i64::MAX);
    match jiff::Timestamp::from_second(seconds) {
        Ok(moment) => moment.strftime("%Y-%m-%d").to_string(),
        Err(_) => "a day beyond all calendars".to_owned(),
    }
}

/// Names come from the peer: nothing in them may end a line. webpki writes them as `DnsName("...")`.
fn plain(name: &str) -> String {
    let name = name.strip_prefix("DnsName(\"").and_then(|name| name.strip_suffix("\")")).unwrap_or(name);
    name.chars().take(100).map(|c| if c.is_control() { '?' } else { c }).collect()
}
