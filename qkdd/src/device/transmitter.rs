//! The emulated transmitter: draws arrivals, sends them sealed, and hands their record on, frame by
//! frame. Always: a frame is kept, plain and wiped in the end, until the receiver has taken it: after a
//! lost connection it is sealed anew under the new secret.

use std::collections::VecDeque;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use qkd_proto::id::BlockId;
use qkd_proto::node::input::Input;
use qkd_proto::optics::PhotonBatch;
use qkd_proto::optics::event::Emissions;
use qkd_proto::optics::model::LinkModel;
use qkd_proto::optics::transmitter::{Emission, Transmitter};
use qkd_proto::secret::SecretBytes;
use zeroize::Zeroizing;

use super::photon_frame::{self, Frame, WINDOW};
use super::{DeviceCommand, HOLD_MAX, PhotonDevice, Way};

/// Blocks of which frames are kept: one that is sent, and the end of the one before.
const BLOCKS_MAX: usize = 2;

pub(super) struct PhotonTransmitter {
    model: LinkModel,
    pulses: u64,
    block_time: Duration,
    seed: Option<u64>,
    blocks: VecDeque<Outgoing>,
    /// Which frames the receiver is due, told before this end had a session.
    early: VecDeque<(BlockId, u32)>,
    held_until: Option<Instant>,
}

/// A block on its way out.
struct Outgoing {
    block: BlockId,
    emission: Emission,
    /// Drawn, and not sent yet.
    next: Option<(Zeroizing<Vec<u8>>, Emissions)>,
    /// Sent, and not taken by the receiver; the first has number `first`.
    sent: VecDeque<Zeroizing<Vec<u8>>>,
    first: u32,
    last_slot: u64,
    start: Instant,
    /// After a lost connection: nothing leaves before the receiver has said which frame it is due.
    waits: bool,
}

impl PhotonTransmitter {
    pub(super) fn new(model: LinkModel, pulses: u64, block_time: Duration, seed: Option<u64>) -> Self {
        let (blocks, early) = Default::default();
        Self { model, pulses, block_time, seed, blocks, early, held_until: None }
    }

    /// When the pulses up to `slot` have left: link time passes no faster than the configuration says.
    fn link_time(&self, slot: u64) -> Duration {
        self.block_time.mul_f64(slot as f64 / self.pulses as f64)
    }

    /// Sends the newest block to its end, or until told otherwise.
    fn send(&mut self, secret: &SecretBytes, way: &Way) -> Option<DeviceCommand> {
        loop {
            let current = self.blocks.back_mut()?;
            if current.next.is_none() {
                current.next = current.emission.next_frame().map(|(photons, chunk)| (Zeroizing::new(photons), chunk));
            }
            let (slot, start) = (current.next.as_ref()?.1.last_slot(), current.start);
            let must = current.waits || current.sent.len() >= WINDOW as usize;
            let due = start + self.link_time(slot);
            match next_command(way, due, must)? {
                Some(DeviceCommand::Photons(bytes)) => self.hear(&bytes, secret, way),
                Some(other) => return Some(other),
                None => self.send_next(secret, way),
            }
        }
    }

    fn send_next(&mut self, secret: &SecretBytes, way: &Way) {
        let Some(current) = self.blocks.back_mut() else { return };
        let Some((photons, chunk)) = current.next.take() else { return };
        current.last_slot = chunk.last_slot();
        // The record is there before its clicks can come back.
        way.tell(Input::Photons(way.link.clone(), current.block, PhotonBatch::Emissions(chunk)));
        // Without a connection the frame waits: the device is told soon.
        current.waits |= !way.send(photon_frame::seal(secret, &way.link, current.block, &photons));
        current.sent.push_back(photons);
    }

    /// The receiver's device has taken a frame, or says which one it is due.
    fn hear(&mut self, bytes: &[u8], secret: &SecretBytes, way: &Way) {
        match photon_frame::open(bytes) {
            Some(Frame::Credit(block)) => {
                let of_block = self.blocks.iter_mut().find(|of| of.block == block && !of.waits);
                if let Some(outgoing) = of_block.filter(|outgoing| !outgoing.sent.is_empty()) {
                    outgoing.sent.pop_front();
                    outgoing.first += 1;
                }
            }
            Some(Frame::Due(block, number)) => self.resend(block, number, secret, way),
            Some(Frame::Photons(..)) | None => {}
        }
    }

    /// Sends what was kept of a block from frame `number` on, sealed anew.
    fn resend(&mut self, block: BlockId, number: u32, secret: &SecretBytes, way: &Way) {
        let Some(place) = self.blocks.iter().position(|of| of.block == block && of.waits) else { return };
        let outgoing = &mut self.blocks[place];
        let taken = number.checked_sub(outgoing.first).map(|taken| taken as usize);
        let Some(taken) = taken.filter(|&taken| taken <= outgoing.sent.len()) else {
            self.blocks.remove(place);
            return way.fail(block, "the receiver's device is due a frame that is not kept");
        };
        outgoing.sent.drain(..taken);
        outgoing.first = number;
        outgoing.waits = false;
        for photons in &outgoing.sent {
            outgoing.waits |= !way.send(photon_frame::seal(secret, &way.link, block, photons));
        }
    }
}

impl PhotonDevice for PhotonTransmitter {
    fn measure(&mut self, block: BlockId, secret: &SecretBytes, way: &Way) -> Option<DeviceCommand> {
        // What was not sent to its end was given up.
        self.blocks.retain(|of| of.next.is_none() && of.last_slot == self.pulses && !of.sent.is_empty());
        while self.blocks.len() >= BLOCKS_MAX {
            self.blocks.pop_front();
        }
        let optics =
            Transmitter::new(self.model.clone(), photon_frame::seed(self.seed, true)).under(&way.fault.attack());
        self.blocks.push_back(Outgoing {
            block,
            emission: optics.emit(block, self.pulses),
            next: None,
            sent: VecDeque::new(),
            first: 0,
            last_slot: 0,
            start: Instant::now(),
            waits: false,
        });
        self.send(secret, way)
    }

    fn go_on(&mut self, block: BlockId, secret: &SecretBytes, way: &Way) -> Option<DeviceCommand> {
        let passed = self.blocks.back().map_or(Duration::ZERO, |current| self.link_time(current.last_slot));
        let Some(current) = self.blocks.back_mut().filter(|current| current.block == block) else {
            way.fail(block, "the device no longer has the block");
            return None;
        };
        let now = Instant::now();
        current.start = now.checked_sub(passed).unwrap_or(now);
        self.send(secret, way)
    }

    fn open(&mut self, secret: &SecretBytes, way: &Way) {
        self.held_until = None;
        for (block, number) in std::mem::take(&mut self.early) {
            self.resend(block, number, secret, way);
        }
    }

    fn early(&mut self, bytes: Vec<u8>, secret: Option<&SecretBytes>, way: &Way) {
        match (secret, photon_frame::open(&bytes)) {
            (Some(secret), _) => self.hear(&bytes, secret, way),
            (None, Some(Frame::Due(block, number))) if self.early.len() < BLOCKS_MAX => {
                self.early.push_back((block, number));
            }
            (None, _) => {}
        }
    }

    fn close(&mut self) {
        self.early.clear();
        self.blocks.iter_mut().for_each(|outgoing| outgoing.waits = true);
        self.held_until = (!self.blocks.is_empty()).then(|| Instant::now() + HOLD_MAX);
    }

    fn held_until(&self) -> Option<Instant> {
        self.held_until
    }

    fn forget(&mut self) {
        self.blocks.clear();
        self.held_until = None;
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
