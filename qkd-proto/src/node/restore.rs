//! A node starts: from its settings, and from what its disk has.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::Node;
use super::effect::Table;
use super::link::{Link, LinkStats, Phase};
use super::outbox::Outbox;
use super::settings::{LinkPlan, NodeSettings, Standing};
use super::standing::Witness;
use super::timers::{Timer, Timers};
use crate::codec::CodecError;
use crate::distill::plan::Role;
use crate::entropy::Entropy;
use crate::id::{BlockId, LinkId, NodeId, TransferId};
use crate::moment::{Moment, Now};
use crate::pool::record::{MarksRecord, PoolRecord};
use crate::pool::{LinkKeyPool, Window};
use crate::relay::record::{TransferRecord, TransferRole, TransferState};
use crate::relay::transfer::{Recipient, Transfer};
use crate::secret::SecretBytes;

/// Why a node cannot start from what its disk has. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// The settings name a node that the roster lacks, or with another key.
    #[error("node {0} is not in the roster with this identity key")]
    NotMember(NodeId),
    /// The settings name a link that the roster does not give to this node.
    #[error("link {0} is not one of this node's links in the roster")]
    NoSuchLink(LinkId),
    /// A record that does not decode.
    #[error("a record of {table:?} is unreadable: {error}")]
    Record {
        /// Where.
        table: Table,
        /// Why.
        error: CodecError,
    },
    /// A pool without its marks: nobody knows what was used.
    #[error("link {0} has a pool but no mark file; `qkdctl pool reset` discards the pools and is the only way out")]
    MarksMissing(LinkId),
    /// Marks without their pool: the store lost it.
    #[error("link {0} has a mark file but no pool; `qkdctl pool reset` discards the pools and is the only way out")]
    PoolMissing(LinkId),
}

/// What a disk has, by key.
#[derive(Default)]
pub struct Stored {
    /// Records of [`Table::Pools`].
    pub pools: Vec<(Vec<u8>, SecretBytes)>,
    /// Records of [`Table::Marks`].
    pub marks: Vec<(Vec<u8>, SecretBytes)>,
    /// Records of [`Table::Transfers`].
    pub transfers: Vec<(Vec<u8>, SecretBytes)>,
}

impl Node {
    /// A node as its disk tells it.
    ///
    /// # Errors
    /// If settings and roster disagree, or the disk is not whole.
    pub fn new(
        settings: NodeSettings,
        stored: Stored,
        entropy: Box<dyn Entropy>,
        now: Now,
    ) -> Result<Self, RestoreError> {
        let member = settings.roster.member(&settings.id);
        if member.is_none_or(|member| member.key != settings.identity.public()) {
            return Err(RestoreError::NotMember(settings.id));
        }
        let witness = Witness::new(settings.standing, settings.sequence);
        let mut node = Self {
            settings,
            entropy,
            now,
            started: now.moment,
            outbox: Outbox::default(),
            timers: Timers::default(),
            links: BTreeMap::new(),
            adverts: Default::default(),
            advert_sequence: 0,
            directory: Default::default(),
            out_sessions: BTreeMap::new(),
            in_sessions: BTreeMap::new(),
            transfers: BTreeMap::new(),
            key_ids: BTreeMap::new(),
            tombstones: Default::default(),
            tombstones_max: super::tombstones::TOMBSTONES_MAX,
            requests: BTreeMap::new(),
            last_look_up: None,
            unclaimed: BTreeSet::new(),
            delivery_poisoned: false,
            locked: false,
            last_delivery: None,
            witness,
            stopping: false,
            alarms: BTreeMap::new(),
            #[cfg(feature = "sim")]
            defects: Vec::new(),
        };
        node.restore_links(&stored)?;
        node.restore_transfers(&stored.transfers)?;
        node.judge_own_store();
        node.publish_saes();
        node.advertise();
        node.timers.set(Timer::Digest, now.moment);
        node.timers.set(Timer::Expiry, now.moment);
        node.timers.set(Timer::Directory, now.moment);
        Ok(node)
    }

