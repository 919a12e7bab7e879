//! What an application asks of its node and what it gets: plain data, without HTTP.

use crate::id::{KeyId, NodeId, SaeId};
use crate::quantity::BitCount;
use crate::secret::SecretBytes;

/// Default key size (ETSI GS QKD 014 `key_size`).
pub const KEY_SIZE_DEFAULT: BitCount = BitCount(256);
/// Smallest key size on offer.
pub const KEY_SIZE_MIN: BitCount = BitCount(64);
/// Largest key size on offer.
pub const KEY_SIZE_MAX: BitCount = BitCount(8192);
/// Most keys in one request.
pub const KEYS_PER_REQUEST_MAX: usize = 128;

/// A question of an application; `caller` comes from its verified certificate, never from the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SupplyRequest {
    /// ETSI 014 "Get status".
    Status {
        /// Who asks.
        caller: SaeId,
        /// With whom it wants to share keys.
        slave: SaeId,
    },
    /// ETSI 014 "Get key".
    EncKeys {
        /// Who asks: the master SAE.
        caller: SaeId,
        /// Who will ask for the same keys by id.
        slave: SaeId,
        /// How many keys.
        number: u32,
        /// Bits of each; none asks for the default.
        size: Option<BitCount>,
        /// Further SAEs that shall get the same keys.
        additional: Vec<SaeId>,
    },
    /// ETSI 014 "Get key with key IDs".
    DecKeys {
        /// Who asks: a slave SAE.
        caller: SaeId,
        /// Who got the keys first.
        master: SaeId,
        /// Which keys.
        ids: Vec<KeyId>,
    },
}

/// What the node answers.
#[derive(Debug)]
pub enum SupplyAnswer {
    /// To [`SupplyRequest::Status`].
    Status(SupplyStatus),
    /// To both key requests: as many keys as asked for, in that order.
    Keys(Vec<SuppliedKey>),
    /// No key left the node.
    Refused(Refusal),
}

/// A key on its way to an application.
#[derive(Debug)]
pub struct SuppliedKey {
    /// Its name.
    pub id: KeyId,
    /// Its bits.
    pub key: SecretBytes,
}

/// ETSI GS QKD 014 table 9.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SupplyStatus {
    /// This node.
    pub source: NodeId,
    /// The slave's node.
    pub target: NodeId,
    /// Keys of default size that could be delivered now.
    pub stored_key_count: u64,
    /// Upper bound of the count.
    pub max_key_count: u64,
}

/// Why no key was given, and with which code of ETSI GS QKD 014 (tables 4, 6, 8).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// 400 with a message.
    #[error("{0}")]
    BadRequest(String),
    /// 401 without a body: the keys belong to others, or policy forbids the pair.
    #[error("unauthorised")]
    Unauthorised,
    /// 503 with a message: key material or a route is missing now.
    #[error("{0}")]
    Unavailable(String),
}

impl Refusal {
    /// ETSI 014, 6.4, word for word.
    pub fn not_found() -> Self {
        Self::BadRequest("one or more keys specified are not found on KME".into())
    }
}
