//! Which SAE a certificate speaks for. In: a verified leaf certificate. Out: an enrolled SAE, or none.
//! Always: an identity comes from the certificate alone, and two candidates are none.

use std::collections::BTreeMap;

use qkd_proto::crypto;
use qkd_proto::id::SaeId;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::config::SaeSettings;

/// Prefix of the URI by which our own authority names an SAE.
const URN_PREFIX: &str = "urn:qkdd:sae:";
/// Shorter prefix that other authorities may use.
const URI_PREFIX: &str = "sae:";

/// The SAEs enrolled at this node, with their pinned certificates.
#[derive(Debug)]
pub(super) struct SaeRegistry(BTreeMap<SaeId, Option<[u8; 32]>>);

impl SaeRegistry {
    pub(super) fn new(saes: &[SaeSettings]) -> Self {
        Self(saes.iter().map(|sae| (sae.id.clone(), sae.fingerprint)).collect())
    }

    /// The SAE of a verified certificate: URI names first, then DNS names, then the common name.
    pub(super) fn identify(&self, leaf: &[u8]) -> Option<SaeId> {
        let (_, certificate) = X509Certificate::from_der(leaf).ok()?;
        let id = self.enrolled(&certificate)?;
        match self.0.get(&id)? {
            Some(pin) if *pin != crypto::sha256(&[leaf]) => None,
            _ => Some(id),
        }
    }

    fn enrolled(&self, certificate: &X509Certificate<'_>) -> Option<SaeId> {
        let names = certificate.subject_alternative_name().ok()?;
        let names = names.map_or(&[][..], |names| names.value.general_names.as_slice());
        let uris: Vec<&str> = names.iter().filter_map(uri).collect();
        if uris.iter().any(|uri| uri.starts_with(URN_PREFIX)) {
            return self.only(uris.iter().filter_map(|uri| uri.strip_prefix(URN_PREFIX)))?;
        }
        let uris = uris.iter().map(|uri| uri.strip_prefix(URI_PREFIX).unwrap_or(uri));
        let hosts =
            names.iter().filter_map(|name| if let GeneralName::DNSName(name) = name { Some(*name) } else { None });
        let subjects = certificate.subject().iter_common_name().filter_map(|name| name.as_str().ok());
        let found = self.only(uris)?;
        let found = if found.is_none() { self.only(hosts)? } else { found };
        if found.is_none() { self.only(subjects)? } else { found }
    }

    /// The one enrolled name among `names`; the outer none says that there are several.
    fn only<'a>(&self, names: impl Iterator<Item = &'a str>) -> Option<Option<SaeId>> {
        let mut enrolled = names.filter_map(|name| name.parse().ok()).filter(|id| self.0.contains_key(id));
        let first = enrolled.next();
        enrolled.all(|id| Some(&id) == first.as_ref()).then_some(first)
    }
}

fn uri<'a>(name: &GeneralName<'a>) -> Option<&'a str> {
    if let GeneralName::URI(uri) = name { Some(uri) } else { None }
}
