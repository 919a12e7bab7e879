//! Every derivation label and protocol name, in one table, so that no two uses share one.

/// libp2p stream of a link for pool and relay messages (the classical channel).
pub const STREAM_LINK: &str = "/qkdd/link/1";
/// libp2p stream of a link for the talk of distillation.
pub const STREAM_BLOCK: &str = "/qkdd/block/1";
/// libp2p stream of a link for sealed photons (the emulated quantum channel).
pub const STREAM_PHOTONS: &str = "/qkdd/photons/1";
/// Kademlia protocol.
pub const KADEMLIA: &str = "/qkdd/kad/1";
/// identify protocol version.
pub const IDENTIFY: &str = "/qkdd/id/1";
/// gossipsub topic of node adverts.
pub const TOPIC_ADVERTS: &str = "qkdd/adverts/1";
/// Kademlia key prefix of a node's SAE roster.
pub const DIRECTORY_SAES: &str = "/qkdd/saes/";

/// Signature domains: the first bytes of whatever is signed.
pub mod sign {
    /// The roster, by the operator's network key.
    pub const ROSTER: &str = "qkdd sign roster v1";
    /// A link handshake message.
    pub const LINK_HELLO: &str = "qkdd sign link hello v1";
    /// One end's half of a link certificate.
    pub const LINK_CERTIFICATE: &str = "qkdd sign link certificate v1";
    /// A node's advert.
    pub const ADVERT: &str = "qkdd sign advert v1";
    /// A node's SAE roster.
    pub const SAES: &str = "qkdd sign saes v1";
    /// A letter between two nodes of the network.
    pub const LETTER: &str = "qkdd sign letter v1";
}

/// Key derivation (HKDF-SHA256 info) and MAC (HMAC-SHA256 prefix) domains.
pub mod derive {
    /// The two halves of a hybrid exchange, combined.
    pub const HYBRID: &str = "qkdd derive hybrid v1";
    /// Link handshake: shared secret of one link session.
    pub const LINK_SESSION: &str = "qkdd derive link session v1";
    /// Link handshake: bootstrap hash keys and first pads.
    pub const LINK_BOOTSTRAP: &str = "qkdd derive link bootstrap v1";
    /// Link session: seals the photon stream and seeds seeded devices.
    pub const LINK_DEVICE: &str = "qkdd derive link device v1";
    /// One block's bits of a rate-table device.
    pub const TABLE_BLOCK: &str = "qkdd derive table block v1";
    /// The seeds of one block of seeded optics.
    pub const SEEDED_BLOCK: &str = "qkdd derive seeded block v1";
    /// Link session: keys the digest by which both ends compare what their QKD modules gave.
    pub const MODULE_DIGEST: &str = "qkdd derive module digest v1";
    /// Pool identity from a handshake.
    pub const POOL_ID: &str = "qkdd derive pool id v1";
    /// End-to-end session keys.
    pub const END_SESSION: &str = "qkdd derive end-to-end session v1";
    /// Confirmation tag of the target.
    pub const CONFIRM_TARGET: &str = "qkdd confirm target v1";
    /// Commit tag of the origin.
    pub const CONFIRM_ORIGIN: &str = "qkdd confirm origin v1";
    /// The mask of one key.
    pub const KEY_MASK: &str = "qkdd key mask v1";
    /// The seed of a transfer's key ids.
    pub const KEY_ID_SEED: &str = "qkdd key id seed v1";
    /// One key id.
    pub const KEY_ID: &str = "qkdd key id v1";
    /// The key of one pad block at rest.
    pub const PAD_BLOCK: &str = "qkdd pad block v1";
    /// The step from one pad block's chain head to the next.
    pub const PAD_STEP: &str = "qkdd pad step v1";
    /// Sealing of records at rest.
    pub const STORE_SEAL: &str = "qkdd store seal v1";
    /// MAC of the mark file.
    pub const STORE_MARKS: &str = "qkdd store marks v1";
    /// Tells a wrong passphrase of the master key.
    pub const STORE_PASSPHRASE: &str = "qkdd store passphrase v1";
    /// Authentication of the audit log and its head.
    pub const STORE_AUDIT: &str = "qkdd store audit v1";
}

/// Public hashes (SHA-256 prefix, Poly1305 label) of distillation.
pub mod hash {
    /// Filters frames that were corrected wrongly.
    pub const FRAME_FILTER: &str = "qkdd frame filter v1";
    /// Verifies a block's corrected key.
    pub const VERIFICATION: &str = "qkdd verification v1";
}

/// What a one-time tag stands behind: the first bytes of the authenticated text.
pub mod tag {
    /// Transcript of one block, by the transmitter.
    pub const BLOCK_TRANSMITTER: &str = "qkdd tag block transmitter v1";
    /// Transcript of one block, by the receiver.
    pub const BLOCK_RECEIVER: &str = "qkdd tag block receiver v1";
    /// A relay frame.
    pub const HOP: &str = "qkdd tag hop v1";
}

/// First line of the file that permits a data directory to be made anew: its format.
pub const FRESH_DATA_DIR: &str = "qkdd fresh 1";
