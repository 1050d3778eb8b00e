//! Real webhook endpoints: HTTP/1.1 through hyper, MLLP by hand, both over the same way ([`dial`](super::dial)).
//!
//! Invariant: one exchange, from the name's lookup to the last byte read, ends within the webhook's timeout. No redirect is
//! followed. Of an answer no more is read than a verdict needs, and a connection with anything left on it is closed.

use super::dial::{Route, Steps, Wire, find_io, from_io, passed, passing, refused_by_proxy, seconds};
use super::mllp;
use super::probe::HopName;
use super::{BoxFuture, HttpClient, SendError, Trace};
use gateway_core::config::Webhook;
use gateway_core::delivery::{Reason, ReasonCode};
use gateway_core::dialects::{HttpRequest, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use url::{Position, Url};

/// How much of an answer is read: enough for a verdict and for a person to see what was said.
pub(super) const ANSWER_BYTES_MAX: usize = 4096;
/// How long a body is waited for once the status is known. What has come by then is the answer.
const BODY_SECONDS_MAX: u64 = 5;
/// An open connection is used again within this time; receivers close theirs after a minute or so.
const IDLE_SECONDS_MAX: u64 = 30;

/// Webhook endpoints, with the open connections of each. They are made anew when the endpoint's settings change.
#[derive(Default)]
pub struct WebhookClient {
    ways: Arc<Mutex<Ways>>,
}

type Ways = HashMap<String, Arc<Way>>;

/// How to get to one endpoint, and what is open already.
struct Way {
    made_for: Webhook,
    route: Route,
    http: Idle<Connection>,
    mllp: Idle<Wire>,
}

/// Open connections with nothing on them, the latest used last.
struct Idle<C>(Mutex<Vec<(C, Instant)>>);

impl<C> Idle<C> {
    fn new() -> Idle<C> {
        Idle(Mutex::new(Vec::new()))
    }

    fn take(&self) -> Option<C> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|(_, since)| since.elapsed() < Duration::from_secs(IDLE_SECONDS_MAX));
        open.pop().map(|(connection, _)| connection)
    }

    fn keep(&self, connection: C) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((connection, Instant::now()));
    }
}

/// A connection and the task that drives it, which ends with it.
struct Connection {
    sender: SendRequest<Full<Bytes>>,
    _driver: JoinSet<()>,
}

impl HttpClient for WebhookClient {
    fn send(&self, webhook: &Webhook, request: Request) -> BoxFuture<'static, Result<Response, SendError>> {
        let way = self.way(webhook);
        let ways = self.ways.clone();
        Box::pin(async move {
            let way = way?;
            let answer = way.exchange(request, &mut Steps::default()).await;
            if answer.as_ref().is_err_and(|error| error.reason().code == ReasonCode::Certificate) {
                // Whoever mends it may write new files in the old places: they are read again.
                let mut ways = ways.lock().unwrap_or_else(PoisonError::into_inner);
                ways.retain(|_, other| !Arc::ptr_eq(other, &way));
            }
            answer
        })
    }

    fn trace(&self, webhook: &Webhook, request: Request) -> BoxFuture<'static, Trace> {
        let way = Way::new(webhook);
        Box::pin(async move {
            let mut steps = Steps::default();
            let answer = match way {
                Ok(way) => way.exchange(request, &mut steps).await,
                Err(reason) => {
                    let error = SendError::Configuration(reason);
                    steps
                        .hop::<()>(HopName::Settings, std::future::ready(Err(error)))
                        .await
                        .map(|()| Response::default())
                }
            };
            Trace { hops: steps.hops, answer }
        })
    }
}

impl WebhookClient {
    fn way(&self, webhook: &Webhook) -> Result<Arc<Way>, SendError> {
        let mut ways = self.ways.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(way) = ways.get(&webhook.id)
            && way.made_for == *webhook
        {
            return Ok(way.clone());
        }
        let way = Arc::new(Way::new(webhook).map_err(SendError::Configuration)?);
        ways.insert(webhook.id.clone(), way.clone());
        Ok(way)
    }
}

