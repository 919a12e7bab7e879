//! Everything a node can want done: one closed list.

use crate::distill::job::Job;
use crate::id::{BlockId, CommitId, LinkId, NodeId, RequestId};
use crate::secret::SecretBytes;
use crate::supply::message::SupplyAnswer;

/// Something to do, and the commit that must be durable first.
///
/// INVARIANT: a performer holds an effect back until `after` is on stable storage, keeps the order
/// of effects that wait for the same commit, and drops them for good when the commit fails.
#[derive(Debug)]
pub struct Effect {
    /// The commit it depends on, if any.
    pub after: Option<CommitId>,
    /// What to do.
    pub action: Action,
}

/// What to do.
#[derive(Debug)]
pub enum Action {
    /// Make records durable together; answer with `Committed` or `CommitFailed`.
    Commit(Commit),
    /// Read pad blocks back, by their keys; answer with `PadsRead`. Commits given before are seen.
    ReadPads(LinkId, Vec<Vec<u8>>),
    /// The store is known to be the newest: whatever vouches for it after the next start may say so again.
    VouchForStore,
    /// Send on a link's pool-and-relay stream.
    SendLink(LinkId, Vec<u8>),
    /// Send on a link's distillation stream.
    SendBlock(LinkId, Vec<u8>),
    /// Close the link's streams; the network dials again.
    DropLink(LinkId),
    /// Publish an advert to all members.
    Advert(Vec<u8>),
    /// Publish this node's SAE roster in the directory.
    PublishSaes(Vec<u8>),
    /// Look another node's SAE roster up in the directory.
    FindSaes(NodeId),
    /// Give the link's device the secret of this link session: it seals the photon stream, and it
    /// seeds devices that make both ends' bits from one secret.
    OpenDevice(LinkId, SecretBytes),
    /// Stop the link's device and forget its secret.
    CloseDevice(LinkId),
    /// Let the link's device take part in a block: emit it, or await it.
    Measure(LinkId, BlockId),
    /// Let the link's device go on with a block that a lost connection interrupted.
    MeasureOn(LinkId, BlockId),
    /// Compute; answer with `JobDone`.
    Run(LinkId, BlockId, Job),
    /// Answer an application.
    Supply(RequestId, SupplyAnswer),
    /// Write down that these pad bytes are about to leave (test ledger only).
    NotePadUse(PadUse),
    /// Tell the operator.
    Log(Event),
}

/// Which work waits for which: a slow or failed commit stops its own lane only.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// Pads and marks of one link.
    Link(LinkId),
    /// Transfers, assignments and deliveries.
    Delivery,
}

/// Records that become durable together, in this order.
#[derive(Debug)]
pub struct Commit {
    /// Its number; rises.
    pub id: CommitId,
    /// Its lane.
    pub lane: Lane,
    /// What to write.
    pub records: Vec<Record>,
}

/// Where a record lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// One record a link: the pool's state. Key: link name.
    Pools,
    /// Pad blocks in a ring of slots. Key: link name, 0, slot (8 bytes, big-endian).
    Pads,
    /// Transfers at their two ends. Key: transfer id.
    Transfers,
    /// High-water marks, one record a link, in a file of their own. Key: link name.
    Marks,
    /// Audit lines, append only. Key: empty.
    Audit,
}

/// One record; no value deletes it.
#[derive(Debug)]
pub struct Record {
    /// Where.
    pub table: Table,
    /// Under which key.
    pub key: Vec<u8>,
    /// What: encoded with its own version byte, and secret as far as the disk is concerned.
    pub value: Option<SecretBytes>,
}

/// What a range of pad bytes was used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PadPurpose {
    /// A relay frame: the key under it and its tag.
    Relay,
    /// The tag of a block.
    Authentication,
}

/// One use of a range of pad bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PadUse {
    /// Whose pool.
    pub link: LinkId,
    /// Which pool.
    pub pool: crate::id::PoolId,
    /// True for the direction transmitter to receiver.
    pub forward: bool,
    /// First byte.
    pub offset: u64,
    /// Number of bytes.
    pub length: u64,
    /// What for.
    pub purpose: PadPurpose,
    /// Digest of what left under it: a repetition of the same bytes is no second use.
    pub digest: [u8; 16],
}

/// Something an operator may want to know; ids and counts, never key bits.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// News of a link.
    Link(LinkId, String),
    /// A block gave key.
    BlockDone(LinkId, BlockId, String),
    /// A block gave none.
    BlockAborted(LinkId, BlockId, String),
    /// News of transfers and keys.
    Transfer(String),
    /// Something that deserves a person's attention.
    Alarm(String),
}
