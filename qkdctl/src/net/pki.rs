//! Certificates. In: names. Out: PEM. Always: node certificates serve only, SAE certificates ask only.

use std::time::{SystemTime, UNIX_EPOCH};

use qkd_proto::id::{NodeId, SaeId};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, date_time_ymd,
};
use zeroize::Zeroizing;

/// Years that certificates hold.
const YEARS: i32 = 10;
/// Seconds of a mean year.
const YEAR_S: u64 = 31_556_952;

/// A certificate and its key, both PEM.
pub(super) struct Issued {
    pub(super) certificate: String,
    pub(super) key: Zeroizing<String>,
}

/// The authority of a network.
pub(super) struct Authority(Issuer<'static, KeyPair>);

impl Authority {
    /// A new one, with its certificate.
    pub(super) fn create(network: &str) -> Result<(Self, Issued), rcgen::Error> {
        let key = KeyPair::generate()?;
        let text = Zeroizing::new(key.serialize_pem());
        let issuer = CertifiedIssuer::self_signed(params(network)?, key)?;
        let issued = Issued { certificate: issuer.pem(), key: text };
        Ok((Self::open(network, &issued.key)?, issued))
    }

    /// The one of an earlier [`Authority::create`].
    pub(super) fn open(network: &str, key: &str) -> Result<Self, rcgen::Error> {
        Ok(Self(Issuer::new(params(network)?, KeyPair::from_pem(key)?)))
    }

    /// For the key socket of a node that others reach as `host` or by `more` names.
    pub(super) fn issue_node(&self, node: &NodeId, host: &str, more: &[String]) -> Result<Issued, rcgen::Error> {
        let mut names = vec![host.to_owned()];
        if node.as_str() != host && node.as_str().chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
            names.push(node.to_string());
        }
        names.extend(more.iter().filter(|name| name.as_str() != host).cloned());
        let mut params = CertificateParams::new(names)?;
        params.subject_alt_names.push(SanType::URI(format!("urn:qkdd:kme:{node}").try_into()?));
        self.issue(params, node.as_str(), ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// For an SAE.
    pub(super) fn issue_sae(&self, sae: &SaeId) -> Result<Issued, rcgen::Error> {
        let mut params = CertificateParams::default();
        params.subject_alt_names.push(SanType::URI(format!("urn:qkdd:sae:{sae}").try_into()?));
        self.issue(params, sae.as_str(), ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn issue(
        &self,
        mut params: CertificateParams,
        name: &str,
        purpose: ExtendedKeyUsagePurpose,
    ) -> Result<Issued, rcgen::Error> {
        set_term(&mut params);
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![purpose];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.0)?.pem();
        Ok(Issued { certificate, key: Zeroizing::new(key.serialize_pem()) })
    }
}

fn params(network: &str) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    set_term(&mut params);
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, format!("{network} authority"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn set_term(params: &mut CertificateParams) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let year = 1970 + i32::try_from(now / YEAR_S).unwrap_or_default();
    params.not_before = date_time_ymd(year - 1, 1, 1);
    params.not_after = date_time_ymd(year + YEARS, 1, 1);
}
