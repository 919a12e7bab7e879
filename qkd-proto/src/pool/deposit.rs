//! Distilled keys on their way into the pool. In: keys, and what the neighbour says of deposits. Out:
//! pad blocks, the same at both ends. Always: bytes are usable only once both ends hold them; what one
//! end lacks becomes a hole at both; over a lost connection a key waits only if its block does.

use super::hash_keys::{FRESH_BYTES, Generation};
use super::message::{DepositOffer, Resume};
use super::record::{BLOCK_INDEX_MAX, BLOCKS_AHEAD_MAX};
use super::{Direction, LinkKeyPool, PAD_BLOCK_BYTES, PadBlocks, PadPlace};
use crate::distill::key::SecretKey;
use crate::entropy::Entropy;
use crate::id::BlockId;
use crate::secret::SecretBytes;

/// Blocks distilled but not yet deposited, at most.
const DISTILLED_MAX: usize = 4;

/// A secret key that waits for the transmitter to say where its blocks go.
pub(super) struct Distilled {
    block: BlockId,
    bytes: SecretBytes,
}

impl LinkKeyPool {
    /// Goes on with the neighbour's state: what one end lacks becomes a hole at both, and this end
    /// sends from where the neighbour will accept. With `blocks` on their way at both ends, their keys
    /// wait on, and the block of a deposit that the neighbour never saw comes back: it is to be offered
    /// anew. Else all that waits for agreement of the old link session is dropped.
    pub fn resume(&mut self, theirs: &Resume, blocks: bool) -> Option<BlockId> {
        let unanswered = self.unanswered.take().filter(|_| blocks);
        let fate = unanswered.as_ref().map(|(offer, _)| fate(offer, theirs));
        if let (Some((offer, _)), Some(Fate::Taken)) = (&unanswered, &fate) {
            self.confirm_deposit(offer);
        }
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
        // The ends may differ in what was left over, and in which hash keys were proposed.
        self.residue = None;
        self.hash_keys.withdraw();
        if !blocks {
            self.receive_mut().forget_skipped();
            self.distilled.clear();
            return None;
        }
        let (offer, bytes) = unanswered.filter(|_| matches!(fate, Some(Fate::Unseen)))?;
        self.distilled.push_front(Distilled { block: offer.block, bytes });
        Some(offer.block)
    }

    /// Keeps a distilled key until its deposit is agreed.
    pub fn distilled(&mut self, block: BlockId, key: SecretKey) {
        self.keep(block, key.into_bits().into_bytes());
    }

    fn keep(&mut self, block: BlockId, bytes: SecretBytes) {
        self.distilled.retain(|waiting| waiting.block != block);
        if self.distilled.len() == DISTILLED_MAX {
            self.distilled.pop_front();
        }
        self.distilled.push_back(Distilled { block, bytes });
    }

    /// Keeps bytes that one end has given away, until their deposit is agreed.
    pub fn granted(&mut self, block: BlockId, bytes: SecretBytes) {
        self.keep(block, bytes);
    }

    /// True while a key waits for its deposit to be agreed.
    pub fn is_depositing(&self) -> bool {
        self.unanswered.is_some() || !self.distilled.is_empty()
    }

    /// Transmitter: deposits `block`'s key and says where. Whole pad blocks go to the direction that
    /// has less; what is left over waits for the next block.
    pub fn deposit(&mut self, block: BlockId, entropy: &mut dyn Entropy) -> Option<(DepositOffer, PadBlocks)> {
        let bytes = self.take_distilled(block)?;
        let prior = self.residue.as_ref().map(|residue| residue.block);
        let own = SecretBytes::copy_of(bytes.expose());
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
        self.unanswered = Some((offer, own));
        Some((offer, self.cut(&offer, whole, entropy)))
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
    pub fn deposit_at(&mut self, offer: &DepositOffer, entropy: &mut dyn Entropy) -> Option<PadBlocks> {
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
        Some(self.cut(offer, whole, entropy))
    }

    /// Both ends hold the blocks of `offer`: they may be used from now on. The bootstrap ends
    /// once both directions have had a block.
    pub fn confirm_deposit(&mut self, offer: &DepositOffer) {
        self.unanswered = None;
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
        self.unanswered = None;
        self.hash_keys.withdraw();
        for side in 0..2 {
            let first = offer.first[side];
            self.sides[side].skip(first, first + u64::from(offer.count[side]));
        }
        self.residue = None;
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
    fn cut(&mut self, offer: &DepositOffer, whole: SecretBytes, entropy: &mut dyn Entropy) -> PadBlocks {
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
                let (index, piece) = (offer.first[side] + i, SecretBytes::copy_of(piece));
                let place = PadPlace { pool: self.id, direction, index };
                let sealed = self.chains[side].seal(place, &piece, entropy);
                blocks.extend(sealed.map(|sealed| (direction, index, sealed)));
                self.sides[side].hold(index, piece);
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

/// What became of a deposit whose answer was lost.
#[derive(Clone, Copy)]
enum Fate {
    /// The neighbour holds its blocks.
    Taken,
    /// Its indices lie beyond all that the neighbour holds.
    Unseen,
    /// The neighbour made holes of it, or it had no whole block to tell by.
    Lost,
}

/// What the neighbour's state tells about a deposit: indices of a pool are given out once, and the
/// neighbour takes both directions of a deposit or none.
fn fate(offer: &DepositOffer, theirs: &Resume) -> Fate {
    let ranges = || (0..2).map(|side| (side, offer.first[side], offer.first[side] + u64::from(offer.count[side])));
    let ranges = || ranges().filter(|&(_, first, end)| first < end);
    let punched = |side: usize, first, end| theirs.holes[side].iter().any(|&(from, to)| from < end && first < to);
    if ranges().next().is_none() || ranges().any(|(side, first, end)| punched(side, first, end)) {
        Fate::Lost
    } else if ranges().all(|(side, _, end)| theirs.held[side] >= end) {
        Fate::Taken
    } else if ranges().all(|(side, first, _)| theirs.held[side] <= first) {
        Fate::Unseen
    } else {
        Fate::Lost
    }
}
