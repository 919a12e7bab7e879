//! One link's unused secret bits. In: secret keys of the distilled blocks. Out: [`LinkKey`]s, each
//! range once. Always: only the sender of a direction allocates, strictly rising, below a mark that
//! is on stable storage here and at the neighbour (`design` 5: deposit, reserve, spend).
//!
//! The pool is split by direction, so the two ends can never draw the same byte. Within a
//! direction, blocks of [`PAD_BLOCK_BYTES`] have a dense index; a block that one end lost is an
//! explicit hole at both.

mod chain;
mod deposit;
pub mod handshake;
mod hash_keys;
mod judge;
mod ledger;
pub mod message;
pub mod record;
mod stock;
mod window;

pub use chain::{PadChain, PadPlace};
use deposit::Distilled;
pub use judge::Testimony;
pub use ledger::{AcceptError, Ledger};
pub use stock::BootstrapStock;
pub use window::Window;

use std::collections::VecDeque;

use crate::entropy::Entropy;
use crate::id::PoolId;
use crate::mac::{self, AuthTag, HashValue, PadStock, RunningHash};
use crate::secret::SecretBytes;
use hash_keys::HashKeys;
use message::{DepositOffer, Resume};
use record::{MarksRecord, PoolRecord};

/// Bytes of one pad block.
pub const PAD_BLOCK_BYTES: usize = 4096;
/// Bytes that one reservation sets aside at most, and that a crash may burn twice: two windows are open.
pub const WINDOW_BYTES: u64 = 64 << 10;
/// Bytes of a direction that relaying leaves for authentication: 64 tags.
pub const AUTHENTICATION_FLOOR_BYTES: u64 = 64 * mac::TAG_PAD_BYTES as u64;

/// Bits taken out for one use (ITU-T Y.3803 "KMA-key" in use), and where they lay.
#[derive(Debug)]
pub struct LinkKey {
    /// First byte in its direction.
    pub offset: u64,
    /// The bytes.
    pub bytes: SecretBytes,
}

/// The direction from transmitter to receiver, or the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// Transmitter to receiver.
    Forward,
    /// Receiver to transmitter.
    Reverse,
}

impl Direction {
    /// The other one.
    pub fn opposite(self) -> Self {
        match self {
            Self::Forward => Self::Reverse,
            Self::Reverse => Self::Forward,
        }
    }

    /// Its place in pairs.
    pub fn index(self) -> usize {
        usize::from(self == Self::Reverse)
    }
}

/// Pad blocks in the boxes of their chain, to become durable: direction, index in it, box.
pub type PadBlocks = Vec<(Direction, u64, SecretBytes)>;

/// The secret bits of one link (ITU-T "QKD-key" store of a KM link).
pub struct LinkKeyPool {
    id: PoolId,
    own: Direction,
    hash_keys: HashKeys,
    stock: Option<BootstrapStock>,
    sides: [Ledger; 2],
    /// Forward and reverse.
    chains: [PadChain; 2],
    distilled: VecDeque<Distilled>,
    residue: Option<Distilled>,
    /// Transmitter: the deposit that the neighbour has not answered, and the block's own bytes.
    unanswered: Option<(DepositOffer, SecretBytes)>,
    /// Directions that have had a block, forward and reverse.
    deposited: [bool; 2],
}

impl LinkKeyPool {
    /// A new, empty pool with the bootstrap's hash keys (forward, reverse) and first pads.
    pub fn new(
        id: PoolId,
        own: Direction,
        hash_keys: [SecretBytes; 2],
        stock: BootstrapStock,
        entropy: &mut dyn Entropy,
    ) -> Self {
        let sides = [Ledger::default(), Ledger::default()];
        let chains = [PadChain::new(entropy), PadChain::new(entropy)];
        let (hash_keys, distilled) = (HashKeys::bootstrap(hash_keys), VecDeque::new());
        Self {
            id,
            own,
            hash_keys,
            stock: Some(stock),
            sides,
            chains,
            distilled,
            residue: None,
            unanswered: None,
            deposited: [false; 2],
        }
    }

