//! The emulated receiver: opens photons, measures them, and keeps the outcomes.

use std::collections::VecDeque;

use qkd_proto::id::BlockId;
use qkd_proto::node::input::Input;
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

    /// Takes one frame into the block; what belongs to an older block is dropped.
    fn take(&self, reception: &mut Reception, bytes: &[u8], block: BlockId, secret: &SecretBytes, way: &Way) -> Taken {
        let Some(Frame::Photons(of, body)) = photon_frame::open(bytes) else { return Taken::Broken("malformed") };
        if of < block {
            return Taken::More;
        }
        // What does not open was sent in an earlier session: the due frame may still come.
        let Some(photons) = photon_frame::unseal(secret, &way.link, of, body).filter(|_| of == block) else {
            return Taken::More;
        };
        if reception.accept(photons.expose()).is_err() {
            return Taken::Broken("out of turn");
        }
        if reception.is_complete() {
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
        let optics = Receiver::new(way.fault.applied_to(&self.model), photon_frame::seed(self.seed, false));
        let mut reception = optics.receive(block, self.pulses);
        loop {
            let bytes = match self.early.pop_front() {
                Some(bytes) => bytes,
                None => match way.commands.recv().ok()? {
                    DeviceCommand::Photons(bytes) => bytes,
                    other => return Some(other),
                },
            };
            match self.take(&mut reception, &bytes, block, secret, way) {
                Taken::More => {}
                Taken::Last => break,
                Taken::Broken(why) => {
                    way.fail(block, format_args!("a photon frame is {why}"));
                    return None;
                }
            }
        }
        match reception.finish() {
            Ok(batch) => way.tell(Input::Photons(way.link.clone(), block, batch)),
            Err(error) => way.fail(block, error),
        }
        None
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
