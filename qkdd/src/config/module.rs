//! How to reach the QKD module (or its KME) at this end of a link. In: a `[link.module]` table. Out:
//! [`ModuleSettings`]. Always: sizes are whole bytes, and the private key's file is private.

use std::path::PathBuf;
use std::time::Duration;

use super::read::Reader;
use super::secret_file::check_private;
use super::section::Section;
use super::unit::Unit;

/// Longest name of an SAE at a module, in characters.
const SAE_CHARS_MAX: usize = 256;
/// Bits of each key by default: what every ETSI GS QKD 014 server gives.
const KEY_BITS_DEFAULT: f64 = 256.0;
/// Keys of one request by default: a common `max_key_per_request`.
const KEYS_DEFAULT: u64 = 128;

/// How to reach the module of one end, and as whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleSettings {
    /// Its address, `https://HOST:PORT`, with a path before `/api/v1` if it has one.
    pub url: String,
    /// Authorities of its certificate, PEM.
    pub ca: PathBuf,
    /// This node's certificate as an SAE, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
    /// Name of the SAE that the neighbour is at its own module.
    pub peer_sae: String,
    /// Bits of each key, whole bytes.
    pub key_bits: u32,
    /// Most keys of one request.
    pub keys_per_request: u32,
    /// Pause before the module is asked again.
    pub poll: Duration,
    /// Longest wait for the keys of a block.
    pub wait: Duration,
}

impl ModuleSettings {
    pub(super) fn read(reader: &Reader<'_>, link: &Section<'_>, module: &Section<'_>) -> Option<Self> {
        if !module.is_present() {
            link.fault("module", "is missing: device = \"etsi014\" needs a table [link.module]");
            return None;
        }
        let url = module.required_text("url");
        if url.is_some_and(|url| !url.starts_with("https://")) {
            module.fault("url", "is not of the form https://HOST:PORT: correct it");
        }
        let path = |key| module.required_text(key).map(|text| reader.path(text));
        let (ca, certificate, key) = (path("ca"), path("certificate"), path("key"));
        if let Some(Err(text)) = key.as_deref().map(check_private) {
            module.fault("key", text);
        }
        let peer_sae = module.required_text("peer_sae").filter(|name| is_sae(module, name));
        let key_bits = module.quantity("key_size", Unit::Bits, 64.0..=65_536.0).unwrap_or(KEY_BITS_DEFAULT);
        if key_bits % 8.0 != 0.0 {
            module.fault("key_size", "is no whole number of bytes: use a multiple of 8bit");
        }
        let number = module.integer("number").unwrap_or(KEYS_DEFAULT);
        if !(1..=1024).contains(&number) {
            module.fault("number", "is outside 1 to 1024: choose a value within");
        }
        let poll = module.quantity("poll", Unit::Time, 0.01..=600.0).unwrap_or(1.0);
        let wait = module.quantity("wait", Unit::Time, 1.0..=86_400.0).unwrap_or(60.0);
        module.finish();
        Some(Self {
            url: url?.to_owned(),
            ca: ca?,
            certificate: certificate?,
            key: key?,
            peer_sae: peer_sae?.to_owned(),
            key_bits: key_bits as u32,
            keys_per_request: number as u32,
            poll: Duration::from_secs_f64(poll),
            wait: Duration::from_secs_f64(wait),
        })
    }
}

fn is_sae(module: &Section<'_>, name: &str) -> bool {
    let valid = !name.is_empty() && name.len() <= SAE_CHARS_MAX && name.chars().all(|c| c.is_ascii_graphic());
    if !valid {
        module.fault("peer_sae", format!("must be 1 to {SAE_CHARS_MAX} visible ASCII characters"));
    }
    valid
}
