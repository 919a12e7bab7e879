//! Polar codes: transform, construction and successive-cancellation decoding. In: frames of 2^12 to
//! 2^16 bits and a design error rate. Out: syndromes and corrected frames. Always: arithmetic is
//! integer in decoding and plain IEEE in construction, so both ends get the same frozen set.
//!
//! The decoder is min-sum over integers: a channel bit has the value 1, whatever the error rate
//! (min-sum does not feel a common scale). Its density evolution is therefore exact: not the usual
//! Gaussian approximation, which costs a third of the efficiency here.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use zeroize::Zeroizing;

/// Largest value inside the decoder, in units of one channel bit.
const LIMIT: i8 = 31;
/// Values of a density.
const VALUES: usize = 2 * LIMIT as usize + 1;
/// Where value zero stands in a density.
const ZERO: usize = LIMIT as usize;
/// Allowed probability that decoding a frame at the design error rate fails.
const FRAME_ERRORS: f64 = 0.02;
/// Error rate per design step.
pub(super) const STEP: f64 = 0.0025;

/// Which inputs of the transform are told in public.
pub(super) struct FrozenSet {
    mask: Vec<u64>,
    /// Frozen inputs before each position.
    rank: Vec<u32>,
}

impl FrozenSet {
    /// The set for frames of `2^log` bits at `step` quarters of a per cent; computed once a process.
    pub(super) fn of(log: u32, step: u8) -> Arc<Self> {
        type Sets = BTreeMap<(u32, u8), Arc<FrozenSet>>;
        static SETS: OnceLock<Mutex<Sets>> = OnceLock::new();
        let mut sets = SETS.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
        let set = sets.entry((log, step)).or_insert_with(|| Arc::new(Self::construct(log, f64::from(step) * STEP)));
        Arc::clone(set)
    }

    fn construct(log: u32, error_rate: f64) -> Self {
        let mut channel = [0.0; VALUES];
        channel[ZERO + 1] = 1.0 - error_rate;
        channel[ZERO - 1] = error_rate;
        let mut errors = Vec::with_capacity(1 << log);
        evolve(&channel, log, &mut errors);
        let mut order: Vec<usize> = (0..errors.len()).collect();
        order.sort_by(|&a, &b| errors[a].total_cmp(&errors[b]).then(b.cmp(&a)));
        let mut mask = vec![u64::MAX; errors.len() / 64];
        let mut sum = 0.0;
        for i in order {
            sum += errors[i];
            if sum > FRAME_ERRORS {
                break;
            }
            mask[i / 64] &= !(1 << (i % 64));
        }
        let mut rank = vec![0];
        let mut count = 0;
        for i in 0..errors.len() {
            count += (mask[i / 64] >> (i % 64) & 1) as u32;
            rank.push(count);
        }
        Self { mask, rank }
    }

    /// Bits of a frame.
    fn len(&self) -> usize {
        self.rank.len() - 1
    }

    /// Bits of a syndrome.
    pub(super) fn frozen(&self) -> usize {
        self.rank[self.len()] as usize
    }

    fn is_frozen(&self, i: usize) -> bool {
        self.mask[i / 64] >> (i % 64) & 1 == 1
    }

    /// The frozen inputs of a frame.
    pub(super) fn syndrome(&self, frame: &[u64]) -> Vec<bool> {
        let mut inputs = Zeroizing::new(frame.to_vec());
        transform(&mut inputs);
        (0..self.len()).filter(|&i| self.is_frozen(i)).map(|i| inputs[i / 64] >> (i % 64) & 1 == 1).collect()
    }

