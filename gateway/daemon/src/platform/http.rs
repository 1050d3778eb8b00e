//! Real webhook endpoints: HTTP/1.1 through reqwest, MLLP by hand.
//!
//! Invariant: one exchange, from the name's lookup to the last byte read, ends within the webhook's timeout. No redirect is
//! followed, and no proxy is used that the settings do not name. Of an answer no more is read than a verdict needs, and a
//! connection with anything left on it is closed.

use super::dial::{Route, Steps, Wire, from_io, lookup, passed, passing, refused_by_proxy, seconds};
use super::mllp;
use super::probe::HopName;
use super::{BoxFuture, HttpClient, SendError, Trace};
use gateway_core::config::Webhook;
use gateway_core::delivery::{Reason, ReasonCode};
use gateway_core::dialects::{HttpRequest, Request, Response};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::collections::HashMap;
use std::error::Error;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, timeout_at};

/// How much of an answer is read: enough for a verdict and for a person to see what was said.
const ANSWER_BYTES_MAX: usize = 4096;
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
    http: reqwest::Client,
    /// MLLP connections with nothing on them, the latest used last.
    mllp: Mutex<Vec<(Wire, Instant)>>,
}

/// Why an exchange is made.
#[derive(Clone, Copy, PartialEq)]
enum Purpose {
    Delivery,
    /// Each hop is made and told of before the request is sent.
    Test,
}

