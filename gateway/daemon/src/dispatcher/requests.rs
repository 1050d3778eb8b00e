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
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Requests and answers on their way; the next ones wait.
const AT_ONCE_MAX: usize = 8;
/// Longest response topic that is heeded.
const TOPIC_BYTES_MAX: usize = 256;

/// The requests of one connection.
pub(super) struct Requests {
    calls: Calls,
    /// `<prefix>/<gateway>/`
    root: String,
    commands: mpsc::Receiver<Message>,
    command_way: Way,
    /// The clinic's broker alone.
    api: Option<mpsc::Receiver<Message>>,
    answers: FuturesUnordered<BoxFuture<'static, Option<Reply>>>,
    publishing: FuturesUnordered<BoxFuture<'static, Result<(), Reason>>>,
}

/// What the connection has to do for them.
pub(super) enum Turn {
    Answer(Reply),
    /// It has broken.
    Broken(Reason),
}

/// An answer, and where it is wanted.
pub(super) struct Reply {
    answer: Answer,
    /// The response topic of MQTT 5, if there was one that is heeded.
    topic: Option<String>,
    correlation: Option<Vec<u8>>,
}

impl Reply {
    /// Whether it is free of a person's data by its type.
    pub(super) fn may_leave(&self) -> bool {
        matches!(self.answer, Answer::Command(_))
    }

    fn message(self, root: &str) -> Message {
        let mut message = match self.answer {
            Answer::Api { id, payload } => Message {
                topic: format!("{root}api/response/{id}"),
                payload,
                retain: false,
                properties: properties::of(root),
            },
            Answer::Command(publication) => properties::message(root, &publication, Duration::ZERO),
        };
        if let Some(topic) = self.topic {
            message.topic = topic;
        }
        message.properties.correlation = self.correlation;
        message
    }
}

impl Requests {
    /// Of the clinic's broker.
    pub(super) fn local(connection: &mut dyn MqttConnection, calls: &Calls, root: &str) -> Requests {
        let api = connection.subscribe(format!("{root}api/request"));
        Requests { api: Some(api), ..Requests::new(connection, calls, root, Way::Command) }
    }

    /// Of the broker outside.
    pub(super) fn outside(connection: &mut dyn MqttConnection, calls: &Calls, root: &str) -> Requests {
        Requests::new(connection, calls, root, Way::CommandFromOutside)
    }

    fn new(connection: &mut dyn MqttConnection, calls: &Calls, root: &str, way: Way) -> Requests {
        Requests {
            calls: calls.clone(),
            root: root.to_owned(),
            commands: connection.subscribe(format!("{root}commands/request")),
            command_way: way,
            api: None,
            answers: FuturesUnordered::new(),
            publishing: FuturesUnordered::new(),
        }
    }

    /// Goes on until the connection has something to do. Nothing is lost if it is not waited for to its end.
    pub(super) async fn turn(&mut self) -> Turn {
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
                    if let Some(reply) = answer {
                        return Turn::Answer(reply);
                    }
                }
                Some(request) = self.commands.recv(), if room => self.hand_in(self.command_way, request),
                Some(request) = api, if room => self.hand_in(Way::Api, request),
                else => std::future::pending().await,
            }
        }
    }

    /// Publishes an answer and waits for its PUBACK with the others.
    pub(super) fn publish(&mut self, connection: &mut dyn MqttConnection, reply: Reply) {
        self.publishing.push(connection.publish(reply.message(&self.root)));
    }

    /// Waits for the answers that are on their way, until then.
    pub(super) async fn drain(&mut self, connection: &mut dyn MqttConnection, clock: &Arc<dyn Clock>, due: Mono) {
        self.commands.close();
        self.api = None;
        let draining = async {
            while !(self.answers.is_empty() && self.publishing.is_empty()) {
                tokio::select! {
                    biased;
                    Some(answer) = self.answers.next(), if !self.answers.is_empty() => {
                        if let Some(reply) = answer {
                            self.publishing.push(connection.publish(reply.message(&self.root)));
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
        let topic = request.properties.response_topic.filter(|topic| may_answer_on(&self.root, topic));
        let correlation = request.properties.correlation;
        self.answers.push(Box::pin(async move { Some(Reply { answer: answered.await.ok()?, topic, correlation }) }));
    }
}

/// A response topic of MQTT 5 is heeded unless it would make the answer pass for something else that a gateway says.
fn may_answer_on(root: &str, topic: &str) -> bool {
    let prefix = root.trim_end_matches('/').rsplit_once('/').map_or(root, |(prefix, _)| prefix);
    let own = ["commands/response/", "api/response/"];
    let is_own = topic.strip_prefix(root).is_some_and(|rest| own.iter().any(|own| rest.starts_with(own)));
    let elsewhere = topic.strip_prefix(prefix).is_none_or(|rest| !rest.starts_with('/'));
    let plain = !topic.is_empty() && topic.len() <= TOPIC_BYTES_MAX && !topic.starts_with('$');
    let plain = plain && !topic.contains(|c: char| matches!(c, '#' | '+') || c.is_control());
    plain && (is_own || elsewhere)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_passes_for_nothing_else() {
        for (topic, may) in [
            ("answers/me", true),
            ("a/box/commands/response/x", true),
            ("a/box/api/response/x", true),
            ("a/box/status", false),
            ("a/other/commands/request", false),
            ("ab/c", true),
            ("$SYS/x", false),
            ("answers/#", false),
            ("", false),
        ] {
            assert_eq!(may_answer_on("a/box/", topic), may, "{topic}");
        }
    }
}
