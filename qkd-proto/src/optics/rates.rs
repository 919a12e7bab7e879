//! Rates of protocols that are not emulated pulse by pulse, and bounds that no link passes. In:
//! parameters. Out: bits per symbol or per channel use. Always: finite for transmittances inside (0, 1).

/// Gaussian-modulated coherent states with homodyne detection and a trusted receiver; variances and
/// noises in shot-noise units.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ContinuousVariable {
    /// Modulation variance.
    pub modulation: f64,
    /// Transmittance of the channel.
    pub transmittance: f64,
    /// Excess noise at the channel's input.
    pub excess_noise: f64,
    /// Detector efficiency, as a ratio.
    pub efficiency: f64,
    /// Electronic noise.
    pub electronic_noise: f64,
    /// Efficiency of reconciliation, as a ratio.
    pub reconciliation: f64,
}

/// What a link of continuous variables gives, in bits per symbol.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SymbolRates {
    /// Mutual information of the two ends.
    pub mutual: f64,
    /// Holevo bound on what an eavesdropper knows of the receiver's data.
    pub holevo: f64,
    /// Secret bits; negative if there are none.
    pub key: f64,
}

impl ContinuousVariable {
    /// Asymptotic rates with reverse reconciliation under collective attacks (GG02; Lodewyck et al.,
    /// PRA 76, 042305, 2007, Eqs. 3 to 11).
    pub fn rates(&self) -> SymbolRates {
        let (variance, t) = (self.modulation + 1.0, self.transmittance);
        let line = 1.0 / t - 1.0 + self.excess_noise;
        let homodyne = (1.0 + self.electronic_noise) / self.efficiency - 1.0;
        let total = line + homodyne / t;
        let mutual = 0.5 * ((variance + total) / (1.0 + total)).log2();
        let a = variance * variance * (1.0 - 2.0 * t) + 2.0 * t + (t * (variance + line)).powi(2);
        let root_b = t * (variance * line + 1.0);
        let c = (variance * root_b + t * (variance + line) + a * homodyne) / (t * (variance + total));
        let d = root_b * (variance + root_b * homodyne) / (t * (variance + total));
        let holevo = entropies(a, root_b * root_b) - entropies(c, d);
        SymbolRates { mutual, holevo, key: self.reconciliation * mutual - holevo }
    }
}

/// Entropies of the two symplectic eigenvalues with this sum and product of squares.
fn entropies(sum: f64, product: f64) -> f64 {
    let root = (sum * sum - 4.0 * product).max(0.0).sqrt();
    [sum + root, sum - root].map(|twice| thermal_entropy(((0.5 * twice).max(0.0).sqrt() - 1.0) / 2.0)).iter().sum()
}

fn thermal_entropy(photons: f64) -> f64 {
    if photons <= 1e-15 { 0.0 } else { (photons + 1.0) * (photons + 1.0).log2() - photons * photons.log2() }
}

/// Most secret bits per use of a channel without a repeater (Pirandola et al. 2017).
pub fn plob(transmittance: f64) -> f64 {
    -(-transmittance).ln_1p() / std::f64::consts::LN_2
}

/// The looser bound of Takeoka, Guha and Wilde 2014.
pub fn tgw(transmittance: f64) -> f64 {
    ((1.0 + transmittance) / (1.0 - transmittance)).log2()
}

/// Most secret bits per use with one ideal repeater in the middle (Pirandola 2019): what twin-field
/// links stay below.
pub fn one_repeater(transmittance: f64) -> f64 {
    plob(transmittance.sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_ordered() {
        for transmittance in [1e-9, 1e-3, 0.3, 0.9] {
            let (tight, loose, repeater) = (plob(transmittance), tgw(transmittance), one_repeater(transmittance));
            assert!(tight > 1.44 * transmittance && tight < loose && tight < repeater);
        }
    }
}