    /// The pool as its records tell it: after a crash, what was reserved and not used is burnt. Its blocks stay
    /// on the disk until they are read back.
    pub fn restore(record: PoolRecord, marks: &MarksRecord, chains: [PadChain; 2], own: Direction) -> Self {
        let (id, hash_keys, records) = record.into_parts();
        let (send, receive) = ((marks.send_next, marks.send_reserved), (marks.recv_next, marks.recv_reserved));
        let marks_of = if own == Direction::Forward { [send, receive] } else { [receive, send] };
        let [forward, reverse] = records;
        let restore = |record, (next, reserved)| Ledger::restore(record, next, reserved);
        let sides = [restore(forward, marks_of[0]), restore(reverse, marks_of[1])];
        let distilled = VecDeque::new();
        Self {
            id,
            own,
            hash_keys,
            stock: None,
            sides,
            chains,
            distilled,
            residue: None,
            unanswered: None,
            deposited: [true; 2],
        }
    }

    /// Its identity.
    pub fn id(&self) -> PoolId {
        self.id
    }

    /// The direction that this end sends in.
    pub fn own_direction(&self) -> Direction {
        self.own
    }

    /// The direction that this end allocates from.
    pub fn send(&self) -> &Ledger {
        &self.sides[self.own.index()]
    }

    /// The direction that the neighbour allocates from.
    pub fn receive(&self) -> &Ledger {
        &self.sides[self.own.opposite().index()]
    }

    /// The direction that this end allocates from, to move its marks.
    pub fn send_mut(&mut self) -> &mut Ledger {
        &mut self.sides[self.own.index()]
    }

    /// The direction that the neighbour allocates from, to move its marks.
    pub fn receive_mut(&mut self) -> &mut Ledger {
        &mut self.sides[self.own.opposite().index()]
    }

    /// The chains of both directions, for the marks.
    pub fn chains(&self) -> &[PadChain; 2] {
        &self.chains
    }

    /// Blocks of `direction` on the way to the offset `to` that have to be read back first.
    pub fn unread(&self, direction: Direction, to: u64) -> Vec<u64> {
        self.sides[direction.index()].unread(to)
    }

    /// What the disk has of a block. False if it is lost: then it is a hole, and the neighbour must hear of it.
    pub fn read_back(&mut self, direction: Direction, index: u64, sealed: Option<&SecretBytes>) -> bool {
        let place = PadPlace { pool: self.id, direction, index };
        let bytes = sealed.and_then(|sealed| self.chains[direction.index()].open(place, sealed));
        let found = bytes.is_some();
        self.sides[direction.index()].fill(index, bytes);
        found
    }

    /// Opens the blocks of `direction` up to the offset `to`: from now on they are in memory only.
    pub fn open_to(&mut self, direction: Direction, to: u64) {
        let side = direction.index();
        self.sides[side].open_to(to);
        self.chains[side].advance(self.sides[side].opened());
    }

    /// Blocks whose boxes on the disk are of no use any more, up to so many of each direction.
    pub fn purge(&mut self, most: u64) -> Vec<(Direction, u64)> {
        let mut gone = Vec::new();
        for direction in [Direction::Forward, Direction::Reverse] {
            gone.extend(self.sides[direction.index()].purge(most).map(|index| (direction, index)));
        }
        gone
    }

    /// Puts what is open and unused back into boxes under new keys, for a clean stop. Nothing is spent after.
    pub fn close(&mut self, entropy: &mut dyn Entropy) -> PadBlocks {
        let mut blocks = PadBlocks::new();
        for direction in [Direction::Forward, Direction::Reverse] {
            let (side, chain) = (&self.sides[direction.index()], &mut self.chains[direction.index()]);
            let from = side.next() / PAD_BLOCK_BYTES as u64;
            if from >= side.opened() {
                continue;
            }
            chain.put_in_front(from, side.opened(), entropy);
            for (index, bytes) in side.open_blocks() {
                let spent = usize::try_from(side.next().saturating_sub(index * PAD_BLOCK_BYTES as u64)).unwrap_or(0);
                let mut rest = vec![0; PAD_BLOCK_BYTES];
                rest[spent..].copy_from_slice(&bytes.expose()[spent..]);
                let place = PadPlace { pool: self.id, direction, index };
                let sealed = chain.seal(place, &SecretBytes::new(rest), entropy);
                blocks.extend(sealed.map(|sealed| (direction, index, sealed)));
            }
        }
        blocks
    }