    /// Corrects a noisy frame by the other end's syndrome, of [`Self::frozen`] bits.
    pub(super) fn correct(&self, noisy: &[u64], syndrome: impl Iterator<Item = bool>) -> Zeroizing<Vec<u64>> {
        let n = self.len();
        let mut inputs = vec![0; n];
        let positions = (0..n).filter(|&i| self.is_frozen(i));
        positions.zip(syndrome).for_each(|(i, bit)| inputs[i] = u8::from(bit));
        let values = (0..n).map(|i| 1 - 2 * (noisy[i / 64] >> (i % 64) & 1) as i8);
        let values = Zeroizing::new(values.collect::<Vec<i8>>());
        let mut out = Zeroizing::new(vec![0; n]);
        let mut room = Zeroizing::new(vec![0; n]);
        self.decode(&values, 0, &inputs, &mut out, &mut room);
        let mut words = Zeroizing::new(vec![0; n / 64]);
        out.iter().enumerate().for_each(|(i, &bit)| words[i / 64] |= u64::from(bit) << (i % 64));
        words
    }

    /// Decodes the inputs from `base` on, one per value, into their transform.
    fn decode(&self, values: &[i8], base: usize, inputs: &[u8], out: &mut [u8], room: &mut [i8]) {
        let n = values.len();
        let frozen = (self.rank[base + n] - self.rank[base]) as usize;
        if frozen == 0 {
            out.iter_mut().zip(values).for_each(|(bit, &value)| *bit = u8::from(value < 0));
            return;
        }
        if frozen == n {
            out.copy_from_slice(&inputs[base..base + n]);
            transform_bytes(out);
            return;
        }
        let half = n / 2;
        let (low, high) = values.split_at(half);
        let (inner, room) = room.split_at_mut(half);
        let (out_low, out_high) = out.split_at_mut(half);
        for ((value, &a), &b) in inner.iter_mut().zip(low).zip(high) {
            *value = check(a, b);
        }
        self.decode(inner, base, inputs, out_low, room);
        for (((value, &a), &b), &bit) in inner.iter_mut().zip(low).zip(high).zip(&*out_low) {
            let sign = -(bit as i8);
            *value = (b + ((a ^ sign) - sign)).clamp(-LIMIT, LIMIT);
        }
        self.decode(inner, base + half, inputs, out_high, room);
        out_low.iter_mut().zip(&*out_high).for_each(|(a, b)| *a ^= b);
    }
}

/// Min-sum: the smaller magnitude with the product of the signs.
fn check(a: i8, b: i8) -> i8 {
    let sign = (a ^ b) >> 7;
    (a.abs().min(b.abs()) ^ sign) - sign
}

/// The polar transform in natural order, its own inverse.
pub(super) fn transform(words: &mut [u64]) {
    const MASKS: [u64; 6] = [
        0x5555_5555_5555_5555,
        0x3333_3333_3333_3333,
        0x0f0f_0f0f_0f0f_0f0f,
        0x00ff_00ff_00ff_00ff,
        0x0000_ffff_0000_ffff,
        0x0000_0000_ffff_ffff,
    ];
    for word in words.iter_mut() {
        for (i, mask) in MASKS.iter().enumerate() {
            *word ^= *word >> (1 << i) & mask;
        }
    }
    let mut half = 1;
    while half < words.len() {
        for pair in words.chunks_exact_mut(2 * half) {
            let (low, high) = pair.split_at_mut(half);
            low.iter_mut().zip(&*high).for_each(|(a, b)| *a ^= b);
        }
        half *= 2;
    }
}

fn transform_bytes(bits: &mut [u8]) {
    let mut half = 1;
    while half < bits.len() {
        for pair in bits.chunks_exact_mut(2 * half) {
            let (low, high) = pair.split_at_mut(half);
            low.iter_mut().zip(&*high).for_each(|(a, b)| *a ^= b);
        }
        half *= 2;
    }
}

type Density = [f64; VALUES];

