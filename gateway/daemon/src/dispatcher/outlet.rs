//! What may be said on a connection that leaves the clinic.
//!
//! Invariant: through an [`Outlet`] goes nothing but [`Publication`]s and [`Discovery`]s, which are free of patient data by their
//! type, and the taking away of retained topics. [`Remote`] gives its connection to nobody in another form.

use super::namesake::Namesake;
use super::properties;
use super::requests::{Reply, Requests};
use crate::calls::Calls;
use crate::platform::{BoxFuture, Clock, Message, MqttConnect, MqttConnection, Publisher};
use gateway_core::config::Mqtt;
use gateway_core::delivery::Reason;
use gateway_core::home_assistant::Discovery;
use gateway_core::monitoring::Publication;
use gateway_core::time::Mono;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// A way to a broker for monitoring topics.
pub(super) struct Outlet<'a> {
    connection: &'a mut dyn MqttConnection,
    /// What stands before every topic, with its last `/`.
    root: &'a str,
}

impl<'a> Outlet<'a> {
    pub(super) fn over(connection: &'a mut dyn MqttConnection, root: &'a str) -> Outlet<'a> {
        Outlet { connection, root }
    }

    /// The whole topic of a publication.
    pub(super) fn topic(&self, publication: &Publication) -> String {
        format!("{}{}", self.root, publication.topic())
    }

    /// Returns when the broker has acknowledged it. `interval`: between two health reports.
    pub(super) fn say(
        &mut self,
        publication: &Publication,
        interval: Duration,
    ) -> BoxFuture<'static, Result<(), Reason>> {
        self.connection.publish(properties::message(self.root, publication, interval))
    }

    /// What stands before every topic, with its last `/`.
    pub(super) fn root(&self) -> &str {
        self.root
    }

    /// Returns when the broker keeps it.
    pub(super) fn announce(&mut self, discovery: &Discovery) -> BoxFuture<'static, Result<(), Reason>> {
        let (topic, payload) = (discovery.topic().to_owned(), discovery.payload().to_vec());
        self.connection.publish(Message { topic, payload, retain: true, ..Message::default() })
    }

    /// Takes a retained topic away, given whole.
    pub(super) fn clear(&mut self, topic: String) -> BoxFuture<'static, Result<(), Reason>> {
        self.connection.publish(Message { topic, retain: true, ..Message::default() })
    }
}

/// `<topic_prefix>/<gateway>/`
pub(super) fn root(mqtt: &Mqtt, gateway: &str) -> String {
    format!("{}/{gateway}/", mqtt.topic_prefix)
}

/// The connection to a broker outside of the clinic.
pub(super) struct Remote {
    connection: Box<dyn MqttConnection>,
    root: String,
}

impl Remote {
    /// Connects, with a last will that is free of patient data too.
    pub(super) async fn connect(
        publisher: &dyn Publisher,
        mqtt: &Mqtt,
        gateway: &str,
        will: &Publication,
    ) -> Result<Remote, Reason> {
        let root = root(mqtt, gateway);
        let settings = MqttConnect {
            mqtt: mqtt.clone(),
            client_id: format!("{}-{gateway}-monitoring", mqtt.topic_prefix),
            will_topic: format!("{root}{}", will.topic()),
            will_payload: will.payload().to_vec(),
            will_retain: true,
            will_properties: properties::of(&root),
        };
        let connection = publisher.connect(&settings).await?;
        Ok(Remote { connection, root })
    }

    pub(super) fn outlet(&mut self) -> Outlet<'_> {
        Outlet::over(&mut *self.connection, &self.root)
    }

    /// Asks for what is said there in the gateway's name.
    pub(super) fn named(&mut self) -> mpsc::Receiver<Message> {
        Namesake::listen(&mut *self.connection, &self.root)
    }

    /// Asks for the commands that come from there.
    pub(super) fn requests(&mut self, calls: &Calls) -> Requests {
        Requests::outside(&mut *self.connection, calls, &self.root)
    }

    /// Answers one of them. What is no answer to a command has no way through here.
    pub(super) fn answer(&mut self, requests: &mut Requests, reply: Reply) {
        if reply.may_leave() {
            requests.publish(&mut *self.connection, reply);
        }
    }

    /// Waits for the answers that are on their way, until then.
    pub(super) async fn drain(&mut self, requests: &mut Requests, clock: &Arc<dyn Clock>, due: Mono) {
        requests.drain(&mut *self.connection, clock, due).await;
    }

    /// Returns when the connection has broken, with the reason.
    pub(super) async fn broken(&mut self) -> Reason {
        self.connection.broken().await
    }

    /// Says good-bye, so that the last will stays unsaid.
    pub(super) async fn disconnect(self) {
        self.connection.disconnect().await;
    }
}
