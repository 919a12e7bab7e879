//! A module that answers as it is told to: honestly, or not. Both ends of a link ask the same one.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    Honest,
    Busy,
    Unauthorised,
    Garbage,
    /// Keys of two bytes.
    Short,
    /// More than any container may have.
    Flood,
    /// The same ids in every reply.
    Repeating,
    /// `dec_keys` gives keys of other ids.
    Foreign,
    /// `dec_keys` gives other bits.
    Different,
}

pub(crate) struct FakeKme {
    pub(crate) url: String,
    mood: Arc<Mutex<Mood>>,
}

impl FakeKme {
    /// Listens with the certificate of a rendered node's folder.
    pub(crate) async fn start(node: &Path, mood: Mood) -> Self {
        let chain = CertificateDer::pem_file_iter(node.join("kme.pem")).expect("a certificate");
        let chain = chain.collect::<Result<Vec<_>, _>>().expect("a certificate");
        let key = PrivateKeyDer::from_pem_file(node.join("kme.key")).expect("a key");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = builder.expect("TLS").with_no_client_auth().with_single_cert(chain, key).expect("a key pair");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("https://{}", listener.local_addr().expect("an address"));
        let mood = Arc::new(Mutex::new(mood));
        let (shared, count) = (mood.clone(), Arc::new(AtomicU64::new(0)));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(acceptor.clone(), stream, shared.clone(), count.clone()));
            }
        });
        Self { url, mood }
    }

    pub(crate) fn set(&self, mood: Mood) {
        *self.mood.lock().expect("no panic") = mood;
    }
}

/// One request, one reply; whoever leaves early is no concern of the fake.
async fn serve(acceptor: TlsAcceptor, stream: TcpStream, mood: Arc<Mutex<Mood>>, count: Arc<AtomicU64>) {
    let Ok(mut stream) = acceptor.accept(stream).await else { return };
    let mut text = Vec::new();
    let (head, body) = loop {
        let mut piece = [0; 4096];
        match stream.read(&mut piece).await {
            Ok(length) if length > 0 => text.extend_from_slice(&piece[..length]),
            _ => return,
        }
        if let Some(request) = whole(&text) {
            break request;
        }
    };
    let mood = *mood.lock().expect("no panic");
    let (status, reply) = answer(mood, head.contains("dec_keys"), &body, &count);
    let head = format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", reply.len());
    let _ = stream.write_all(&[head.as_bytes(), reply.as_bytes()].concat()).await;
    let _ = stream.shutdown().await;
}

/// Head and body, once all of it is there.
fn whole(text: &[u8]) -> Option<(String, Value)> {
    let text = std::str::from_utf8(text).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    Some((head.to_owned(), serde_json::from_str(body).ok()?))
}

fn answer(mood: Mood, dec: bool, body: &Value, count: &AtomicU64) -> (u16, String) {
    match mood {
        Mood::Busy => return (503, json!({ "message": "no keys" }).to_string()),
        Mood::Unauthorised => return (401, String::new()),
        Mood::Garbage => return (200, "{\"keys\": 7".into()),
        Mood::Flood => return (200, "x".repeat(1 << 20)),
        _ => {}
    }
    let fresh = || match mood {
        Mood::Repeating => "the-same".to_owned(),
        _ => format!("key-{}", count.fetch_add(1, Ordering::Relaxed)),
    };
    let ids: Vec<String> = match (dec, body["key_IDs"].as_array()) {
        (true, Some(ids)) if mood != Mood::Foreign => {
            ids.iter().filter_map(|id| Some(id["key_ID"].as_str()?.to_owned())).collect()
        }
        (true, Some(ids)) => ids.iter().map(|_| fresh()).collect(),
        // One at a time repeats an id over replies, not within one.
        _ if mood == Mood::Repeating => vec![fresh()],
        _ => (0..body["number"].as_u64().unwrap_or(1)).map(|_| fresh()).collect(),
    };
    let bytes = if mood == Mood::Short { 2 } else { 512 };
    let salt = u8::from(dec && mood == Mood::Different);
    let key = |id: &String| {
        let bits: Vec<u8> = (0..bytes).map(|i| id.bytes().fold(salt.wrapping_add(i as u8), u8::wrapping_add)).collect();
        json!({ "key_ID": id, "key": STANDARD.encode(bits) })
    };
    (200, json!({ "keys": ids.iter().map(key).collect::<Vec<_>>() }).to_string())
}
