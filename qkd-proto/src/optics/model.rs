//! The physical parameters of a link and what they let one expect. In: numbers from a preset or a
//! configuration. Out: the closed form of gains, errors and counts. Always: the closed form of a
//! checked model is finite. Formulas: phase-randomised weak coherent pulses, background and dead
//! time as in Ma et al. 2005 and Rusca et al. 2018, App. B3.

use super::rates;

/// Physical parameters of one link; index 0 is the signal intensity, 1 the decoy.
#[derive(Debug, Clone, PartialEq)]
pub struct LinkModel {
    /// Pulses per second, in Hz.
    pub rate_hz: f64,
    /// Mean photon numbers, signal then decoy.
    pub mus: [f64; 2],
    /// Probabilities of the intensities; they add up to 1.
    pub ps: [f64; 2],
    /// Probability that the transmitter prepares in the key basis.
    pub pz_a: f64,
    /// Probability that the receiver measures in the key basis.
    pub pz_b: f64,
    /// Fibre length, in km.
    pub length_km: f64,
    /// Fibre loss, in dB/km.
    pub alpha_db_km: f64,
    /// Connectors and receiver optics, in dB.
    pub extra_loss_db: f64,
    /// Detector efficiency, as a ratio.
    pub eta_det: f64,
    /// Dark click probability per gate and per detector (two detectors).
    pub p_dark: f64,
    /// Optical flip probability.
    pub e_mis: f64,
    /// Afterpulse probability per click.
    pub p_ap: f64,
    /// Mean extra delay of an afterpulse behind the dead time, in seconds.
    pub tau_ap_s: f64,
    /// Dead time of the whole receiver after any click, in seconds.
    pub dead_s: f64,
    /// Fraction of pulses that an eavesdropper intercepts and resends.
    pub eve_ir: f64,
    /// Probability that the eavesdropper measures in the key basis.
    pub eve_key_basis: f64,
    /// Photon-number splitting: yields given to single and to multi-photon pulses.
    pub eve_pns: Option<(f64, f64)>,
}

/// A parameter outside its range.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{field} = {value} is outside {limit}")]
pub struct ModelError {
    /// Name of the field.
    pub field: &'static str,
    /// Its value.
    pub value: f64,
    /// What is allowed.
    pub limit: &'static str,
}

/// Expected sifted counts of one basis, per intensity.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BasisExpectation {
    /// Sifted bits.
    pub counts: [f64; 2],
    /// Errors among them.
    pub errors: [f64; 2],
}

impl BasisExpectation {
    /// Errors per sifted bit.
    pub fn qber(&self) -> f64 {
        (self.errors[0] + self.errors[1]) / (self.counts[0] + self.counts[1])
    }

    /// Sifted bits of both intensities.
    pub fn total(&self) -> f64 {
        self.counts[0] + self.counts[1]
    }
}

/// The closed form for a number of pulses.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Expectation {
    /// Transmittance with detector efficiency.
    pub eta: f64,
    /// Background clicks per live gate.
    pub background: f64,
    /// Live fraction under dead time.
    pub live: f64,
    /// Click probability per live gate and intensity.
    pub gain: [f64; 2],
    /// Key basis.
    pub key: BasisExpectation,
    /// Test basis.
    pub test: BasisExpectation,
}

impl LinkModel {
    /// Checks every field's range.
    ///
    /// # Errors
    /// The first field out of range, with its value and its limit.
    pub fn check(&self) -> Result<(), ModelError> {
        let within = |field, value: f64, low: f64, high: f64, limit| {
            if value >= low && value <= high { Ok(()) } else { Err(ModelError { field, value, limit }) }
        };
        within("rate_hz", self.rate_hz, 1.0, 1e12, "1 to 1e12 Hz")?;
        within("mus[0]", self.mus[0], 1e-3, 2.0, "0.001 to 2 photons")?;
        within("mus[1]", self.mus[1], 1e-4, self.mus[0] * 0.999, "0.0001 to below the signal's mean")?;
        within("ps[0]", self.ps[0], 0.001, 0.999, "0.001 to 0.999")?;
        within("ps[1]", self.ps[1], 0.999_999 - self.ps[0], 1.000_001 - self.ps[0], "1 less ps[0]")?;
        within("pz_a", self.pz_a, 0.001, 0.999, "0.001 to 0.999")?;
        within("pz_b", self.pz_b, 0.001, 0.999, "0.001 to 0.999")?;
        within("length_km", self.length_km, 0.0, 2_000.0, "0 to 2000 km")?;
        within("alpha_db_km", self.alpha_db_km, 0.0, 10.0, "0 to 10 dB/km")?;
        within("extra_loss_db", self.extra_loss_db, 0.0, 100.0, "0 to 100 dB")?;
        within("loss", self.loss_db(), 0.0, 110.0, "0 to 110 dB in all")?;
        within("eta_det", self.eta_det, 1e-4, 1.0, "0.0001 to 1")?;
        within("p_dark", self.p_dark, 0.0, 0.01, "0 to 0.01 per gate")?;
        within("e_mis", self.e_mis, 0.0, 0.5, "0 to 0.5")?;
        within("p_ap", self.p_ap, 0.0, 0.5, "0 to 0.5")?;
        within("tau_ap_s", self.tau_ap_s, 1e-12, 1.0, "1e-12 to 1 s")?;
        within("dead_s", self.dead_s, 0.0, 1.0, "0 to 1 s")?;
        within("eve_ir", self.eve_ir, 0.0, 1.0, "0 to 1")?;
        within("eve_key_basis", self.eve_key_basis, 0.0, 1.0, "0 to 1")?;
        let (single, multi) = self.eve_pns.unwrap_or((0.0, 0.0));
        within("eve_pns.0", single, 0.0, 1.0, "0 to 1")?;
        within("eve_pns.1", multi, 0.0, 1.0, "0 to 1")
    }

