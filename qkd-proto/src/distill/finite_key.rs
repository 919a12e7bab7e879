//! How many secret bits a block holds (decoy-state BB84, one decoy, finite size). In: counts and
//! errors of both bases, the leak, the failure probabilities. Out: bounds and a length. Always: the
//! length is rounded down with a margin of one bit; one bit too many would void the claim.

use std::f64::consts::LN_2;

/// Failure probabilities of a block.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Epsilons {
    /// Secrecy.
    pub secrecy: f64,
    /// Correctness.
    pub correctness: f64,
}

/// Sifted bits and errors of one basis, signal then decoy.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct BasisCounts {
    /// Bits.
    pub counts: [f64; 2],
    /// Errors.
    pub errors: [f64; 2],
}

/// What a block's length rests on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BlockCounts {
    /// Mean photon numbers, signal then decoy.
    pub mus: [f64; 2],
    /// Their probabilities.
    pub ps: [f64; 2],
    /// Key basis.
    pub key: BasisCounts,
    /// Test basis.
    pub test: BasisCounts,
    /// Bits told in public about the key.
    pub leak: f64,
}

/// What a formula finds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounds {
    /// Least number of vacuum events among the key bits.
    pub vacuum: f64,
    /// Least number of single-photon events among the key bits.
    pub single_photon: f64,
    /// Largest phase error rate of these.
    pub phase_error: f64,
    /// Secret bits, before rounding; may be negative.
    pub length: f64,
}

impl Bounds {
    /// Secret bits, rounded down with a margin of one.
    pub fn whole_bits(&self) -> u64 {
        // A float cast saturates at zero.
        (self.length - 1.0).floor() as u64
    }
}

/// A published key-length formula.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Formula {
    /// Wiesemann et al., Quantum 10, 2037 (2026), arXiv:2405.16578v3: the corrected proof.
    #[default]
    Wiesemann,
    /// Rusca et al., APL 112, 171104 (2018), arXiv:1801.03443, for comparison.
    Rusca,
}

impl Formula {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Wiesemann => "wiesemann-2026",
            Self::Rusca => "rusca-2018",
        }
    }

    /// Bounds and length for these counts.
    pub fn bounds(self, block: &BlockCounts, eps: Epsilons) -> Bounds {
        match self {
            Self::Wiesemann => wiesemann(block, eps),
            Self::Rusca => rusca(block, eps),
        }
    }
}

/// Binary entropy, in bits.
pub fn binary_entropy(x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 { 0.0 } else { -x * x.log2() - (1.0 - x) * (1.0 - x).log2() }
}

/// Serfling sampling, `eps_sec / 15` a term, no credit for vacuum events.
fn wiesemann(block: &BlockCounts, eps: Epsilons) -> Bounds {
    let share = eps.secrecy / 15.0;
    let (key, test) = (DecoyBounds::of(block, &block.key, share), DecoyBounds::of(block, &block.test, share));
    let single = key.single(key.vacuum_upper[0].min(key.vacuum_upper[1]));
    let test_single = test.single(test.vacuum_upper[0].min(test.vacuum_upper[1]));
    let phase_error = if single <= 0.0 || test_single <= 0.0 {
        0.5
    } else {
        let sampling = (single + test_single) / (single * test_single) * (test_single + 1.0) / test_single;
        let term = (sampling * (1.0 / share).ln()).sqrt();
        ((test.single_errors / test_single).min(0.5) + term).clamp(0.0, 0.5)
    };
    let kept = single * (1.0 - binary_entropy(phase_error));
    let length = if phase_error < 0.5 { kept } else { 0.0 }
        - block.leak
        - (2.0 / eps.correctness).log2()
        - 4.0 * (15.0 / (eps.secrecy * 2f64.powf(0.25))).log2();
    Bounds { vacuum: key.vacuum_lower, single_photon: single, phase_error, length }
}

