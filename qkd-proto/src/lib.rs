//! The protocol of a quantum-relay network, pure: no clock, no I/O, no async.
//!
//! Read the modules in this order; it is the way a key takes from photon to application:
//!
//! | floor | module | what happens there |
//! |---|---|---|
//! | 0 | ground: [`id`] [`bits`] [`secret`] [`quantity`] [`moment`] [`codec`] [`crypto`] [`mac`] [`hybrid`] [`entropy`] [`kernel`] [`labels`] [`topology`] | the words and tools of every floor |
//! | 1 | [`optics`] | photons are emitted, travel, and are detected (emulated) |
//! | 2 | [`distill`] | photon records become a secret key at both ends of a link |
//! | 3 | [`pool`] | the secret bits of one link wait to be spent, each once |
//! | 4 | [`relay`] | link keys carry an end-to-end key hop by hop |
//! | 5 | [`supply`] | end-to-end keys wait for their application |
//! | 6 | [`node`] [`control`] | wires the floors together; what an operator may ask |
//! | 7 | [`sim`] | whole networks of nodes on one virtual clock (feature `sim`) |
//!
//! A floor uses the floors beneath it, never one above: `tests/floors.rs` fails otherwise.
//! Every state machine has one shape: `handle(now, input)`, `next_effect()`, `deadline()`.

pub mod bits;
pub mod codec;
pub mod crypto;
pub mod entropy;
pub mod hybrid;
pub mod id;
pub mod kernel;
pub mod labels;
pub mod mac;
pub mod moment;
pub mod quantity;
pub mod secret;
pub mod topology;

pub mod optics;

pub mod distill;

pub mod pool;

pub mod relay;

pub mod supply;

pub mod control;
pub mod node;

#[cfg(feature = "sim")]
pub mod sim;
