//! One line of the audit log. In: the fields of an event. Out: a line that names the one before it.
//! Always: a line's hash covers the whole line, and so, through `prev`, every line before it.
//!
//! `{"seq":N, fields…, "prev":"SHA-256 of the line before","mac":"HMAC over all before it"}`. The hashes
//! show an edit to anybody; the MAC shows lines that were written without the node's master key.

use qkd_proto::crypto;
use qkd_proto::labels::derive::STORE_AUDIT;
use qkd_proto::secret::SecretBytes;
use serde::Deserialize;

/// Bytes of a hash.
pub(super) const HASH_BYTES: usize = 32;
const MAC_BYTES: usize = 16;
/// Most bytes that the chain adds to the fields of an event.
pub(super) const CHAIN_BYTES_MAX: usize = 192;
/// Bytes of `,"mac":"…"}`.
const TAIL_BYTES: usize = 10 + 2 * MAC_BYTES;

/// A place in the chain: the number and the hash of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chain {
    pub(super) seq: u64,
    pub(super) hash: [u8; HASH_BYTES],
}

impl Chain {
    /// Before the first line.
    pub(super) const START: Self = Self { seq: 0, hash: [0; HASH_BYTES] };

    /// After `line`, which has the number `seq`.
    pub(super) fn after(seq: u64, line: &[u8]) -> Self {
        Self { seq, hash: crypto::sha256(&[line]) }
    }
}

/// Authenticates lines and heads of one node's log.
pub(super) struct AuditKey(SecretBytes);

impl AuditKey {
    /// From the master key. It outlives a reset of the pools, as the log does.
    pub(super) fn new(master: &SecretBytes) -> Self {
        Self(crypto::derive(&[], master, STORE_AUDIT, &[], 32))
    }

    /// Over `parts`, of which `what` tells the kind.
    pub(super) fn mac(&self, what: &str, parts: &[u8]) -> [u8; 32] {
        crypto::hmac_sha256(self.0.expose(), STORE_AUDIT, &[what.as_bytes(), parts])
    }

    fn line_mac(&self, body: &[u8]) -> String {
        hex(&self.mac("line", body)[..MAC_BYTES])
    }

    /// The line after `chain` with these fields of JSON, and the chain after it.
    pub(super) fn compose(&self, chain: &Chain, fields: &str) -> (String, Chain) {
        let seq = chain.seq.saturating_add(1);
        let mut line = format!("{{\"seq\":{seq},{fields},\"prev\":\"{}\"", hex(&chain.hash));
        let mac = self.line_mac(line.as_bytes());
        line.push_str(&format!(",\"mac\":\"{mac}\"}}"));
        let after = Chain::after(seq, line.as_bytes());
        (line, after)
    }

    /// True if the line was written under this key.
    pub(super) fn wrote(&self, line: &[u8], entry: &Entry) -> bool {
        let body = line.len().checked_sub(TAIL_BYTES).map(|end| &line[..end]);
        body.is_some_and(|body| crypto::equal(self.line_mac(body).as_bytes(), entry.mac.as_bytes()))
    }
}

/// What the chain needs of a line.
#[derive(Debug, Deserialize)]
pub(super) struct Entry {
    pub(super) seq: u64,
    pub(super) prev: String,
    pub(super) mac: String,
    /// Of a line that was written behind bytes which a crash left.
    #[serde(default)]
    pub(super) torn_bytes: Option<u64>,
    #[serde(default)]
    pub(super) torn_sha256: Option<String>,
    /// Of the first line of a file: the oldest line that was kept.
    #[serde(default)]
    pub(super) kept_from: Option<u64>,
    /// Of a line that follows a loss.
    #[serde(default)]
    pub(super) lost: Option<String>,
}

/// Fields that only the log itself writes.
pub(super) const OWN_FIELDS: [&str; 7] = ["seq", "prev", "mac", "torn_bytes", "torn_sha256", "kept_from", "lost"];

impl Entry {
    /// None if `line` is no line of a log.
    pub(super) fn parse(line: &[u8]) -> Option<Self> {
        serde_json::from_slice(line).ok()
    }

    /// True if the line stands behind exactly these bytes.
    pub(super) fn marks(&self, torn: &[u8]) -> bool {
        self.torn_bytes == Some(torn.len() as u64)
            && self.torn_sha256.as_deref() == Some(hex(&crypto::sha256(&[torn])).as_str())
    }
}

/// Fields of the line behind torn bytes.
pub(super) fn torn_fields(torn: &[u8]) -> String {
    format!("\"event\":\"torn\",\"torn_bytes\":{},\"torn_sha256\":\"{}\"", torn.len(), hex(&crypto::sha256(&[torn])))
}

/// Lowercase hex digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
