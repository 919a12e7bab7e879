//! Seeded optics: both ends derive the whole emulation from one secret and send no photon. In: a
//! secret fresh for the connection, the link, the block, its model. Out: an end's chunks, the same as
//! if photons had travelled. Always: as secret as the secret, no more; the receiver's end could
//! compute the transmitter's bits, so this is for tests of scale and long runs, and shown as such.

use zeroize::Zeroizing;

use super::eavesdropper::Attack;
use super::event::{Detections, Emissions};
use super::model::LinkModel;
use super::receiver::{Receiver, Reception};
use super::transmitter::{Emission, Transmitter};
use crate::id::{BlockId, LinkId};
use crate::secret::SecretBytes;
use crate::{crypto, labels};

/// The emulation of one block.
pub struct SeededBlock {
    transmitter: Transmitter,
    receiver: Receiver,
    block: BlockId,
    pulses: u64,
}

impl SeededBlock {
    /// Both ends call this with the same values.
    pub fn new(
        secret: &SecretBytes,
        link: &LinkId,
        block: BlockId,
        model: &LinkModel,
        attack: &Attack,
        pulses: u64,
    ) -> Self {
        let name = link.as_str().as_bytes();
        let context = [&(name.len() as u64).to_be_bytes(), name, &block.0.to_be_bytes()[..]];
        let seeds = crypto::derive(&[], secret, labels::derive::SEEDED_BLOCK, &context, 64);
        let seed = |at: usize| {
            let mut seed = Zeroizing::new([0; 32]);
            seed.copy_from_slice(&seeds.expose()[at..at + 32]);
            seed
        };
        Self {
            transmitter: Transmitter::new(model.clone(), *seed(0)).under(attack),
            receiver: Receiver::new(model.clone(), *seed(32)).under(attack),
            block,
            pulses,
        }
    }

    /// The transmitter's chunks, in order.
    pub fn emissions(&self) -> impl Iterator<Item = Emissions> + Send + use<> {
        let mut emission = self.transmitter.emit(self.block, self.pulses);
        std::iter::from_fn(move || Some(emission.next_frame()?.1))
    }

    /// The receiver's chunks, in order.
    pub fn detections(&self) -> impl Iterator<Item = Detections> + Send + use<> {
        let mut emission = self.transmitter.emit(self.block, self.pulses);
        let mut reception = self.receiver.receive(self.block, self.pulses);
        std::iter::from_fn(move || next_detections(&mut emission, &mut reception))
    }
}

/// A frame goes from one to the other within this end, so that it is always accepted.
fn next_detections(emission: &mut Emission, reception: &mut Reception) -> Option<Detections> {
    let (frame, _) = emission.next_frame()?;
    reception.accept(&Zeroizing::new(frame)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optics::preset::Preset;

    #[test]
    fn both_ends_see_one_emulation_and_blocks_differ() {
        let (model, pulses) = (Preset::Lab.model(), 3_000_000);
        let block = |number| {
            let (secret, link) = (SecretBytes::new(vec![5; 32]), "a-b".parse().unwrap());
            SeededBlock::new(&secret, &link, BlockId(number), &model, &Attack::default(), pulses)
        };
        let spans = |number| {
            let ours: Vec<_> = block(number).emissions().map(|chunk| (chunk.first_slot(), chunk.last_slot())).collect();
            let theirs: Vec<_> = block(number).detections().collect();
            assert!(theirs.iter().map(|chunk| (chunk.first_slot(), chunk.last_slot())).eq(ours.iter().copied()));
            assert!(theirs.last().unwrap().is_last() && theirs.iter().all(|chunk| chunk.clicks() > 0));
            ours
        };
        assert_eq!(spans(1), spans(1));
        assert_ne!(spans(1), spans(2));
    }
}
