//! What the two versions of MQTT have in common, so that a connection is one thing whichever it speaks.
//!
//! Invariant: a publish counts as acknowledged by the broker's own PUBACK alone, and in MQTT 5 by one that does not refuse it.

use crate::platform::tls::{Identity, client_config};
use crate::platform::{BoxFuture, Message, MqttConnect};
use gateway_core::appliance::layout;
use gateway_core::config::{Broker, OWN_BROKER_USER};
use gateway_core::delivery::{Reason, ReasonCode};
use std::error::Error;
use std::io;
use std::sync::Arc;

pub const KEEP_ALIVE_SECONDS: u16 = 20;
/// Retained states and answers that may be on their way beside the window's events.
pub const STATES_MAX: usize = 1024;

/// The half that sends.
pub trait Client: Send + Sync {
    /// Queued before this returns, so that the order of the calls is the order on the wire. Done with the PUBACK.
    fn publish(&self, message: Message) -> BoxFuture<'static, Result<(), Reason>>;
    /// The same with QoS 0: done when it is queued.
    fn send(&self, message: Message) -> Result<(), Reason>;
    /// With QoS 1; `false`: it could not be asked for.
    fn subscribe(&self, topic: &str) -> bool;
    fn disconnect(&self) -> BoxFuture<'_, bool>;
}

/// The half that reads and drives both; its `next` must not be cancelled half-way.
pub trait Events: Send {
    fn next(&mut self) -> BoxFuture<'_, Result<Seen, Broken>>;
}

/// What came from the broker.
pub enum Seen {
    /// The connection is taken.
    Connected,
    /// What somebody has published now, or, marked as retained, earlier.
    Published(Message),
    Other,
}

/// Why a connection is none, or none any more.
pub struct Broken {
    pub reason: Reason,
    /// What came back was no answer to this version of MQTT.
    pub other_version: bool,
}

/// Both halves, not connected yet.
pub type Wire = (Box<dyn Client>, Box<dyn Events>);

/// Which kind of error it is.
pub enum Kind {
    Io(io::ErrorKind),
    Tls,
    /// The broker has answered and does not want us.
    Refused,
    Other,
}

/// An error in words, with the class that decides what a person should do.
pub fn explain(error: &(dyn Error + 'static), kind: &Kind) -> Reason {
    if let Some(fault) = tls_fault(error) {
        return Reason::new(ReasonCode::Certificate, fault.to_string());
    }
    let code = match kind {
        Kind::Refused => ReasonCode::BrokerRefused,
        Kind::Io(io::ErrorKind::ConnectionRefused) => ReasonCode::ConnectionRefused,
        Kind::Io(io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable) => ReasonCode::NoNetwork,
        Kind::Tls => ReasonCode::Certificate,
        Kind::Io(_) | Kind::Other => ReasonCode::ConnectionLost,
    };
    Reason::new(code, error.to_string())
}

/// The verdict of TLS, ours or the broker's (an alert may come with any later read), however deep the library has wrapped it.
fn tls_fault<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let mut cause: Option<&'a (dyn Error + 'static)> = Some(error);
    while let Some(current) = cause {
        let inside = current.downcast_ref::<io::Error>().and_then(|io| io.get_ref());
        let found = current.downcast_ref().or_else(|| inside.and_then(|inner| inner.downcast_ref()));
        if found.is_some() {
            return found;
        }
        cause = current.source();
    }
    None
}

/// The publish was not acknowledged.
pub fn unacknowledged(error: impl ToString) -> Reason {
    Reason::new(ReasonCode::ConnectionLost, error.to_string())
}

/// How TLS is spoken with this broker; `None`: without.
pub fn tls(settings: &MqttConnect) -> Result<Option<Arc<rustls::ClientConfig>>, Reason> {
    let mqtt = &settings.mqtt;
    if !matches!(mqtt.broker, Broker::Url { tls: true, .. }) {
        return Ok(None);
    }
    let identity = Identity {
        ca_file: mqtt.ca_file.as_deref(),
        certificate_file: mqtt.certificate_file.as_deref(),
        key_file: mqtt.key_file.as_deref(),
        ..Identity::default()
    };
    Ok(Some(Arc::new(client_config(identity)?)))
}

/// User and password, if there are some. At the box's own broker they are those that its privileged half has made up.
pub fn credentials(settings: &MqttConnect) -> Result<Option<(String, String)>, Reason> {
    if settings.mqtt.broker == Broker::Mosquitto {
        let password = std::fs::read_to_string(layout::OWN_BROKER_PASSWORD).map_err(|error| {
            let told = format!("the box's own broker is not set up (analyzer-gateway-settings.service): {error}");
            Reason::new(ReasonCode::ConnectionRefused, told)
        })?;
        return Ok(Some((OWN_BROKER_USER.to_owned(), password.trim().to_owned())));
    }
    let password = settings.mqtt.password.as_ref().map(|secret| secret.expose().to_owned()).unwrap_or_default();
    Ok(settings.mqtt.user.clone().map(|user| (user, password)))
}

/// Publishes that may be on their way at once, as both versions count them.
pub fn window(settings: &MqttConnect) -> u16 {
    u16::try_from(settings.mqtt.window).unwrap_or(u16::MAX).max(1)
}
