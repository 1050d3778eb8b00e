//! Real webhook endpoints, through reqwest.

use super::tls::{Identity, client_config};
use super::{BoxFuture, HttpClient, SendError};
use gateway_core::config::Webhook;
use gateway_core::delivery::{Reason, ReasonCode};
use gateway_core::dialects::{Request, Response};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::collections::HashMap;
use std::error::Error;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;

/// How much of an answer is read: enough for a verdict and for a person to see what was said.
const ANSWER_BYTES_MAX: usize = 4096;

/// Webhook endpoints, one connection pool for each. A pool is made anew when the endpoint's settings change.
#[derive(Default)]
pub struct ReqwestClient {
    pools: Mutex<HashMap<String, (Webhook, reqwest::Client)>>,
}

impl HttpClient for ReqwestClient {
    fn send(&self, webhook: &Webhook, request: Request) -> BoxFuture<'static, Result<Response, SendError>> {
        let Request::Http(request) = request else {
            let reason = Reason::new(ReasonCode::CannotRender, "MLLP is not spoken");
            return Box::pin(std::future::ready(Err(SendError::Configuration(reason))));
        };
        let client = self.client(webhook);
        let webhook = webhook.clone();
        Box::pin(async move {
            let client = client.map_err(SendError::Configuration)?;
            let mut builder = client.post(&webhook.url).body(request.body);
            for (name, value) in webhook.headers.iter().chain(&request.headers) {
                builder = builder.header(name, value);
            }
            let answer = builder.send().await.map_err(|error| classify(&error, &webhook))?;
            Ok(read(answer).await)
        })
    }
}

impl ReqwestClient {
    fn client(&self, webhook: &Webhook) -> Result<reqwest::Client, Reason> {
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((made_for, client)) = pools.get(&webhook.id)
            && made_for == webhook
        {
            return Ok(client.clone());
        }
        let identity = Identity { ca_file: webhook.ca_file.as_deref(), ..Identity::default() };
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(client_config(identity)?)
            .redirect(reqwest::redirect::Policy::none())
            .timeout(webhook.timeout)
            .connect_timeout(webhook.timeout.min(Duration::from_secs(10)))
            .pool_max_idle_per_host(webhook.concurrency)
            .pool_idle_timeout(Duration::from_secs(30))
            .dns_resolver(SystemResolver)
            .user_agent(concat!("analyzer-gateway/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| Reason::new(ReasonCode::Certificate, format!("the client cannot be made: {error}")))?;
        pools.insert(webhook.id.clone(), (webhook.clone(), client.clone()));
        Ok(client)
    }
}

/// Status and headers count; an endless or broken body does not change the verdict.
async fn read(mut answer: reqwest::Response) -> Response {
    let headers = answer.headers().iter();
    let headers =
        headers.map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()));
    let mut response = Response { status: answer.status().as_u16(), headers: headers.collect(), body: Vec::new() };
    while let Ok(Some(piece)) = answer.chunk().await {
        let room = ANSWER_BYTES_MAX - response.body.len();
        response.body.extend_from_slice(&piece[..piece.len().min(room)]);
        if response.body.len() == ANSWER_BYTES_MAX {
            break;
        }
    }
    response
}

/// What an error without an answer means. The library wraps its causes, so the chain is searched for the telling one.
fn classify(error: &reqwest::Error, webhook: &Webhook) -> SendError {
    if error.is_timeout() {
        let detail = format!("no answer within {} s", webhook.timeout.as_secs());
        return SendError::Passing(Reason::new(ReasonCode::Timeout, detail));
    }
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(current) = cause {
        if let Some(found) = current.downcast_ref::<ResolveError>() {
            return found.0.clone();
        }
        if let Some(tls) = current.downcast_ref::<rustls::Error>() {
            return SendError::Configuration(Reason::new(ReasonCode::Certificate, tls.to_string()));
        }
        if let Some(io) = current.downcast_ref::<std::io::Error>() {
            // rustls' verdict on a certificate arrives inside an io::Error.
            if let Some(tls) = io.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
                return SendError::Configuration(Reason::new(ReasonCode::Certificate, tls.to_string()));
            }
            if let Some(sent) = from_io(io) {
                return sent;
            }
        }
        cause = current.source();
    }
    SendError::Passing(Reason::new(ReasonCode::ConnectionLost, "the connection broke before the answer"))
}

fn from_io(error: &std::io::Error) -> Option<SendError> {
    use std::io::ErrorKind;
    let passing = |code, detail: &str| Some(SendError::Passing(Reason::new(code, detail)));
    match error.kind() {
        ErrorKind::ConnectionRefused => passing(ReasonCode::ConnectionRefused, "the connection was refused"),
        // Somebody on the same network who is switched off looks like this too: then it is their trouble, not ours.
        ErrorKind::HostUnreachable if has_route() => {
            passing(ReasonCode::ConnectionRefused, "the receiver's machine does not answer")
        }
        ErrorKind::NetworkUnreachable | ErrorKind::NetworkDown | ErrorKind::HostUnreachable => {
            Some(SendError::NoNetwork(Reason::new(ReasonCode::NoNetwork, "no route to the receiver")))
        }
        ErrorKind::TimedOut => passing(ReasonCode::Timeout, "the connection timed out"),
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe => {
            passing(ReasonCode::ConnectionLost, "the receiver closed the connection")
        }
        _ => None,
    }
}

/// A lookup holds a thread until the system gives up on it, long after the request has: few at once, so that a dead name
/// server cannot take the threads that the disk needs.
static LOOKUPS: Semaphore = Semaphore::const_new(2);

/// Name resolution by the system, with the two failures told apart: no such name, or nobody to ask.
struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let name = name.as_str().to_owned();
        Box::pin(async move {
            // Never closed, so there is always a turn to wait for.
            let _turn = LOOKUPS.acquire().await;
            let found = tokio::net::lookup_host((name.as_str(), 0)).await;
            let addresses: Vec<_> = match found {
                Ok(addresses) => addresses.collect(),
                Err(error) => {
                    return Err(Box::new(ResolveError(unresolved(&name, &error))) as Box<dyn Error + Send + Sync>);
                }
            };
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the name cannot be resolved")]
struct ResolveError(SendError);

fn unresolved(name: &str, error: &std::io::Error) -> SendError {
    if !has_route() {
        return SendError::NoNetwork(Reason::new(ReasonCode::NoNetwork, "this box has no network"));
    }
    // glibc and musl give the class only in words.
    let words = error.to_string();
    let no_such_name = words.contains("not known") || words.contains("does not") || words.contains("No address");
    if no_such_name {
        SendError::Configuration(Reason::new(ReasonCode::UnknownHost, format!("there is no host named {name}")))
    } else {
        SendError::Passing(Reason::new(ReasonCode::Timeout, format!("the name {name} cannot be looked up just now")))
    }
}

/// Whether any route leads out of this machine (`/proc/net/route`, `/proc/net/ipv6_route`; loopback does not count).
fn has_route() -> bool {
    let table = std::fs::read_to_string("/proc/net/route").unwrap_or_default();
    let outward = |line: &&str| !line.starts_with("lo\t");
    let v4 = table.lines().skip(1).any(|line| outward(&line));
    let table = std::fs::read_to_string("/proc/net/ipv6_route").unwrap_or_default();
    let v6 = table.lines().any(|line| line.starts_with(&"0".repeat(32)) && !line.trim_end().ends_with(" lo"));
    v4 || v6
}
