//! One link's unused secret bits. In: secret keys of the distilled blocks. Out: [`LinkKey`]s, each
//! range once. Always: only the sender of a direction allocates, strictly rising, below a mark that
//! is on stable storage here and at the neighbour (`design` 5: deposit, reserve, spend).
//!
//! The pool is split by direction, so the two ends can never draw the same byte. Within a
//! direction, blocks of [`PAD_BLOCK_BYTES`] have a dense index; a block that one end lost is an
//! explicit hole at both.

pub mod handshake;
mod hash_keys;
mod ledger;
pub mod message;
pub mod record;
mod stock;

pub use ledger::{AcceptError, Ledger};
pub use stock::BootstrapStock;

use std::collections::VecDeque;

use crate::distill::key::SecretKey;
use crate::id::{BlockId, PoolId};
use crate::mac::{self, AuthTag, HashValue, PadStock, RunningHash};
use crate::secret::SecretBytes;
use hash_keys::{FRESH_BYTES, Generation, HashKeys};
use message::{DepositOffer, Resume};
use record::{BLOCK_INDEX_MAX, BLOCKS_AHEAD_MAX, MarksRecord, PoolRecord};

/// Bytes of one pad block.
pub const PAD_BLOCK_BYTES: usize = 4096;
/// Bytes that one reservation sets aside, and that a crash may burn.
pub const WINDOW_BYTES: u64 = 32 << 10;
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

/// Pad blocks that shall become durable: direction, index in it, bytes.
pub type PadBlocks = Vec<(Direction, u64, SecretBytes)>;

/// A secret key that waits for the transmitter to say where its blocks go.
struct Distilled {
    block: BlockId,
    bytes: SecretBytes,
}

/// The secret bits of one link (ITU-T "QKD-key" store of a KM link).
pub struct LinkKeyPool {
    id: PoolId,
    own: Direction,
    hash_keys: HashKeys,
    stock: Option<BootstrapStock>,
    sides: [Ledger; 2],
    distilled: VecDeque<Distilled>,
    residue: Option<Distilled>,
    /// Directions that have had a block, forward and reverse.
    deposited: [bool; 2],
}

/// Blocks distilled but not yet deposited, at most.
const DISTILLED_MAX: usize = 4;

impl LinkKeyPool {
    /// A new, empty pool with the bootstrap's hash keys (forward, reverse) and first pads.
    pub fn new(id: PoolId, own: Direction, hash_keys: [SecretBytes; 2], stock: BootstrapStock) -> Self {
        let sides = [Ledger::default(), Ledger::default()];
        let (hash_keys, distilled) = (HashKeys::bootstrap(hash_keys), VecDeque::new());
        Self { id, own, hash_keys, stock: Some(stock), sides, distilled, residue: None, deposited: [false; 2] }
    }