/// Fung–Ma–Chau sampling, `eps_sec / 19` a term.
fn rusca(block: &BlockCounts, eps: Epsilons) -> Bounds {
    let share = eps.secrecy / 19.0;
    let (key, test) = (DecoyBounds::of(block, &block.key, share), DecoyBounds::of(block, &block.test, share));
    let (single, test_single) = (key.single(key.vacuum_upper[1]), test.single(test.vacuum_upper[1]));
    let phase_error = if single <= 0.0 || test_single <= 0.0 {
        0.5
    } else {
        let ratio = test.single_errors / test_single;
        (ratio + fung(eps.secrecy, ratio, single, test_single, 19.0)).clamp(0.0, 0.5)
    };
    let kept = if phase_error < 0.5 { single * (1.0 - binary_entropy(phase_error)) } else { 0.0 };
    let length =
        key.vacuum_lower + kept - block.leak - 6.0 * (19.0 / eps.secrecy).log2() - (2.0 / eps.correctness).log2();
    Bounds { vacuum: key.vacuum_lower, single_photon: single, phase_error, length }
}

/// The sampling term of Fung, Ma and Chau; without any error the printed form diverges, so one
/// error's worth is used.
fn fung(eps: f64, ratio: f64, key: f64, test: f64, share: f64) -> f64 {
    let b = if ratio <= 0.0 { 1.0 / (key + test) } else { ratio };
    if b >= 0.5 {
        return f64::INFINITY;
    }
    let argument = (key + test) / (key * test * (1.0 - b) * b) * share.powi(2) / eps.powi(2);
    ((key + test) * (1.0 - b) * b / (key * test * LN_2) * argument.log2()).max(0.0).sqrt()
}

/// One-decoy bounds of one basis (Rusca et al. 2018, App. A).
struct DecoyBounds {
    total: f64,
    tau: [f64; 2],
    mus: [f64; 2],
    signal_upper: f64,
    decoy_lower: f64,
    vacuum_lower: f64,
    /// By the signal's errors, by the decoy's.
    vacuum_upper: [f64; 2],
    single_errors: f64,
}

impl DecoyBounds {
    fn of(block: &BlockCounts, basis: &BasisCounts, eps: f64) -> Self {
        let ([m1, m2], ps) = (block.mus, block.ps);
        let tau0 = ps[0] * (-m1).exp() + ps[1] * (-m2).exp();
        let tau1 = ps[0] * (-m1).exp() * m1 + ps[1] * (-m2).exp() * m2;
        let (total, errors) = (basis.counts[0] + basis.counts[1], basis.errors[0] + basis.errors[1]);
        let (dn, dm) = (hoeffding(total, eps), hoeffding(errors, eps));
        let weight = [m1.exp() / ps[0], m2.exp() / ps[1]];
        let signal_upper = weight[0] * (basis.counts[0] + dn);
        let decoy_lower = weight[1] * (basis.counts[1] - dn);
        let errors_upper = [0, 1].map(|k| weight[k] * (basis.errors[k] + dm));
        let decoy_errors_lower = weight[1] * (basis.errors[1] - dm);
        Self {
            total,
            tau: [tau0, tau1],
            mus: block.mus,
            signal_upper,
            decoy_lower,
            vacuum_lower: (tau0 / (m1 - m2) * (m1 * decoy_lower - m2 * signal_upper)).clamp(0.0, total),
            vacuum_upper: errors_upper.map(|errors| 2.0 * (tau0 * errors + dn)),
            single_errors: (tau1 / (m1 - m2) * (errors_upper[0] - decoy_errors_lower)).clamp(0.0, total),
        }
    }

    /// Least number of single-photon events, given the largest number of vacuum events.
    fn single(&self, vacuum_upper: f64) -> f64 {
        let ([tau0, tau1], [m1, m2]) = (self.tau, self.mus);
        let bracket = self.decoy_lower
            - (m2 / m1).powi(2) * self.signal_upper
            - (m1.powi(2) - m2.powi(2)) / m1.powi(2) * vacuum_upper / tau0;
        (tau1 * m1 / (m2 * (m1 - m2)) * bracket).clamp(0.0, self.total)
    }
}

/// `sqrt(n ln(1/eps) / 2)`.
fn hoeffding(n: f64, eps: f64) -> f64 {
    if n > 0.0 { (n * (1.0 / eps).ln() / 2.0).sqrt() } else { 0.0 }
}
