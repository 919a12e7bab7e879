//! A client of the ETSI GS QKD 014 V1.1.1 interface of a module. In: [`ModuleSettings`]. Out: keys, or
//! one sentence. Always: mutual TLS, each exchange bounded in time and size, bodies with keys wiped.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body, Bytes};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use zeroize::{Zeroize as _, Zeroizing};

use super::keys::ModuleKey;
use super::reply;
use crate::config::ModuleSettings;

/// Longest time of one request, from connecting to the last byte.
const EXCHANGE_TIME_MAX: Duration = Duration::from_secs(5);
/// Most characters of a transport's own words that are shown.
const CAUSE_CHARS_MAX: usize = 200;

/// Why a module gave no keys.
#[derive(Debug)]
pub(super) enum ModuleError {
    /// No exchange took place.
    Transport(String),
    /// It answered with another status than 200.
    Refused(u16, String),
    /// It answered what may not be.
    Malformed(String),
}

impl ModuleError {
    /// True if the same request may work soon: the module has too few keys, or not these yet.
    pub(super) fn is_passing(&self) -> bool {
        matches!(self, Self::Refused(503, _))
    }
}

impl fmt::Display for ModuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transport(cause) => write!(f, "the module does not answer: {cause}"),
            Self::Refused(401, message) => {
                write!(f, "the module answered 401: {message}: check certificate and peer_sae")
            }
            Self::Refused(status, message) => write!(f, "the module answered {status}: {message}"),
            Self::Malformed(fault) => write!(f, "the module {fault}"),
        }
    }
}

/// A module and the SAE of the neighbour at its own.
pub(in crate::device) struct KmeClient {
    base: Uri,
    host: ServerName<'static>,
    tls: TlsConnector,
    peer_sae: String,
    key_bits: u32,
}

impl KmeClient {
    /// Reads the files that the settings name.
    ///
    /// # Errors
    /// If the address or a file cannot be used, in one sentence.
    pub(in crate::device) fn new(settings: &ModuleSettings) -> Result<Self, String> {
        let usage = || format!("module.url {:?} is not of the form https://HOST:PORT: correct it", settings.url);
        let base: Uri = settings.url.parse().map_err(|_| usage())?;
        let name = base.host().ok_or_else(usage)?.trim_matches(['[', ']']).to_owned();
        let host = ServerName::try_from(name).map_err(|_| usage())?;
        let tls = TlsConnector::from(Arc::new(tls(settings)?));
        Ok(Self { base, host, tls, peer_sae: encode(&settings.peer_sae), key_bits: settings.key_bits })
    }

    /// New keys: at least one, at most `number`.
    pub(super) async fn take(&self, number: usize) -> Result<Vec<ModuleKey>, ModuleError> {
        let body = self.ask("enc_keys", &json!({ "number": number, "size": self.key_bits }), number).await?;
        self.read(&body, number)
    }

    /// The keys of these ids, in their order.
    pub(super) async fn fetch(&self, ids: &[String]) -> Result<Vec<ModuleKey>, ModuleError> {
        let listed: Vec<Value> = ids.iter().map(|id| json!({ "key_ID": id })).collect();
        let body = self.ask("dec_keys", &json!({ "key_IDs": listed }), ids.len()).await?;
        let mut keys = self.read(&body, ids.len())?;
        let place = |key: &ModuleKey| ids.iter().position(|id| id.eq_ignore_ascii_case(&key.id));
        if keys.len() != ids.len() || keys.iter().any(|key| place(key).is_none()) {
            return Err(ModuleError::Malformed("sent other keys than those asked for".into()));
        }
        keys.sort_by_key(place);
        Ok(keys)
    }

    fn read(&self, body: &[u8], number: usize) -> Result<Vec<ModuleKey>, ModuleError> {
        reply::keys(body, number, self.key_bits as usize / 8).map_err(ModuleError::Malformed)
    }

