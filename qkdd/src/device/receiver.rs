//! The emulated receiver: opens photons, measures them, and hands the outcomes on, frame by frame.

use std::collections::VecDeque;

use qkd_proto::id::BlockId;
use qkd_proto::node::input::Input;
use qkd_proto::optics::PhotonBatch;
use qkd_proto::optics::model::LinkModel;
use qkd_proto::optics::receiver::{Receiver, Reception};
use qkd_proto::secret::SecretBytes;

use super::photon_frame::{self, Frame, WINDOW};
use super::{DeviceCommand, PhotonDevice, Way};

pub(super) struct PhotonReceiver {
    model: LinkModel,
    pulses: u64,
    seed: Option<u64>,
    early: VecDeque<Vec<u8>>,
}

impl PhotonReceiver {
    pub(super) fn new(model: LinkModel, pulses: u64, seed: Option<u64>) -> Self {
        Self { model, pulses, seed, early: VecDeque::new() }
    }

    /// Takes one frame into the block; what belongs to an older block is dropped, to a later one kept.
    fn take(
        &mut self,
        reception: &mut Reception,
        bytes: Vec<u8>,
        block: BlockId,
        secret: &SecretBytes,
        way: &Way,
    ) -> Taken {
        let Some(Frame::Photons(of, body)) = photon_frame::open(&bytes) else { return Taken::Broken("malformed") };
        if of < block {
            return Taken::More;
        }
        if of > block {
            // The transmitter gave this block up; the node will say so.
            self.early(bytes);
            return Taken::More;
        }
        // What does not open was sent in an earlier session: the due frame may still come.
        let Some(photons) = photon_frame::unseal(secret, &way.link, of, body) else { return Taken::More };
        let Ok(chunk) = reception.accept(photons.expose()) else { return Taken::Broken("out of turn") };
        let last = chunk.is_last();
        way.tell(Input::Photons(way.link.clone(), block, PhotonBatch::Detections(chunk)));
        if last {
            return Taken::Last;
        }
        if way.send(photon_frame::credit(block)) { Taken::More } else { Taken::Broken("the link is down") }
    }
}

enum Taken {
    More,
    Last,
    Broken(&'static str),
}

impl PhotonDevice for PhotonReceiver {
    fn measure(&mut self, block: BlockId, secret: &SecretBytes, way: &Way) -> Option<DeviceCommand> {
        let optics = Receiver::new(self.model.clone(), photon_frame::seed(self.seed, false)).under(&way.fault.attack());
        let mut reception = optics.receive(block, self.pulses);
        let mut early = std::mem::take(&mut self.early);
        loop {
            let bytes = match early.pop_front() {
                Some(bytes) => bytes,
                None => match way.commands.recv().ok()? {
                    DeviceCommand::Photons(bytes) => bytes,
                    other => return Some(other),
                },
            };
            match self.take(&mut reception, bytes, block, secret, way) {
                Taken::More => {}
                Taken::Last => return None,
                Taken::Broken(why) => {
                    way.fail(block, format_args!("a photon frame is {why}"));
                    return None;
                }
            }
        }
    }

    fn early(&mut self, bytes: Vec<u8>) {
        // An honest transmitter has no more than a window under way; of others the oldest go.
        if self.early.len() >= WINDOW as usize {
            self.early.pop_front();
        }
        self.early.push_back(bytes);
    }

    fn close(&mut self) {
        self.early.clear();
    }
}