    /// True until both directions have had a deposit: tags rest on the bootstrap only.
    pub fn is_bootstrap(&self) -> bool {
        self.stock.is_some()
    }

    /// Its durable form.
    pub fn record(&self) -> PoolRecord {
        PoolRecord::new(self.id, self.hash_keys.parts(), [self.sides[0].record(), self.sides[1].record()])
    }

    /// What this end tells its neighbour in a handshake.
    pub fn resume_offer(&self, marks: &MarksRecord) -> Resume {
        Resume {
            pool: self.id,
            mark_sequence: marks.sequence,
            send_reserved: marks.send_reserved,
            recv_reserved: marks.recv_reserved,
            recv_floor: self.receive().next(),
            held: [0, 1].map(|side| self.sides[side].held()),
            holes: [0, 1].map(|side| self.sides[side].holes().to_vec()),
        }
    }

    /// Takes `length` bytes of this end's direction for relaying, leaving the authentication floor.
    pub fn spend(&mut self, length: u64) -> Option<LinkKey> {
        let floor = AUTHENTICATION_FLOOR_BYTES;
        if self.send().available() < length + floor {
            return None;
        }
        self.send_mut().spend(length)
    }

    /// The bytes that the neighbour spent at `offset`.
    ///
    /// # Errors
    /// If they were used before, are not reserved, or are not held here.
    pub fn accept(&mut self, offset: u64, length: u64) -> Result<LinkKey, AcceptError> {
        self.receive_mut().accept(offset, length)
    }

    /// The generation of hash keys that new blocks use.
    pub fn hash_keys(&self) -> u32 {
        self.hash_keys.current()
    }

    /// The hash of a text that `signer`'s direction signs, as its parts come in; none if this end
    /// lacks that generation of hash keys.
    pub fn hash(&self, generation: u32, signer: Direction, label: &str) -> Option<RunningHash> {
        self.hash_keys.hash(generation, signer, label)
    }

    /// Signs a text of this end under the next pad; `None` if there is none.
    pub fn sign(&mut self, text: &HashValue) -> Option<AuthTag> {
        let own = self.own;
        let (stock, pad) = match &mut self.stock {
            Some(stock) => (PadStock::Bootstrap, stock.spend(own)?),
            None => (PadStock::Pool, self.send_mut().spend(mac::TAG_PAD_BYTES as u64)?),
        };
        self.hash_keys.count();
        Some(AuthTag { stock, offset: pad.offset, tag: text.hide(pad.bytes.expose()) })
    }

    /// As [`Self::accept`], for words that have to prove themselves with those bytes; none if they do not.
    ///
    /// # Errors
    /// As there.
    pub fn accept_proven<T>(
        &mut self,
        offset: u64,
        length: u64,
        prove: impl FnOnce(LinkKey) -> Option<T>,
    ) -> Result<Option<T>, AcceptError> {
        self.receive_mut().accept_proven(offset, length, prove)
    }

    /// True if the neighbour signed `text`. The pad of a right tag is gone; a wrong one takes none with it but
    /// the very next.
    pub fn check(&mut self, text: &HashValue, claimed: &AuthTag) -> bool {
        self.hash_keys.count();
        let (theirs, length) = (self.own.opposite(), mac::TAG_PAD_BYTES as u64);
        let prove = |pad: LinkKey| (text.hide(pad.bytes.expose()) == claimed.tag).then_some(());
        let proven = match (&mut self.stock, claimed.stock) {
            (Some(stock), PadStock::Bootstrap) => stock.accept_proven(theirs, claimed.offset, prove),
            (None, PadStock::Bootstrap) => None,
            (_, PadStock::Pool) => self.accept_proven(claimed.offset, length, prove).ok().flatten(),
        };
        proven.is_some()
    }
}

impl std::fmt::Debug for LinkKeyPool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LinkKeyPool({:?}, send {:?}, receive {:?})", self.id, self.send(), self.receive())
    }
}

#[cfg(test)]
mod tests;
