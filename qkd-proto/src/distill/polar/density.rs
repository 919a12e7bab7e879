//! Density evolution: how often successive cancellation errs at each input of the transform. In: the
//! size of a frame and a channel's error rate. Out: one probability an input. Always: exact for the
//! decoder's own integer rules (Richardson and Urbanke, "Modern Coding Theory", 4.5), but where a
//! node is good or bad beyond doubt; plain IEEE arithmetic in a fixed order, the same everywhere.

use crate::kernel::polar::{CLOSE, LIMIT};

/// What the decoder takes a channel's bit for, in units of its values.
pub(super) const MAGNITUDE: i8 = 6;
/// Where value zero stands in a density.
const ZERO: usize = LIMIT as usize;
/// Values of a density.
const VALUES: usize = 2 * ZERO + 1;
/// All inputs behind a node are good if together they fail no more than this a frame.
const SURELY_GOOD: f64 = 1e-3;
/// All inputs behind a node are bad if the best has at least this Bhattacharyya parameter `z`: any
/// decoder errs there with at least `z^2 / 4`.
const SURELY_BAD: f64 = 0.15;

/// Probability of each value, the least first.
type Density = [f64; VALUES];

/// The error probability of each input of a frame of `2^log` bits behind a channel that flips bits
/// at this rate, all earlier inputs being right.
pub(super) fn input_errors(log: u32, rate: f64) -> Vec<f64> {
    let mut channel = [0.0; VALUES];
    channel[ZERO + MAGNITUDE as usize] = 1.0 - rate;
    channel[ZERO - MAGNITUDE as usize] = rate;
    let mut errors = Vec::with_capacity(1 << log);
    evolve(&channel, log, SURELY_GOOD / f64::from(1u32 << log), &mut errors);
    errors
}

/// Appends the error probability of each of the `2^depth` inputs behind a node of this density.
fn evolve(density: &Density, depth: u32, negligible: f64, errors: &mut Vec<f64>) {
    let wrong = density[..ZERO].iter().sum::<f64>() + density[ZERO] / 2.0;
    if depth == 0 || wrong < negligible {
        errors.extend(std::iter::repeat_n(wrong, 1 << depth));
    } else if (0..depth).fold(bhattacharyya(density), |z, _| z * z) > SURELY_BAD {
        errors.extend(std::iter::repeat_n(0.5, 1 << depth));
    } else {
        evolve(&minus(density), depth - 1, negligible, errors);
        evolve(&plus(density), depth - 1, negligible, errors);
    }
}

fn bhattacharyya(density: &Density) -> f64 {
    let pairs = (1..=ZERO).map(|m| 2.0 * (density[ZERO + m] * density[ZERO - m]).sqrt());
    density[ZERO] + pairs.sum::<f64>()
}

/// The density of the check value of two independent values. Sums and differences of the
/// probabilities of a magnitude's two signs go through the rule one by one.
fn minus(density: &Density) -> Density {
    const WIDE: usize = ZERO + 1 + CLOSE as usize;
    let (mut sum, mut difference) = ([0.0; WIDE], [0.0; WIDE]);
    sum[0] = density[ZERO];
    for m in 1..=ZERO {
        sum[m] = density[ZERO + m] + density[ZERO - m];
        difference[m] = density[ZERO + m] - density[ZERO - m];
    }
    let (mut sums, mut differences) = ([0.0; WIDE], [0.0; WIDE]);
    let (mut far_sum, mut far_difference) = (0.0, 0.0);
    for m in (0..=ZERO).rev() {
        far_sum += sum[m + CLOSE as usize];
        far_difference += difference[m + CLOSE as usize];
        let (mut near_sum, mut near_difference) = (sum[m], difference[m]);
        for k in 1..CLOSE as usize {
            near_sum += 2.0 * sum[m + k];
            near_difference += 2.0 * difference[m + k];
        }
        let lowered = m.saturating_sub(1);
        sums[lowered] += sum[m] * near_sum;
        differences[lowered] += difference[m] * near_difference;
        sums[m] += 2.0 * sum[m] * far_sum;
        differences[m] += 2.0 * difference[m] * far_difference;
    }
    let mut out = [0.0; VALUES];
    out[ZERO] = sums[0];
    for m in 1..=ZERO {
        out[ZERO + m] = f64::max((sums[m] + differences[m]) / 2.0, 0.0);
        out[ZERO - m] = f64::max((sums[m] - differences[m]) / 2.0, 0.0);
    }
    out
}

/// The density of the limited sum of two independent values.
fn plus(density: &Density) -> Density {
    let mut wide = [0.0; 2 * VALUES - 1];
    for (i, &a) in density.iter().enumerate().filter(|(_, a)| **a > 1e-30) {
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
    use crate::kernel::polar::{check_value, sum_value};

    #[test]
    fn densities_follow_the_decoders_own_rules() {
        let mut density = [0.0; VALUES];
        for (i, p) in density.iter_mut().enumerate() {
            *p = ((i * i) % 17 + 1) as f64;
        }
        let total: f64 = density.iter().sum();
        density.iter_mut().for_each(|p| *p /= total);
        let (mut checks, mut sums) = ([0.0; VALUES], [0.0; VALUES]);
        let place = |value: i8| (value + LIMIT) as usize;
        for a in -LIMIT..=LIMIT {
            for b in -LIMIT..=LIMIT {
                let p = density[place(a)] * density[place(b)];
                checks[place(check_value(a, b))] += p;
                sums[place(sum_value(a, b, false))] += p;
            }
        }
        let near = |a: &Density, b: &Density| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-12);
        assert!(near(&minus(&density), &checks));
        assert!(near(&plus(&density), &sums));
    }

    #[test]
    fn two_bits_by_hand() {
        let errors = input_errors(1, 0.01);
        assert!((errors[0] - 0.0198).abs() < 1e-12, "one of two is wrong");
        assert!((errors[1] - 0.01).abs() < 1e-12, "both, or one and a coin");
    }
}
