//! Picks bits by a mask and closes the gaps. In: words of bits and words of a mask. Out: the bits
//! where the mask has a one, packed. Always: as many bits as the mask has ones.

/// Writes the bits of `words` where `masks` has ones into `out`, which holds zeros and just enough
/// room.
pub fn select(words: &[u64], masks: &[u64], out: &mut [u64]) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("bmi2") && is_x86_feature_detected!("popcnt") {
        // SAFETY: the processor has both features.
        return unsafe { select_pext(words, masks, out) };
    }
    gather(words, masks, out, compress);
}

/// With the processor's own bit extraction.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "bmi2,popcnt")]
fn select_pext(words: &[u64], masks: &[u64], out: &mut [u64]) {
    gather(words, masks, out, |word, mask| std::arch::x86_64::_pext_u64(word, mask));
}

#[inline(always)]
fn gather(words: &[u64], masks: &[u64], out: &mut [u64], compress: impl Fn(u64, u64) -> u64) {
    let mut out = out.iter_mut();
    let (mut word, mut filled) = (0u64, 0u32);
    for (bits, mask) in words.iter().zip(masks) {
        let (picked, count) = (compress(*bits, *mask), mask.count_ones());
        word |= picked << filled;
        filled += count;
        if filled >= 64 {
            if let Some(slot) = out.next() {
                *slot = word;
            }
            filled -= 64;
            // Nothing is left over where the whole word fitted: a shift by 64 is none.
            word = picked.checked_shr(count - filled).unwrap_or(0);
        }
    }
    if let Some(slot) = out.next() {
        *slot = word;
    }
}

/// Bit extraction by moving ever larger groups (Warren, Hacker's Delight, 7-4).
fn compress(word: u64, mask: u64) -> u64 {
    let (mut word, mut mask) = (word & mask, mask);
    let mut zeros = !mask << 1;
    for step in 0..6 {
        let parity = (1..=5).fold(zeros ^ zeros << 1, |parity, k| parity ^ parity << (1 << k));
        let moving = parity & mask;
        mask = (mask ^ moving) | moving >> (1 << step);
        let bits = word & moving;
        word = (word ^ bits) | bits >> (1 << step);
        zeros &= !parity;
    }
    word
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_form_gives_the_same_bits(pairs in proptest::collection::vec(any::<(u64, u64)>(), 0..20), full in any::<bool>()) {
            let words: Vec<u64> = pairs.iter().map(|pair| pair.0).collect();
            let masks: Vec<u64> = pairs.iter().map(|pair| if full { u64::MAX } else { pair.1 }).collect();
            let ones: u32 = masks.iter().map(|mask| mask.count_ones()).sum();
            let mut out = [vec![0; ones.div_ceil(64) as usize], vec![0; ones.div_ceil(64) as usize]];
            gather(&words, &masks, &mut out[0], compress);
            select(&words, &masks, &mut out[1]);
            prop_assert_eq!(&out[0], &out[1]);
        }
    }
}
