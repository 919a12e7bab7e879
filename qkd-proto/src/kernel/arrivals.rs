//! Draws of a Bernoulli process with settings: one uniform word gives a gap and a setting. In:
//! words. Out: gaps above settings. Always: IEEE sums, products and quotients in a fixed order, so
//! the same gaps on every processor, which a library's logarithm would not promise.
//!
//! A word is, from the top: 41 bits for the gap, 22 for intensity and basis, one for the bit. Gaps
//! are thus at most 29 times their mean and in steps of 2^-41 of it; probabilities are exact to 2^-22.

use super::Level;

/// Gaps that mean never are at least this.
pub const NEVER: u64 = 1 << 51;
/// What a gap is drawn from.
const GAP_SHIFT: u32 = 23;
/// Bits that choose intensity and basis.
const CHOICE_BITS: u32 = 22;
const TWO_52: f64 = (1u64 << 52) as f64;

/// The law of arrivals: gaps and settings.
#[derive(Debug, Clone, Copy)]
pub struct Law {
    mean: f64,
    limits: [u64; 3],
}

impl Law {
    /// Arrivals of this probability per slot, with the probabilities of settings (signal key, signal
    /// test, decoy key, decoy test).
    pub fn new(probability: f64, settings: [f64; 4]) -> Self {
        let all: f64 = settings.iter().sum();
        let mut sum = 0.0;
        let limits = [0, 1, 2].map(|i: usize| {
            sum += settings[i];
            (sum / all * f64::from(1u32 << CHOICE_BITS)).round() as u64
        });
        Self { mean: mean_gap(probability), limits }
    }
}

/// The mean of the exponential law whose whole part is the gap less one.
pub fn mean_gap(probability: f64) -> f64 {
    if probability > 0.0 { -1.0 / (-probability).ln_1p() } else { f64::INFINITY }
}

/// One gap, from the upper 41 bits of a uniform word; [`NEVER`] or more for an impossible event.
#[inline(always)]
pub fn gap(word: u64, mean: f64) -> u64 {
    let gap = exponential(word >> GAP_SHIFT) * mean;
    let gap = if gap < TWO_52 - 1.0 { gap } else { TWO_52 - 1.0 };
    let gap = if gap > 1e-3 { gap } else { 1e-3 };
    // The sum's last bits are the nearest whole number to gap + 1/2: its whole part and one.
    (gap + 0.5 + TWO_52).to_bits().wrapping_sub(TWO_52.to_bits())
}

/// `-ln((k + 1/2) / 2^41)`, to 1e-14, for k below 2^41.
#[inline(always)]
fn exponential(k: u64) -> f64 {
    const MANTISSA: u64 = (1 << 52) - 1;
    let x = f64::from_bits(TWO_52.to_bits() | k) - TWO_52 + 0.5;
    let exponent = f64::from_bits(TWO_52.to_bits() | x.to_bits() >> 52) - TWO_52 - (1023.0 + 41.0 - 0.5);
    let m = f64::from_bits(x.to_bits() & MANTISSA | 1f64.to_bits());
    // ln m = ln sqrt(2) + 2 atanh t, and t is below 0.172.
    let t = (m - std::f64::consts::SQRT_2) / (m + std::f64::consts::SQRT_2);
    let s = t * t;
    let mut sum = 2.0 / 17.0;
    for divisor in [15.0, 13.0, 11.0, 9.0, 7.0, 5.0, 3.0, 1.0] {
        sum = sum * s + 2.0 / divisor;
    }
    -(exponent * std::f64::consts::LN_2 + t * sum)
}

