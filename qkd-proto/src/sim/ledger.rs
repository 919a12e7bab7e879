//! The checker: it sees every pad use and every delivery, and judges.

use std::collections::{BTreeMap, BTreeSet};

use crate::crypto;
use crate::id::{KeyId, LinkId, PoolId, SaeId};
use crate::node::effect::PadUse;
use crate::secret::SecretBytes;

/// A broken rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Violation {
    /// A pad byte hid two different things.
    PadTwice(LinkId, u64),
    /// A key went to the same application twice.
    DeliveredTwice(KeyId, SaeId),
    /// A key went to an application that is not its master or slave.
    NotEntitled(KeyId, SaeId),
    /// Two applications got different bits under one id.
    Different(KeyId),
    /// A master has a key that its slave can never get.
    OneSided(KeyId),
    /// A node could not start from its own disk.
    NoRestart(String),
}

/// One use: end of the range, digest of what left.
type Use = (u64, [u8; 16]);

struct Key {
    digest: [u8; 32],
    pair: (SaeId, SaeId),
    got: BTreeSet<SaeId>,
}

/// Everything that was seen.
#[derive(Default)]
pub(super) struct Ledger {
    pads: BTreeMap<(LinkId, PoolId, bool), BTreeMap<u64, Use>>,
    keys: BTreeMap<KeyId, Key>,
    pub(super) pad_uses: usize,
    pub(super) violations: Vec<Violation>,
}

impl Ledger {
    /// Pad bytes are about to leave.
    pub(super) fn pad(&mut self, note: &PadUse) {
        self.pad_uses += 1;
        let side = self.pads.entry((note.link.clone(), note.pool, note.forward)).or_default();
        let end = note.offset + note.length;
        let before = side.range(..end).next_back().map(|(start, known)| (*start, *known));
        if let Some((start, (known_end, digest))) = before
            && known_end > note.offset
            && (start, known_end, digest) != (note.offset, end, note.digest)
        {
            self.violations.push(Violation::PadTwice(note.link.clone(), note.offset));
        }
        side.insert(note.offset, (end, note.digest));
    }

    /// An application got a key.
    pub(super) fn delivered(&mut self, id: KeyId, bits: &SecretBytes, to: &SaeId, pair: (&SaeId, &SaeId)) {
        let digest = crypto::sha256(&[bits.expose()]);
        let key = self.keys.entry(id).or_insert_with(|| Key {
            digest,
            pair: (pair.0.clone(), pair.1.clone()),
            got: BTreeSet::new(),
        });
        if key.digest != digest {
            self.violations.push(Violation::Different(id));
        }
        if *to != key.pair.0 && *to != key.pair.1 {
            self.violations.push(Violation::NotEntitled(id, to.clone()));
        }
        if !key.got.insert(to.clone()) {
            self.violations.push(Violation::DeliveredTwice(id, to.clone()));
        }
    }

    /// A slave was finally refused a key that its master has.
    pub(super) fn one_sided(&mut self, id: KeyId) {
        self.violations.push(Violation::OneSided(id));
    }

    /// Keys that a master got, and those that both got.
    pub(super) fn counts(&self) -> (usize, usize) {
        let master = self.keys.values().filter(|key| key.got.contains(&key.pair.0)).count();
        let both =
            self.keys.values().filter(|key| key.got.contains(&key.pair.0) && key.got.contains(&key.pair.1)).count();
        (master, both)
    }
}
