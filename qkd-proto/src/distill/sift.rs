//! Sifting: keep the clicks whose bases agree. In: a record of the optics and the other end's
//! message. Out: the sifted key, and what the test basis disclosed. Always: a message that does not
//! fit the own record is refused, and no key-basis bit leaves.

use super::abort::AbortReason;
use super::key::SiftedKey;
use super::message::{DetectionsMessage, EstimateMessage, SiftMessage};
use crate::bits::BitString;
use crate::codec::Bytes;
use crate::optics::event::{Detections, Emissions, Intensity};
use crate::optics::frame;
use crate::optics::photon::Basis;
use crate::secret::SecretBits;

/// What the receiver tells of its clicks.
pub fn announce(detections: &mut Detections) -> DetectionsMessage {
    let gaps = std::mem::take(&mut detections.gaps);
    DetectionsMessage { gaps: Bytes::from(gaps), bases: detections.bases.clone() }
}

/// The transmitter's share: its key, its message, and the number of test bits per intensity.
///
/// # Errors
/// If the clicks do not rise, go beyond the block, or do not match their bases in number.
pub fn sift_emissions(
    emissions: &Emissions,
    clicks: &DetectionsMessage,
) -> Result<(SiftedKey, SiftMessage, [u64; 2]), AbortReason> {
    let malformed = AbortReason::Malformed("detections");
    let mut sift = SiftMessage::empty(clicks.bases.len());
    let mut key = SiftedBuilder::with_room(clicks.bases.len());
    let mut tested = [0; 2];
    let (mut reader, mut gaps, mut slot) = (emissions.reader(), clicks.gaps.as_slice(), 0u64);
    for test in clicks.bases.iter() {
        let gap = frame::read_number(&mut gaps).filter(|&gap| gap > 0).ok_or(malformed)?;
        slot = slot.checked_add(gap).filter(|&slot| slot <= emissions.pulses()).ok_or(malformed)?;
        let setting = reader.setting(slot);
        let keep = (setting.basis == Basis::Test) == test;
        sift.keep.push(keep);
        if !keep {
            continue;
        }
        let decoy = setting.intensity == Intensity::Decoy;
        sift.decoy.push(decoy);
        if test {
            sift.test_bits.push(setting.bit);
            tested[usize::from(decoy)] += 1;
        } else {
            key.push(setting.bit, decoy);
        }
    }
    if gaps.is_empty() { Ok((key.finish(), sift, tested)) } else { Err(malformed) }
}

/// The receiver's share: its key, and what the test basis showed.
///
/// # Errors
/// If the message does not fit the clicks.
pub fn sift_detections(
    detections: &Detections,
    sift: &SiftMessage,
) -> Result<(SiftedKey, EstimateMessage), AbortReason> {
    let malformed = AbortReason::Malformed("sift");
    let (mut decoys, mut test_bits) = (sift.decoy.iter(), sift.test_bits.iter());
    let mut key = SiftedBuilder::with_room(detections.clicks());
    let mut estimate = EstimateMessage { counts: [0; 2], errors: [0; 2] };
    if sift.keep.len() != detections.clicks() {
        return Err(malformed);
    }
    let clicks = detections.bases.iter().zip(detections.bits.expose().iter());
    for ((test, bit), _) in clicks.zip(sift.keep.iter()).filter(|(_, keep)| *keep) {
        let decoy = decoys.next().ok_or(malformed)?;
        if test {
            let sent = test_bits.next().ok_or(malformed)?;
            estimate.counts[usize::from(decoy)] += 1;
            estimate.errors[usize::from(decoy)] += u64::from(sent != bit);
        } else {
            key.push(bit, decoy);
        }
    }
    let over = decoys.next().is_some() || test_bits.next().is_some();
    if over { Err(malformed) } else { Ok((key.finish(), estimate)) }
}

impl SiftMessage {
    fn empty(clicks: usize) -> Self {
        let room = || BitString::with_capacity(clicks);
        Self { keep: room(), decoy: room(), test_bits: room() }
    }
}

struct SiftedBuilder {
    bits: BitString,
    decoy: BitString,
}

impl SiftedBuilder {
    /// Room in advance: a string that grows would leave copies of the key behind.
    fn with_room(bits: usize) -> Self {
        Self { bits: BitString::with_capacity(bits), decoy: BitString::with_capacity(bits) }
    }

    fn push(&mut self, bit: bool, decoy: bool) {
        self.bits.push(bit);
        self.decoy.push(decoy);
    }

    fn finish(self) -> SiftedKey {
        SiftedKey { bits: SecretBits::new(self.bits), decoy: self.decoy }
    }
}
