//! The key socket: ETSI GS QKD 014 V1.1.1 over mutual TLS. In: requests of applications. Out: keys or
//! the codes of the standard. Always: the caller is who its certificate says, and a question that
//! reached the node runs to its end even if the caller hangs up.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::{Request, StatusCode};
use qkd_proto::id::SaeId;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::accept::accept_all;
use super::handle::NodeHandle;
use super::http::{self, Limits, Reply};
use super::sae::SaeRegistry;
use super::{etsi014, etsi014_reply, tls};
use crate::config::{SaeSettings, SupplySettings};

pub use super::tls::TlsError;

/// Most connections at once.
const CONNECTIONS_MAX: usize = 10_240;
/// Time for running requests at the end.
const STOP_WAIT: Duration = Duration::from_secs(3);

/// What the key socket offers beyond its addresses and files.
#[derive(Debug, Clone, Copy, Default)]
pub struct KeySocketOptions {
    /// Most `additional_slave_SAE_IDs`; 0 says that there is no multicast.
    pub additional_saes_max: usize,
    /// Test only: an SAE may name itself as its slave.
    pub self_pair: bool,
    /// How long a peer may take.
    pub limits: Limits,
}

/// Why the key socket did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its certificates.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Its address.
    #[error("supply.listen = {0} cannot be used: {1}: choose a free address")]
    Listen(SocketAddr, io::Error),
}

/// The running key socket; dropped, it drops its connections.
#[derive(Debug)]
pub struct KeySocket {
    address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

struct State {
    acceptor: TlsAcceptor,
    registry: SaeRegistry,
    options: KeySocketOptions,
    node: NodeHandle,
}

impl KeySocket {
    /// Checks files without listening, for `--check-config`.
    ///
    /// # Errors
    /// If the certificates cannot serve.
    pub fn check(settings: &SupplySettings) -> Result<(), TlsError> {
        tls::server_config(settings).map(drop)
    }

    /// Listens and serves.
    ///
    /// # Errors
    /// If files or address cannot be used.
    pub async fn start(
        settings: &SupplySettings,
        saes: &[SaeSettings],
        options: KeySocketOptions,
        node: NodeHandle,
    ) -> Result<Self, StartError> {
        let acceptor = TlsAcceptor::from(Arc::new(tls::server_config(settings)?));
        let refused = |error| StartError::Listen(settings.listen, error);
        let listener = TcpListener::bind(settings.listen).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        let stop = CancellationToken::new();
        let state = Arc::new(State { acceptor, registry: SaeRegistry::new(saes), options, node });
        let serve = move |stream, stop| serve(stream, state.clone(), stop);
        let task = tokio::spawn(accept_all(listener, CONNECTIONS_MAX, stop.clone(), serve));
        Ok(Self { address, stop, task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more requests and lets running ones end.
    pub async fn stop(mut self) {
        self.stop.cancel();
        let _ = tokio::time::timeout(STOP_WAIT, &mut self.task).await;
    }
}

impl Drop for KeySocket {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(stream: TcpStream, state: Arc<State>, stop: CancellationToken) {
    let _ = stream.set_nodelay(true);
    let limits = state.options.limits;
    let handshake = tokio::time::timeout(limits.handshake, state.acceptor.accept(stream));
    let stream = match handshake.await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%error, "TLS handshake failed"),
        Err(_) => return tracing::debug!("TLS handshake took too long"),
    };
    let leaf = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let caller = leaf.and_then(|leaf| state.registry.identify(leaf));
    http::serve(stream, limits, stop, |request| answer(state.clone(), caller.clone(), request)).await;
}

async fn answer(state: Arc<State>, caller: Option<SaeId>, request: Request<Incoming>) -> Reply {
    let Some(caller) = caller else { return http::empty(StatusCode::UNAUTHORIZED) };
    let (head, body) = request.into_parts();
    let is_post = head.method == hyper::Method::POST;
    let body = if is_post { http::read_body(body, &state.options.limits).await } else { Ok(hyper::body::Bytes::new()) };
    let parsed = body.map_err(|error| etsi014::Problem::bad(error.to_string()));
    let parsed = parsed.and_then(|body| etsi014::parse(&head.method, &head.uri, &body, &caller, &state.options));
    let request = match parsed {
        Ok(request) => request,
        Err(problem) => return etsi014_reply::problem(&problem),
    };
    let node = state.node.clone();
    let additional_max = state.options.additional_saes_max;
    let asked = tokio::spawn(async move {
        let answer = node.supply(request.clone()).await;
        etsi014_reply::answer(&request, answer, additional_max)
    });
    asked.await.unwrap_or_else(|_| etsi014_reply::problem(&etsi014::Problem::access_error()))
}
