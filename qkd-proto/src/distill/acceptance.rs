//! How the length of a block's secret follows from what its formula finds. Always: named in every block
//! record, and fixed before the block.

/// The rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Acceptance {
    /// The length that the block's own counts allow (Tupkary et al., PR Research 6, 023002).
    #[default]
    VariableLength,
    /// Exactly this length, or nothing: the classical rule, for comparison.
    FixedLength {
        /// Secret bits of every block.
        bits: u64,
    },
}

impl Acceptance {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::VariableLength => "variable-length",
            Self::FixedLength { .. } => "fixed-length",
        }
    }

    /// Secret bits of a block in which the formula finds `found`.
    pub fn secret_bits(self, found: u64) -> u64 {
        match self {
            Self::VariableLength => found,
            Self::FixedLength { bits } if found >= bits => bits,
            Self::FixedLength { .. } => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fixed_length_is_all_or_nothing() {
        let fixed = Acceptance::FixedLength { bits: 1_000 };
        assert_eq!([999, 1_000, 5_000].map(|found| fixed.secret_bits(found)), [0, 1_000, 1_000]);
        assert_eq!(Acceptance::VariableLength.secret_bits(999), 999);
    }
}
