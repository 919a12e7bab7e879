//! A client of ETSI GS QKD 014 V1.1.1 for any KME. In: address and certificates. Out: the KME's JSON.
//! Always: the KME's certificate is verified, and the caller's own is shown.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::{Request, StatusCode, Uri};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::cli::KmeArgs;
use crate::client;
use crate::exit::Failure;
use crate::net::Net;

/// Longest wait for a connection.
const CONNECT_WAIT_MAX: Duration = Duration::from_secs(10);

/// Why a KME gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum Unanswered {
    /// The request did not leave.
    #[error("{0}")]
    NotSent(Failure),
    /// The request may have been carried out.
    #[error("{0}")]
    Unknown(Failure),
}

impl From<Unanswered> for Failure {
    fn from(unanswered: Unanswered) -> Self {
        match unanswered {
            Unanswered::NotSent(failure) | Unanswered::Unknown(failure) => failure,
        }
    }
}

/// A KME and the SAE to ask as.
pub struct KmeClient {
    base: Uri,
    tls: TlsConnector,
}

impl KmeClient {
    pub(crate) fn new(args: &KmeArgs) -> Result<Self, Failure> {
        Self::at(Place::of(args)?)
    }

    /// For an SAE of a rendered folder.
    ///
    /// # Errors
    /// If the folder does not hold the SAE.
    pub fn of_net(dir: &Path, sae: &str) -> Result<Self, Failure> {
        Self::at(Place::of_net(dir, sae, None)?)
    }

    fn at(found: Place) -> Result<Self, Failure> {
        let usage = || Failure::Usage(format!("url {:?} is not of the form https://HOST:PORT: correct it", found.url));
        let base: Uri = found.url.parse().map_err(|_| usage())?;
        if base.scheme_str() != Some("https") || base.host().is_none() {
            return Err(usage());
        }
        Ok(Self { base, tls: TlsConnector::from(Arc::new(tls(&found)?)) })
    }

    /// GET, or POST with a body; what is not 200 is a failure in the KME's words.
    pub(crate) async fn ask(&self, sae: &str, method: &str, body: Option<&Value>) -> Result<Bytes, Failure> {
        let (status, body) = self.exchange(sae, method, body).await?;
        if status == StatusCode::OK.as_u16() { Ok(body) } else { Err(refused(status, &body)) }
    }

    /// GET, or POST with a body; any answer with its HTTP status.
    ///
    /// # Errors
    /// If there is no answer.
    pub async fn exchange(&self, sae: &str, method: &str, body: Option<&Value>) -> Result<(u16, Bytes), Unanswered> {
        let request = self.request(sae, method, body).map_err(Unanswered::NotSent)?;
        let stream = self.connect().await.map_err(Unanswered::NotSent)?;
        let (status, body) = client::send(stream, request).await.map_err(Unanswered::Unknown)?;
        Ok((status.as_u16(), body))
    }

    fn request(&self, sae: &str, method: &str, body: Option<&Value>) -> Result<Request<Full<Bytes>>, Failure> {
        let prefix = self.base.path().trim_end_matches('/');
        let path = format!("{prefix}/api/v1/keys/{}/{method}", encode(sae));
        let authority = self.base.authority().map_or("", |authority| authority.as_str());
        let request = Request::builder().uri(path).header("host", authority);
        let request = match body {
            None => request.body(Full::default()),
            Some(body) => {
                let request = request.method("POST").header("content-type", "application/json");
                request.body(Full::from(body.to_string()))
            }
        };
        request.map_err(|error| Failure::Usage(error.to_string()))
    }

    async fn connect(&self) -> Result<tokio_rustls::client::TlsStream<TcpStream>, Failure> {
        let host = self.base.host().unwrap_or_default().trim_matches(['[', ']']);
        let port = self.base.port_u16().unwrap_or(443);
        let failed = |error: String| Failure::Unreachable(format!("no KME answers on {host}:{port}: {error}"));
        let name = ServerName::try_from(host.to_owned()).map_err(|error| Failure::Usage(error.to_string()))?;
        let connecting = async {
            let stream = TcpStream::connect((host, port)).await?;
            stream.set_nodelay(true)?;
            self.tls.connect(name, stream).await
        };
        let waited = tokio::time::timeout(CONNECT_WAIT_MAX, connecting).await;
        waited.map_err(|_| failed("no answer in time".into()))?.map_err(|error| failed(error.to_string()))
    }
}

fn refused(status: u16, body: &[u8]) -> Failure {
    let message = serde_json::from_slice::<Value>(body).ok();
    let message = message.as_ref().and_then(|body| body.get("message")).and_then(Value::as_str);
    let message = message.unwrap_or("no message; 401 means that this SAE may not have these keys");
    Failure::Refused(format!("the KME answered {status}: {message}"))
}

/// What the arguments or a rendered folder give.
struct Place {
    url: String,
    cert: PathBuf,
    key: PathBuf,
    ca: PathBuf,
}

impl Place {
    fn of(args: &KmeArgs) -> Result<Self, Failure> {
        if let (Some(dir), Some(sae)) = (&args.net, &args.as_sae) {
            return Self::of_net(dir, sae, args.url.as_deref());
        }
        let missing = || Failure::Usage("give --url, --cert, --key and --ca, or --net and --as".into());
        Ok(Self {
            url: args.url.clone().ok_or_else(missing)?,
            cert: args.cert.clone().ok_or_else(missing)?,
            key: args.key.clone().ok_or_else(missing)?,
            ca: args.ca.clone().ok_or_else(missing)?,
        })
    }

    fn of_net(dir: &Path, sae: &str, url: Option<&str>) -> Result<Self, Failure> {
        let sae: qkd_proto::id::SaeId = sae.parse().map_err(|error| Failure::Usage(format!("{error}")))?;
        let net = Net::read(dir).map_err(|error| Failure::Refused(error.to_string()))?;
        let home = net.supply_url_of(sae.as_str());
        let url = url.map(str::to_owned).or(home).ok_or_else(|| {
            Failure::Refused(format!("SAE {sae} is not in {}: give --url, or another --as", dir.display()))
        })?;
        let own = dir.join("saes").join(sae.as_str());
        Ok(Self { url, cert: own.join("cert.pem"), key: own.join("key.pem"), ca: dir.join("ca.pem") })
    }
}

fn tls(place: &Place) -> Result<ClientConfig, Failure> {
    let setup = |error: rustls::Error| Failure::Refused(format!("TLS set-up refused: {error}: check the files"));
    let mut roots = RootCertStore::empty();
    for authority in certificates(&place.ca)? {
        roots.add(authority).map_err(setup)?;
    }
    let key = PrivateKeyDer::from_pem_file(&place.key).map_err(|error| unusable(&place.key, &error))?;
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(setup)?.with_root_certificates(roots);
    let mut config = builder.with_client_auth_cert(certificates(&place.cert)?, key).map_err(setup)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let chain = CertificateDer::pem_file_iter(path).map_err(|error| unusable(path, &error))?;
    chain.collect::<Result<_, _>>().map_err(|error| unusable(path, &error))
}

fn unusable(path: &Path, error: &dyn std::fmt::Display) -> Failure {
    Failure::Refused(format!("file {} cannot be used: {error}: give a PEM file", path.display()))
}

/// Percent-encodes one path segment.
fn encode(segment: &str) -> String {
    let mut text = String::with_capacity(segment.len());
    for byte in segment.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'@') {
            text.push(byte as char);
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}
