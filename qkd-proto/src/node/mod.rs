//! Wires the floors together.

pub mod effect;
pub mod input;