impl HttpClient for WebhookClient {
    fn send(&self, webhook: &Webhook, request: Request) -> BoxFuture<'static, Result<Response, SendError>> {
        let way = self.way(webhook);
        let ways = self.ways.clone();
        Box::pin(async move {
            let way = way?;
            let answer = way.exchange(request, &mut Steps::default(), Purpose::Delivery).await;
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
                Ok(way) => way.exchange(request, &mut steps, Purpose::Test).await,
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
        let http = client(webhook, &route)?;
        Ok(Way { made_for: webhook.clone(), route, http, mllp: Mutex::default() })
    }

    /// One request and its answer, within the timeout.
    async fn exchange(&self, request: Request, steps: &mut Steps, purpose: Purpose) -> Result<Response, SendError> {
        let patience = self.made_for.timeout;
        let deadline = Instant::now() + patience;
        let is_mllp = self.made_for.url.starts_with("mllp");
        let exchanging = async {
            match request {
                Request::Mllp(message) if is_mllp => self.ask(&message, steps).await,
                Request::Http(request) if !is_mllp => {
                    if purpose == Purpose::Test {
                        // Whoever does not want to hear that it is closed has shown all that there is to see.
                        let _ = self.route.dial(steps).await?.shutdown().await;
                    }
                    let answering = async {
                        let response = self.post(request, deadline).await?;
                        let told = format!("HTTP {}, {} bytes read", response.status, response.body.len());
                        Ok((response, passed(HopName::Answer, told)))
                    };
                    steps.hop(HopName::Answer, answering).await
                }
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

    async fn post(&self, request: HttpRequest, deadline: Instant) -> Result<Response, SendError> {
        let mut builder = self.http.post(&self.made_for.url).body(request.body);
        for (name, value) in self.made_for.headers.iter().chain(&request.headers) {
            builder = builder.header(name, value);
        }
        let mut answer = match builder.send().await {
            Ok(answer) => answer,
            Err(error) => return Err(self.unanswered(&error).await),
        };
        let status = answer.status().as_u16();
        if status == 407 && self.is_forwarded() {
            return Err(refused_by_proxy(407));
        }
        let headers = answer.headers().iter();
        let headers =
            headers.map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()));
        let mut response = Response { status, headers: headers.collect(), body: Vec::new() };
        let patience = deadline.min(Instant::now() + Duration::from_secs(BODY_SECONDS_MAX));
        // Status and headers count; an endless or broken body does not change the verdict.
        let _ = timeout_at(patience, read_body(&mut answer, &mut response.body)).await;
        Ok(response)
    }

    /// Whether a proxy reads the requests, which it does not in a tunnel.
    fn is_forwarded(&self) -> bool {
        self.made_for.proxy.is_some() && self.made_for.url.starts_with("http://")
    }

    /// What reqwest's error means when there was no answer. It wraps its causes, so the chain is searched for the telling one.
    async fn unanswered(&self, error: &reqwest::Error) -> SendError {
        if error.is_builder() {
            return SendError::Configuration(mismatch("a header holds a character that headers cannot carry"));
        }
        if let Some(Unresolved(told)) = causes(error).find_map(|cause| cause.downcast_ref()) {
            return told.clone();
        }
        // The type of this error cannot be named.
        let at_proxy = causes(error).any(|cause| cause.to_string().starts_with("tunnel error"));
        if let Some(io) = find_io(error) {
            return from_io(io, if at_proxy || self.is_forwarded() { "the proxy" } else { "the receiver" });
        }
        if at_proxy {
            // What the proxy answered is not told: it is asked again, and the reason given is the one of now.
            return match self.route.dial(&mut Steps::default()).await {
                Err(told) => told,
                Ok(_) => passing(ReasonCode::ServerError, "the proxy did not reach the receiver"),
            };
        }
        if error.is_timeout() {
            return passing(ReasonCode::Timeout, format!("no connection within {}", seconds(self.route.patience)));
        }
        if causes(error).filter_map(|cause| cause.downcast_ref::<hyper::Error>()).any(hyper::Error::is_parse) {
            return passing(ReasonCode::ServerError, "what comes back is not HTTP");
        }
        passing(ReasonCode::ConnectionLost, "the receiver closed the connection before its answer")
    }

    /// A message over MLLP. A kept connection that breaks before any of its answer is replaced once: an acknowledgement
    /// names the message that it is for, and a repeat has the same control id.
    async fn ask(&self, message: &[u8], steps: &mut Steps) -> Result<Response, SendError> {
        while let Some(mut wire) = self.idle() {
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

    fn idle(&self) -> Option<Wire> {
        let mut open = self.mllp.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|(_, since)| since.elapsed() < Duration::from_secs(IDLE_SECONDS_MAX));
        open.pop().map(|(wire, _)| wire)
    }

    fn acknowledged(&self, wire: Wire, mut answer: mllp::Answer) -> Response {
        if answer.is_clean {
            self.mllp.lock().unwrap_or_else(PoisonError::into_inner).push((wire, Instant::now()));
        }
        answer.message.truncate(ANSWER_BYTES_MAX);
        Response { status: 200, headers: Vec::new(), body: answer.message }
    }
}

fn client(webhook: &Webhook, route: &Route) -> Result<reqwest::Client, Reason> {
    let builder = reqwest::Client::builder()
        .tls_backend_preconfigured((*route.tls).clone())
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(route.patience)
        .pool_max_idle_per_host(webhook.concurrency)
        .pool_idle_timeout(Duration::from_secs(IDLE_SECONDS_MAX))
        .dns_resolver(SystemResolver)
        .user_agent(concat!("analyzer-gateway/", env!("CARGO_PKG_VERSION")));
    let builder = match &webhook.proxy {
        // An error here could quote the password.
        Some(proxy) => builder
            .proxy(reqwest::Proxy::all(proxy.expose()).map_err(|_| mismatch("the proxy's address cannot be used"))?),
        None => builder.no_proxy(),
    };
    builder.build().map_err(|error| mismatch(&format!("the way to the receiver cannot be made: {error}")))
}

/// The system's lookup, whose two kinds of failure reach us as they are.
struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let addresses = lookup(name.as_str(), 0).await.map_err(Unresolved)?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the name cannot be resolved")]
struct Unresolved(SendError);

async fn read_body(answer: &mut reqwest::Response, read: &mut Vec<u8>) {
    while let Ok(Some(piece)) = answer.chunk().await {
        let room = ANSWER_BYTES_MAX - read.len();
        read.extend_from_slice(&piece[..piece.len().min(room)]);
        if piece.len() > room {
            return;
        }
    }
}

/// The error and all that it wraps. An `io::Error` does not name the error that it holds as its source.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| {
        let held = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        held.map_or_else(|| error.source(), |held| Some(held))
    })
}

/// The system's error in a chain of wrapped ones: the innermost.
pub(super) fn find_io<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a io::Error> {
    causes(error).filter_map(|cause| cause.downcast_ref()).last()
}

fn mismatch(detail: &str) -> Reason {
    Reason::new(ReasonCode::CannotRender, detail)
}
