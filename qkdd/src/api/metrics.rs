//! Numbers for Prometheus. In: GET /metrics on a TCP address. Out: its text form. Always: made from
//! the status that operators see, without secrets.

use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;

use hyper::body::Incoming;
use hyper::{Request, StatusCode};
use qkd_proto::control::reply::{LinkReply, StatusReply};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::accept::accept_all;
use super::handle::NodeHandle;
use super::http::{self, Limits, Reply};

/// Most connections at once.
const CONNECTIONS_MAX: usize = 16;
/// Media type of the text form.
const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The running metrics listener; it ends when dropped.
#[derive(Debug)]
pub struct MetricsSocket {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl MetricsSocket {
    /// Listens and serves.
    ///
    /// # Errors
    /// If the address cannot be used.
    pub async fn start(listen: SocketAddr, node: NodeHandle) -> io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        // Nothing waits for its connections: it ends when dropped.
        let serve = move |stream, stop| serve(stream, node.clone(), stop);
        let task = tokio::spawn(accept_all(listener, CONNECTIONS_MAX, CancellationToken::new(), serve));
        Ok(Self { address, task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for MetricsSocket {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(stream: TcpStream, node: NodeHandle, stop: CancellationToken) {
    http::serve(stream, Limits::default(), stop, |request| answer(node.clone(), request)).await;
}

async fn answer(node: NodeHandle, request: Request<Incoming>) -> Reply {
    if request.uri().path() != "/metrics" {
        return http::reply(StatusCode::NOT_FOUND, MEDIA_TYPE, "no such path: use /metrics\n");
    }
    match node.status().await {
        Ok(status) => http::reply(StatusCode::OK, MEDIA_TYPE, render(&status)),
        Err(busy) => http::reply(StatusCode::SERVICE_UNAVAILABLE, MEDIA_TYPE, format!("{busy}\n")),
    }
}

/// The text form of a status.
fn render(status: &StatusReply) -> String {
    let mut text = String::new();
    head(&mut text, "qkdd_build_info", "Version of the daemon.");
    let _ = writeln!(text, "qkdd_build_info{{version=\"{}\",node=\"{}\"}} 1", status.version, status.node);
    let links = &status.links;
    gauge(&mut text, "qkdd_link_up", "1 if the link is up.", links, |link| {
        Some(f64::from(u8::from(link.state == "up")))
    });
    gauge(&mut text, "qkdd_link_store_bytes", "Bytes that this end may still send under.", links, |link| {
        Some(link.store_bytes as f64)
    });
    gauge(&mut text, "qkdd_link_qber_ratio", "Error rate of the last block, 0 to 1.", links, |link| link.qber);
    text
}

fn head(text: &mut String, name: &str, help: &str) {
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge");
}

fn gauge(text: &mut String, name: &str, help: &str, links: &[LinkReply], value: impl Fn(&LinkReply) -> Option<f64>) {
    head(text, name, help);
    for link in links {
        if let Some(value) = value(link) {
            let _ = writeln!(text, "{name}{{link=\"{}\",peer=\"{}\"}} {value}", link.name, link.peer);
        }
    }
}
