//! What the formulas share: entropy, fluctuations, sampling. In: counts and probabilities. Out:
//! terms of a bound. Always: nothing is NaN for numbers in range.

use std::f64::consts::LN_2;

/// Binary entropy, in bits.
pub fn binary_entropy(x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 { 0.0 } else { -x * x.log2() - (1.0 - x) * (1.0 - x).log2() }
}

/// Share of single-photon bits that privacy amplification keeps; none at a phase error rate of one half.
pub(super) fn kept(phase_error: f64) -> f64 {
    if phase_error < 0.5 { 1.0 - binary_entropy(phase_error) } else { 0.0 }
}

/// Hoeffding's fluctuation `sqrt(n ln(1/eps) / 2)`.
pub(super) fn hoeffding(n: f64, eps: f64) -> f64 {
    if n > 0.0 { (n * (1.0 / eps).ln() / 2.0).sqrt() } else { 0.0 }
}

/// `tau_n = sum_k p_k e^-k k^n / n!` for n = 0 and 1: probabilities of no and of one photon.
pub(super) fn photon_numbers(mus: &[f64], ps: &[f64]) -> [f64; 2] {
    let pulses = || mus.iter().zip(ps);
    [pulses().map(|(k, p)| p * (-k).exp()).sum(), pulses().map(|(k, p)| p * (-k).exp() * k).sum()]
}

/// The sampling term of Fung, Ma and Chau (PRA 81, 012318), for samples of `key` and `test` single
/// photons of which a share of `ratio` is wrong in the test: `sqrt((c+d)(1-b)b/(cd ln2)
/// log2((c+d)/(cd(1-b)b) terms^2/eps^2))`. Without any error the printed form diverges, so one
/// error's worth is used.
pub(super) fn fung(eps: f64, ratio: f64, key: f64, test: f64, terms: f64) -> f64 {
    let b = if ratio <= 0.0 { 1.0 / (key + test) } else { ratio };
    if b >= 0.5 {
        return f64::INFINITY;
    }
    let argument = (key + test) / (key * test * (1.0 - b) * b) * terms.powi(2) / eps.powi(2);
    ((key + test) * (1.0 - b) * b / (key * test * LN_2) * argument.log2()).max(0.0).sqrt()
}

/// Serfling's sampling term `sqrt((c+d)/(cd) (d+1)/d ln(1/eps))`, c = `key`, d = `test`.
pub(super) fn serfling(eps: f64, key: f64, test: f64) -> f64 {
    ((key + test) / (key * test) * (test + 1.0) / test * (1.0 / eps).ln()).sqrt()
}
