//! The control socket and the metrics over real sockets, with a fake node behind them.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use qkd_proto::control::reply::{AlarmReply, StatusReply};
use qkdd::api::control_socket::{ControlSocket, StartError};
use qkdd::api::handle::{NodeHandle, Question};
use qkdd::api::metrics::MetricsSocket;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};

fn status(alarms: Vec<AlarmReply>) -> StatusReply {
    let text = r#"{"schema":1,"node":"alice","network":"t","version":"0.1.0","incarnation":1,"uptime_s":2,
        "links":[{"name":"a-b","peer":"b","role":"transmitter","device":"simulated","dilution":1.0,"state":"up",
        "authentication":"pool","qber":0.01,"skr_bps":1.0,"store_bytes":7,"store_peer_bytes":7,"capacity_bytes":9,
        "sifted_bits":9,"secret_bits":1,"blocks_ok":1,"blocks_aborted":0,"last_abort":null,"spent_relay_bytes":0,"spent_auth_bytes":0,"faults":[]}],
        "nodes_known":["alice"],"saes":[],"keys_waiting":0,"alarms":[]}"#;
    StatusReply { alarms, ..serde_json::from_str(text).expect("a status") }
}

fn node(alarms: Vec<AlarmReply>) -> NodeHandle {
    let (node, mut questions) = NodeHandle::new(4);
    tokio::spawn(async move {
        while let Some(question) = questions.recv().await {
            match question {
                Question::Status(reply) => drop(reply.send(status(alarms.clone()))),
                Question::Key(_, reply) => drop(reply.send(None)),
                Question::Explain(_, reply) => drop(reply.send(None)),
                Question::Fault(order, reply) => drop(reply.send(match order.fault {
                    Some(_) => Ok(()),
                    None => Err("faults are off".into()),
                })),
                _ => {}
            }
        }
    });
    node
}

async fn get(socket: &Path, path: &str) -> String {
    ask(socket, &format!("GET {path} HTTP/1.1\r\n"), "").await
}

async fn ask(socket: &Path, head: &str, body: &str) -> String {
    let mut stream = UnixStream::connect(socket).await.expect("a connection");
    let text = format!("{head}host: qkdd\r\nconnection: close\r\n\r\n{body}");
    stream.write_all(text.as_bytes()).await.expect("a request");
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.expect("a reply");
    reply
}

#[tokio::test]
async fn operators_get_json() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("qkdd.sock");
    let socket = ControlSocket::start(&path, node(Vec::new())).expect("a socket");
    assert_eq!(std::fs::metadata(&path).expect("a socket").permissions().mode() & 0o777, 0o600);
    let reply = get(&path, "/v1/status").await;
    assert!(reply.starts_with("HTTP/1.1 200") && reply.contains(r#""schema":1,"node":"alice""#), "{reply}");
    assert!(get(&path, "/v1/links").await.contains(r#""name":"a-b""#));
    assert!(get(&path, "/v1/health").await.ends_with(r#"{"healthy":true,"schema":1}"#));
    assert!(get(&path, "/v1/keys/x").await.starts_with("HTTP/1.1 400"));
    let unknown = get(&path, "/v1/keys/00000000-0000-4000-8000-000000000000").await;
    assert!(unknown.starts_with("HTTP/1.1 404") && unknown.contains(r#"{"schema":1,"error":"#), "{unknown}");
    assert!(get(&path, "/v2").await.starts_with("HTTP/1.1 404"));
    socket.stop().await;
    assert!(!path.exists());
}

#[tokio::test]
async fn a_fault_is_ordered_by_post() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("qkdd.sock");
    let _socket = ControlSocket::start(&path, node(Vec::new())).expect("a socket");
    for (body, status) in [
        (r#"{"link":"a-b","fault":"cut","seconds":3}"#, 200),
        (r#"{"link":"a-b","fault":{"intercept_resend":{"fraction":0.1,"basis":0.5}}}"#, 200),
        (r#"{"link":"a-b"}"#, 400),
        (r#"{"link":"a-b","fault":"flood"}"#, 400),
        ("{", 400),
    ] {
        let length = body.len();
        let reply = ask(&path, &format!("POST /v1/faults HTTP/1.1\r\ncontent-length: {length}\r\n"), body).await;
        assert!(reply.starts_with(&format!("HTTP/1.1 {status}")), "{body}: {reply}");
    }
    assert!(ask(&path, "POST /v1/status HTTP/1.1\r\ncontent-length: 0\r\n", "").await.starts_with("HTTP/1.1 405"));
}

#[tokio::test]
async fn an_alarm_is_unhealthy() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("qkdd.sock");
    let alarm = AlarmReply { code: "QKD-1".into(), about: "a-b".into(), text: "x".into() };
    let _socket = ControlSocket::start(&path, node(vec![alarm])).expect("a socket");
    assert!(get(&path, "/v1/health").await.starts_with("HTTP/1.1 503"));
}

#[tokio::test]
async fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("qkdd.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).expect("a stale socket"));
    let _first = ControlSocket::start(&path, node(Vec::new())).expect("the stale one is replaced");
    assert!(matches!(ControlSocket::start(&path, node(Vec::new())), Err(StartError::InUse(_))));
    let file = dir.path().join("file");
    std::fs::write(&file, "x").expect("a file");
    assert!(matches!(ControlSocket::start(&file, node(Vec::new())), Err(StartError::NotASocket(_))));
}

#[tokio::test]
async fn a_full_queue_is_503() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("qkdd.sock");
    let (node, questions) = NodeHandle::new(1);
    drop(questions);
    let _socket = ControlSocket::start(&path, node).expect("a socket");
    assert!(get(&path, "/v1/status").await.starts_with("HTTP/1.1 503"));
}

#[tokio::test]
async fn prometheus_reads_links() {
    let listen = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    let socket = MetricsSocket::start(listen, node(Vec::new())).await.expect("a socket");
    let mut stream = TcpStream::connect(socket.address()).await.expect("a connection");
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: q\r\nconnection: close\r\n\r\n").await.expect("a request");
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.expect("a reply");
    for line in [r#"qkdd_link_up{link="a-b",peer="b"} 1"#, r#"qkdd_link_store_bytes{link="a-b",peer="b"} 7"#] {
        assert!(reply.contains(line), "{reply}");
    }
}
