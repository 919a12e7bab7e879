//! The emulated transmitter: draws arrivals, sends them sealed, and keeps the record.

use std::sync::mpsc::TryRecvError;
use std::time::{Duration, Instant};

use qkd_proto::id::BlockId;
use qkd_proto::node::input::Input;
use qkd_proto::optics::model::LinkModel;
use qkd_proto::optics::transmitter::Transmitter;
use qkd_proto::secret::SecretBytes;
use zeroize::Zeroizing;

use super::photon_frame::{self, Frame, WINDOW};
use super::{DeviceCommand, PhotonDevice, Way};

pub(super) struct PhotonTransmitter {
    model: LinkModel,
    pulses: u64,
    block_time: Duration,
    seed: Option<u64>,
}

impl PhotonTransmitter {
    pub(super) fn new(model: LinkModel, pulses: u64, block_time: Duration, seed: Option<u64>) -> Self {
        Self { model, pulses, block_time, seed }
    }
}

impl PhotonDevice for PhotonTransmitter {
    fn measure(&mut self, block: BlockId, secret: &SecretBytes, way: &Way) -> Option<DeviceCommand> {
        let end = Instant::now() + self.block_time;
        let optics = Transmitter::new(way.fault.applied_to(&self.model), photon_frame::seed(self.seed, true));
        let mut emission = optics.emit(block, self.pulses);
        let mut under_way = 0;
        while let Some(photons) = emission.next_frame().map(Zeroizing::new) {
            while let Some(command) = next_command(way, under_way >= WINDOW)? {
                match command {
                    DeviceCommand::Photons(bytes) => under_way -= credit_of(&bytes, block).min(under_way),
                    other => return Some(other),
                }
            }
            if !way.send(photon_frame::seal(secret, &way.link, block, &photons)) {
                return None;
            }
            under_way += 1;
        }
        // Link time passes no faster than the configuration says.
        if let Err(told) = way.wait_until(end, |_| {}) {
            return told;
        }
        way.tell(Input::Photons(way.link.clone(), block, emission.finish()));
        None
    }
}

/// The next command, waiting for one if `must_wait`; outer none: the daemon stops.
fn next_command(way: &Way, must_wait: bool) -> Option<Option<DeviceCommand>> {
    if must_wait {
        return way.commands.recv().ok().map(Some);
    }
    match way.commands.try_recv() {
        Ok(command) => Some(Some(command)),
        Err(TryRecvError::Empty) => Some(None),
        Err(TryRecvError::Disconnected) => None,
    }
}

fn credit_of(bytes: &[u8], running: BlockId) -> u32 {
    u32::from(matches!(photon_frame::open(bytes), Some(Frame::Credit(block)) if block == running))
}
