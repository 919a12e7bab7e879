//! The emulated receiver: opens photons, measures them, and hands the outcomes on, frame by frame. After
//! a lost connection it says which frame is due, and goes on there.

use std::collections::VecDeque;
use std::time::Instant;

use qkd_proto::id::BlockId;
use qkd_proto::node::input::Input;
use qkd_proto::node::message::SESSION_BLOCK_BITS;
use qkd_proto::optics::PhotonBatch;
use qkd_proto::optics::model::LinkModel;
use qkd_proto::optics::receiver::{Receiver, Reception};
use qkd_proto::secret::SecretBytes;

use super::photon_frame::{self, Frame, WINDOW};
use super::{DeviceCommand, HOLD_MAX, PhotonDevice, Way};

pub(super) struct PhotonReceiver {
    model: LinkModel,
    pulses: u64,
    seed: Option<u64>,
    early: VecDeque<Vec<u8>>,
    incoming: Option<Incoming>,
    held_until: Option<Instant>,
}

/// A block coming in.
struct Incoming {
    block: BlockId,
    reception: Reception,
    /// Number of the frame that is due.
    due: u32,
}

impl PhotonReceiver {
    pub(super) fn new(model: LinkModel, pulses: u64, seed: Option<u64>) -> Self {
        Self { model, pulses, seed, early: VecDeque::new(), incoming: None, held_until: None }
    }

    /// Takes one frame into the block; what belongs to an older block is dropped, to a later one kept.
    fn take(&mut self, bytes: Vec<u8>, secret: &SecretBytes, way: &Way) -> Taken {
        let Some(incoming) = &mut self.incoming else { return Taken::Last };
        let block = incoming.block;
        let Some(Frame::Photons(of, body)) = photon_frame::open(&bytes) else { return Taken::Broken("malformed") };
        if of != block {
            // A later one: the transmitter went on, or gave this block up; the node will say so.
            if !is_older(of, block) {
                self.keep(bytes);
            }
            return Taken::More;
        }
        // What does not open was sent in an earlier session: the due frame may still come.
        let Some(photons) = photon_frame::unseal(secret, &way.link, of, body) else { return Taken::More };
        let Ok(chunk) = incoming.reception.accept(photons.expose()) else { return Taken::Broken("out of turn") };
        incoming.due += 1;
        let last = chunk.is_last();
        way.tell(Input::Photons(way.link.clone(), block, PhotonBatch::Detections(chunk)));
        // Without a connection the device is told soon, and the transmitter which frame is due.
        let _ = way.send(photon_frame::credit(block));
        if last { Taken::Last } else { Taken::More }
    }

    /// Takes frames until the block is over, or until told otherwise.
    fn receive(&mut self, secret: &SecretBytes, way: &Way) -> Option<DeviceCommand> {
        let (block, due) = self.incoming.as_ref().map(|incoming| (incoming.block, incoming.due))?;
        let _ = way.send(photon_frame::due(block, due));
        let mut early = std::mem::take(&mut self.early);
        loop {
            let bytes = match early.pop_front() {
                Some(bytes) => bytes,
                None => match way.commands.recv().ok()? {
                    DeviceCommand::Photons(bytes) => bytes,
                    other => return Some(other),
                },
            };
            match self.take(bytes, secret, way) {
                Taken::More => {}
                Taken::Last => {
                    self.incoming = None;
                    return None;
                }
                Taken::Broken(why) => {
                    self.incoming = None;
                    way.fail(block, format_args!("a photon frame is {why}"));
                    return None;
                }
            }
        }
    }

    fn keep(&mut self, bytes: Vec<u8>) {
        // An honest transmitter has no more than a window under way; of others the oldest go.
        if self.early.len() >= WINDOW as usize {
            self.early.pop_front();
        }
        self.early.push_back(bytes);
    }
}

/// True if `of` was started before `block`: only numbers of one link session tell.
fn is_older(of: BlockId, block: BlockId) -> bool {
    of.0 >> SESSION_BLOCK_BITS == block.0 >> SESSION_BLOCK_BITS && of < block
}

enum Taken {
    More,
    Last,
    Broken(&'static str),
}

impl PhotonDevice for PhotonReceiver {
    fn measure(&mut self, block: BlockId, secret: &SecretBytes, way: &Way) -> Option<DeviceCommand> {
        let optics = Receiver::new(self.model.clone(), photon_frame::seed(self.seed, false)).under(&way.fault.attack());
        self.incoming = Some(Incoming { block, reception: optics.receive(block, self.pulses), due: 0 });
        self.receive(secret, way)
    }

    fn go_on(&mut self, block: BlockId, secret: &SecretBytes, way: &Way) -> Option<DeviceCommand> {
        if self.incoming.as_ref().is_none_or(|incoming| incoming.block != block) {
            way.fail(block, "the device no longer has the block");
            return None;
        }
        self.receive(secret, way)
    }

    fn open(&mut self, _secret: &SecretBytes, _way: &Way) {
        self.held_until = None;
    }

    fn early(&mut self, bytes: Vec<u8>, _secret: Option<&SecretBytes>, _way: &Way) {
        self.keep(bytes);
    }

    fn close(&mut self) {
        self.early.clear();
        self.held_until = self.incoming.is_some().then(|| Instant::now() + HOLD_MAX);
    }

    fn held_until(&self) -> Option<Instant> {
        self.held_until
    }

    fn forget(&mut self) {
        (self.incoming, self.held_until) = (None, None);
    }
}
