//! One-sided traffic: an end whose direction is full gives unused bytes to the direction that runs dry. In: the
//! levels of both directions. Out: whole blocks, which both ends deposit anew where the transmitter says.
//! Always: only bytes that are reserved at both ends and that their owner will never allocate are given, so each
//! is used once, wherever it lies (`design` 5).

use super::Node;
use super::link::{Link, Phase};
use super::message::SESSION_BLOCK_BITS;
use crate::distill::plan::Role;
use crate::id::{BlockId, LinkId, Nonce};
use crate::pool::message::PoolMessage;
use crate::pool::{AUTHENTICATION_FLOOR_BYTES, PAD_BLOCK_BYTES};
use crate::relay::message::TRANSFER_BYTES_MAX;

/// Bytes of one grant, at most.
const GRANT_BYTES: u64 = 8 * PAD_BLOCK_BYTES as u64;
/// The neighbour's direction is dry below this: it cannot carry the longest transfer.
const DRY_BYTES: u64 = AUTHENTICATION_FLOOR_BYTES + TRANSFER_BYTES_MAX as u64 + PAD_BLOCK_BYTES as u64;
/// An owner with less than this gives nothing: it would be dry next.
const PLENTY_BYTES: u64 = DRY_BYTES + GRANT_BYTES;
/// Tells the numbers of grants from those of blocks.
const GRANT_BIT: u64 = 1 << (SESSION_BLOCK_BITS - 1);

impl Node {
    /// Gives bytes away if the neighbour lacks what this end has plenty of.
    pub(super) fn grant(&mut self, id: &LinkId) {
        let Some(link) = self.links.get_mut(id).filter(|link| link.in_session()) else { return };
        let Phase::Session { own, .. } = link.phase else { return };
        let settled = link.offer.is_none() && link.to_offer.is_empty();
        let Some(pool) = link.pool.as_mut().filter(|pool| settled && !pool.is_bootstrap()) else { return };
        if pool.receive().available() >= DRY_BYTES || pool.send().available() < PLENTY_BYTES || pool.is_depositing() {
            return;
        }
        let enough = pool.send().ready() >= GRANT_BYTES + PAD_BLOCK_BYTES as u64;
        let Some(given) = enough.then(|| pool.send_mut().give(GRANT_BYTES)).flatten() else {
            link.window.want(GRANT_BYTES + PAD_BLOCK_BYTES as u64);
            return self.replenish(id);
        };
        let (offset, length) = (given.offset, given.bytes.len() as u64);
        let block = grant_block(link, offset);
        if let Some(pool) = &mut link.pool {
            pool.granted(block, given.bytes);
        }
        let after = link.last_commit;
        self.send_pool(id, after, PoolMessage::Grant { nonce: own, offset, length });
        self.deposit_grant(id, block);
        self.replenish(id);
    }

    /// The neighbour gives bytes of its direction away.
    pub(super) fn grant_heard(&mut self, id: &LinkId, nonce: Nonce, offset: u64, length: u64) {
        let Some(link) = self.links.get_mut(id) else { return };
        if !matches!(link.phase, Phase::Session { peer, .. } if peer == nonce) {
            return;
        }
        let block = grant_block(link, offset);
        let aligned = offset.is_multiple_of(PAD_BLOCK_BYTES as u64) && length.is_multiple_of(PAD_BLOCK_BYTES as u64);
        let sound = aligned && (1..=GRANT_BYTES).contains(&length);
        let taken = link.pool.as_mut().filter(|_| sound).and_then(|pool| pool.accept(offset, length).ok());
        let Some(taken) = taken else {
            return self.drop_link(id, &format!("a grant of {length} bytes at {offset} cannot be taken"));
        };
        if let Some(pool) = &mut link.pool {
            pool.granted(block, taken.bytes);
        }
        self.deposit_grant(id, block);
    }

    /// Where a granted block goes is the transmitter's word, as for a distilled one.
    fn deposit_grant(&mut self, id: &LinkId, block: BlockId) {
        let Some(link) = self.links.get_mut(id).filter(|link| link.role == Role::Transmitter) else { return };
        if link.offer.is_some() {
            link.to_offer.push_back(block);
        } else {
            self.offer_deposit(id, block);
        }
    }
}

/// The number under which a grant is deposited: of this link session, and no block's.
fn grant_block(link: &Link, offset: u64) -> BlockId {
    let session = link.last_block.0 >> SESSION_BLOCK_BITS << SESSION_BLOCK_BITS;
    BlockId(session | GRANT_BIT | (offset / PAD_BLOCK_BYTES as u64) & (GRANT_BIT - 1))
}
