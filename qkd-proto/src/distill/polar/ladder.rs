//! The ladder of frozen sets of a frame size: nested, one a rung, each for an error rate 3 % above
//! the one before. In: a table made offline, or density evolution. Out: for each input of the
//! transform, the first rung where it is frozen. Always: a higher rung freezes what a lower one does,
//! so that a frame that fails can be helped by the difference.
//!
//! An input whose index has a further one bit is never worse (the partial order of Schürch,
//! arXiv:1602.01870, that comes from the construction itself). So the first and the last input of a
//! subtree bound its rungs, and the table says only where inside its parent's bounds a subtree's are.

use super::density;
use super::range_coder::{RangeDecoder, RangeEncoder};

/// Smallest and largest frame, as powers of two.
pub const FRAME_LOGS: std::ops::RangeInclusive<u32> = 12..=22;
/// Rungs of a ladder; the last is for 13.5 % of errors.
pub const RUNGS: u8 = 136;
/// Error rate of the first rung.
const FIRST_RATE: f64 = 0.0025;
/// Error rate of a rung over that of the one before.
const RATIO: f64 = 1.03;
/// Probability, at most, that a frame at its rung's error rate fails.
const FRAME_ERRORS: f64 = 0.25;

/// The tables of all sizes, one after the other, each behind its length (4 bytes, little-endian).
static TABLE: &[u8] = include_bytes!("ladders.bin");

/// The error rate that a rung is made for.
pub fn rate(rung: u8) -> f64 {
    (0..rung).fold(FIRST_RATE, |rate, _| rate * RATIO)
}

/// The lowest rung for at least this error rate; the last if there is none.
pub fn rung(rate: f64) -> u8 {
    let mut of_rung = FIRST_RATE;
    let mut rung = 0;
    while rung + 1 < RUNGS && of_rung < rate {
        of_rung *= RATIO;
        rung += 1;
    }
    rung
}

/// For each input the first rung that freezes it; [`RUNGS`] if none does.
pub(super) fn of(log: u32) -> Vec<u8> {
    unpack(log, table(log))
}

/// The packed ladder of a size, out of the table.
pub fn table(log: u32) -> &'static [u8] {
    let mut rest = TABLE;
    for size in FRAME_LOGS {
        let Some((length, tail)) = rest.split_first_chunk() else { break };
        let length = (u32::from_le_bytes(*length) as usize).min(tail.len());
        if size == log {
            return &tail[..length];
        }
        rest = &tail[length..];
    }
    &[]
}

/// Makes and packs the ladder of a size: minutes for the largest.
pub fn make(log: u32) -> Vec<u8> {
    pack(&construct(log))
}

/// The ladder by density evolution, rung by rung.
fn construct(log: u32) -> Vec<u8> {
    let mut ladder = vec![RUNGS; 1 << log];
    for rung in (0..RUNGS).rev() {
        freeze(&density::input_errors(log, rate(rung)), rung, &mut ladder);
    }
    // Early stops of the evolution blur the partial order a little: freeze what is worse, too.
    for bit in 0..log {
        let half = 1 << bit;
        for pair in ladder.chunks_exact_mut(2 * half) {
            let (worse, better) = pair.split_at_mut(half);
            worse.iter_mut().zip(&*better).for_each(|(a, b)| *a = (*a).min(*b));
        }
    }
    ladder
}

/// Freezes the worst inputs, so that the others' errors sum up to the allowed.
fn freeze(errors: &[f64], rung: u8, ladder: &mut [u8]) {
    let mut order: Vec<u32> = (0..errors.len() as u32).collect();
    order.sort_unstable_by(|&a, &b| errors[a as usize].total_cmp(&errors[b as usize]).then(b.cmp(&a)));
    let mut sum = 0.0;
    for i in order {
        sum += errors[i as usize];
        if sum > FRAME_ERRORS {
            ladder[i as usize] = rung;
        }
    }
}

fn pack(ladder: &[u8]) -> Vec<u8> {
    fn node(ladder: &[u8], coder: &mut RangeEncoder) {
        let (least, most) = (ladder[0], ladder[ladder.len() - 1]);
        if least == most || ladder.len() <= 2 {
            return;
        }
        let (low, high) = ladder.split_at(ladder.len() / 2);
        coder.put(u32::from(low[low.len() - 1] - least), u32::from(most - least) + 1);
        coder.put(u32::from(high[0] - least), u32::from(most - least) + 1);
        node(low, coder);
        node(high, coder);
    }
    let mut coder = RangeEncoder::default();
    coder.put(ladder[0].into(), u32::from(RUNGS) + 1);
    coder.put(ladder[ladder.len() - 1].into(), u32::from(RUNGS) + 1);
    node(ladder, &mut coder);
    coder.finish()
}

fn unpack(log: u32, packed: &[u8]) -> Vec<u8> {
    fn node(ladder: &mut [u8], least: u8, most: u8, coder: &mut RangeDecoder<'_>) {
        if least >= most {
            return ladder.fill(least);
        }
        if let [low, high] = ladder {
            (*low, *high) = (least, most);
            return;
        }
        let last_low = least + coder.get(u32::from(most - least) + 1) as u8;
        let first_high = least + coder.get(u32::from(most - least) + 1) as u8;
        let (low, high) = ladder.split_at_mut(ladder.len() / 2);
        node(low, least, last_low, coder);
        node(high, first_high, most, coder);
    }
    let mut coder = RangeDecoder::new(packed);
    let mut ladder = vec![0; 1 << log];
    let least = coder.get(u32::from(RUNGS) + 1) as u8;
    let most = coder.get(u32::from(RUNGS) + 1) as u8;
    node(&mut ladder, least, most, &mut coder);
    ladder
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_what_the_generator_makes() {
        assert_eq!(make(12), table(12));
        let mut rung_of_larger = vec![RUNGS; 1 << 14];
        freeze(&density::input_errors(14, rate(70)), 70, &mut rung_of_larger);
        let missing = rung_of_larger.iter().zip(of(14).iter()).filter(|(made, stored)| made < stored).count();
        assert_eq!(missing, 0, "the stored ladder freezes what this rung does");
    }

    #[test]
    fn packing_keeps_a_ladder() {
        let ladder = construct(9);
        assert_eq!(unpack(9, &pack(&ladder)), ladder);
    }

    #[test]
    fn every_size_has_a_ladder_that_grows_with_the_rate() {
        for log in FRAME_LOGS.take(9) {
            let ladder = of(log);
            assert!(!table(log).is_empty());
            let frozen = |rung| ladder.iter().filter(|&&first| first <= rung).count();
            let shares = [0, 40, 80, 120].map(|rung| frozen(rung) as f64 / ladder.len() as f64);
            assert!(shares.is_sorted() && shares[0] > 0.02 && shares[3] < 0.75, "2^{log}: {shares:?}");
        }
    }

    #[test]
    fn a_rung_is_for_at_least_its_rate() {
        assert_eq!((rung(0.0), rung(FIRST_RATE), rung(0.5)), (0, 0, RUNGS - 1));
        for percent in 1..=11 {
            let wanted = f64::from(percent) / 100.0;
            let found = rung(wanted);
            assert!(rate(found) >= wanted && rate(found - 1) < wanted);
        }
    }
}
