//! What both ends agree on before a block. In: the node's configuration and the link's model. Out:
//! the plan of a block session. Always: both ends' plans are equal but for their entropy; the
//! transcript's tag covers the names and the pulses.

use super::acceptance::Acceptance;
use super::engine::Told;
use super::finite_key::Formula;
use super::message::EngineKind;
use crate::id::{BlockId, LinkId, NodeId};
use crate::optics::model::LinkModel;
use crate::quantity::Qber;

/// Bits that authenticating a block costs: one tag of 128 bits each way.
pub const AUTHENTICATION_BITS: u64 = 256;

/// Which end of the link this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The end that sends photons.
    Transmitter,
    /// The end that detects them.
    Receiver,
}

impl Role {
    /// The other end.
    pub fn other(self) -> Self {
        match self {
            Self::Transmitter => Self::Receiver,
            Self::Receiver => Self::Transmitter,
        }
    }

    pub(super) fn byte(self) -> u8 {
        match self {
            Self::Transmitter => b'T',
            Self::Receiver => b'R',
        }
    }
}

/// Whose public words about the key are charged against its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LeakRule {
    /// Every bit that either end told: safe for every engine (Tupkary and Lütkenhaus,
    /// arXiv:2307.00576, show that less is a flaw unless shown otherwise).
    #[default]
    Both,
    /// The transmitter's alone, as most of the literature counts: by configuration only.
    Transmitter,
}

impl LeakRule {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Both => "both",
            Self::Transmitter => "transmitter",
        }
    }

    /// The bits that this rule charges.
    pub fn charge(self, told: Told) -> u64 {
        match self {
            Self::Both => told.transmitter.0.saturating_add(told.receiver.0),
            Self::Transmitter => told.transmitter.0,
        }
    }
}

/// How a link's blocks are distilled: the operator's choices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Distillation {
    /// The reconciliation engine; none chooses by round trip and error rate.
    pub engine: Option<EngineKind>,
    /// Whose public words are charged.
    pub leak: LeakRule,
    /// The key-length formula.
    pub formula: Formula,
    /// How the length follows from it.
    pub acceptance: Acceptance,
}

/// What both ends agreed on before the block.
pub struct BlockPlan {
    /// The link.
    pub link: LinkId,
    /// Its transmitter.
    pub transmitter: NodeId,
    /// Its receiver.
    pub receiver: NodeId,
    /// The block.
    pub block: BlockId,
    /// The link's model: intensities and their probabilities count, and the pulse rate.
    pub model: LinkModel,
    /// Pulses of the block, fixed in advance.
    pub pulses: u64,
    /// Failure probability of secrecy.
    pub eps_sec: f64,
    /// Failure probability of correctness.
    pub eps_cor: f64,
    /// Largest error rate of the test basis; 0.11 by default ([`QBER_LIMIT`]).
    pub qber_limit: Qber,
    /// The engine that the transmitter takes; the receiver follows what it is told.
    pub engine: EngineKind,
    /// Whose words are charged; both ends must have the same rule.
    pub leak: LeakRule,
    /// The key-length formula; both ends must have the same.
    pub formula: Formula,
    /// How the length follows from it; both ends must have the same.
    pub acceptance: Acceptance,
    /// Seed of this end's public random choices; fresh for every block.
    pub entropy: [u8; 32],
}

/// Default limit of the test-basis error rate, as a ratio.
pub const QBER_LIMIT: f64 = 0.11;
