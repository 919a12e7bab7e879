//! The engines by name. In: a kind, a sifted key, a design. Out: the machine of one end. Always: what
//! a session runs comes from here, so a third engine is added in one place.

use super::abort::AbortReason;
use super::engine::{Corrector, Design, Teller};
use super::key::SiftedKey;
use super::message::EngineKind;
use super::{cascade, one_way};

/// The transmitter's machine.
///
/// # Errors
/// If the key is too short for the engine.
pub fn teller(kind: EngineKind, key: SiftedKey, design: &Design) -> Result<Box<dyn Teller>, AbortReason> {
    match kind {
        EngineKind::Polar => one_way::teller(key, design),
        EngineKind::Cascade => Ok(cascade::teller(key, design)),
    }
}

/// The receiver's machine.
///
/// # Errors
/// If the key is too short for the engine.
pub fn corrector(kind: EngineKind, key: SiftedKey, design: &Design) -> Result<Box<dyn Corrector>, AbortReason> {
    match kind {
        EngineKind::Polar => one_way::corrector(key, design),
        EngineKind::Cascade => Ok(cascade::corrector(key, design)),
    }
}
