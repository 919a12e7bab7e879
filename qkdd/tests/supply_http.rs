//! The key socket over real TLS, with a fake node behind it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use qkd_proto::id::KeyId;
use qkd_proto::secret::SecretBytes;
use qkd_proto::supply::message::{Refusal, SuppliedKey, SupplyAnswer, SupplyRequest, SupplyStatus};
use qkdd::api::Limits;
use qkdd::api::handle::{NodeHandle, Question};
use qkdd::api::key_socket::{KeySocket, KeySocketOptions};
use qkdd::config::{SaeSettings, SupplySettings};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority")
}

fn issue(authority: &Authority, common: &str, names: Vec<SanType>) -> (CertificateDer<'static>, KeyPair) {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, common);
    params.subject_alt_names = names;
    let key = KeyPair::generate().expect("a key");
    let certificate = params.signed_by(&key, authority).expect("a certificate");
    (certificate.der().clone(), key)
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().expect("ASCII"))
}

fn key_id() -> KeyId {
    KeyId::from_random([7; 16])
}

/// Answers as a node would, by the name of the peer.
fn fake_answer(request: &SupplyRequest) -> SupplyAnswer {
    let key = || SuppliedKey { id: key_id(), key: SecretBytes::new(vec![1; 32]) };
    match request {
        SupplyRequest::Status { .. } => SupplyAnswer::Status(SupplyStatus {
            source: "alice".parse().expect("a name"),
            target: "bob".parse().expect("a name"),
            stored_key_count: 5,
            max_key_count: 9,
        }),
        SupplyRequest::EncKeys { slave, .. } if slave.as_str() == "sae-empty" => {
            SupplyAnswer::Refused(Refusal::Unavailable("insufficient key material available".into()))
        }
        SupplyRequest::EncKeys { slave, .. } if slave.as_str() == "sae-short" => SupplyAnswer::Keys(Vec::new()),
        SupplyRequest::EncKeys { number, .. } => SupplyAnswer::Keys((0..*number).map(|_| key()).collect()),
        SupplyRequest::DecKeys { ids, .. } if ids[0] != key_id() => SupplyAnswer::Refused(Refusal::not_found()),
        SupplyRequest::DecKeys { master, .. } if master.as_str() == "sae-foreign" => {
            SupplyAnswer::Refused(Refusal::Unauthorised)
        }
        SupplyRequest::DecKeys { .. } => SupplyAnswer::Keys(vec![key()]),
    }
}

struct Stage {
    socket: KeySocket,
    root: Authority,
    _dir: tempfile::TempDir,
}

impl Stage {
    async fn new() -> Self {
        let limits = Limits { header: Duration::from_millis(400), ..Limits::default() };
        Self::with(KeySocketOptions { limits, ..KeySocketOptions::default() }, None).await
    }

