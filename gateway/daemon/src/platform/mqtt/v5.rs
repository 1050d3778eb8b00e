//! MQTT 5: the same, and beside each payload what it is, of whom, and until when it holds.

use super::wire::{self, Broken, Client, Events, KEEP_ALIVE_SECONDS, Kind, STATES_MAX, Seen, Wire};
use crate::platform::{BoxFuture, Message, MqttConnect, Properties};
use gateway_core::delivery::{Reason, ReasonCode};
use rumqttc_v5::{
    AsyncClient, ConnectReturnCode, ConnectionError, DisconnectReasonCode, Event, EventLoop, Incoming, LastWill,
    LastWillProperties, MqttOptions, PublishOptions, PublishProperties, QoS, StateError, Transport,
};
use std::io::ErrorKind;

/// Not connected yet: the first event says whether it is.
pub fn open(settings: &MqttConnect, host: &str, port: u16) -> Result<Wire, Reason> {
    let mut options = MqttOptions::new(settings.client_id.clone(), (host.to_owned(), port));
    options.set_keep_alive(KEEP_ALIVE_SECONDS);
    options.set_clean_start(true);
    options.set_max_packet_size(u32::try_from(settings.mqtt.packet_bytes_max).ok());
    options.set_outgoing_inflight_upper_limit(wire::window(settings));
    let properties = LastWillProperties {
        content_type: settings.will_properties.content_type.map(str::to_owned),
        user_properties: user(&settings.will_properties),
        delay_interval: None,
        payload_format_indicator: None,
        message_expiry_interval: None,
        response_topic: None,
        correlation_data: None,
    };
    let (topic, payload) = (settings.will_topic.clone(), settings.will_payload.clone());
    let will = LastWill::new(topic, payload, QoS::AtLeastOnce, settings.will_retain, Some(properties));
    options.set_last_will(will);
    if let Some((user, password)) = wire::credentials(settings)? {
        options.set_credentials(user, password);
    }
    if let Some(config) = wire::tls(settings)? {
        options.set_transport(Transport::tls_with_config(rumqttc_v5::TlsConfiguration::Rustls(config)));
    }
    let (client, events) = AsyncClient::builder(options).capacity(settings.mqtt.window + STATES_MAX).build();
    Ok((Box::new(Half(client)), Box::new(events)))
}

fn user(properties: &Properties) -> Vec<(String, String)> {
    properties.user.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect()
}

struct Half(AsyncClient);

impl Client for Half {
    fn publish(&self, message: Message) -> BoxFuture<'static, Result<(), Reason>> {
        let properties = PublishProperties {
            message_expiry_interval: message.properties.expiry_seconds,
            content_type: message.properties.content_type.map(str::to_owned),
            user_properties: user(&message.properties),
            response_topic: message.properties.response_topic,
            correlation_data: message.properties.correlation.map(Into::into),
            ..PublishProperties::default()
        };
        let options = PublishOptions::new(QoS::AtLeastOnce).retain(message.retain).properties(properties);
        let client = self.0.clone();
        let queued = client.try_publish_tracked(message.topic, message.payload, options);
        Box::pin(async move {
            // The client is kept: its event loop ends with the last of them.
            let _client = client;
            let notice = queued.map_err(wire::unacknowledged)?;
            // A PUBACK with a reason code of 0x80 and above is an error here (section 3.4.2.1).
            notice.wait_completion_async().await.map_err(wire::unacknowledged)
        })
    }

    fn send(&self, message: Message) -> Result<(), Reason> {
        let options = PublishOptions::new(QoS::AtMostOnce).retain(message.retain);
        self.0.try_publish(message.topic, message.payload, options).map_err(wire::unacknowledged)
    }

    fn subscribe(&self, topic: &str) -> bool {
        self.0.try_subscribe(topic, QoS::AtLeastOnce).is_ok()
    }

    fn disconnect(&self) -> BoxFuture<'_, bool> {
        Box::pin(async { self.0.disconnect().await.is_ok() })
    }
}

impl Events for EventLoop {
    fn next(&mut self) -> BoxFuture<'_, Result<Seen, Broken>> {
        Box::pin(async {
            match self.poll().await {
                Ok(Event::Incoming(Incoming::ConnAck(_))) => Ok(Seen::Connected),
                Ok(Event::Incoming(Incoming::Publish(publish))) => {
                    let given = publish.properties.unwrap_or_default();
                    let properties = Properties {
                        response_topic: given.response_topic,
                        correlation: given.correlation_data.map(|data| data.to_vec()),
                        ..Properties::default()
                    };
                    let topic = String::from_utf8_lossy(&publish.topic).into_owned();
                    let (payload, retain) = (publish.payload.to_vec(), publish.retain);
                    Ok(Seen::Published(Message { topic, payload, retain, properties }))
                }
                Ok(_) => Ok(Seen::Other),
                Err(error) => Err(broken(&error)),
            }
        })
    }
}

fn broken(error: &ConnectionError) -> Broken {
    use ConnectReturnCode::{MalformedPacket, ProtocolError, RefusedProtocolVersion, UnsupportedProtocolVersion};
    let kind = match error {
        ConnectionError::ConnectionRefused(_) => Kind::Refused,
        ConnectionError::Io(io) => Kind::Io(io.kind()),
        ConnectionError::Tls(_) => Kind::Tls,
        _ => Kind::Other,
    };
    // A broker of 3.1.1 says so in its own form (3.1.1 section 3.1.2.2), or hangs up.
    let other_version = match error {
        ConnectionError::ConnectionRefused(code) => {
            matches!(code, MalformedPacket | ProtocolError | RefusedProtocolVersion | UnsupportedProtocolVersion)
        }
        ConnectionError::Io(io) => {
            use ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, InvalidData, UnexpectedEof};
            matches!(io.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | InvalidData | UnexpectedEof)
        }
        ConnectionError::MqttState(_) | ConnectionError::NotConnAck(_) => true,
        _ => false,
    };
    let reason = match error {
        // Section 4.8: somebody has connected with the same client id.
        ConnectionError::MqttState(StateError::ServerDisconnect {
            reason_code: DisconnectReasonCode::SessionTakenOver,
            ..
        }) => {
            Reason::new(ReasonCode::SameIdTwice, "another connection with the gateway's client id has taken its place")
        }
        _ => wire::explain(error, &kind),
    };
    Broken { reason, other_version }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_that_is_taken_over_is_told_apart_from_a_broken_line() {
        let ended =
            |reason_code| ConnectionError::MqttState(StateError::ServerDisconnect { reason_code, reason_string: None });
        assert_eq!(broken(&ended(DisconnectReasonCode::SessionTakenOver)).reason.code, ReasonCode::SameIdTwice);
        assert_eq!(broken(&ended(DisconnectReasonCode::ServerBusy)).reason.code, ReasonCode::ConnectionLost);
    }
}
