//! A pair of QKD modules that hand keys out by ETSI GS QKD 014 V1.1.1. In: each end's module, as an
//! SAE of it. Out: the same secret bits at both ends. Always: both ends have compared a keyed digest
//! of the bits before either hands them over; a key id is used once; whatever a module answers is
//! bounded and ends, at worst, the block.
//!
//! The transmitter takes new keys (`enc_keys`) and announces their ids over the photon stream, sealed
//! under the secret of the link session; the receiver fetches the same ids (`dec_keys`).

mod client;
mod frame;
mod keys;
mod receiver;
mod reply;
mod transmitter;

use std::time::{Duration, Instant};

use qkd_proto::id::BlockId;
use qkd_proto::node::input::Input;
use qkd_proto::node::settings::MODULE_BLOCK_BITS;

pub(super) use client::KmeClient;
pub(super) use receiver::ModuleReceiver;
pub(super) use transmitter::ModuleTransmitter;

use keys::BlockKey;

use super::{DeviceCommand, Way};
use crate::config::ModuleSettings;

/// Longest pause after a failure, whatever the wait for a block.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// Why a block gives no key.
enum Broken {
    /// The device was told something else, or the daemon stops.
    Told(Option<DeviceCommand>),
    /// A module, or the neighbour's device, is at fault.
    Failed(String),
}

/// Keys of this size that make one block.
fn keys_per_block(key_bits: u32) -> usize {
    MODULE_BLOCK_BITS.0.div_ceil(u64::from(key_bits.max(1))) as usize
}

/// Growing pauses between attempts that fail.
struct Backoff {
    first: Duration,
    most: Duration,
    failures: u32,
    until: Option<Instant>,
}

impl Backoff {
    /// From the module's poll interval up to a quarter of what a block may wait.
    fn new(settings: &ModuleSettings) -> Self {
        Self { first: settings.poll, most: (settings.wait / 4).min(PAUSE_MAX), failures: 0, until: None }
    }

    fn failed(&mut self) {
        let pause = self.first.saturating_mul(1 << self.failures.min(16)).min(self.most);
        self.failures += 1;
        self.until = Some(Instant::now() + pause);
    }

    fn worked(&mut self) {
        (self.failures, self.until) = (0, None);
    }

    /// Hands what came of a block to the node; gives back what the device was told meanwhile.
    fn hand_over(&mut self, outcome: Result<BlockKey, Broken>, block: BlockId, way: &Way) -> Option<DeviceCommand> {
        match outcome {
            Ok(key) => {
                self.worked();
                way.tell(Input::DeviceKey(way.link.clone(), block, key.into_bits()));
                None
            }
            Err(Broken::Told(command)) => command,
            Err(Broken::Failed(why)) => {
                self.failed();
                way.fail(block, why);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_any_size_fill_a_block() {
        assert_eq!([64, 256, 2048, 65_536].map(keys_per_block), [1024, 256, 32, 1]);
        assert_eq!(keys_per_block(65_528), 2, "what is left over waits in the pool for the next block");
    }
}