    async fn with(options: KeySocketOptions, fingerprint: Option<[u8; 32]>) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let root = authority("root");
        let address = SanType::IpAddress([127, 0, 0, 1].into());
        let (certificate, key) = issue(&root, "alice", vec![address]);
        let path = |name: &str| dir.path().join(name);
        let pem = |der: &[u8]| {
            use base64::Engine as _;
            let text = base64::engine::general_purpose::STANDARD.encode(der);
            format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
        };
        write(&path("kme.pem"), &pem(&certificate));
        write(&path("kme.key"), &key.serialize_pem());
        write(&path("ca.pem"), &root.pem());
        let settings = SupplySettings {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            certificate: path("kme.pem"),
            key: path("kme.key"),
            client_ca: path("ca.pem"),
        };
        let saes = [SaeSettings { id: "sae-alice".parse().expect("a name"), fingerprint }];
        let (node, mut questions) = NodeHandle::new(16);
        tokio::spawn(async move {
            while let Some(question) = questions.recv().await {
                if let Question::Supply(request, reply) = question {
                    let _ = reply.send(fake_answer(&request));
                }
            }
        });
        let socket = KeySocket::start(&settings, &saes, options, node).await.expect("a key socket");
        Self { socket, root, _dir: dir }
    }

    fn alice(&self) -> (CertificateDer<'static>, KeyPair) {
        issue(&self.root, "sae-alice", vec![uri("urn:qkdd:sae:sae-alice")])
    }

    async fn connect(&self, who: Option<(CertificateDer<'static>, KeyPair)>) -> std::io::Result<Tls> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.root.der().clone()).expect("a root");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider);
        let builder = builder.with_protocol_versions(&[&rustls::version::TLS13]).expect("TLS 1.3");
        let builder = builder.with_root_certificates(roots);
        let config = match who {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
                builder.with_client_auth_cert(vec![certificate], key).expect("a certificate")
            }
        };
        let stream = TcpStream::connect(self.socket.address()).await?;
        let name = ServerName::try_from("127.0.0.1").expect("a name");
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }

    async fn raw(&self, who: Option<(CertificateDer<'static>, KeyPair)>, text: &[u8]) -> std::io::Result<String> {
        let mut stream = self.connect(who).await?;
        stream.write_all(text).await?;
        let mut reply = Vec::new();
        match stream.read_to_end(&mut reply).await {
            Err(error) if reply.is_empty() => Err(error),
            _ => Ok(String::from_utf8_lossy(&reply).into_owned()),
        }
    }

    /// Status and body of one request.
    async fn ask_as(&self, who: (CertificateDer<'static>, KeyPair), line: &str, body: &str) -> (u16, String) {
        let length = body.len();
        let text =
            format!("{line} HTTP/1.1\r\nhost: kme\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}");
        let reply = self.raw(Some(who), text.as_bytes()).await.expect("a reply");
        let (head, body) = reply.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{line}: {reply:?}"));
        assert!(head.contains("cache-control: no-store"), "{head}");
        (head[9..12].parse().expect("a status"), body.to_owned())
    }

    async fn ask(&self, line: &str, body: &str) -> (u16, String) {
        self.ask_as(self.alice(), line, body).await
    }
}

type Tls = tokio_rustls::client::TlsStream<TcpStream>;

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).expect("a file");
}

