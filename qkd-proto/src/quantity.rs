//! Numbers that carry their unit. In: checked values. Out: the same in their printed form.
//! Always: a value is within the range of its kind.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A number of bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BitCount(pub u64);

impl BitCount {
    /// Whole bytes in it.
    pub fn whole_bytes(self) -> u64 {
        self.0 / 8
    }
}

impl fmt::Display for BitCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bit", self.0)
    }
}

/// The error rate of a sifted key, 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Default, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Qber(f64);

impl Qber {
    /// From `errors` in `total` bits; none in none is zero.
    pub fn of(errors: u64, total: u64) -> Self {
        if total == 0 { Self(0.0) } else { Self((errors as f64 / total as f64).min(1.0)) }
    }

    /// As a ratio.
    pub fn ratio(self) -> f64 {
        self.0
    }
}

impl TryFrom<f64> for Qber {
    type Error = String;

    fn try_from(ratio: f64) -> Result<Self, String> {
        if (0.0..=1.0).contains(&ratio) { Ok(Self(ratio)) } else { Err(format!("QBER {ratio} is not between 0 and 1")) }
    }
}

impl From<Qber> for f64 {
    fn from(qber: Qber) -> Self {
        qber.0
    }
}

impl fmt::Display for Qber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} %", self.0 * 100.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn qber_stays_in_range() {
        assert!(Qber::try_from(-0.1).is_err());
        assert!(Qber::try_from(f64::NAN).is_err());
        assert_eq!(Qber::of(0, 0), Qber::default());
        assert_eq!(Qber::of(1, 50).to_string(), "2.00 %");
    }
}
