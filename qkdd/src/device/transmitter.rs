//! The emulated transmitter: draws arrivals, sends them sealed, and hands their record on, frame by frame.

use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use qkd_proto::id::BlockId;
use qkd_proto::node::input::Input;
use qkd_proto::optics::PhotonBatch;
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
        let start = Instant::now();
        let optics =
            Transmitter::new(self.model.clone(), photon_frame::seed(self.seed, true)).under(&way.fault.attack());
        let mut emission = optics.emit(block, self.pulses);
        let mut under_way = 0;
        while let Some((photons, chunk)) = emission.next_frame() {
            let photons = Zeroizing::new(photons);
            // Link time passes no faster than the configuration says.
            let due = start + self.block_time.mul_f64(chunk.last_slot() as f64 / self.pulses as f64);
            while let Some(command) = next_command(way, due, under_way >= WINDOW)? {
                match command {
                    DeviceCommand::Photons(bytes) => under_way -= credit_of(&bytes, block).min(under_way),
                    other => return Some(other),
                }
            }
            // The record is there before its clicks can come back.
            way.tell(Input::Photons(way.link.clone(), block, PhotonBatch::Emissions(chunk)));
            if !way.send(photon_frame::seal(secret, &way.link, block, &photons)) {
                return None;
            }
            under_way += 1;
        }
        None
    }
}

/// The next command, until `due`, and longer if one `must` come; inner none: the time has come;
/// outer none: the daemon stops.
fn next_command(way: &Way, due: Instant, must: bool) -> Option<Option<DeviceCommand>> {
    if must {
        return way.commands.recv().ok().map(Some);
    }
    let rest = due.saturating_duration_since(Instant::now());
    match way.commands.recv_timeout(rest) {
        Ok(command) => Some(Some(command)),
        Err(RecvTimeoutError::Timeout) => Some(None),
        Err(RecvTimeoutError::Disconnected) => None,
    }
}

fn credit_of(bytes: &[u8], running: BlockId) -> u32 {
    u32::from(matches!(photon_frame::open(bytes), Some(Frame::Credit(block)) if block == running))
}
