//! One transfer at one of its ends. In: confirmations, commitments, deliveries. Out: its next
//! durable state. Always: the state moves one way, `Pending -> Committed -> Relayed` or
//! `Pending -> Voided`; the origin alone decides which, the target never gives up on its own; a key
//! is handed out once to each of its applications and then forgotten.

use super::message::{AssignText, TransferHeader};
use super::record::{Assignment, TransferRecord, TransferRole, TransferState};
use super::session::{EndSession, Proof};
use crate::bits::BitString;
use crate::codec::Bytes;
use crate::crypto;
use crate::id::{Incarnation, KeyId, LinkId, NodeId, SaeId, SessionId, TransferId};
use crate::labels::derive;
use crate::mac::Tag;
use crate::moment::UnixMillis;
use crate::secret::SecretBytes;

/// Which of a key's two applications asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recipient {
    /// The master SAE, at the origin.
    Master,
    /// The slave SAE, at the target.
    Slave,
}

impl Recipient {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::Master, Self::Slave];
}

/// A transfer with its keys.
pub struct Transfer {
    id: TransferId,
    role: TransferRole,
    peer: NodeId,
    state: TransferState,
    session: SessionId,
    hybrid: bool,
    routes: Vec<Vec<LinkId>>,
    key_bytes: u32,
    keys: Vec<Option<SecretBytes>>,
    confirm: Tag,
    commit: Tag,
    id_seed: SecretBytes,
    assignment: Option<Assignment>,
    delivered: [BitString; 2],
    incarnation: Incarnation,
    created: UnixMillis,
}

impl Transfer {
    /// This end's part of a relayed transfer: `payload` is what the origin drew, or what arrived.
    pub fn relayed(
        role: TransferRole,
        header: &TransferHeader,
        session: &EndSession,
        payload: SecretBytes,
        incarnation: Incarnation,
        created: UnixMillis,
    ) -> Self {
        let (keys, proof) = session.finish(header, payload);
        let peer = if role == TransferRole::Target { &header.origin } else { &header.target };
        let routes = vec![header.route.clone()];
        let base = Self::new(header.transfer, role, peer.clone(), keys, proof, incarnation, created);
        Self { session: header.session, hybrid: true, routes, ..base }
    }

    /// Keys whose two applications are both at this node.
    pub fn local(
        id: TransferId,
        node: NodeId,
        keys: Vec<SecretBytes>,
        id_seed: SecretBytes,
        assignment: Assignment,
        incarnation: Incarnation,
        created: UnixMillis,
    ) -> Self {
        let proof = Proof { confirm: Tag([0; 16]), commit: Tag([0; 16]), id_seed };
        let base = Self::new(id, TransferRole::Local, node, keys, proof, incarnation, created);
        Self { state: TransferState::Relayed, assignment: Some(assignment), ..base }
    }

    fn new(
        id: TransferId,
        role: TransferRole,
        peer: NodeId,
        keys: Vec<SecretBytes>,
        proof: Proof,
        incarnation: Incarnation,
        created: UnixMillis,
    ) -> Self {
        let Proof { confirm, commit, id_seed } = proof;
        let key_bytes = keys.first().map_or(0, |key| u32::try_from(key.len()).unwrap_or(u32::MAX));
        let delivered = [0, 1].map(|_| BitString::zeros(keys.len()));
        Self {
            id,
            role,
            peer,
            state: TransferState::Pending,
            session: SessionId([0; 16]),
            hybrid: false,
            routes: Vec::new(),
            key_bytes,
            keys: keys.into_iter().map(Some).collect(),
            confirm,
            commit,
            id_seed,
            assignment: None,
            delivered,
            incarnation,
            created,
        }
    }

    /// Its name.
    pub fn id(&self) -> TransferId {
        self.id
    }

    /// This end's part.
    pub fn role(&self) -> TransferRole {
        self.role
    }

    /// The other end.
    pub fn peer(&self) -> &NodeId {
        &self.peer
    }

    /// How far it is.
    pub fn state(&self) -> TransferState {
        self.state
    }

    /// The session that masked it.
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// Routes that it took.
    pub fn routes(&self) -> &[Vec<LinkId>] {
        &self.routes
    }

    /// True if its keys wear the end-to-end mask.
    pub fn hybrid(&self) -> bool {
        self.hybrid
    }

    /// Bytes of each key.
    pub fn key_bytes(&self) -> usize {
        self.key_bytes as usize
    }

    /// Number of keys.
    pub fn count(&self) -> usize {
        self.keys.len()
    }

    /// To whom the keys belong.
    pub fn assignment(&self) -> Option<&Assignment> {
        self.assignment.as_ref()
    }

    /// The target's confirmation.
    pub fn confirm_tag(&self) -> Tag {
        self.confirm
    }

    /// The origin's commitment.
    pub fn commit_tag(&self) -> Tag {
        self.commit
    }

    /// The run of this node that made it.
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// Wall time of its start.
    pub fn created(&self) -> UnixMillis {
        self.created
    }

    /// The id of key `index`, the same at both ends and known to no relay.
    pub fn key_id(&self, index: usize) -> KeyId {
        let hash = crypto::hmac_sha256(self.id_seed.expose(), derive::KEY_ID, &[&(index as u64).to_be_bytes()]);
        let mut id = [0; 16];
        id.copy_from_slice(&hash[..16]);
        KeyId::from_random(id)
    }

    /// Gives all keys to a pair of applications.
    pub fn assign(&mut self, master: SaeId, slave: SaeId) {
        let to = u32::try_from(self.keys.len()).unwrap_or(u32::MAX);
        self.assignment = Some(Assignment { from: 0, to, master, slave });
    }

