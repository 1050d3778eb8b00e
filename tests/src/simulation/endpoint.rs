//! Webhook receivers in memory: each answers by its own seeded script and keeps every request with its answer.

use super::world::{Life, World, digest};
use gateway_core::config::Webhook;
use gateway_core::delivery::{Reason, ReasonCode};
use gateway_core::dialects::{HttpRequest, Request, Response};
use gateway_daemon::platform::{BoxFuture, HttpClient, SendError};
use gateway_daemon::simulated::seeded::Seeded;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What goes wrong, in requests per thousand, as long as `faults_left` lasts.
#[derive(Debug, Clone, Default)]
pub struct EndpointPlan {
    pub faulty: u32,
    pub faults_left: u32,
    /// Of a thousand events so many are refused for ever, by the event's id.
    pub poisonous: u32,
    /// The status that refuses one event.
    pub refusal: u16,
    pub latency_ms_max: u64,
    /// Nothing but 503 between these moments.
    pub down: Option<(Duration, Duration)>,
}

/// How a request ended, as the gateway saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Status(u16),
    /// 429 or 503 with `Retry-After` in seconds.
    Later(u16, u64),
    /// Accepted; the answer was lost.
    Lost,
    /// No answer within the timeout, and nothing accepted.
    Hung,
    /// Nobody listened.
    Refused,
}

impl Answer {
    /// Whether the receiver has taken the event.
    pub fn accepts(self) -> bool {
        matches!(self, Answer::Status(200..=299) | Answer::Lost)
    }

    /// Whether the sender may try this event again by its table.
    pub fn is_passing(self) -> bool {
        match self {
            Answer::Status(status) => matches!(status, 408 | 425 | 429 | 500..=599),
            Answer::Later(..) | Answer::Lost | Answer::Hung | Answer::Refused => true,
        }
    }
}

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Post {
    pub at: Duration,
    /// When the gateway had its answer; `None` if it died before.
    pub ended: Option<Duration>,
    /// Which life of the gateway sent it.
    pub life: u32,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
    pub answer: Answer,
}

impl Post {
    pub fn event(&self) -> &str {
        self.headers.get("x-gateway-event-id").map_or("", String::as_str)
    }

    /// The event, or those of a batch: the id of each, and its own part of the body.
    pub fn events(&self) -> Vec<(String, Vec<u8>)> {
        let Ok(Value::Array(batch)) = serde_json::from_slice(&self.body) else {
            return vec![(self.event().to_owned(), self.body.clone())];
        };
        batch
            .iter()
            .map(|event| (event["id"].as_str().unwrap_or_default().to_owned(), event.to_string().into_bytes()))
            .collect()
    }

    pub fn attempt(&self) -> u32 {
        self.number("x-gateway-attempt")
    }

    /// Of its events, in their order.
    pub fn ordinals(&self) -> Vec<u32> {
        match self.headers.get("x-gateway-ordinals") {
            Some(list) => list.split(',').filter_map(|number| number.parse().ok()).collect(),
            None => vec![self.number("x-gateway-ordinal")],
        }
    }

    fn number(&self, name: &str) -> u32 {
        self.headers.get(name).and_then(|value| value.parse().ok()).unwrap_or(0)
    }
}

/// All receivers of a run, by the id of their webhook.
#[derive(Clone)]
pub struct Endpoints {
    world: World,
    state: Arc<Mutex<State>>,
}

struct State {
    endpoints: BTreeMap<String, Endpoint>,
    /// This machine has no network between these moments.
    offline: Option<(Duration, Duration)>,
}

struct Endpoint {
    plan: EndpointPlan,
    chance: Seeded,
    posts: Vec<Post>,
}

