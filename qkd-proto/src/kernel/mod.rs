//! Inner loops for the processor at hand. In: slices of plain numbers. Out: the same numbers that
//! the scalar twin gives. Always: every level gives the same bits (property tests compare them on all
//! lengths), and a level runs only where the processor has it. The one room with `unsafe`.
//!
//! A kernel is written once, as a plain loop, and compiled once per [`Level`]: the vector forms come
//! from the compiler wherever it can make them, from intrinsics only where it cannot (carry-less
//! products). One file is none: [`heap`], which needs the one call of the C library that has no safe form.

#![allow(unsafe_code, reason = "calls into code for processor features, behind a run-time check, and into the heap")]

pub mod arrivals;
pub mod field;
pub mod heap;
pub mod planes;
pub mod polar;
pub mod select;
pub mod stream;

/// What the processor can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Any processor.
    Scalar,
    /// AVX2 and PCLMULQDQ.
    Avx2,
    /// AVX-512 (F, BW, DQ, VL) and VPCLMULQDQ.
    Avx512,
}

impl Level {
    /// The best that this processor has.
    pub fn best() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            let avx512 = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("vpclmulqdq");
            let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("pclmulqdq");
            if avx512 && avx2 {
                return Self::Avx512;
            }
            if avx2 {
                return Self::Avx2;
            }
        }
        Self::Scalar
    }

    /// All that this processor has, the plainest first: tests compare them.
    pub fn available() -> impl Iterator<Item = Self> {
        let best = Self::best();
        [Self::Scalar, Self::Avx2, Self::Avx512].into_iter().filter(move |level| *level <= best)
    }
}
