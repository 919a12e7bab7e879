//! Cascade: parities of blocks are compared, and blocks that differ are halved until the wrong bit
//! is found (Brassard and Salvail 1994). In: a sifted key at each end. Out: equal frames. Always:
//! both ends walk one schedule that follows from public differences of parities, so a message is one
//! bit for each parity compared and nothing else, and each of them is charged for both ends
//! (Tupkary and Lütkenhaus, arXiv:2307.00576).
//!
//! A frame has three passes, over blocks of `k`, `8 k` and `64 k` bits, each in an order of its own
//! (`order`); parts of blocks whose parities are known are used again (Martinez-Mateo et al. 2015,
//! arXiv:1407.3257) (`tree`); then random subsets are compared until 20 in a row agree (`check`).
//! `frame` is the schedule of one frame, `flight` runs many of them, one message a round.

mod check;
mod corrector;
mod flight;
mod frame;
mod frames;
mod order;
mod parities;
mod teller;
#[cfg(test)]
mod tests;
mod tree;
mod tuning;

use self::flight::Flight;
use super::engine::{Corrector, Design, Teller};
use super::key::SiftedKey;

pub use self::tuning::Tuning;

/// The transmitter's machine over its sifted key.
pub fn teller(key: SiftedKey, design: &Design) -> Box<dyn Teller> {
    teller_tuned(key, design, Tuning::default())
}

/// The receiver's machine over its sifted key.
pub fn corrector(key: SiftedKey, design: &Design) -> Box<dyn Corrector> {
    corrector_tuned(key, design, Tuning::default())
}

/// The transmitter's machine; the receiver's must be tuned alike.
pub fn teller_tuned(key: SiftedKey, design: &Design, tuning: Tuning) -> Box<dyn Teller> {
    Box::new(teller::CascadeTeller::new(Flight::new(key, design, tuning, false)))
}

/// The receiver's machine; the transmitter's must be tuned alike.
pub fn corrector_tuned(key: SiftedKey, design: &Design, tuning: Tuning) -> Box<dyn Corrector> {
    Box::new(corrector::CascadeCorrector::new(Flight::new(key, design, tuning, true)))
}
