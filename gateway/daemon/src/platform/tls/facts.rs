//! What a person wants to know of an encrypted connection: version, issuer, days left.

use rustls::ClientConnection;
use std::time::Duration;
use x509_cert::Certificate;
use x509_cert::der::Decode;

/// Facts for a person.
pub(in crate::platform) struct Facts {
    /// `TLS 1.3, certificate by CN=..., 83 days left`
    pub told: String,
    /// Whole days until the certificate ends; negative afterwards. `None` where it cannot be read.
    pub days_left: Option<i64>,
}

/// Reads them off a finished handshake; `wall` is the time since 1970.
pub(in crate::platform) fn facts(connection: &ClientConnection, wall: Duration) -> Facts {
    let version = match connection.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_2) => "TLS 1.2",
        _ => "TLS 1.3",
    };
    let first = connection.peer_certificates().and_then(|chain| chain.first());
    let Some(certificate) = first.and_then(|der| Certificate::from_der(der).ok()) else {
        return Facts { told: format!("{version}, with a certificate that holds no readable date"), days_left: None };
    };
    let tbs = certificate.tbs_certificate;
    let ends = tbs.validity.not_after.to_unix_duration();
    let seconds = ends.as_secs() as i64 - wall.as_secs() as i64;
    let days_left = seconds.div_euclid(86_400);
    let issuer: String =
        tbs.issuer.to_string().chars().take(200).map(|c| if c.is_control() { '?' } else { c }).collect();
    Facts {
        told: format!("{version}, certificate issued by {issuer}, {days_left} days left"),
        days_left: Some(days_left),
    }
}