impl Way {
    fn new(webhook: &Webhook) -> Result<Way, Reason> {
        let route = Route::new(webhook)?;
        Ok(Way { made_for: webhook.clone(), route, http: Idle::new(), mllp: Idle::new() })
    }

    /// One request and its answer, within the timeout.
    async fn exchange(&self, request: Request, steps: &mut Steps) -> Result<Response, SendError> {
        let patience = self.made_for.timeout;
        let deadline = Instant::now() + patience;
        let is_mllp = self.made_for.url.starts_with("mllp");
        let exchanging = async {
            match request {
                Request::Mllp(message) if is_mllp => self.ask(&message, steps).await,
                Request::Http(request) if !is_mllp => self.post(&request, steps, deadline).await,
                Request::Http(_) => Err(SendError::Configuration(mismatch("an mllp:// url takes dialect `hl7` only"))),
                Request::Mllp(_) => Err(SendError::Configuration(mismatch("this message needs an mllp:// url"))),
            }
        };
        match timeout_at(deadline, exchanging).await {
            Ok(exchanged) => exchanged,
            Err(_) => {
                let detail = format!("no answer within {}", seconds(patience));
                Err(steps.interrupted(passing(ReasonCode::Timeout, detail)))
            }
        }
    }
}

impl Way {
    async fn post(&self, request: &HttpRequest, steps: &mut Steps, deadline: Instant) -> Result<Response, SendError> {
        let mut message = self.message(request)?;
        // A kept connection that turns out to be closed gives the request back unsent.
        while let Some(connection) = self.http.take() {
            match self.post_on(connection, message, deadline).await {
                Err(Failed::Unsent(back)) => message = *back,
                Err(Failed::Sent(error)) => return Err(error),
                Ok(response) => return Ok(response),
            }
        }
        let connection = self.connect(steps).await?;
        let answering = async {
            let response = self.post_on(connection, message, deadline).await.map_err(|failed| match failed {
                Failed::Unsent(_) => passing(ReasonCode::ConnectionLost, "the receiver closed the connection"),
                Failed::Sent(error) => error,
            })?;
            let told = format!("HTTP {}, {} bytes read", response.status, response.body.len());
            Ok((response, passed(HopName::Answer, told)))
        };
        steps.hop(HopName::Answer, answering).await
    }

