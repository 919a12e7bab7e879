//! Files with secrets. In: a path. Out: 32 bytes. Always: a file that group or others may read is
//! refused, and no error quotes its content.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use qkd_proto::secret::SecretBytes;
use zeroize::Zeroizing;

/// Bytes of every secret here.
const SECRET_BYTES: usize = 32;
/// Largest file with a secret or a certificate, in bytes.
pub(super) const FILE_BYTES_MAX: u64 = 1 << 20;

/// Why the file cannot be used, without its name.
pub(super) fn check_private(path: &Path) -> Result<(), String> {
    let about = std::fs::metadata(path).map_err(|error| format!("cannot be read: {error}"))?;
    let mode = about.permissions().mode() & 0o777;
    if !about.is_file() {
        return Err("is not a file".into());
    }
    if mode & 0o077 != 0 {
        return Err(format!("has mode {mode:04o}, at most 0600 is allowed: run chmod 600 on it"));
    }
    Ok(())
}

/// Reads the 64 hex digits of a secret.
pub(super) fn read_secret(path: &Path) -> Result<SecretBytes, String> {
    check_private(path)?;
    let file = File::open(path).map_err(|error| format!("cannot be read: {error}"))?;
    let mut text = Zeroizing::new(Vec::with_capacity(256));
    file.take(200).read_to_end(&mut text).map_err(|error| format!("cannot be read: {error}"))?;
    let digits = text.trim_ascii();
    let bytes = hex_bytes(digits).map(Zeroizing::new).ok_or("must hold 64 hex digits (32 bytes)")?;
    Ok(SecretBytes::copy_of(bytes.as_slice()))
}

/// 32 bytes from 64 hex digits.
pub(super) fn hex_bytes(digits: &[u8]) -> Option<[u8; SECRET_BYTES]> {
    if digits.len() != 2 * SECRET_BYTES {
        return None;
    }
    let mut bytes = [0; SECRET_BYTES];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let high = (pair[0] as char).to_digit(16)?;
        let low = (pair[1] as char).to_digit(16)?;
        *byte = u8::try_from(high << 4 | low).ok()?;
    }
    Some(bytes)
}