    /// Loss of fibre, connectors and receiver optics, in dB.
    pub fn loss_db(&self) -> f64 {
        self.alpha_db_km * self.length_km + self.extra_loss_db
    }

    /// Most secret bits per second of any protocol without a repeater over this fibre (PLOB); `None` if
    /// it loses nothing, where there is no bound. Connectors and detectors are the ends' own: they do
    /// not lower it.
    pub fn plob_bps(&self) -> Option<f64> {
        let transmittance = 10f64.powf(-self.alpha_db_km * self.length_km / 10.0);
        Some(self.rate_hz * rates::plob(transmittance)).filter(|bound| bound.is_finite())
    }

    /// Transmittance from the transmitter to a click.
    pub fn eta(&self) -> f64 {
        10f64.powf(-self.loss_db() / 10.0) * self.eta_det
    }

    /// Probabilities that a pulse of each intensity makes a signal click.
    pub fn arrival(&self) -> [f64; 2] {
        self.mus.map(|k| match self.eve_pns {
            None => -(-k * self.eta()).exp_m1(),
            Some((single, multi)) => (-k).exp() * k * single + (1.0 - (-k).exp() * (1.0 + k)) * multi,
        })
    }

    /// Flip probability of a matched-basis signal click: misalignment and intercept-resend.
    pub fn flip(&self, key_basis: bool) -> f64 {
        let wrong = if key_basis { 1.0 - self.eve_key_basis } else { self.eve_key_basis };
        let resent = self.eve_ir * wrong * 0.5;
        self.e_mis * (1.0 - resent) + (1.0 - self.e_mis) * resent
    }

    /// Background per live gate: dark clicks, and afterpulses of all clicks, self-consistently.
    fn background(&self, arrival: [f64; 2]) -> f64 {
        let dark = 1.0 - (1.0 - self.p_dark).powi(2);
        let mut background = dark;
        for _ in 0..100 {
            let clicks = self.mean(self.gain(arrival, background));
            let busy = self.rate_hz * clicks * self.tau_ap_s * -(-self.dead_s / self.tau_ap_s).exp_m1();
            background = 1.0 - (1.0 - dark) * (1.0 - self.p_ap * clicks / (1.0 + busy));
        }
        background
    }

    fn gain(&self, arrival: [f64; 2], background: f64) -> [f64; 2] {
        arrival.map(|s| 1.0 - (1.0 - background) * (1.0 - s))
    }

    fn mean(&self, per_intensity: [f64; 2]) -> f64 {
        self.ps[0] * per_intensity[0] + self.ps[1] * per_intensity[1]
    }

    /// The closed form for `pulses` pulses.
    pub fn expected(&self, pulses: f64) -> Expectation {
        let arrival = self.arrival();
        let background = self.background(arrival);
        let gain = self.gain(arrival, background);
        let live = 1.0 / (1.0 + self.rate_hz * self.mean(gain) * self.dead_s);
        let basis = |share: f64, flip: f64| {
            // A background click beside a signal click hits the other detector half the time; the
            // double click then gets a random bit.
            let half = 0.5 * background;
            let error = arrival.map(|s| s * (flip + half * (0.5 - flip)) + (1.0 - s) * background * 0.5);
            BasisExpectation {
                counts: [0, 1].map(|k| pulses * live * share * self.ps[k] * gain[k]),
                errors: [0, 1].map(|k| pulses * live * share * self.ps[k] * error[k]),
            }
        };
        Expectation {
            eta: self.eta(),
            background,
            live,
            gain,
            key: basis(self.pz_a * self.pz_b, self.flip(true)),
            test: basis((1.0 - self.pz_a) * (1.0 - self.pz_b), self.flip(false)),
        }
    }
}
