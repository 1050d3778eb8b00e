//! A request to the gateway that runs on this machine, over its control socket.

use super::BoxFuture;
use axum::body::Body;
use axum::http::{Request, Response};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::io;
use std::path::Path;
use tokio::net::UnixStream;

/// Sends one request; the answer's body comes while it is read. An error of kind `NotFound` or `ConnectionRefused` says that
/// nobody listens there.
pub fn call(socket: &Path, request: Request<Body>) -> BoxFuture<'static, io::Result<Response<Body>>> {
    let socket = socket.to_owned();
    Box::pin(async move {
        let stream = UnixStream::connect(&socket).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        // Ends with the answer, or with the caller's runtime.
        tokio::spawn(connection);
        let answer = sender.send_request(request).await.map_err(io::Error::other)?;
        Ok(answer.map(Body::new))
    })
}
