//! Who may unlock a locked node, and the order to zeroize it. In: secrets of an operator, orders. Out: a
//! permit, or why not. Always: a secret is compared in constant time, and one guess is made at a time.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use qkd_proto::secret::SecretBytes;
use tokio_util::sync::CancellationToken;

use crate::store::access::key_of;
use crate::store::locked::LockedKey;
use crate::store::master_key::{MasterKeySource, from_passphrase};

/// A wrong guess costs so long, and the next one waits for it.
const GUESS_WAIT: Duration = Duration::from_secs(1);

/// Leave to unlock; only [`Guard::permit`] gives it.
#[derive(Debug)]
pub struct Permit(());

/// Keeps the master key, to know it again.
#[derive(Debug)]
pub struct Guard {
    /// The key.
    pub key: LockedKey,
    /// Where it came from.
    pub source: MasterKeySource,
    /// The directory that it opens.
    pub data_dir: PathBuf,
    /// The order to destroy that directory.
    pub zeroize: ZeroizeOrder,
    guess: Mutex<()>,
}

impl Guard {
    /// Over the directory that `key` opens.
    pub fn new(key: LockedKey, source: MasterKeySource, data_dir: PathBuf) -> Self {
        Self { key, source, data_dir, zeroize: ZeroizeOrder::default(), guess: Mutex::default() }
    }

    /// Leave to unlock: for the passphrase where there is one; else for the key, or for nothing. Takes
    /// a while.
    ///
    /// # Errors
    /// Why not.
    pub fn permit(&self, secret: Option<&SecretBytes>) -> Result<Permit, String> {
        let _one_at_a_time = self.guess.lock().unwrap_or_else(PoisonError::into_inner);
        let key = match secret {
            None if self.source.is_passphrase() => {
                return Err("unlocking needs the passphrase of the master key: give it with --secret-file".into());
            }
            None => return Ok(Permit(())),
            Some(secret) if self.source.is_passphrase() => from_passphrase(secret, &self.data_dir).ok(),
            Some(secret) => key_of(secret.expose()),
        };
        if key.is_some_and(|key| self.key.is(&key)) {
            return Ok(Permit(()));
        }
        std::thread::sleep(GUESS_WAIT);
        Err("the secret is not the one of this node's master key: the node stays locked".into())
    }
}

/// An order to zeroize, given once.
#[derive(Debug, Clone, Default)]
pub struct ZeroizeOrder(Arc<(CancellationToken, Mutex<Option<String>>)>);

impl ZeroizeOrder {
    /// Gives the order; the first reason stays.
    pub fn give(&self, reason: &str) {
        let mut known = self.0.1.lock().unwrap_or_else(PoisonError::into_inner);
        known.get_or_insert_with(|| reason.to_owned());
        drop(known);
        self.0.0.cancel();
    }

    /// Waits for the order; its reason.
    pub async fn given(&self) -> String {
        self.0.0.cancelled().await;
        self.0.1.lock().unwrap_or_else(PoisonError::into_inner).clone().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(source: MasterKeySource) -> Guard {
        Guard::new(LockedKey::new(SecretBytes::new(vec![1; 32])).unwrap(), source, PathBuf::from("x"))
    }

    #[test]
    fn a_key_from_a_file_is_asked_for_only_if_it_is_given() {
        let guard = guard(MasterKeySource::File(PathBuf::from("y")));
        assert!(guard.permit(None).is_ok());
        assert!(guard.permit(Some(&SecretBytes::copy_of("01".repeat(32).as_bytes()))).is_ok());
        assert!(guard.permit(Some(&SecretBytes::copy_of("02".repeat(32).as_bytes()))).is_err());
    }

    #[test]
    fn a_passphrase_is_needed_where_there_is_one() {
        assert!(guard(MasterKeySource::Prompt).permit(None).unwrap_err().contains("needs the passphrase"));
        assert!(guard(MasterKeySource::Prompt).permit(Some(&SecretBytes::new(vec![9; 20]))).is_err());
    }
}
