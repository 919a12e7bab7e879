//! One message and no questions, for sessions that do not know the engine's own machines yet. In: a
//! key and a design step. Out: a syndrome a frame; corrected frames. Always: as the two machines, but
//! aimed high at once.

use zeroize::Zeroizing;

use super::corrector;
use super::decode::Room;
use super::frozen::FrozenSet;
use super::plan::Plan;
use super::syndrome::{Reader, Writer};
use crate::bits::BitString;
use crate::distill::abort::AbortReason;
use crate::distill::estimate::STEP;
use crate::distill::key::{ReconciledKey, SiftedKey};
use crate::distill::message::FrameSyndrome;
use crate::distill::reconcile;
use crate::kernel::{Level, polar};
use crate::quantity::Qber;

/// Questions that are answered in advance.
const ANSWERED: usize = 1;

fn plan(key: &SiftedKey, step: u8) -> Plan {
    let qber = Qber::try_from(f64::from(step) * STEP).unwrap_or_default();
    Plan::of(key.len(), qber)
}

/// The transmitter's share.
pub(in crate::distill) fn encode(key: &SiftedKey, step: u8, filter_key: [u8; 16]) -> Vec<FrameSyndrome> {
    let plan = plan(key, step);
    let syndrome = |(i, &log)| {
        let frame = &reconcile::words(key)[plan.words(i)];
        let mut inputs = Zeroizing::new(frame.to_vec());
        polar::transform(Level::best(), &mut inputs);
        let mut writer = Writer::default();
        writer.gather(&inputs, plan.set(log, ANSWERED).mask().iter().copied());
        FrameSyndrome { frozen: writer.finish(), filter: reconcile::filter(filter_key, frame) }
    };
    plan.sizes.iter().enumerate().map(syndrome).collect()
}

/// The receiver's share: corrects frame by frame, and says which passed their filter and how many
/// bits of each intensity were wrong.
///
/// # Errors
/// If the syndromes do not fit the key, or no frame could be corrected.
pub(in crate::distill) fn decode(
    key: &SiftedKey,
    step: u8,
    filter_key: [u8; 16],
    syndromes: &[FrameSyndrome],
) -> Result<(ReconciledKey, BitString, [u64; 2]), AbortReason> {
    let plan = plan(key, step);
    let fits = |(&log, frame): (&u32, &FrameSyndrome)| frame.frozen.len() == plan.frozen(log, ANSWERED);
    if plan.sizes.len() != syndromes.len() || !plan.sizes.iter().zip(syndromes).all(fits) {
        return Err(AbortReason::Malformed("syndromes"));
    }
    let (mut kept, mut room) = (BitString::default(), Room::default());
    let mut corrected = Zeroizing::new(reconcile::words(key).to_vec());
    for (i, (&log, syndrome)) in plan.sizes.iter().zip(syndromes).enumerate() {
        let set: &FrozenSet = &plan.set(log, ANSWERED);
        let mut frozen = vec![0; set.words()];
        Reader::new(&syndrome.frozen).scatter(set.mask().iter().copied(), &mut frozen);
        let frame = &mut corrected[plan.words(i)];
        corrector::correct(set, 0, std::iter::once(frozen.as_slice()), frame, &mut room);
        kept.push(reconcile::filter(filter_key, frame) == syndrome.filter);
    }
    let errors = reconcile::errors(key, &corrected, &kept);
    Ok((reconcile::join(&corrected, key, &kept)?, kept, errors))
}
