//! How a link's blocks are distilled. In: the keys of a `[[link]]` table about engine, leak and length.
//! Out: a checked [`Distillation`]. Always: the defaults are the safe ones.

use qkd_proto::distill::acceptance::Acceptance;
use qkd_proto::distill::finite_key::Formula;
use qkd_proto::distill::message::EngineKind;
use qkd_proto::distill::plan::{Distillation, LeakRule};

use super::section::Section;
use super::unit::Unit;

/// The keys that only emulated optics have a use for.
pub(super) const KEYS: [&str; 4] = ["engine", "leak", "formula", "fixed_length"];

pub(super) fn read(link: &Section<'_>) -> Distillation {
    let engines = [("polar", EngineKind::Polar), ("cascade", EngineKind::Cascade)];
    let leaks = [("both", LeakRule::Both), ("alice", LeakRule::Transmitter)];
    // Lim's formula needs two decoys, and the emulated source has one.
    let formulas = [("wiesemann", Formula::Wiesemann), ("rusca2018", Formula::Rusca)];
    let fixed = link.quantity("fixed_length", Unit::Bits, 4096.0..=1_073_741_824.0);
    Distillation {
        engine: choice(link, "engine", &engines),
        leak: choice(link, "leak", &leaks).unwrap_or_default(),
        formula: choice(link, "formula", &formulas).unwrap_or_default(),
        acceptance: fixed.map_or(Acceptance::VariableLength, |bits| Acceptance::FixedLength { bits: bits as u64 }),
    }
}

fn choice<T: Copy>(link: &Section<'_>, key: &'static str, named: &[(&str, T)]) -> Option<T> {
    let text = link.text(key)?;
    let found = named.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
    if found.is_none() {
        let names: Vec<&str> = named.iter().map(|(name, _)| *name).collect();
        link.fault(key, format!("= {text:?} is unknown: use one of {}", names.join(", ")));
    }
    found
}
