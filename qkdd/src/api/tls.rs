//! Mutual TLS of the key socket. In: PEM files. Out: a rustls configuration. Always: TLS 1.3, a
//! verified client certificate on every connection, and no resumed session.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};

use crate::config::SupplySettings;

/// Why the key socket has no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A PEM file is missing or holds something else.
    #[error("{what} {path}: {reason}: give a PEM file", path = .path.display())]
    File {
        /// What it should hold.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Certificate and key do not fit, or an authority is unusable.
    #[error("TLS set-up refused: {0}: issue the certificates anew")]
    Setup(String),
}

fn setup(error: impl std::fmt::Display) -> TlsError {
    TlsError::Setup(error.to_string())
}

/// The configuration of the key socket.
pub(super) fn server_config(settings: &SupplySettings) -> Result<ServerConfig, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    for authority in certificates("client_ca", &settings.client_ca)? {
        roots.add(authority).map_err(setup)?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone());
    let verifier = verifier.build().map_err(setup)?;
    let key = PrivateKeyDer::from_pem_file(&settings.key).map_err(|error| TlsError::File {
        what: "private key",
        path: settings.key.clone(),
        reason: error.to_string(),
    })?;
    let builder = ServerConfig::builder_with_provider(provider);
    let builder = builder.with_protocol_versions(&[&rustls::version::TLS13]).map_err(setup)?;
    let builder = builder.with_client_cert_verifier(verifier);
    let chain = certificates("certificate", &settings.certificate)?;
    let mut config = builder.with_single_cert(chain, key).map_err(setup)?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn certificates(what: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let fault = |reason: String| TlsError::File { what, path: path.to_owned(), reason };
    let chain = CertificateDer::pem_file_iter(path).map_err(|error| fault(error.to_string()))?;
    let chain: Vec<_> = chain.collect::<Result<_, _>>().map_err(|error| fault(error.to_string()))?;
    if chain.is_empty() { Err(fault("holds no certificate".into())) } else { Ok(chain) }
}
