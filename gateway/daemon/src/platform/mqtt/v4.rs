//! A connection that speaks MQTT 3.1.1, through rumqttc.

use super::wire::{self, Broken, Client, Events, KEEP_ALIVE_SECONDS, Kind, STATES_MAX, Seen, Wire};
use crate::platform::{BoxFuture, Message, MqttConnect};
use gateway_core::delivery::Reason;
use rumqttc::{
    AsyncClient, ConnectionError, Event, EventLoop, Incoming, LastWill, MqttOptions, PublishOptions, QoS, Transport,
};

/// Not connected yet: the first event says whether it is.
pub fn open(settings: &MqttConnect, host: &str, port: u16) -> Result<Wire, Reason> {
    let packet_bytes_max = settings.mqtt.packet_bytes_max;
    let mut options = MqttOptions::new(settings.client_id.clone(), (host.to_owned(), port));
    options.set_keep_alive(KEEP_ALIVE_SECONDS);
    options.set_clean_session(true);
    options.set_max_packet_size(packet_bytes_max, packet_bytes_max);
    options.set_inflight(wire::window(settings));
    let will = LastWill::new(
        settings.will_topic.clone(),
        settings.will_payload.clone(),
        QoS::AtLeastOnce,
        settings.will_retain,
    );
    options.set_last_will(will);
    if let Some((user, password)) = wire::credentials(settings)? {
        options.set_credentials(user, password);
    }
    if let Some(config) = wire::tls(settings)? {
        options.set_transport(Transport::tls_with_config(rumqttc::TlsConfiguration::Rustls(config)));
    }
    let (client, events) = AsyncClient::builder(options).capacity(settings.mqtt.window + STATES_MAX).build();
    Ok((Box::new(Half(client)), Box::new(events)))
}

struct Half(AsyncClient);

impl Client for Half {
    fn publish(&self, message: Message) -> BoxFuture<'static, Result<(), Reason>> {
        let options = PublishOptions::new(QoS::AtLeastOnce).retain(message.retain);
        let client = self.0.clone();
        let queued = client.try_publish_tracked(message.topic, message.payload, options);
        Box::pin(async move {
            // The client is kept: its event loop ends with the last of them.
            let _client = client;
            let notice = queued.map_err(wire::unacknowledged)?;
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
                    let topic = String::from_utf8_lossy(&publish.topic).into_owned();
                    let (payload, retain) = (publish.payload.to_vec(), publish.retain);
                    Ok(Seen::Published(Message { topic, payload, retain, ..Message::default() }))
                }
                Ok(_) => Ok(Seen::Other),
                Err(error) => Err(broken(&error)),
            }
        })
    }
}

/// A connection error in words, with the class that decides what a person should do.
pub fn explain(error: &ConnectionError) -> Reason {
    broken(error).reason
}

fn broken(error: &ConnectionError) -> Broken {
    let kind = match error {
        ConnectionError::ConnectionRefused(_) => Kind::Refused,
        ConnectionError::Io(io) => Kind::Io(io.kind()),
        ConnectionError::Tls(_) => Kind::Tls,
        _ => Kind::Other,
    };
    Broken { reason: wire::explain(error, &kind), other_version: false }
}