    async fn ask(&self, method: &str, body: &Value, number: usize) -> Result<Zeroizing<Vec<u8>>, ModuleError> {
        let limit = reply::body_bytes_max(number, self.key_bits as usize / 8);
        let exchange = tokio::time::timeout(EXCHANGE_TIME_MAX, self.exchange(method, body, limit));
        let late = |_| ModuleError::Transport(format!("no answer within {} s", EXCHANGE_TIME_MAX.as_secs()));
        let (status, body) = exchange.await.map_err(late)??;
        match status {
            StatusCode::OK => Ok(body),
            other => Err(ModuleError::Refused(other.as_u16(), reply::message(&body))),
        }
    }

    async fn exchange(
        &self,
        method: &str,
        body: &Value,
        limit: usize,
    ) -> Result<(StatusCode, Zeroizing<Vec<u8>>), ModuleError> {
        let request = self.request(method, body).map_err(transport)?;
        let port = self.base.port_u16().unwrap_or(443);
        let host = self.host.to_str();
        let stream = TcpStream::connect((host.as_ref(), port)).await.map_err(transport)?;
        let stream = self.tls.connect(self.host.clone(), stream).await.map_err(transport)?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(transport)?;
        // Dropped with the exchange, however it ends.
        let mut driver = tokio::task::JoinSet::new();
        driver.spawn(connection);
        let answer = sender.send_request(request).await.map_err(transport)?;
        let status = answer.status();
        Ok((status, collect(answer.into_body(), limit).await?))
    }

    fn request(&self, method: &str, body: &Value) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
        let prefix = self.base.path().trim_end_matches('/');
        let request = Request::post(format!("{prefix}/api/v1/keys/{}/{method}", self.peer_sae));
        let request = request.header("host", self.base.authority().map_or("", |authority| authority.as_str()));
        let request = request.header("content-type", "application/json").header("accept", "application/json");
        request.body(Full::from(body.to_string()))
    }
}

fn transport(cause: impl fmt::Display) -> ModuleError {
    let shown: String = cause.to_string().chars().take(CAUSE_CHARS_MAX).collect();
    ModuleError::Transport(shown.escape_debug().to_string())
}

/// The body, at most `limit` bytes of it; each piece is wiped where nobody else holds it.
async fn collect<B>(mut body: B, limit: usize) -> Result<Zeroizing<Vec<u8>>, ModuleError>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: fmt::Display,
{
    // All at once: growing would leave copies behind.
    let mut whole = Zeroizing::new(Vec::with_capacity(limit));
    while let Some(piece) = body.frame().await {
        let Ok(piece) = piece.map_err(transport)?.into_data() else { continue };
        if whole.len() + piece.len() > limit {
            return Err(ModuleError::Malformed(format!("sent more than {limit} bytes")));
        }
        whole.extend_from_slice(&piece);
        if let Ok(mut own) = piece.try_into_mut() {
            own.as_mut().zeroize();
        }
    }
    Ok(whole)
}

fn tls(settings: &ModuleSettings) -> Result<ClientConfig, String> {
    let setup = |error: rustls::Error| format!("module: TLS set-up refused: {error}: check the files");
    let mut roots = RootCertStore::empty();
    for authority in certificates(&settings.ca)? {
        roots.add(authority).map_err(setup)?;
    }
    let key = PrivateKeyDer::from_pem_file(&settings.key).map_err(|error| unusable(&settings.key, &error))?;
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(setup)?.with_root_certificates(roots);
    let mut config = builder.with_client_auth_cert(certificates(&settings.certificate)?, key).map_err(setup)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain = CertificateDer::pem_file_iter(path).map_err(|error| unusable(path, &error))?;
    let chain: Vec<_> = chain.collect::<Result<_, _>>().map_err(|error| unusable(path, &error))?;
    if chain.is_empty() { Err(unusable(path, &"it holds no certificate")) } else { Ok(chain) }
}

fn unusable(path: &Path, error: &dyn fmt::Display) -> String {
    format!("module: file {} cannot be used: {error}: give a PEM file", path.display())
}

/// Percent-encodes one path segment.
fn encode(segment: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~@".contains(&byte);
    segment
        .bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}
