//! Where the master key comes from. In: a file, a credential of systemd, or a passphrase. Out: the key
//! in locked memory. Always: exactly one source, and a wrong passphrase is told from damage.
//!
//! A passphrase goes through Argon2id (RFC 9106). Salt, costs and a check value lie in the data
//! directory: they are no secret, and a zeroized directory has lost them, so that the passphrase
//! alone opens no copy of it that lacks them.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};

use argon2::{Algorithm, Argon2, Params, Version};
use qkd_proto::crypto::{self, SystemEntropy};
use qkd_proto::entropy::draw;
use qkd_proto::labels::derive::STORE_PASSPHRASE;
use qkd_proto::secret::SecretBytes;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use zeroize::{Zeroize as _, Zeroizing};

use super::access::{MASTER_KEY_BYTES, OTHERS, read_credential, read_master_key, read_private};
use super::data_dir::DataDirError;
use super::error::StoreError;
use super::locked::LockedKey;
use super::{files, fresh};

/// Shortest and longest passphrase, in bytes.
pub const PASSPHRASE_BYTES: std::ops::RangeInclusive<usize> = 12..=1024;
/// The salt and the costs.
const COSTS_FILE: &str = "passphrase";
const FORM: &str = "qkdd passphrase 1 argon2id";
/// Second choice of RFC 9106, 4: 64 MiB, three passes, four lanes.
const COSTS: Costs = Costs { kib: 65_536, passes: 3, lanes: 4 };

/// Where a node's master key is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MasterKeySource {
    /// A file that only its owner may read: 64 hex digits or 32 bytes.
    File(PathBuf),
    /// A credential that systemd shows to this service alone; the same forms.
    Credential(PathBuf),
    /// A file whose first line is a passphrase.
    PassphraseFile(PathBuf),
    /// The terminal, at start.
    Prompt,
}

/// Why there is no master key.
#[derive(Debug, thiserror::Error)]
pub enum MasterKeyError {
    /// A file.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// A file of the data directory.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Nobody can be asked.
    #[error(
        "the master key's passphrase is to be typed, but there is no terminal: {0}: start in one, or use passphrase_file or credential"
    )]
    NoTerminal(std::io::Error),
    /// Too short or too long.
    #[error("the passphrase has {0} bytes, 12 to 1024 are allowed: choose another")]
    Length(usize),
    /// Not the one that the directory was made with.
    #[error("the passphrase is wrong: it is not the one that this data directory was made with")]
    Wrong,
    /// Costs that are out of all bounds, or no such file.
    #[error("{} is not of a known form, or its costs are out of bounds: restore it from a backup", .0.display())]
    Costs(PathBuf),
    /// Argon2 or the memory.
    #[error("no key from the passphrase: {0}: free memory and try again")]
    Derivation(String),
}

impl MasterKeySource {
    /// What start-up would refuse about the file, without deriving a key.
    ///
    /// # Errors
    /// If the file cannot be used.
    pub fn check(&self) -> Result<(), MasterKeyError> {
        match self {
            Self::File(path) => drop(read_master_key(path)?),
            Self::Credential(path) => drop(read_credential(path)?),
            Self::PassphraseFile(path) => drop(first_line(path)?),
            Self::Prompt => {}
        }
        Ok(())
    }

    /// True if unlocking needs the passphrase.
    pub fn is_passphrase(&self) -> bool {
        matches!(self, Self::PassphraseFile(_) | Self::Prompt)
    }

    /// The key for the data directory `dir`. Asks and derives where that is needed, which takes a while.
    ///
    /// # Errors
    /// If there is no key, or a wrong one.
    pub fn open(&self, dir: &Path) -> Result<LockedKey, MasterKeyError> {
        let key = match self {
            Self::File(path) => read_master_key(path)?,
            Self::Credential(path) => read_credential(path)?,
            Self::PassphraseFile(path) => from_passphrase(&first_line(path)?, dir)?,
            Self::Prompt => from_passphrase(&ask().map_err(MasterKeyError::NoTerminal)?, dir)?,
        };
        LockedKey::new(key).map_err(|error| MasterKeyError::Derivation(error.to_string()))
    }
}

/// What a passphrase is worth to `dir`: the master key.
///
/// # Errors
/// If it is not the one that the directory was made with.
pub fn from_passphrase(passphrase: &SecretBytes, dir: &Path) -> Result<SecretBytes, MasterKeyError> {
    if !PASSPHRASE_BYTES.contains(&passphrase.len()) {
        return Err(MasterKeyError::Length(passphrase.len()));
    }
    let path = dir.join(COSTS_FILE);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(StoreError::io("read", &path)(error).into()),
    };
    let Some(text) = text else { return first_use(passphrase, dir, &path) };
    let (costs, salt, check) = Costs::parse(&text).ok_or(MasterKeyError::Costs(path))?;
    let key = costs.derive(passphrase, &salt)?;
    if crypto::equal(check_of(&key).as_bytes(), check.as_bytes()) { Ok(key) } else { Err(MasterKeyError::Wrong) }
}

/// Only a directory that may be made anew gets a new salt: to any other it would be a wrong key.
fn first_use(passphrase: &SecretBytes, dir: &Path, path: &Path) -> Result<SecretBytes, MasterKeyError> {
    if fresh::read(&dir.join(fresh::FRESH_FILE))?.is_none() {
        return Err(StoreError::Missing { path: path.to_owned() }.into());
    }
    let salt: [u8; 16] = draw(&mut SystemEntropy::new());
    let key = COSTS.derive(passphrase, &salt)?;
    let Costs { kib, passes, lanes } = COSTS;
    let text = format!("{FORM} m={kib} t={passes} p={lanes} salt={} check={}\n", hex(&salt), check_of(&key));
    files::write_whole(path, text.as_bytes())?;
    Ok(key)
}

