//! The control socket: HTTP/JSON for operators on a Unix socket. In: requests of whoever may open
//! the file. Out: the replies of [`qkd_proto::control::reply`]. Always: the file has mode 0600, and a
//! second daemon on the same path is refused.

use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::{Method, Request, StatusCode};
use qkd_proto::control::reply::{ErrorReply, SCHEMA};
use qkd_proto::control::request::{UnlockRequest, ZeroizeRequest};
use qkd_proto::id::{KeyId, LinkId};
use qkd_proto::secret::SecretBytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::accept::accept_all;
use super::handle::{NodeBusy, NodeHandle};
use super::http::{self, Limits, Reply};

/// Most connections at once.
const CONNECTIONS_MAX: usize = 64;
/// Time for running requests at the end.
const STOP_WAIT: Duration = Duration::from_secs(1);

/// Why the control socket did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Another daemon answers there.
    #[error("control.socket {0} belongs to a running daemon: stop it, or choose another path")]
    InUse(PathBuf),
    /// Something else lies there.
    #[error("control.socket {0} is not a socket: remove it, or choose another path")]
    NotASocket(PathBuf),
    /// The path cannot be used.
    #[error("control.socket {0} cannot be used: {1}: choose another path")]
    Path(PathBuf, io::Error),
}

/// The running control socket; dropped, it removes its file.
#[derive(Debug)]
pub struct ControlSocket {
    path: PathBuf,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl ControlSocket {
    /// Listens and serves.
    ///
    /// # Errors
    /// If the path is taken or cannot be used.
    pub fn start(path: &Path, node: NodeHandle) -> Result<Self, StartError> {
        let refused = |error| StartError::Path(path.to_owned(), error);
        clear_stale(path)?;
        let listener = bind_private(path).map_err(refused)?;
        let stop = CancellationToken::new();
        let serve = move |stream, stop| serve(stream, node.clone(), stop);
        let task = tokio::spawn(accept_all(listener, CONNECTIONS_MAX, stop.clone(), serve));
        Ok(Self { path: path.to_owned(), stop, task })
    }

    /// Takes no more requests and lets running ones end.
    pub async fn stop(mut self) {
        self.stop.cancel();
        let _ = tokio::time::timeout(STOP_WAIT, &mut self.task).await;
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        self.task.abort();
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Binds beside the path, closes it to others, then moves it into place: it is never open to others.
fn bind_private(path: &Path) -> io::Result<UnixListener> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push("~");
    let aside = if path.as_os_str().len() < crate::config::SOCKET_PATH_BYTES_MAX {
        path.with_file_name(name)
    } else {
        path.to_owned()
    };
    if aside != path {
        let _ = std::fs::remove_file(&aside);
    }
    let listener = UnixListener::bind(&aside)?;
    std::fs::set_permissions(&aside, std::fs::Permissions::from_mode(0o600))?;
    if aside != path {
        std::fs::rename(&aside, path)?;
    }
    Ok(listener)
}

/// Removes a socket that nobody answers.
fn clear_stale(path: &Path) -> Result<(), StartError> {
    let Ok(about) = std::fs::symlink_metadata(path) else { return Ok(()) };
    if !about.file_type().is_socket() {
        return Err(StartError::NotASocket(path.to_owned()));
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).map_err(|error| StartError::Path(path.to_owned(), error))
        }
        _ => Err(StartError::InUse(path.to_owned())),
    }
}

async fn serve(stream: UnixStream, node: NodeHandle, stop: CancellationToken) {
    http::serve(stream, Limits::default(), stop, |request| answer(node.clone(), request)).await;
}

async fn answer(node: NodeHandle, request: Request<Incoming>) -> Reply {
    if request.method() == Method::POST {
        let done = order(&node, request).await;
        return done.unwrap_or_else(|busy| error(StatusCode::SERVICE_UNAVAILABLE, &busy.to_string()));
    }
    if request.method() != Method::GET {
        return error(StatusCode::METHOD_NOT_ALLOWED, "no such method here: use GET, or POST for orders");
    }
    let path = request.uri().path();
    let answered = match path {
        "/v1/status" => node.status().await.map(|status| body(StatusCode::OK, &status)),
        "/v1/links" => node.links().await.map(|links| body(StatusCode::OK, &json!({"schema": SCHEMA, "links": links}))),
        "/v1/health" => Ok(health(&node).await),
        _ => match (path.strip_prefix("/v1/keys/"), explained(path)) {
            (Some(id), _) => key(&node, id).await,
            (None, Some(link)) => explain(&node, link).await,
            (None, None) => Ok(error(
                StatusCode::NOT_FOUND,
                "no such path: use /v1/status, /v1/links, /v1/links/{link}/explain, /v1/keys/{key_id} or /v1/health",
            )),
        },
    };
    answered.unwrap_or_else(|busy| error(StatusCode::SERVICE_UNAVAILABLE, &busy.to_string()))
}