fn container(count: usize) -> String {
    let key = format!(r#"{{"key_ID":"{}","key":"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="}}"#, key_id());
    format!(r#"{{"keys":[{}]}}"#, vec![key; count].join(","))
}

#[tokio::test]
async fn all_forms_answer_as_the_standard_says() {
    let stage = Stage::new().await;
    let status = r#"{"source_KME_ID":"alice","target_KME_ID":"bob","master_SAE_ID":"sae-alice","slave_SAE_ID":"sae-bob","key_size":256,"stored_key_count":5,"max_key_count":9,"max_key_per_request":128,"max_key_size":8192,"min_key_size":64,"max_SAE_ID_count":0}"#;
    assert_eq!(stage.ask("GET /api/v1/keys/sae-bob/status", "").await, (200, status.into()));
    let enc = "/api/v1/keys/sae%2Dbob/enc_keys";
    assert_eq!(stage.ask(&format!("GET {enc}"), "").await, (200, container(1)));
    assert_eq!(stage.ask(&format!("GET {enc}?number=3&size=256"), "").await, (200, container(3)));
    let nulls = r#"{"number":null,"size":null,"additional_slave_SAE_IDs":null,"additional_target_sae_ids":[]}"#;
    for body in ["", "{}", nulls, r#"{"extension_optional":[{"abc_x":1}]}"#] {
        assert_eq!(stage.ask(&format!("POST {enc}"), body).await, (200, container(1)), "{body}");
    }
    assert_eq!(stage.ask(&format!("POST {enc}?number=2"), r#"{"number":4}"#).await, (200, container(4)));
    let dec = "/api/v1/keys/sae-bob/dec_keys";
    assert_eq!(stage.ask(&format!("GET {dec}?key_ID={}", key_id()), "").await, (200, container(1)));
    let ids = format!(r#"{{"key_IDs":[{{"key_ID":"{}","key_ID_extension":null}}],"x":1}}"#, key_id());
    assert_eq!(stage.ask(&format!("POST {dec}"), &ids).await, (200, container(1)));
}

#[tokio::test]
async fn refusals_carry_the_exact_messages() {
    let stage = Stage::new().await;
    let enc = "POST /api/v1/keys/sae-bob/enc_keys";
    let message = |text: &str| (400, format!(r#"{{"message":"{text}"}}"#));
    assert_eq!(stage.ask(enc, r#"{"size":65}"#).await, message("size shall be a multiple of 8"));
    let extension = r#"{"extension_mandatory":[{"abc_route_type":"direct"}]}"#;
    let (code, body) = stage.ask(enc, extension).await;
    let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(code, 400);
    assert_eq!(body["message"], "not all extension_mandatory parameters are supported");
    assert_eq!(body["details"][0]["extension_mandatory_unsupported"], "abc_route_type is not supported");
    for bad in [
        r#"{"number":0}"#,
        r#"{"number":129}"#,
        r#"{"number":-1}"#,
        r#"{"number":1.5}"#,
        r#"{"number":"1"}"#,
        r#"{"size":8200}"#,
        r#"{"size":56}"#,
        "[]",
        "{",
        r#"{"additional_slave_SAE_IDs":["sae-c"]}"#,
    ] {
        assert_eq!(stage.ask(enc, bad).await.0, 400, "{bad}");
    }
    for bad in ["?number=0", "?number=1&number=1", "?size=+256", "?number="] {
        assert_eq!(stage.ask(&format!("GET /api/v1/keys/sae-bob/enc_keys{bad}"), "").await.0, 400, "{bad}");
    }
    assert_eq!(stage.ask(&format!("{enc}?number=2"), "").await.0, 400, "a query would be ignored");
    assert_eq!(stage.ask("GET /api/v1/keys/sae-alice/enc_keys", "").await.0, 400, "its own slave");
    assert_eq!(stage.ask("GET /api/v1/keys/a%2Fb/enc_keys", "").await.0, 400);
    let empty = stage.ask("GET /api/v1/keys/sae-empty/enc_keys", "").await;
    assert_eq!(empty, (503, r#"{"message":"insufficient key material available"}"#.into()));
    let short = stage.ask("GET /api/v1/keys/sae-short/enc_keys", "").await;
    assert_eq!(short, (503, r#"{"message":"key data access error"}"#.into()), "never a partial container");
    let dec = "/api/v1/keys/sae-bob/dec_keys";
    let unknown = "00000000-0000-4000-8000-000000000000";
    let not_found = message("one or more keys specified are not found on KME");
    assert_eq!(stage.ask(&format!("GET {dec}?key_ID={unknown}"), "").await, not_found);
    assert_eq!(stage.ask(&format!("GET /api/v1/keys/a%2Fb/dec_keys?key_ID={unknown}"), "").await, not_found);
    let foreign = format!("GET /api/v1/keys/sae-foreign/dec_keys?key_ID={}", key_id());
    assert_eq!(stage.ask(&foreign, "").await, (401, String::new()));
    let twice = format!(r#"{{"key_IDs":[{{"key_ID":"{0}"}},{{"key_ID":"{0}"}}]}}"#, key_id());
    for bad in ["", r#"{"key_IDs":[]}"#, r#"{"key_IDs":[{"key_ID":"x"}]}"#, &twice] {
        assert_eq!(stage.ask(&format!("POST {dec}"), bad).await.0, 400, "{bad}");
    }
    assert_eq!(stage.ask(&format!("GET {dec}"), "").await.0, 400);
    assert_eq!(stage.ask("GET /api/v1/keys/sae-bob/other", "").await.0, 404);
    assert_eq!(stage.ask("DELETE /api/v1/keys/sae-bob/enc_keys", "").await.0, 405);
    let large = format!(r#"{{"x":"{}"}}"#, "x".repeat(70_000));
    assert_eq!(stage.ask(enc, &large).await.0, 400);
}

#[tokio::test]
async fn identity_comes_from_the_certificate() {
    let stage = Stage::new().await;
    let line = "GET /api/v1/keys/sae-bob/status";
    let dns = SanType::DnsName("sae-alice".try_into().expect("ASCII"));
    for (common, names, code) in [
        ("x", vec![uri("urn:qkdd:sae:sae-alice")], 200),
        ("x", vec![uri("sae:sae-alice")], 200),
        ("x", vec![dns], 200),
        ("sae-alice", vec![], 200),
        ("sae-alice", vec![uri("urn:qkdd:sae:sae-other")], 401),
        ("sae-other", vec![], 401),
    ] {
        let who = issue(&stage.root, common, names.clone());
        let (got, body) = stage.ask_as(who, line, "").await;
        assert_eq!(got, code, "{common} {names:?}");
        assert!(code == 200 || body.is_empty());
    }
}

#[tokio::test]
async fn a_pinned_sae_may_use_that_certificate_only() {
    let stage = Stage::with(KeySocketOptions::default(), Some([0; 32])).await;
    assert_eq!(stage.ask("GET /api/v1/keys/sae-bob/status", "").await, (401, String::new()));
}

#[tokio::test]
async fn strangers_do_not_get_through_tls() {
    let stage = Stage::new().await;
    let request = b"GET /api/v1/keys/sae-bob/status HTTP/1.1\r\nhost: kme\r\nconnection: close\r\n\r\n";
    let nobody = stage.raw(None, request).await;
    assert!(!nobody.is_ok_and(|text| text.contains("HTTP")), "without a certificate");
    let other = issue(&authority("other"), "sae-alice", vec![uri("urn:qkdd:sae:sae-alice")]);
    let foreign = stage.raw(Some(other), request).await;
    assert!(!foreign.is_ok_and(|text| text.contains("HTTP")), "by another authority");
}

#[tokio::test]
async fn a_slow_head_is_dropped_and_an_idle_connection_is_kept() {
    let stage = Stage::new().await;
    let mut slow = stage.connect(Some(stage.alice())).await.expect("a connection");
    slow.write_all(b"GET /api/v1/ke").await.expect("half a head");
    let mut rest = Vec::new();
    let closed = tokio::time::timeout(Duration::from_secs(5), slow.read_to_end(&mut rest)).await;
    assert!(closed.is_ok() && rest.is_empty());
    let mut idle = stage.connect(Some(stage.alice())).await.expect("a connection");
    let request = b"GET /api/v1/keys/sae-bob/status HTTP/1.1\r\nhost: kme\r\n\r\n";
    for _ in 0..2 {
        idle.write_all(request).await.expect("a request");
        let mut reply = [0; 4096];
        let length = idle.read(&mut reply).await.expect("a reply");
        assert!(reply[..length].starts_with(b"HTTP/1.1 200"));
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

#[tokio::test]
async fn a_slow_body_is_refused() {
    let limits = Limits { body: Duration::from_millis(200), ..Limits::default() };
    let stage = Stage::with(KeySocketOptions { limits, ..KeySocketOptions::default() }, None).await;
    let text = b"POST /api/v1/keys/sae-bob/enc_keys HTTP/1.1\r\nhost: kme\r\ncontent-length: 10\r\n\r\n{";
    let reply = tokio::time::timeout(Duration::from_secs(5), stage.raw(Some(stage.alice()), text)).await;
    let reply = reply.expect("in time").expect("a reply");
    assert!(reply.starts_with("HTTP/1.1 400") && reply.contains("took too long"), "{reply}");
}
