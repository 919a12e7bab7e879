//! One HTTP/1.1 connection, bounded in every way. In: a byte stream and a handler. Out: replies.
//! Always: a peer that stalls in a header, a body or between requests is dropped in time.

use std::convert::Infallible;
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

/// A complete answer.
pub(super) type Reply = Response<Full<Bytes>>;

/// Most header fields of a request.
const HEADERS_MAX: usize = 64;
/// Largest request head, in bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Largest request body, in bytes.
pub(super) const BODY_BYTES_MAX: usize = 64 * 1024;
/// Time to finish a request that runs when its connection must end.
const FAREWELL: Duration = Duration::from_secs(25);

/// How long a peer may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// For the TLS handshake.
    pub handshake: Duration,
    /// For a request's head.
    pub header: Duration,
    /// For a request's body.
    pub body: Duration,
    /// Between two requests.
    pub idle: Duration,
    /// For the whole connection, which bounds how long a revoked certificate lives on.
    pub age: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            header: Duration::from_secs(10),
            body: Duration::from_secs(15),
            idle: Duration::from_secs(150),
            age: Duration::from_secs(600),
        }
    }
}

/// What a connection is doing.
#[derive(Debug, Clone, Copy)]
enum Phase {
    Head(Instant),
    Serving,
    Idle(Instant),
}

#[derive(Clone)]
struct PhaseCell(Arc<Mutex<Phase>>);

impl PhaseCell {
    fn get(&self) -> Phase {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, phase: Phase) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = phase;
    }

    fn is_late(&self, limits: &Limits) -> bool {
        match self.get() {
            Phase::Head(since) => since.elapsed() >= limits.header,
            Phase::Idle(since) => since.elapsed() >= limits.idle,
            Phase::Serving => false,
        }
    }
}

/// A stream that notes when a new head begins.
struct Watched<S> {
    stream: S,
    phase: PhaseCell,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before && matches!(self.phase.get(), Phase::Idle(_)) {
            self.phase.set(Phase::Head(Instant::now()));
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Serves one connection until its peer, a limit or `stop` ends it.
pub(super) async fn serve<S, H, F>(stream: S, limits: Limits, stop: CancellationToken, handler: H)
where
    S: AsyncRead + AsyncWrite + Unpin,
    H: Fn(Request<Incoming>) -> F,
    F: Future<Output = Reply>,
{
    let phase = PhaseCell(Arc::new(Mutex::new(Phase::Head(Instant::now()))));
    let service = service_fn(|request| {
        phase.set(Phase::Serving);
        let reply = handler(request);
        let phase = phase.clone();
        async move {
            let reply = reply.await;
            phase.set(Phase::Idle(Instant::now()));
            Ok::<_, Infallible>(reply)
        }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(None).max_headers(HEADERS_MAX).max_buf_size(HEAD_BYTES_MAX);
    let watched = Watched { stream, phase: phase.clone() };
    let mut connection = pin!(builder.serve_connection(TokioIo::new(watched), service));
    let mut tick = tokio::time::interval((limits.header / 8).clamp(Duration::from_millis(20), Duration::from_secs(1)));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut end = Instant::now() + limits.age;
    let mut closing = false;
    loop {
        tokio::select! {
            _ = connection.as_mut() => return,
            () = stop.cancelled(), if !closing => end = Instant::now(),
            _ = tick.tick() => {}
        }
        if phase.is_late(&limits) || (closing && Instant::now() >= end) {
            return;
        }
        if !closing && Instant::now() >= end {
            closing = true;
            end = Instant::now() + FAREWELL;
            connection.as_mut().graceful_shutdown();
        }
    }
}

/// Why a body was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum BodyError {
    #[error("request body is larger than {BODY_BYTES_MAX} bytes or broken: send a smaller one")]
    Broken,
    #[error("request body took too long: send it at once")]
    Late,
}

/// Reads a whole body within the limits.
pub(super) async fn read_body(body: Incoming, limits: &Limits) -> Result<Bytes, BodyError> {
    let collected = tokio::time::timeout(limits.body, Limited::new(body, BODY_BYTES_MAX).collect()).await;
    let body = collected.map_err(|_| BodyError::Late)?.map_err(|_| BodyError::Broken)?;
    Ok(body.to_bytes())
}

/// An answer with a JSON body.
pub(super) fn json(status: StatusCode, body: impl Into<Bytes>) -> Reply {
    reply(status, "application/json", body)
}

/// An answer of a media type.
pub(super) fn reply(status: StatusCode, media_type: &'static str, body: impl Into<Bytes>) -> Reply {
    let mut reply = empty(status);
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    *reply.body_mut() = Full::new(body.into());
    reply
}

/// An answer without a body.
pub(super) fn empty(status: StatusCode) -> Reply {
    let mut reply = Response::new(Full::default());
    *reply.status_mut() = status;
    reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}
