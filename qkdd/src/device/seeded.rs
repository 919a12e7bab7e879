//! The emulated optics without a photon stream: each end derives the whole emulation of a block from
//! the secret of the link session, which is fresh for every connection. Status shows it as `seeded`.

use std::time::{Duration, Instant};

use qkd_proto::id::BlockId;
use qkd_proto::node::input::Input;
use qkd_proto::optics::PhotonBatch;
use qkd_proto::optics::model::LinkModel;
use qkd_proto::optics::seeded::SeededBlock;
use qkd_proto::secret::SecretBytes;

use super::{DeviceCommand, PhotonDevice, Way};

pub(super) struct SeededOptics {
    model: LinkModel,
    pulses: u64,
    block_time: Duration,
    transmits: bool,
}

impl SeededOptics {
    pub(super) fn new(model: LinkModel, pulses: u64, block_time: Duration, transmits: bool) -> Self {
        Self { model, pulses, block_time, transmits }
    }
}

impl PhotonDevice for SeededOptics {
    fn measure(&mut self, block: BlockId, secret: &SecretBytes, way: &Way) -> Option<DeviceCommand> {
        let start = Instant::now();
        let optics = SeededBlock::new(secret, &way.link, block, &self.model, &way.fault.attack(), self.pulses);
        let tell = |batch| way.tell(Input::Photons(way.link.clone(), block, batch));
        if !self.transmits {
            optics.detections().for_each(|chunk| tell(PhotonBatch::Detections(chunk)));
            return None;
        }
        for chunk in optics.emissions() {
            // Link time passes no faster than the configuration says.
            let due = start + self.block_time.mul_f64(chunk.last_slot() as f64 / self.pulses as f64);
            if let Err(told) = way.wait_until(due, |_| {}) {
                return told;
            }
            tell(PhotonBatch::Emissions(chunk));
        }
        None
    }
}
