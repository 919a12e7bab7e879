//! The section `[audit]`. In: a table. Out: how much of the log is kept. Always: bounded.

use super::section::Section;
use super::unit::Unit;
use crate::store::audit::AuditLimits;

/// Most full files.
const FILES_MAX: u64 = 1000;

pub(super) fn read_audit(root: &Section<'_>) -> AuditLimits {
    let (audit, default) = (root.section("audit"), AuditLimits::default());
    let bytes = audit.quantity("file_size", Unit::Bytes, 4096.0..=17_179_869_184.0);
    let files = audit.integer("files").filter(|files| {
        let fits = (1..=FILES_MAX).contains(files);
        if !fits {
            audit.fault("files", format!("= {files} is outside 1 to {FILES_MAX}: choose a value within"));
        }
        fits
    });
    audit.finish();
    AuditLimits {
        file_bytes: bytes.map_or(default.file_bytes, |bytes| bytes as u64),
        files: files.and_then(|files| files.try_into().ok()).unwrap_or(default.files),
    }
}
