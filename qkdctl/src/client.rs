//! One HTTP request, one reply. In: a connected stream and a request. Out: status and body. Always:
//! bounded in time and size.

use std::path::Path;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::http::request::Builder;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use qkd_proto::control::reply::ErrorReply;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;

use crate::exit::Failure;

/// Longest wait for a whole reply.
const REPLY_WAIT_MAX: Duration = Duration::from_secs(30);
/// Largest reply, in bytes.
const REPLY_BYTES_MAX: usize = 16 << 20;

/// Sends one request over a fresh stream.
pub(crate) async fn send<S>(stream: S, request: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes), Failure>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let broken = |error: String| Failure::Unreachable(format!("the connection broke: {error}: try again"));
    let exchange = async {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| broken(error.to_string()))?;
        let driver = tokio::spawn(connection);
        let reply = sender.send_request(request).await.map_err(|error| broken(error.to_string()))?;
        let status = reply.status();
        let body = Limited::new(reply.into_body(), REPLY_BYTES_MAX).collect().await;
        let body = body.map_err(|error| broken(error.to_string()))?.to_bytes();
        driver.abort();
        Ok((status, body))
    };
    let waited = tokio::time::timeout(REPLY_WAIT_MAX, exchange).await;
    waited.map_err(|_| broken(format!("no reply within {} s", REPLY_WAIT_MAX.as_secs())))?
}

/// Asks the daemon behind a control socket.
pub(crate) async fn ask_daemon(socket: &Path, path: &str) -> Result<(StatusCode, Bytes), Failure> {
    exchange(socket, Request::get(path), Full::default()).await
}

/// Gives an order to the daemon behind a control socket.
///
/// # Errors
/// If no daemon answers, or it refuses.
pub async fn order(socket: &Path, path: &str, order: &impl Serialize) -> Result<(), Failure> {
    let body = serde_json::to_vec(order).map_err(|error| Failure::Usage(error.to_string()))?;
    let (status, body) = exchange(socket, Request::post(path), Full::from(body)).await?;
    if status == StatusCode::OK { Ok(()) } else { Err(Failure::Refused(from_json::<ErrorReply>(&body)?.error)) }
}

async fn exchange(socket: &Path, request: Builder, body: Full<Bytes>) -> Result<(StatusCode, Bytes), Failure> {
    let stream = UnixStream::connect(socket).await.map_err(|error| {
        let shown = socket.display();
        Failure::Unreachable(format!("no daemon answers on {shown}: {error}: start qkdd or give --socket"))
    })?;
    let request = request.header("host", "qkdd").body(body);
    send(stream, request.map_err(|error| Failure::Usage(error.to_string()))?).await
}

/// The reply of the daemon behind a control socket, if it did what was asked.
///
/// # Errors
/// If no daemon answers, or it refuses.
pub async fn ask<T: DeserializeOwned>(socket: &Path, path: &str) -> Result<T, Failure> {
    let (status, body) = ask_daemon(socket, path).await?;
    if status == StatusCode::OK {
        return from_json(&body);
    }
    Err(Failure::Refused(from_json::<ErrorReply>(&body)?.error))
}

/// A JSON body as a value.
pub(crate) fn from_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(body).map_err(|error| Failure::Refused(format!("the reply is not understood: {error}")))
}