/// What Argon2id costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Costs {
    kib: u32,
    passes: u32,
    lanes: u32,
}

impl Costs {
    fn parse(text: &str) -> Option<(Self, [u8; 16], String)> {
        let rest = text.strip_suffix('\n')?.strip_prefix(FORM)?.strip_prefix(' ')?;
        let mut words = rest.split(' ');
        let mut next = |name: &str| words.next()?.strip_prefix(name);
        let costs = Self {
            kib: next("m=")?.parse().ok().filter(|kib| (8192..=1_048_576).contains(kib))?,
            passes: next("t=")?.parse().ok().filter(|passes| (1..=16).contains(passes))?,
            lanes: next("p=")?.parse().ok().filter(|lanes| (1..=16).contains(lanes))?,
        };
        let salt = unhex(next("salt=")?)?;
        let check = next("check=")?.to_owned();
        words.next().is_none().then_some((costs, salt, check))
    }

    fn derive(&self, passphrase: &SecretBytes, salt: &[u8]) -> Result<SecretBytes, MasterKeyError> {
        let failed = |error: argon2::Error| MasterKeyError::Derivation(error.to_string());
        let params = Params::new(self.kib, self.passes, self.lanes, Some(MASTER_KEY_BYTES)).map_err(failed)?;
        let mut key = Zeroizing::new([0; MASTER_KEY_BYTES]);
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        argon2.hash_password_into(passphrase.expose(), salt, &mut *key).map_err(failed)?;
        Ok(SecretBytes::copy_of(&*key))
    }
}

fn check_of(key: &SecretBytes) -> String {
    hex(&crypto::hmac_sha256(key.expose(), STORE_PASSPHRASE, &[])[..16])
}

/// The first line of a file that only its owner may read.
fn first_line(path: &Path) -> Result<SecretBytes, MasterKeyError> {
    let text = read_private(path, OTHERS, *PASSPHRASE_BYTES.end() + 2)?;
    let line = text.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if PASSPHRASE_BYTES.contains(&line.len()) {
        Ok(SecretBytes::copy_of(line))
    } else {
        Err(MasterKeyError::Length(line.len()))
    }
}

/// Asks on the terminal, without showing what is typed.
fn ask() -> std::io::Result<SecretBytes> {
    let mut terminal = File::options().read(true).write(true).open("/dev/tty")?;
    terminal.write_all(b"Passphrase of the master key: ")?;
    let shown = tcgetattr(&terminal)?;
    let mut hidden = shown.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&terminal, OptionalActions::Flush, &hidden)?;
    let mut line = Zeroizing::new(Vec::with_capacity(PASSPHRASE_BYTES.end() + 2));
    let limit = *PASSPHRASE_BYTES.end() as u64 + 1;
    let read = BufReader::with_capacity(1, &terminal).take(limit).read_until(b'\n', &mut line);
    tcsetattr(&terminal, OptionalActions::Flush, &shown)?;
    terminal.write_all(b"\n")?;
    read?;
    let typed = SecretBytes::copy_of(line.strip_suffix(b"\n").unwrap_or(&line));
    line.zeroize();
    Ok(typed)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(digits: &str) -> Option<[u8; 16]> {
    if digits.len() != 32 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    Some(u128::from_str_radix(digits, 16).ok()?.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::super::data_dir::DataDir;
    use super::*;

    fn words(text: &str) -> SecretBytes {
        SecretBytes::copy_of(text.as_bytes())
    }

    #[test]
    fn a_passphrase_opens_its_own_directory_only() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("data");
        DataDir::prepare(&dir).unwrap();
        let right = words("correct horse battery");
        let key = from_passphrase(&right, &dir).unwrap();
        std::fs::remove_file(dir.join(fresh::FRESH_FILE)).unwrap();
        assert!(crypto::equal(from_passphrase(&right, &dir).unwrap().expose(), key.expose()));
        assert!(matches!(from_passphrase(&words("correct horse batters"), &dir), Err(MasterKeyError::Wrong)));
        assert!(matches!(from_passphrase(&words("short"), &dir), Err(MasterKeyError::Length(5))));
        let path = dir.join(COSTS_FILE);
        let text = std::fs::read_to_string(&path).unwrap();
        for (from, to) in
            [("m=65536", "m=4294967295"), ("t=3", "t=0"), ("p=4", "p=99"), ("salt=", "salt=x"), ("2id", "2d")]
        {
            std::fs::write(&path, text.replace(from, to)).unwrap();
            assert!(matches!(from_passphrase(&right, &dir), Err(MasterKeyError::Costs(_))), "{to}");
        }
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(from_passphrase(&right, &dir), Err(MasterKeyError::Store(StoreError::Missing { .. }))));
    }

    #[test]
    fn a_passphrase_file_gives_its_first_line() {
        use std::os::unix::fs::PermissionsExt as _;
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("words");
        std::fs::write(&path, "correct horse battery\r\nmore\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(first_line(&path).unwrap().expose(), b"correct horse battery");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(MasterKeySource::PassphraseFile(path).check().is_err());
    }
}
