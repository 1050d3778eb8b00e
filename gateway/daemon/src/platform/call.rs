//! A request to the gateway that runs on this machine, over its control socket.

use super::BoxFuture;
use super::http::find_io;
use super::tls::trusting_nobody;
use axum::body::Body;
use axum::http::{Request, Response};
use std::io;
use std::path::Path;

/// Sends one request to `http://localhost/...`; the answer's body comes while it is read. An error of kind `NotFound` or
/// `ConnectionRefused` says that nobody listens there.
pub fn call(socket: &Path, request: Request<String>) -> BoxFuture<'static, io::Result<Response<Body>>> {
    let client = reqwest::Client::builder().tls_backend_preconfigured(trusting_nobody()).no_proxy().unix_socket(socket);
    let client = client.redirect(reqwest::redirect::Policy::none()).build();
    Box::pin(async move {
        let asked = async { client?.execute(request.try_into()?).await };
        let answer = asked.await.map_err(|error| {
            let kind = find_io(&error).map_or(io::ErrorKind::Other, io::Error::kind);
            io::Error::new(kind, error.without_url())
        })?;
        Ok(Response::from(answer).map(Body::new))
    })
}
