//! Whole networks of nodes on one virtual clock. In: a seed and a [`Scenario`]. Out: a [`Verdict`]:
//! what the ledger checker found, and a trace. Always: the same seed gives the same trace, byte for
//! byte.
//!
//! The nodes are the real ones, with real handshakes, pads, letters and records. Simulated are the
//! wires (delay, resets, cuts, partitions; adverts get lost), the disks (records are lost or torn in a
//! crash unless they were durable), the clocks, the devices (rate tables) and the applications.
//!
//! [`pair`] is the smaller case: the two ends of one block over emulated photons; [`workload`] has a
//! link's stages one by one, and [`stages`] measures them.

mod disk;
mod faults;
mod ledger;
mod network;
pub mod pair;
mod perform;
mod scenario;
pub mod stages;
mod users;
pub mod workload;
mod world;

pub use ledger::Violation;
pub use scenario::{Planted, Scenario};

use world::World;

/// What became of a run.
#[derive(Debug)]
pub struct Verdict {
    /// Rules that were broken; empty in a sound run.
    pub violations: Vec<Violation>,
    /// Keys that a master got.
    pub keys_delivered: usize,
    /// Of those, keys that the slave got too.
    pub keys_completed: usize,
    /// Keys delivered after the faults had ended.
    pub keys_after_faults: usize,
    /// Node crashes.
    pub crashes: usize,
    /// Nodes whose disk was put back.
    pub rollbacks: usize,
    /// Uses of pad that were checked.
    pub pad_uses: usize,
    /// What happened, a line each.
    pub trace: String,
}

/// Runs one scenario with one seed.
pub fn run(scenario: &Scenario, seed: u64) -> Verdict {
    let mut world = World::new(scenario, seed);
    world.run();
    world.verdict()
}