impl Endpoints {
    pub fn new(world: &World, offline: Option<(Duration, Duration)>) -> Endpoints {
        let state = State { endpoints: BTreeMap::new(), offline };
        Endpoints { world: world.clone(), state: Arc::new(Mutex::new(state)) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn open(&self, id: &str, plan: EndpointPlan, chance: Seeded) {
        self.lock().endpoints.insert(id.to_owned(), Endpoint { plan, chance, posts: Vec::new() });
    }

    pub fn posts(&self) -> BTreeMap<String, Vec<Post>> {
        self.lock().endpoints.iter().map(|(id, endpoint)| (id.clone(), endpoint.posts.clone())).collect()
    }

    fn is_offline(&self) -> bool {
        let now = self.world.now();
        self.lock().offline.is_some_and(|(from, to)| (from..to).contains(&now))
    }

    /// Takes a request: writes it down with the answer that it will get, and when.
    fn take(&self, id: &str, life: u32, at: Duration, request: HttpRequest) -> (usize, Answer) {
        let mut state = self.lock();
        let endpoint = state.endpoints.get_mut(id).expect("every webhook of the settings has an endpoint");
        let headers: BTreeMap<String, String> = request.headers.into_iter().collect();
        let mut post = Post { at, ended: None, life, headers, body: request.body, answer: Answer::Status(200) };
        post.answer = endpoint.answer(&post, self.world.now());
        let (answer, event) = (post.answer, post.event().to_owned());
        let text = format!("{id} gets {event} attempt {} {} -> {answer:?}", post.attempt(), digest(&post.body));
        endpoint.posts.push(post);
        let index = endpoint.posts.len() - 1;
        drop(state);
        self.world.note(text);
        (index, answer)
    }

    fn end(&self, id: &str, index: usize) {
        let now = self.world.now();
        if let Some(endpoint) = self.lock().endpoints.get_mut(id) {
            endpoint.posts[index].ended = Some(now);
        }
    }

    fn latency(&self, id: &str) -> Duration {
        let mut state = self.lock();
        let endpoint = state.endpoints.get_mut(id).expect("every webhook of the settings has an endpoint");
        let bound = endpoint.plan.latency_ms_max + 1;
        Duration::from_millis(1 + endpoint.chance.below(bound))
    }
}

impl Endpoint {
    fn answer(&mut self, post: &Post, now: Duration) -> Answer {
        if self.plan.down.is_some_and(|(from, to)| (from..to).contains(&now)) {
            return Answer::Status(503);
        }
        let faulty = self.chance.chance(self.plan.faulty);
        let kind = self.chance.below(9);
        let seconds = 1 + self.chance.below(40);
        if faulty && self.plan.faults_left > 0 {
            self.plan.faults_left -= 1;
            return match kind {
                0 => Answer::Refused,
                1 => Answer::Hung,
                2 => Answer::Later(429, seconds),
                3 => Answer::Later(503, seconds),
                4 | 5 => Answer::Status(500),
                6 => Answer::Status(401),
                _ => Answer::Lost,
            };
        }
        let poisonous = |event: &String| {
            let mut fate = Seeded::new(event.bytes().fold(0, |sum: u64, byte| sum * 31 % 1_000_003 + u64::from(byte)));
            fate.chance(self.plan.poisonous)
        };
        let refused = post.events().iter().any(|(event, _)| poisonous(event));
        Answer::Status(if refused { self.plan.refusal } else { 204 })
    }
}

/// The HTTP client of one life of the gateway.
pub struct SimHttp {
    pub life: Life,
    pub endpoints: Endpoints,
}

impl HttpClient for SimHttp {
    fn send(&self, webhook: &Webhook, request: Request) -> BoxFuture<'static, Result<Response, SendError>> {
        let Request::Http(request) = request else { unreachable!("no simulated endpoint speaks MLLP") };
        let (life, endpoints) = (self.life.clone(), self.endpoints.clone());
        let (id, timeout) = (webhook.id.clone(), webhook.timeout);
        Box::pin(async move {
            if endpoints.is_offline() {
                life.world().note(format!("{id} cannot be reached: no network"));
                tokio::time::sleep(Duration::from_millis(1)).await;
                return Err(SendError::NoNetwork(Reason::new(ReasonCode::NoNetwork, "simulated: no route")));
            }
            life.effect_or_never(format!("post {id} {}", digest(&request.body))).await;
            let began = life.world().now();
            tokio::time::sleep(endpoints.latency(&id)).await;
            let (index, answer) = endpoints.take(&id, life.number, began, request);
            if matches!(answer, Answer::Hung | Answer::Lost) {
                let waited = life.world().now() - began;
                tokio::time::sleep(timeout.saturating_sub(waited)).await;
            }
            life.effect_or_never(format!("posted {id}")).await;
            endpoints.end(&id, index);
            result(answer)
        })
    }
}

fn result(answer: Answer) -> Result<Response, SendError> {
    let passing = |code, detail: &str| Err(SendError::Passing(Reason::new(code, detail)));
    match answer {
        Answer::Status(status) => Ok(Response { status, ..Response::default() }),
        Answer::Later(status, seconds) => {
            let headers = vec![("retry-after".to_owned(), seconds.to_string())];
            Ok(Response { status, headers, body: Vec::new() })
        }
        Answer::Lost | Answer::Hung => passing(ReasonCode::Timeout, "simulated: no answer"),
        Answer::Refused => passing(ReasonCode::ConnectionRefused, "simulated: nobody listens"),
    }
}