    /// The assignment, for the other end.
    pub fn assign_text(&self) -> Option<AssignText> {
        let Assignment { from, to, master, slave } = self.assignment.clone()?;
        Some(AssignText { from, to, master, slave })
    }

    /// Origin: the target says that it holds the bits; false if they are not the origin's.
    pub fn confirmed(&mut self, tag: &Tag) -> bool {
        let genuine = self.confirm == *tag;
        if genuine && self.state == TransferState::Pending {
            self.state = TransferState::Committed;
        }
        genuine
    }

    /// Origin: the target knows the assignment. True if that was news.
    pub fn acknowledged(&mut self) -> bool {
        let news = self.role == TransferRole::Origin && self.state == TransferState::Committed;
        if news {
            self.state = TransferState::Relayed;
        }
        news
    }

    /// Target: the origin says that the keys count. True if that was news.
    pub fn committed(&mut self, tag: &Tag, assign: AssignText) -> bool {
        let all = assign.from == 0 && assign.to as usize == self.keys.len();
        let news = self.role == TransferRole::Target && self.state == TransferState::Pending;
        if !news || !all || self.commit != *tag {
            return false;
        }
        let AssignText { from, to, master, slave } = assign;
        self.assignment = Some(Assignment { from, to, master, slave });
        self.state = TransferState::Relayed;
        true
    }

    /// The keys will never be handed out. True if that was news.
    pub fn void(&mut self) -> bool {
        if self.state != TransferState::Pending {
            return false;
        }
        self.state = TransferState::Voided;
        self.keys.iter_mut().for_each(|key| *key = None);
        true
    }

    /// Its keys are lost: none is handed out any more.
    pub fn lose_keys(&mut self) {
        if self.state == TransferState::Pending {
            self.state = TransferState::Voided;
        }
        self.keys.iter_mut().for_each(|key| *key = None);
    }

    /// True if `recipient` can still get key `index` here.
    pub fn has(&self, recipient: Recipient, index: usize) -> bool {
        self.state == TransferState::Relayed
            && self.recipients().contains(&recipient)
            && self.keys.get(index).is_some_and(Option::is_some)
            && !self.delivered[side(recipient)].get(index)
    }

    /// Keys that `recipient` can still get here.
    pub fn waiting(&self, recipient: Recipient) -> impl Iterator<Item = usize> + '_ {
        (0..self.keys.len()).filter(move |&index| self.has(recipient, index))
    }

    /// Hands key `index` to `recipient`; the last local recipient takes the bits with it.
    pub fn deliver(&mut self, recipient: Recipient, index: usize) -> Option<SecretBytes> {
        if !self.has(recipient, index) {
            return None;
        }
        self.delivered[side(recipient)].set(index, true);
        let last = self.recipients().iter().all(|&local| self.delivered[side(local)].get(index));
        let key = self.keys.get_mut(index)?;
        if last { key.take() } else { key.as_ref().map(|key| SecretBytes::copy_of(key.expose())) }
    }

    /// True if no key of it will be asked for any more: a tombstone.
    pub fn is_over(&self) -> bool {
        self.state == TransferState::Voided || self.keys.iter().all(Option::is_none)
    }

    fn recipients(&self) -> &'static [Recipient] {
        match self.role {
            TransferRole::Origin => &[Recipient::Master],
            TransferRole::Target => &[Recipient::Slave],
            TransferRole::Local => &[Recipient::Master, Recipient::Slave],
        }
    }

    /// Its durable form.
    pub fn record(&self) -> TransferRecord {
        let bytes =
            |key: &Option<SecretBytes>| Bytes::from(key.as_ref().map_or(Vec::new(), |key| key.expose().to_vec()));
        let [delivered_master, delivered_slave] = self.delivered.clone();
        TransferRecord {
            id: self.id,
            role: self.role,
            peer: self.peer.clone(),
            state: self.state,
            session: self.session,
            hybrid: self.hybrid,
            routes: self.routes.clone(),
            key_bytes: self.key_bytes,
            count: u32::try_from(self.keys.len()).unwrap_or(u32::MAX),
            keys: self.keys.iter().map(bytes).collect(),
            confirm: self.confirm,
            commit: self.commit,
            id_seed: Bytes::from(self.id_seed.expose().to_vec()),
            assignments: self.assignment.iter().cloned().collect(),
            delivered_master,
            delivered_slave,
            incarnation: self.incarnation,
            created: self.created,
        }
    }

    /// From its durable form; none if it contradicts itself.
    pub fn restore(record: TransferRecord) -> Option<Self> {
        let count = record.count as usize;
        let key_bytes = record.key_bytes as usize;
        let fits = |key: &Bytes| key.is_empty() || key.len() == key_bytes;
        let delivered = [record.delivered_master, record.delivered_slave];
        let sound = record.keys.len() == count && delivered.iter().all(|bits| bits.len() == count);
        if !sound || !record.keys.iter().all(fits) {
            return None;
        }
        let secret = |key: Bytes| (!key.is_empty()).then(|| SecretBytes::new(key.into_vec()));
        Some(Self {
            id: record.id,
            role: record.role,
            peer: record.peer,
            state: record.state,
            session: record.session,
            hybrid: record.hybrid,
            routes: record.routes,
            key_bytes: record.key_bytes,
            keys: record.keys.into_iter().map(secret).collect(),
            confirm: record.confirm,
            commit: record.commit,
            id_seed: SecretBytes::new(record.id_seed.into_vec()),
            assignment: record.assignments.into_iter().next(),
            delivered,
            incarnation: record.incarnation,
            created: record.created,
        })
    }
}

fn side(recipient: Recipient) -> usize {
    usize::from(recipient == Recipient::Slave)
}

#[cfg(test)]
mod tests;