/// Draws one arrival from each word: its gap times 8, plus 4 for decoy, 2 for test, and the bit.
pub fn draw(level: Level, law: &Law, words: &[u64], out: &mut Vec<u64>) {
    match level {
        // SAFETY: a level is only chosen where the processor has it.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => unsafe { draw_avx512(law, words, out) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { draw_avx2(law, words, out) },
        _ => plain(law, words, out),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn draw_avx512(law: &Law, words: &[u64], out: &mut Vec<u64>) {
    plain(law, words, out);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn draw_avx2(law: &Law, words: &[u64], out: &mut Vec<u64>) {
    plain(law, words, out);
}

#[inline(always)]
fn plain(law: &Law, words: &[u64], out: &mut Vec<u64>) {
    let [a, b, c] = law.limits;
    out.resize(words.len(), 0);
    // Not an iterator's `extend`: what that calls would be compiled without the level's features.
    for (out, word) in out.iter_mut().zip(words) {
        let choice = word >> 1 & ((1 << CHOICE_BITS) - 1);
        let kind = u64::from(choice >= a).wrapping_add(u64::from(choice >= b)).wrapping_add(u64::from(choice >= c));
        *out = gap(*word, law.mean) << 3 | kind << 1 | word & 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::SeededEntropy;

    #[test]
    fn the_logarithm_is_right_and_gaps_stay_positive() {
        let mut coins = SeededEntropy::from_number(1);
        let mut check = |k: u64| {
            let exact = -((k as f64 + 0.5) / (1u64 << 41) as f64).ln();
            let ours = exponential(k);
            assert!((ours - exact).abs() < 2e-14 * exact.max(1.0), "{k}: {ours} is not {exact}");
            assert!(ours > 0.0);
        };
        [0, 1, 2, (1 << 41) - 1, (1 << 41) - 2, 1 << 40].into_iter().for_each(&mut check);
        (0..20_000).for_each(|_| check(coins.next_u64() >> GAP_SHIFT));
        assert_eq!(gap(u64::MAX, 1e-9), 1);
        assert!(gap(u64::MAX, f64::INFINITY) >= NEVER && gap(0, f64::INFINITY) >= NEVER);
    }

    #[test]
    fn every_level_draws_the_same() {
        let mut coins = SeededEntropy::from_number(2);
        let law = Law::new(0.01, [0.6, 0.1, 0.25, 0.05]);
        for len in (0..40).chain([1000]) {
            let words: Vec<u64> = (0..len).map(|_| coins.next_u64()).collect();
            let mut drawn = Level::available().map(|level| {
                let mut out = vec![1];
                draw(level, &law, &words, &mut out);
                out
            });
            let first = drawn.next().expect("every processor has a level");
            assert!(drawn.all(|other| other == first));
        }
    }

    /// Chi-square of gaps and settings against the geometric law.
    #[test]
    fn gaps_are_geometric_and_settings_have_their_probabilities() {
        let mut coins = SeededEntropy::from_number(3);
        let (p, settings) = (0.2, [0.5, 0.2, 0.2, 0.1]);
        let words: Vec<u64> = (0..400_000).map(|_| coins.next_u64()).collect();
        let (mut out, mut gaps, mut kinds) = (Vec::new(), [0.0; 31], [0.0; 8]);
        draw(Level::best(), &Law::new(p, settings), &words, &mut out);
        for item in &out {
            gaps[((item >> 3) as usize).min(31) - 1] += 1.0;
            kinds[(item & 7) as usize] += 1.0;
        }
        let n = words.len() as f64;
        let square = |found: f64, share: f64| (found - n * share).powi(2) / (n * share);
        let shares = (0..31).map(|i| if i < 30 { p * (1.0 - p).powi(i) } else { (1.0 - p).powi(30) });
        let chi_gaps: f64 = gaps.iter().zip(shares).map(|(found, share)| square(*found, share)).sum();
        let chi_kinds: f64 = kinds.iter().zip(0..).map(|(found, i)| square(*found, settings[i / 2] / 2.0)).sum();
        // 30 and 7 degrees of freedom: beyond 1e-6.
        assert!(chi_gaps < 80.0 && chi_kinds < 42.0, "{chi_gaps} {chi_kinds}");
    }
}
