//! What a length rests on. In: counts of two or three intensities. Out: the same, checked. Always:
//! checked counts are finite, no basis has more errors than bits, and intensities fall.

use super::Epsilons;

/// One number per intensity, brightest first.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum PerIntensity {
    /// Signal and one decoy.
    Two([f64; 2]),
    /// Signal and two decoys.
    Three([f64; 3]),
}

impl PerIntensity {
    /// The numbers.
    pub fn as_slice(&self) -> &[f64] {
        match self {
            Self::Two(numbers) => numbers,
            Self::Three(numbers) => numbers,
        }
    }

    pub(super) fn as_mut_slice(&mut self) -> &mut [f64] {
        match self {
            Self::Two(numbers) => numbers,
            Self::Three(numbers) => numbers,
        }
    }

    /// Both numbers, if there is one decoy.
    pub fn two(self) -> Option<[f64; 2]> {
        if let Self::Two(numbers) = self { Some(numbers) } else { None }
    }

    /// All three numbers, if there are two decoys.
    pub fn three(self) -> Option<[f64; 3]> {
        if let Self::Three(numbers) = self { Some(numbers) } else { None }
    }

    /// Their sum.
    pub fn total(&self) -> f64 {
        self.as_slice().iter().sum()
    }
}

impl From<[f64; 2]> for PerIntensity {
    fn from(numbers: [f64; 2]) -> Self {
        Self::Two(numbers)
    }
}

impl From<[u64; 2]> for PerIntensity {
    fn from(numbers: [u64; 2]) -> Self {
        Self::Two(numbers.map(|number| number as f64))
    }
}

impl From<[f64; 3]> for PerIntensity {
    fn from(numbers: [f64; 3]) -> Self {
        Self::Three(numbers)
    }
}

/// Sifted bits and errors of one basis.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BasisCounts {
    /// Bits.
    pub counts: PerIntensity,
    /// Errors; the key basis may go without where a formula does not ask for them.
    pub errors: Option<PerIntensity>,
}

/// What a block's length rests on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BlockCounts {
    /// Mean photon numbers.
    pub mus: PerIntensity,
    /// Their probabilities.
    pub ps: PerIntensity,
    /// Key basis.
    pub key: BasisCounts,
    /// Test basis.
    pub test: BasisCounts,
    /// Bits told in public about the key.
    pub leak: f64,
}

/// A count outside its range.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{field} = {value} is outside {limit}")]
pub struct CountsError {
    /// What it is.
    pub field: &'static str,
    /// Its value.
    pub value: f64,
    /// What is allowed.
    pub limit: &'static str,
}

/// Most counts of a block: whole numbers are exact below.
const COUNT_MAX: f64 = 1e15;
const COUNT_LIMIT: &str = "0 to 1e15";

impl BlockCounts {
    /// Checks every range that the formulas rest on.
    ///
    /// # Errors
    /// The first number out of range, with its value and its limit.
    pub fn check(&self) -> Result<(), CountsError> {
        let intensities = self.mus.as_slice().len();
        let lists = [Some(self.ps), Some(self.key.counts), self.key.errors, Some(self.test.counts), self.test.errors];
        if let Some(other) = lists.into_iter().flatten().find(|list| list.as_slice().len() != intensities) {
            let value = other.as_slice().len() as f64;
            return Err(CountsError { field: "intensities", value, limit: "as many as mus everywhere" });
        }
        self.check_source()?;
        check_basis(&self.key, ["nK", "mK"])?;
        check_basis(&self.test, ["nT", "mT"])?;
        within("leak", self.leak, 0.0, COUNT_MAX, COUNT_LIMIT)
    }

    fn check_source(&self) -> Result<(), CountsError> {
        let mut brighter = 10.0;
        for &mu in self.mus.as_slice() {
            // Equal intensities would be told apart by nothing.
            within("mus", mu, 0.0, brighter - 1e-6, "0 to 10 photons, each below the one before")?;
            brighter = mu;
        }
        self.ps.as_slice().iter().try_for_each(|&p| within("ps", p, 1e-9, 1.0, "1e-9 to 1"))?;
        within("sum of ps", self.ps.total(), 0.999_999, 1.000_001, "1")
    }
}

impl Epsilons {
    /// Checks that both are probabilities of failure that a block can have.
    ///
    /// # Errors
    /// The first out of range.
    pub fn check(&self) -> Result<(), CountsError> {
        within("eps_sec", self.secrecy, 1e-100, 0.1, "1e-100 to 0.1")?;
        within("eps_cor", self.correctness, 1e-100, 0.1, "1e-100 to 0.1")
    }
}

fn check_basis(basis: &BasisCounts, [n, m]: [&'static str; 2]) -> Result<(), CountsError> {
    let counts = basis.counts.as_slice();
    counts.iter().try_for_each(|&count| within(n, count, 0.0, COUNT_MAX, COUNT_LIMIT))?;
    let errors = basis.errors.iter().flat_map(|errors| errors.as_slice());
    errors.zip(counts).try_for_each(|(&errors, &count)| within(m, errors, 0.0, count, "0 to the bits of the intensity"))
}

fn within(field: &'static str, value: f64, low: f64, high: f64, limit: &'static str) -> Result<(), CountsError> {
    // Written so that NaN is outside.
    if value >= low && value <= high { Ok(()) } else { Err(CountsError { field, value, limit }) }
}
