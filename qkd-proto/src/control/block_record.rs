//! The record of a link's last block: formula, inputs, bounds, result. Index 0 of a pair is the signal
//! intensity, 1 the decoy.

use serde::{Deserialize, Serialize};

/// What `link explain` tells.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BlockRecord {
    /// [`SCHEMA`](super::reply::SCHEMA).
    pub schema: u32,
    /// The link.
    pub link: String,
    /// `simulated`, `seeded`, `table` or `etsi014`.
    pub device: String,
    /// Number of the block.
    pub block: u64,
    /// Why it gave no key; none if it did.
    pub refused: Option<String>,
    /// Pulses, fixed in advance.
    pub pulses: u64,
    /// Pulses over the pulse rate, in seconds: undiluted.
    pub link_time_s: f64,
    /// Wall time per link time.
    pub dilution: f64,
    /// Sifted key-basis bits, before frames were dropped.
    pub sifted_bits: u64,
    /// Error rate of the key basis.
    pub qber_key: Option<f64>,
    /// Error rate of the test basis.
    pub qber_test: Option<f64>,
    /// Reconciliation engine.
    pub engine: String,
    /// Whose words are charged: `both` or `transmitter`.
    pub leak_rule: String,
    /// Bits about the key that the transmitter told.
    pub told_transmitter_bits: u64,
    /// Bits about the key that the receiver told.
    pub told_receiver_bits: u64,
    /// Bits of the verification hash.
    pub verification_bits: u64,
    /// Bits charged in all.
    pub leak_bits: u64,
    /// The charge over what Shannon asks for.
    pub f_ec: Option<f64>,
    /// How the length was found; none where the block did not come so far.
    pub length: Option<LengthRecord>,
    /// Secret bits.
    pub secret_bits: u64,
    /// Secret bits per second of link time.
    pub skr_bps: f64,
}

/// How the length of a block's secret was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LengthRecord {
    /// The formula, by its authors and year.
    pub formula: String,
    /// The edition that is implemented.
    pub edition: String,
    /// How the length follows: `variable-length` or `fixed-length`.
    pub acceptance: String,
    /// Failure probability of secrecy.
    pub eps_sec: f64,
    /// Failure probability of correctness.
    pub eps_cor: f64,
    /// Mean photon numbers.
    pub mus: [f64; 2],
    /// Their probabilities.
    pub ps: [f64; 2],
    /// Key-basis bits.
    pub n_key: [f64; 2],
    /// Errors among them.
    pub m_key: [f64; 2],
    /// Test-basis bits.
    pub n_test: [f64; 2],
    /// Errors among them.
    pub m_test: [f64; 2],
    /// Least number of vacuum events among the key bits.
    pub s0_key: Option<f64>,
    /// Least number of single-photon events among the key bits.
    pub s1_key: Option<f64>,
    /// Largest phase error rate of these.
    pub phi: Option<f64>,
    /// The length before rounding; may be negative.
    pub ell: Option<f64>,
    /// The repeaterless bound of the fibre, in bits per second.
    pub plob_bps: Option<f64>,
}
