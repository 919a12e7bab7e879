//! How many secret bits a block holds (decoy-state BB84, finite size). In: counts and errors of both
//! bases per intensity, the leak, the failure probabilities. Out: bounds and a length, or nothing
//! where a formula does not apply. Always: every number is finite, whatever the counts; the length
//! is rounded down with a margin of one bit, since one bit too many would void the claim, and is
//! never above the number of key bits.
//!
//! One file a formula: `wiesemann` (the default), `rusca` (one decoy, for comparison), `lim`
//! (two decoys). [`forecast`] is the closed form of a model, [`deviation`] how far a block is from it.

mod counts;
mod deviation;
mod entropy;
pub mod forecast;
mod lim;
mod one_decoy;
mod rusca;
mod wiesemann;

pub use counts::{BasisCounts, BlockCounts, CountsError, PerIntensity};
pub use deviation::deviation;
pub use entropy::binary_entropy;
pub use lim::Lim;
pub use rusca::Rusca;
pub use wiesemann::Wiesemann;

/// Failure probabilities of a block.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Epsilons {
    /// Secrecy.
    pub secrecy: f64,
    /// Correctness.
    pub correctness: f64,
}

impl Epsilons {
    /// Those of every link's blocks.
    pub const OF_LINKS: Self = Self { secrecy: 1e-10, correctness: 1e-15 };
}

/// What a formula finds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounds {
    /// Least number of vacuum events among the key bits.
    pub vacuum: f64,
    /// Least number of single-photon events among the key bits.
    pub single_photon: f64,
    /// Largest phase error rate of these.
    pub phase_error: f64,
    /// Secret bits, before rounding; may be negative.
    pub length: f64,
    /// Key bits that the length is drawn from.
    pub key_bits: f64,
}

impl Bounds {
    /// Secret bits, rounded down with a margin of one: the formulas lose less than a bit to rounding
    /// below 10^15 counts.
    pub fn whole_bits(&self) -> u64 {
        // A float cast saturates at zero.
        (self.length - 1.0).min(self.key_bits).floor() as u64
    }
}

/// A published key-length formula.
pub trait KeyLength {
    /// Its name in reports: first author and year.
    fn name(&self) -> &'static str;
    /// The edition that was implemented.
    fn version(&self) -> &'static str;
    /// Bounds and length for these counts; `None` if the counts fail [`BlockCounts::check`] or the
    /// formula asks for another number of intensities.
    fn length(&self, block: &BlockCounts, eps: Epsilons) -> Option<Bounds>;
}

/// The formula of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Formula {
    /// Wiesemann et al. 2026, one decoy: the corrected proof.
    #[default]
    Wiesemann,
    /// Rusca et al. 2018, one decoy.
    Rusca,
    /// Lim et al. 2014, two decoys.
    Lim,
}

impl Formula {
    fn formula(self) -> &'static dyn KeyLength {
        match self {
            Self::Wiesemann => &Wiesemann,
            Self::Rusca => &Rusca,
            Self::Lim => &Lim { cap_single_errors: false },
        }
    }

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        self.formula().name()
    }
}

impl KeyLength for Formula {
    fn name(&self) -> &'static str {
        self.formula().name()
    }

    fn version(&self) -> &'static str {
        self.formula().version()
    }

    fn length(&self, block: &BlockCounts, eps: Epsilons) -> Option<Bounds> {
        self.formula().length(block, eps)
    }
}

/// `bounds`, if every number of them can be used.
fn finite(bounds: Bounds) -> Option<Bounds> {
    let numbers = [bounds.vacuum, bounds.single_photon, bounds.phase_error, bounds.length];
    numbers.iter().all(|number| number.is_finite()).then_some(bounds)
}

#[cfg(test)]
mod tests;
