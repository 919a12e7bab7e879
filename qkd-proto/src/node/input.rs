//! Everything that can happen to a node: one closed list.

use crate::distill::job::JobResult;
use crate::id::{BlockId, CommitId, LinkId, NodeId, RequestId, StoreSequence};
use crate::optics::PhotonBatch;
use crate::secret::{SecretBits, SecretBytes};
use crate::supply::message::SupplyRequest;

/// Something that happened.
#[derive(Debug)]
pub enum Input {
    /// Both channels of a link are connected to the right neighbour.
    LinkUp(LinkId),
    /// A channel of a link broke.
    LinkDown(LinkId),
    /// A pool or relay message of the neighbour.
    LinkBytes(LinkId, Vec<u8>),
    /// A distillation message of the neighbour.
    BlockBytes(LinkId, Vec<u8>),
    /// A gossiped advert; the network has checked nothing but that a member passed it on.
    Advert(Vec<u8>),
    /// A node's SAE roster from the directory, or none found.
    Saes(NodeId, Option<Vec<u8>>),
    /// What this end's device saw of a block.
    Photons(LinkId, BlockId, PhotonBatch),
    /// Secret bits of a device that makes them itself (rate table, ETSI 014 modules).
    DeviceKey(LinkId, BlockId, SecretBits),
    /// The device gave up a block.
    DeviceFailed(LinkId, BlockId, String),
    /// Outcome of an [`Action::Run`](super::effect::Action::Run).
    JobDone(LinkId, BlockId, JobResult),
    /// A commit is on stable storage; the store's sequence with it.
    Committed(CommitId, StoreSequence),
    /// A commit failed: its lane is poisoned until a restart.
    CommitFailed(CommitId),
    /// What a link's pads table has under each key that was asked for.
    PadsRead(LinkId, Vec<(Vec<u8>, Option<SecretBytes>)>),
    /// What is wrong with a link's device by order of the operator, in words; empty: nothing any more.
    Faults(LinkId, Vec<String>),
    /// An application asks.
    Supply(RequestId, SupplyRequest),
    /// The process shall end: the last commits follow, and nothing else.
    Stop,
    /// An operator locks the node.
    Lock,
    /// An operator who may do so unlocks it.
    Unlock,
    /// The deadline of [`Node::deadline`](super::Node::deadline) has come.
    Timer,
}