/// Appends the error probability of each of the `2^depth` inputs behind this density.
fn evolve(density: &Density, depth: u32, errors: &mut Vec<f64>) {
    let wrong = density[..ZERO].iter().sum::<f64>() + density[ZERO] / 2.0;
    let leaves = f64::from(1u32 << depth);
    // The worst input errs at most `leaves` times as often; the best one's capacity is at most
    // `leaves` times as large.
    if depth == 0 || wrong * leaves < 1e-10 {
        errors.extend(std::iter::repeat_n(wrong * leaves, 1 << depth));
    } else if (1.0 - 2.0 * wrong) * leaves < 0.3 {
        errors.extend(std::iter::repeat_n(0.5, 1 << depth));
    } else {
        evolve(&minus(density), depth - 1, errors);
        evolve(&plus(density), depth - 1, errors);
    }
}

/// The density of [`check`] of two independent values.
fn minus(density: &Density) -> Density {
    let mut out = [0.0; VALUES];
    let (mut sum, mut difference) = (0.0, 0.0);
    let (mut sum_before, mut difference_before) = (0.0, 0.0);
    for m in (1..=ZERO).rev() {
        let (right, wrong) = (density[ZERO + m], density[ZERO - m]);
        sum += right + wrong;
        difference += right - wrong;
        let (s, d) = (sum * sum - sum_before, difference * difference - difference_before);
        out[ZERO + m] = f64::max((s + d) / 2.0, 0.0);
        out[ZERO - m] = f64::max((s - d) / 2.0, 0.0);
        (sum_before, difference_before) = (sum * sum, difference * difference);
    }
    out[ZERO] = f64::max(1.0 - sum_before, 0.0);
    out
}

/// The density of the limited sum of two independent values.
fn plus(density: &Density) -> Density {
    let mut wide = [0.0; 2 * VALUES - 1];
    for (i, &a) in density.iter().enumerate().filter(|(_, a)| **a > 0.0) {
        wide[i..i + VALUES].iter_mut().zip(density).for_each(|(sum, b)| *sum += a * b);
    }
    let mut out = [0.0; VALUES];
    out.copy_from_slice(&wide[ZERO..ZERO + VALUES]);
    out[0] += wide[..ZERO].iter().sum::<f64>();
    out[VALUES - 1] += wide[ZERO + VALUES..].iter().sum::<f64>();
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distill::finite_key::binary_entropy;
    use crate::entropy::SeededEntropy;

    #[test]
    fn the_transform_is_its_own_inverse_and_both_forms_agree() {
        let mut coins = SeededEntropy::from_number(1);
        let words: Vec<u64> = (0..4).map(|_| coins.next_u64()).collect();
        let bit = |words: &[u64], i: usize| (words[i / 64] >> (i % 64) & 1) as u8;
        let mut bytes: Vec<u8> = (0..256).map(|i| bit(&words, i)).collect();
        let mut there = words.clone();
        transform(&mut there);
        transform_bytes(&mut bytes);
        assert!((0..256).all(|i| bit(&there, i) == bytes[i]));
        transform(&mut there);
        assert_eq!(there, words);
    }

    #[test]
    fn corrects_frames_at_the_design_error_rate() {
        for (step, worst) in [(6, 1.6), (8, 1.5), (20, 1.4)] {
            let set = FrozenSet::of(16, step);
            let rate = f64::from(step) * STEP;
            let f = set.frozen() as f64 / 65_536.0 / binary_entropy(rate);
            let mut coins = SeededEntropy::from_number(step.into());
            let fails = (0..40).filter(|_| {
                let frame: Vec<u64> = (0..1_024).map(|_| coins.next_u64()).collect();
                let mut noisy = frame.clone();
                (0..65_536).filter(|_| coins.unit() < rate).for_each(|i| noisy[i / 64] ^= 1 << (i % 64));
                *set.correct(&noisy, set.syndrome(&frame).into_iter()) != frame
            });
            let fails = fails.count();
            println!("step {step}: f {f:.3}, {fails} of 40 failed");
            assert!(f < worst && fails <= 4, "step {step}: f {f}, {fails} of 40 failed");
        }
    }
}