async fn key(node: &NodeHandle, id: &str) -> Result<Reply, NodeBusy> {
    let Ok(id) = id.parse::<KeyId>() else {
        return Ok(error(StatusCode::BAD_REQUEST, "key_id is not a UUID of 36 characters: correct it"));
    };
    let found = node.key(id).await?;
    Ok(found.map_or_else(
        || error(StatusCode::NOT_FOUND, "this node keeps no record of that key_id: ask the node of its SAE"),
        |key| body(StatusCode::OK, &key),
    ))
}

/// The link of `/v1/links/{link}/explain`.
fn explained(path: &str) -> Option<&str> {
    path.strip_prefix("/v1/links/")?.strip_suffix("/explain")
}

async fn explain(node: &NodeHandle, link: &str) -> Result<Reply, NodeBusy> {
    let Ok(link) = link.parse::<LinkId>() else {
        return Ok(error(StatusCode::BAD_REQUEST, "that is no name of a link: correct it"));
    };
    let found = node.explain(link).await?;
    Ok(found.map_or_else(
        || error(StatusCode::NOT_FOUND, "no block of that link was distilled here yet: see /v1/links"),
        |record| body(StatusCode::OK, &record),
    ))
}

/// Does what an operator orders: a fault, a lock, or the end of the state.
async fn order(node: &NodeHandle, request: Request<Incoming>) -> Result<Reply, NodeBusy> {
    let path = request.uri().path().to_owned();
    let text = match http::read_body(request.into_body(), &Limits::default()).await {
        Ok(text) => text,
        Err(fault) => return Ok(error(StatusCode::BAD_REQUEST, &fault.to_string())),
    };
    let done = match path.as_str() {
        "/v1/faults" => match understood(&text) {
            Ok(order) => node.fault(order).await?,
            Err(text) => Err(text),
        },
        "/v1/lock" => node.lock().await.map(Ok)?,
        "/v1/unlock" => match understood::<UnlockRequest>(&text) {
            Ok(order) => {
                let secret = order.secret.as_ref().map(|secret| SecretBytes::copy_of(secret.as_bytes()));
                node.unlock(secret).await?
            }
            Err(text) => Err(text),
        },
        "/v1/zeroize" => match understood::<ZeroizeRequest>(&text) {
            Ok(ZeroizeRequest { i_know: true }) => node.zeroize("by order of an operator").await.map(Ok)?,
            Ok(_) => Err("zeroize destroys every key of this node: add i_know".into()),
            Err(text) => Err(text),
        },
        _ => {
            let text = "no such order: use GET, or POST to /v1/faults, /v1/lock, /v1/unlock or /v1/zeroize";
            return Ok(error(StatusCode::METHOD_NOT_ALLOWED, text));
        }
    };
    Ok(match done {
        Ok(()) => body(StatusCode::OK, &json!({"schema": SCHEMA, "done": true})),
        Err(text) => error(StatusCode::BAD_REQUEST, &text),
    })
}

fn understood<T: DeserializeOwned>(text: &[u8]) -> Result<T, String> {
    serde_json::from_slice(text).map_err(|fault| format!("the order is not understood: {fault}"))
}

/// Healthy is a node that answers and has no open alarm.
async fn health(node: &NodeHandle) -> Reply {
    let healthy = node.status().await.is_ok_and(|status| status.alarms.is_empty());
    let status = if healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    body(status, &json!({"schema": SCHEMA, "healthy": healthy}))
}

fn body(status: StatusCode, value: &impl Serialize) -> Reply {
    match serde_json::to_vec(value) {
        Ok(text) => http::json(status, text),
        Err(fault) => error(StatusCode::INTERNAL_SERVER_ERROR, &fault.to_string()),
    }
}

fn error(status: StatusCode, text: &str) -> Reply {
    body(status, &ErrorReply { schema: SCHEMA, error: text.to_owned() })
}