    async fn connect(&self, steps: &mut Steps) -> Result<Connection, SendError> {
        let wire = self.route.dial(steps).await?;
        let shaken = http1::handshake(TokioIo::new(wire)).await;
        let (sender, connection) = shaken.map_err(|error| unanswered(&error))?;
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            // How it ended is told to whoever waits for the answer.
            let _ = connection.await;
        });
        Ok(Connection { sender, _driver: driver })
    }

    async fn post_on(
        &self,
        mut connection: Connection,
        message: Message,
        deadline: Instant,
    ) -> Result<Response, Failed> {
        if connection.sender.ready().await.is_err() {
            return Err(Failed::Unsent(Box::new(message)));
        }
        let sent = connection.sender.try_send_request(message).await;
        let (head, mut body) = match sent {
            Ok(answer) => answer.into_parts(),
            Err(mut failed) => {
                return Err(match failed.take_message() {
                    Some(message) => Failed::Unsent(Box::new(message)),
                    None => Failed::Sent(unanswered(failed.error())),
                });
            }
        };
        if head.status.as_u16() == 407 && self.route.forwards().is_some() {
            return Err(Failed::Sent(refused_by_proxy(407)));
        }
        let headers = head.headers.iter();
        let headers =
            headers.map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()));
        let mut response = Response { status: head.status.as_u16(), headers: headers.collect(), body: Vec::new() };
        let patience = deadline.min(Instant::now() + Duration::from_secs(BODY_SECONDS_MAX));
        let read = timeout_at(patience, read_body(&mut body, &mut response.body)).await;
        if read.is_ok_and(|is_whole| is_whole) {
            self.http.keep(connection);
        }
        Ok(response)
    }

    fn message(&self, request: &HttpRequest) -> Result<Message, SendError> {
        let unsendable = |what: &str| SendError::Configuration(mismatch(what));
        let url = Url::parse(&self.made_for.url).map_err(|_| unsendable("the url is not an address"))?;
        let forwards = self.route.forwards();
        let from = if forwards.is_some() { Position::BeforeScheme } else { Position::BeforePath };
        let mut builder = hyper::Request::post(&url[from..Position::AfterQuery])
            .header("host", &url[Position::BeforeHost..Position::AfterPort])
            .header("user-agent", concat!("analyzer-gateway/", env!("CARGO_PKG_VERSION")))
            .header("accept", "*/*");
        if let Some(Some(login)) = forwards {
            builder = builder.header("proxy-authorization", login);
        }
        for (name, value) in self.made_for.headers.iter().chain(&request.headers) {
            builder = builder.header(name, value);
        }
        let body = Full::new(Bytes::from(request.body.clone()));
        builder.body(body).map_err(|_| unsendable("a header holds a character that headers cannot carry"))
    }

    /// A message over MLLP. A kept connection that breaks before any of its answer is replaced once: an acknowledgement
    /// names the message that it is for, and a repeat has the same control id.
    async fn ask(&self, message: &[u8], steps: &mut Steps) -> Result<Response, SendError> {
        while let Some(mut wire) = self.mllp.take() {
            if !mllp::is_idle(&mut wire) {
                continue;
            }
            match mllp::exchange(&mut wire, message).await {
                Ok(answer) => return Ok(self.acknowledged(wire, answer)),
                Err(mllp::Broken { began: false, .. }) => break,
                Err(broken) => return Err(broken.error),
            }
        }
        let mut wire = self.route.dial(steps).await?;
        let asking = async {
            let answer = mllp::exchange(&mut wire, message).await.map_err(|broken| broken.error)?;
            let told = format!("an acknowledgement of {} bytes", answer.message.len());
            Ok((answer, passed(HopName::Answer, told)))
        };
        let answer = steps.hop(HopName::Answer, asking).await?;
        Ok(self.acknowledged(wire, answer))
    }

    fn acknowledged(&self, wire: Wire, mut answer: mllp::Answer) -> Response {
        if answer.is_clean {
            self.mllp.keep(wire);
        }
        answer.message.truncate(ANSWER_BYTES_MAX);
        Response { status: 200, headers: Vec::new(), body: answer.message }
    }
}

type Message = hyper::Request<Full<Bytes>>;

/// Why a connection gave no answer.
enum Failed {
    /// It was closed before any of the request went out.
    Unsent(Box<Message>),
    Sent(SendError),
}

/// Status and headers count; an endless or broken body does not change the verdict. Returns whether it came to its end.
async fn read_body(body: &mut Incoming, read: &mut Vec<u8>) -> bool {
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return false };
        let piece = frame.data_ref().map(|data| data.as_ref()).unwrap_or_default();
        let room = ANSWER_BYTES_MAX - read.len();
        read.extend_from_slice(&piece[..piece.len().min(room)]);
        if piece.len() > room {
            return false;
        }
    }
    true
}

/// What hyper's error means when there was no answer.
fn unanswered(error: &hyper::Error) -> SendError {
    if let Some(io) = find_io(error) {
        return from_io(io, "the receiver");
    }
    if error.is_parse() {
        return passing(ReasonCode::ServerError, "what comes back is not HTTP");
    }
    passing(ReasonCode::ConnectionLost, "the receiver closed the connection before its answer")
}

fn mismatch(detail: &str) -> Reason {
    Reason::new(ReasonCode::CannotRender, detail)
}