    /// The pool as its records tell it: what was reserved and not used is burnt.
    pub fn restore(record: PoolRecord, marks: &MarksRecord, own: Direction, pads: PadBlocks) -> Self {
        let (id, hash_keys, [forward, reverse]) = record.into_parts();
        let mut sides = [Ledger::restore(forward), Ledger::restore(reverse)];
        sides[own.index()].burn_to(marks.send_reserved);
        sides[own.opposite().index()].burn_to(marks.recv_reserved);
        for (direction, index, bytes) in pads {
            sides[direction.index()].hold(index, bytes);
        }
        let distilled = VecDeque::new();
        Self { id, own, hash_keys, stock: None, sides, distilled, residue: None, deposited: [true; 2] }
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

    /// Goes on with the neighbour's state: what one end lacks becomes a hole at both, and this end
    /// sends from where the neighbour will accept.
    pub fn resume(&mut self, theirs: &Resume) {
        for side in 0..2 {
            let ours = self.sides[side].held();
            let (low, high) = (ours.min(theirs.held[side]), ours.max(theirs.held[side]));
            for &(from, to) in theirs.holes[side].iter().chain([&(low, high)]) {
                self.sides[side].skip(from, to.min(high));
            }
            self.sides[side].confirm(high);
        }
        self.send_mut().resume_at(theirs.recv_floor, theirs.recv_reserved);
        // A pool that goes on authenticates from itself: the ends may differ in whether the bootstrap is over.
        self.stock = None;
        self.receive_mut().forget_skipped();
        self.forget_undeposited();
    }

    /// Keeps a distilled key until its deposit is agreed.
    pub fn distilled(&mut self, block: BlockId, key: SecretKey) {
        self.distilled.retain(|waiting| waiting.block != block);
        if self.distilled.len() == DISTILLED_MAX {
            self.distilled.pop_front();
        }
        self.distilled.push_back(Distilled { block, bytes: key.into_bits().into_bytes() });
    }

    /// Transmitter: deposits `block`'s key and says where. Whole pad blocks go to the direction that
    /// has less; what is left over waits for the next block.
    pub fn deposit(&mut self, block: BlockId) -> Option<(DepositOffer, PadBlocks)> {
        let bytes = self.take_distilled(block)?;
        let prior = self.residue.as_ref().map(|residue| residue.block);
        let whole = self.prepend_residue(bytes);
        let hash_keys = self.hash_keys.due().filter(|_| whole.len() >= FRESH_BYTES);
        let blocks = pad_blocks(&whole, hash_keys);
        let mut count = [0; 2];
        let [forward, reverse] = &self.sides;
        let mut level = [forward.available(), reverse.available()];
        for _ in 0..blocks {
            let to = usize::from(level[1] < level[0]);
            level[to] += PAD_BLOCK_BYTES as u64;
            count[to] += 1;
        }
        let first = [forward.held(), reverse.held()];
        let offer = DepositOffer { block, prior, hash_keys, first, count };
        Some((offer, self.cut(&offer, whole)))
    }

    /// True if an honest transmitter can have made this offer: it goes on where this end's blocks end,
    /// or a little further.
    pub fn is_plausible(&self, offer: &DepositOffer) -> bool {
        (0..2).all(|side| {
            let (held, first) = (self.sides[side].held(), offer.first[side]);
            let count = u64::from(offer.count[side]);
            first >= held && first - held <= BLOCKS_AHEAD_MAX && count <= BLOCKS_AHEAD_MAX && first < BLOCK_INDEX_MAX
        })
    }

    /// Receiver: deposits where the transmitter says. None if it does not hold the same bits.
    pub fn deposit_at(&mut self, offer: &DepositOffer) -> Option<PadBlocks> {
        let bytes = self.take_distilled(offer.block)?;
        if self.residue.as_ref().map(|residue| residue.block) != offer.prior {
            return None;
        }
        let whole = self.prepend_residue(bytes);
        let blocks = u64::from(offer.count[0]) + u64::from(offer.count[1]);
        let ahead = (0..2).all(|side| offer.first[side] >= self.sides[side].held());
        let room = offer.hash_keys.is_none() || whole.len() >= FRESH_BYTES;
        if blocks != pad_blocks(&whole, offer.hash_keys) as u64 || !ahead || !room {
            self.residue = None;
            return None;
        }
        Some(self.cut(offer, whole))
    }

    /// Both ends hold the blocks of `offer`: they may be used from now on. The bootstrap ends
    /// once both directions have had a block.
    pub fn confirm_deposit(&mut self, offer: &DepositOffer) {
        self.hash_keys.install();
        for side in 0..2 {
            self.sides[side].confirm(offer.first[side] + u64::from(offer.count[side]));
            self.deposited[side] |= offer.count[side] > 0;
        }
        // An end without pad of its own could not authenticate the next block.
        if self.deposited == [true, true] {
            self.stock = None;
        }
    }

    /// One end lacks the blocks of `offer`: they become holes here.
    pub fn refuse_deposit(&mut self, offer: &DepositOffer) {
        self.hash_keys.withdraw();
        for side in 0..2 {
            let first = offer.first[side];
            self.sides[side].skip(first, first + u64::from(offer.count[side]));
        }
        self.residue = None;
    }

    /// What waits for agreement of an old link session is dropped.
    fn forget_undeposited(&mut self) {
        self.distilled.clear();
        self.residue = None;
        self.hash_keys.withdraw();
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

    /// True if the neighbour signed `text`. The pad of a right tag is gone; a wrong one takes none with it but
    /// the very next. Where its pad lies is a claim as well, and a forged one must not burn what lies before.
    pub fn check(&mut self, text: &HashValue, claimed: &AuthTag) -> bool {
        self.hash_keys.count();
        let (theirs, length) = (self.own.opposite(), mac::TAG_PAD_BYTES as u64);
        let (pad, next) = match (&self.stock, claimed.stock) {
            (Some(stock), PadStock::Bootstrap) => (stock.peek(theirs, claimed.offset), stock.next(theirs)),
            (None, PadStock::Bootstrap) => return false,
            (_, PadStock::Pool) => (self.receive().peek(claimed.offset, length).ok(), self.receive().next()),
        };
        let Some(pad) = pad else { return false };
        let right = text.hide(pad.expose()) == claimed.tag;
        if right || claimed.offset == next {
            match (&mut self.stock, claimed.stock) {
                (Some(stock), PadStock::Bootstrap) => drop(stock.accept(theirs, claimed.offset)),
                _ => drop(self.accept(claimed.offset, length)),
            }
        }
        right
    }

    fn take_distilled(&mut self, block: BlockId) -> Option<SecretBytes> {
        // Blocks overlap, so the ends may finish two in different orders: another one stays.
        let at = self.distilled.iter().position(|waiting| waiting.block == block)?;
        self.distilled.remove(at).map(|waiting| waiting.bytes)
    }

    fn prepend_residue(&mut self, bytes: SecretBytes) -> SecretBytes {
        match self.residue.take() {
            Some(residue) => residue.bytes.join(&bytes),
            None => bytes,
        }
    }

    /// Cuts `whole` into pad blocks, forward ones first, and keeps the rest as residue.
    fn cut(&mut self, offer: &DepositOffer, whole: SecretBytes) -> PadBlocks {
        let mut blocks = PadBlocks::new();
        let mut whole = whole.expose();
        if let Some(number) = offer.hash_keys {
            let (fresh, rest) = whole.split_at(FRESH_BYTES);
            self.hash_keys.propose(Generation::new(number, fresh));
            whole = rest;
        }
        let mut pieces = whole.chunks_exact(PAD_BLOCK_BYTES);
        for direction in [Direction::Forward, Direction::Reverse] {
            let side = direction.index();
            self.sides[side].skip(self.sides[side].held(), offer.first[side]);
            for i in 0..u64::from(offer.count[side]) {
                let piece = pieces.next().expect("the offer counts the whole blocks");
                let index = offer.first[side] + i;
                self.sides[side].hold(index, SecretBytes::copy_of(piece));
                blocks.push((direction, index, SecretBytes::copy_of(piece)));
            }
        }
        self.residue = Some(Distilled { block: offer.block, bytes: SecretBytes::copy_of(pieces.remainder()) });
        blocks
    }
}

/// Whole pad blocks of a deposit, behind its new hash keys.
fn pad_blocks(whole: &SecretBytes, hash_keys: Option<u32>) -> usize {
    let fresh = if hash_keys.is_some() { FRESH_BYTES } else { 0 };
    whole.len().saturating_sub(fresh) / PAD_BLOCK_BYTES
}

impl std::fmt::Debug for LinkKeyPool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LinkKeyPool({:?}, send {:?}, receive {:?})", self.id, self.send(), self.receive())
    }
}

#[cfg(test)]
mod tests;