    fn restore_links(&mut self, stored: &Stored) -> Result<(), RestoreError> {
        let rolled_back = self.settings.standing == Standing::RolledBack;
        for plan in std::mem::take(&mut self.settings.links) {
            let mut link = self.new_link(plan)?;
            let name = link.roster.id.as_str().as_bytes();
            let marks = find(&stored.marks, name).map(MarksRecord::decode).transpose();
            let marks = marks.map_err(|error| RestoreError::Record { table: Table::Marks, error })?;
            let pool = find(&stored.pools, name).map(PoolRecord::decode).transpose();
            let pool = pool.map_err(|error| RestoreError::Record { table: Table::Pools, error })?;
            let id = link.roster.id.clone();
            match (marks, pool) {
                (None, Some(_)) => return Err(RestoreError::MarksMissing(id)),
                (Some((marks, _)), None) if marks.pool.is_some() => return Err(RestoreError::PoolMissing(id)),
                (Some((marks, chains)), Some(pool)) if marks.pool == Some(pool.pool()) && !rolled_back => {
                    link.pool = Some(LinkKeyPool::restore(pool, &marks, chains, link.own_direction()));
                    link.marks = marks;
                }
                // A crash between a new pool and its marks: nothing of it was used. Or an older copy: all may have been.
                (Some((marks, _)), _) => link.marks = MarksRecord { pool: None, ..marks },
                // From here on a missing mark file is a loss, and a crash within the first session is none.
                (None, None) => {
                    link.commit_marks(Vec::new(), &mut self.outbox);
                }
            }
            link.durable = link.marks;
            self.links.insert(id, link);
        }
        Ok(())
    }

    fn new_link(&self, plan: LinkPlan) -> Result<Link, RestoreError> {
        let own = &self.settings.id;
        let no_such = || RestoreError::NoSuchLink(plan.link.clone());
        let roster = self.settings.roster.link(&plan.link).ok_or_else(no_such)?.clone();
        let peer = roster.far_end(own).ok_or_else(no_such)?.clone();
        let peer_key = self.settings.roster.member(&peer).ok_or_else(no_such)?.key;
        let role = if roster.transmitter == *own { Role::Transmitter } else { Role::Receiver };
        Ok(Link {
            roster,
            plan,
            role,
            peer,
            peer_key,
            phase: Phase::Down,
            pool: None,
            marks: MarksRecord::default(),
            durable: MarksRecord::default(),
            written: Default::default(),
            certificate: None,
            runs: BTreeMap::new(),
            talks: BTreeMap::new(),
            last_block: BlockId(0),
            announced: None,
            asked: None,
            round_trip: None,
            next_block: Moment::default(),
            offer: None,
            to_offer: VecDeque::new(),
            quarantine: None,
            last_commit: None,
            reading: None,
            owed: None,
            window: Window::default(),
            live: false,
            stats: LinkStats::default(),
            poisoned: false,
        })
    }

    fn restore_transfers(&mut self, records: &[(Vec<u8>, SecretBytes)]) -> Result<(), RestoreError> {
        let unreadable = |error| RestoreError::Record { table: Table::Transfers, error };
        for (_, bytes) in records {
            let record = TransferRecord::decode(bytes).map_err(unreadable)?;
            let contradiction = || unreadable(CodecError::Malformed("it contradicts itself".into()));
            self.keep(Transfer::restore(record).ok_or_else(contradiction)?);
        }
        for id in self.transfers.keys().copied().collect::<Vec<_>>() {
            self.resume_transfer(id);
            self.bury(id);
        }
        self.forget_the_oldest();
        Ok(())
    }

    /// What a restart means for a transfer: the origin voids what was not confirmed; all else goes on.
    fn resume_transfer(&mut self, id: TransferId) {
        let Some(transfer) = self.transfers.get_mut(&id) else { return };
        match (transfer.role(), transfer.state()) {
            (TransferRole::Origin, TransferState::Pending) => {
                transfer.void();
                self.commit_transfer(id);
            }
            (_, TransferState::Pending | TransferState::Committed) => {
                self.timers.set(Timer::Transfer(id), self.now.moment);
            }
            (_, TransferState::Relayed) if transfer.waiting(Recipient::Master).next().is_some() => {
                self.unclaimed.insert(id);
            }
            (_, TransferState::Relayed | TransferState::Voided) => {}
        }
    }
}

fn find<'a>(records: &'a [(Vec<u8>, SecretBytes)], name: &[u8]) -> Option<&'a SecretBytes> {
    records.iter().find(|(key, _)| key == name).map(|(_, value)| value)
}
