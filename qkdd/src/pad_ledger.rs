//! The test ledger of pad uses. In: uses, before the bytes leave. Out: a line each, in a file that
//! survives restarts. Always: offsets and digests, no bits; only with `[insecure_test]`.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

use qkd_proto::node::effect::{PadPurpose, PadUse};

/// An open ledger.
pub struct PadLedger(File);

impl PadLedger {
    /// Opens or makes the file, to append.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn open(path: &Path) -> io::Result<Self> {
        OpenOptions::new().create(true).append(true).open(path).map(Self)
    }

    /// Writes a use down.
    pub fn note(&mut self, note: &PadUse) {
        let PadUse { link, pool, forward, offset, length, purpose, digest } = note;
        let purpose = match purpose {
            PadPurpose::Relay => "relay",
            PadPurpose::Authentication => "authentication",
        };
        let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let line = format!(
            "{{\"link\":\"{link}\",\"pool\":\"{pool}\",\"forward\":{forward},\"offset\":{offset},\"length\":{length},\
             \"purpose\":\"{purpose}\",\"digest\":\"{digest}\"}}\n"
        );
        if let Err(error) = self.0.write_all(line.as_bytes()) {
            tracing::error!(%error, "The pad ledger cannot be written");
        }
    }
}
