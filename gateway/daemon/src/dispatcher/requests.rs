//! What others ask over one connection to a broker: requests go to whoever answers them, answers go back.
//!
//! Invariants: at most [`AT_ONCE_MAX`] are on their way, answers that the broker has not acknowledged included, so that a flood
//! never fills the connection; what arrives faster is dropped by the connection. The broker outside can ask for commands only,
//! and what it is given is a [`Publication`].

use super::properties;
use crate::calls::{Answer, Call, Calls, Way};
use crate::platform::{BoxFuture, Clock, Message, MqttConnection};
use futures_util::stream::{FuturesUnordered, StreamExt};
use gateway_core::delivery::Reason;
use gateway_core::time::Mono;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// Requests and answers on their way; the next ones wait.
const AT_ONCE_MAX: usize = 8;
/// Longest response topic that is heeded.
const TOPIC_BYTES_MAX: usize = 256;

/// The requests of one connection.
pub struct Requests {
    calls: Calls,
    gateway: String,
    /// `<prefix>/`, and behind it `<gateway>/`.
    prefix: String,
    commands: mpsc::Receiver<Message>,
    command_way: Way,
    /// The clinic's broker alone.
    api: Option<mpsc::Receiver<Message>>,
    answers: FuturesUnordered<BoxFuture<'static, Option<Message>>>,
    publishing: FuturesUnordered<BoxFuture<'static, Result<(), Reason>>>,
}

/// What the connection has to do for them.
pub enum Turn {
    Publish(Message),
    /// It has broken.
    Broken(Reason),
}

impl Requests {
    /// Of the clinic's broker.
    pub fn local(connection: &mut dyn MqttConnection, calls: &Calls, prefix: &str, gateway: &str) -> Requests {
        let api = connection.subscribe(format!("{prefix}/{gateway}/api/request"));
        Requests { api: Some(api), ..Requests::new(connection, calls, prefix, gateway, Way::Command) }
    }

    /// Of the broker outside.
    pub fn outside(connection: &mut dyn MqttConnection, calls: &Calls, prefix: &str, gateway: &str) -> Requests {
        Requests::new(connection, calls, prefix, gateway, Way::CommandFromOutside)
    }

    fn new(connection: &mut dyn MqttConnection, calls: &Calls, prefix: &str, gateway: &str, way: Way) -> Requests {
        Requests {
            calls: calls.clone(),
            gateway: gateway.to_owned(),
            prefix: format!("{prefix}/"),
            commands: connection.subscribe(format!("{prefix}/{gateway}/commands/request")),
            command_way: way,
            api: None,
            answers: FuturesUnordered::new(),
            publishing: FuturesUnordered::new(),
        }
    }

    /// Goes on until the connection has something to do. Nothing is lost if it is not waited for to its end.
    pub async fn turn(&mut self) -> Turn {
        loop {
            let room = self.answers.len() + self.publishing.len() < AT_ONCE_MAX;
            let api = async {
                match &mut self.api {
                    Some(api) => api.recv().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                Some(published) = self.publishing.next(), if !self.publishing.is_empty() => {
                    if let Err(reason) = published {
                        return Turn::Broken(reason);
                    }
                }
                Some(answer) = self.answers.next(), if !self.answers.is_empty() => {
                    if let Some(message) = answer {
                        return Turn::Publish(message);
                    }
                }
                Some(request) = self.commands.recv(), if room => self.hand_in(self.command_way, request),
                Some(request) = api, if room => self.hand_in(Way::Api, request),
                else => std::future::pending().await,
            }
        }
    }

    /// Publishes an answer and waits for its PUBACK with the others.
    pub fn publish(&mut self, connection: &mut dyn MqttConnection, message: Message) {
        self.publishing.push(connection.publish(message));
    }

    /// Waits for the answers that are on their way, until then.
    pub async fn drain(&mut self, connection: &mut dyn MqttConnection, clock: &Arc<dyn Clock>, due: Mono) {
        self.commands.close();
        self.api = None;
        let draining = async {
            while !(self.answers.is_empty() && self.publishing.is_empty()) {
                tokio::select! {
                    biased;
                    Some(answer) = self.answers.next(), if !self.answers.is_empty() => {
                        if let Some(message) = answer {
                            self.publishing.push(connection.publish(message));
                        }
                    }
                    Some(published) = self.publishing.next(), if !self.publishing.is_empty() => {
                        if published.is_err() {
                            return;
                        }
                    }
                    else => return,
                }
            }
        };
        tokio::select! {
            biased;
            () = draining => {}
            () = clock.sleep_until(due) => {}
        }
    }

    /// Whoever answers requests gets this one, if there is room.
    fn hand_in(&mut self, way: Way, request: Message) {
        let (answer, answered) = oneshot::channel();
        if self.calls.try_send(Call { way, payload: request.payload, answer }).is_err() {
            return;
        }
        let wanted = request.properties.response_topic.filter(|topic| self.may_answer_on(topic));
        let correlation = request.properties.correlation;
        let (prefix, gateway) = (self.prefix.clone(), self.gateway.clone());
        self.answers.push(Box::pin(async move {
            let mut message = match answered.await.ok()? {
                Answer::Api { id, payload } => Message {
                    topic: format!("{prefix}{gateway}/api/response/{id}"),
                    payload,
                    retain: false,
                    properties: properties::of(&gateway),
                },
                Answer::Command(publication) => properties::message(&prefix, &gateway, &publication, None),
            };
            if let Some(topic) = wanted {
                message.topic = topic;
            }
            message.properties.correlation = correlation;
            Some(message)
        }));
    }

    /// A response topic of MQTT 5 is heeded unless it would make the answer pass for something else that a gateway says.
    fn may_answer_on(&self, topic: &str) -> bool {
        let own = [
            format!("{}{}/commands/response/", self.prefix, self.gateway),
            format!("{}{}/api/response/", self.prefix, self.gateway),
        ];
        let plain = !topic.is_empty() && topic.len() <= TOPIC_BYTES_MAX && !topic.starts_with('$');
        let plain = plain && !topic.contains(|c: char| matches!(c, '#' | '+') || c.is_control());
        plain && (!topic.starts_with(&self.prefix) || own.iter().any(|own| topic.starts_with(own)))
    }
}
