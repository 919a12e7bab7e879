//! How large the blocks of the first pass are. In: the error rate to be ready for. Out: a power of
//! two. Always: the same at both ends.

use crate::quantity::Qber;

/// What is dear: bits or rounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tuning {
    /// Fewest parities.
    #[default]
    Efficient,
    /// Half the blocks: fewer rounds, some per cent more parities.
    LowLatency,
}

/// Expected differences in a first block, up to a factor of the square root of two either way; found
/// by trial between 0.5 % and 10 %.
const DIFFERENCES: f64 = 0.7;

impl Tuning {
    /// The first pass' block, as a power of two.
    pub(super) fn first_block(self, qber: Qber) -> u32 {
        let log = (DIFFERENCES / qber.ratio().max(1e-4)).log2().round();
        let log = if self == Self::LowLatency { log - 1.0 } else { log };
        log.clamp(1.0, 9.0) as u32
    }
}
