//! An eavesdropper on the quantum channel, for tests and demonstrations. In: what she does, as
//! numbers. Out: a changed model, and photons she prepared. Always: she measures like anybody else,
//! once, and leaves errors behind. What she does takes effect with the next block, at both ends.

use super::coins::{Coins, limit, middle, upper};
use super::model::{LinkModel, ModelError};
use super::photon::{Basis, Channel, Photon, Photons};
use crate::kernel::arrivals;

/// Everything an eavesdropper, or the weather, does to a link; the default is nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Attack {
    /// Fraction of the photons that are measured and sent on as seen (intercept-resend).
    pub intercept: f64,
    /// Probability that she measures in the key basis.
    pub key_basis: f64,
    /// If set, she intercepts only in the first of every so many stretches of pulses.
    pub burst: Option<Burst>,
    /// Photon-number splitting: yields she gives to single and to multi-photon pulses.
    pub splitting: Option<(f64, f64)>,
    /// Dark clicks she injects, per gate and detector, as a probability.
    pub dark: f64,
    /// Added loss, in dB.
    pub loss_db: f64,
    /// Lasting misalignment, as a further flip probability.
    pub misalignment: f64,
    /// Drifting misalignment.
    pub drift: Option<Drift>,
    /// Nothing arrives.
    pub cut: bool,
}

/// When she is active.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Burst {
    /// One stretch of so many is attacked.
    pub every: u64,
    /// Pulses of a stretch.
    pub pulses: u64,
}

/// A flip probability that rises from nothing to `peak` and falls back within `period` pulses, as a
/// raised cosine.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Drift {
    /// Added at the worst moment.
    pub peak: f64,
    /// Pulses from one best moment to the next.
    pub period: u64,
}

impl Drift {
    /// What is added at `slot`.
    pub fn at(&self, slot: u64) -> f64 {
        let phase = (slot % self.period.max(1)) as f64 / self.period.max(1) as f64;
        self.peak * 0.5 * (1.0 - (std::f64::consts::TAU * phase).cos())
    }
}

impl Default for Attack {
    fn default() -> Self {
        Self {
            intercept: 0.0,
            key_basis: 0.5,
            burst: None,
            splitting: None,
            dark: 0.0,
            loss_db: 0.0,
            misalignment: 0.0,
            drift: None,
            cut: false,
        }
    }
}

impl Attack {
    /// True if nothing is done.
    pub fn is_none(&self) -> bool {
        *self == Self { key_basis: self.key_basis, burst: self.burst, ..Self::default() }
    }

    /// Checks every number's range.
    ///
    /// # Errors
    /// The first one out of range, with its value and its limit.
    pub fn check(&self) -> Result<(), ModelError> {
        let drift = self.drift.unwrap_or(Drift { peak: 0.0, period: 1 });
        let burst = self.burst.unwrap_or(Burst { every: 1, pulses: 1 });
        let (single, multi) = self.splitting.unwrap_or((0.0, 0.0));
        let numbers = [
            ("intercept", self.intercept, 0.0, 1.0, "0 to 1"),
            ("key_basis", self.key_basis, 0.0, 1.0, "0 to 1"),
            ("burst.every", burst.every as f64, 1.0, 1e9, "1 to 1e9"),
            ("burst.pulses", burst.pulses as f64, 1.0, 1e15, "1 to 1e15"),
            ("splitting.0", single, 0.0, 1.0, "0 to 1"),
            ("splitting.1", multi, 0.0, 1.0, "0 to 1"),
            ("dark", self.dark, 0.0, 0.01, "0 to 0.01 per gate"),
            ("loss_db", self.loss_db, 0.0, 100.0, "0 to 100 dB"),
            ("misalignment", self.misalignment, 0.0, 0.5, "0 to 0.5"),
            ("drift.peak", drift.peak, 0.0, 0.5, "0 to 0.5"),
            ("drift.period", drift.period as f64, 1.0, 1e15, "1 to 1e15"),
        ];
        match numbers.iter().find(|(_, value, low, high, _)| !(value >= low && value <= high)) {
            None => Ok(()),
            Some(&(field, value, _, _, limit)) => Err(ModelError { field, value, limit }),
        }
    }

    /// The model whose closed form says what to expect on average (bursts and drift over whole
    /// periods).
    pub fn apply(&self, model: &LinkModel) -> LinkModel {
        let active = self.burst.map_or(1.0, |burst| 1.0 / burst.every.max(1) as f64);
        let drift = self.drift.map_or(0.0, |drift| drift.peak * 0.5);
        let mixed = |a: f64, b: f64| a + b - a * b;
        let intercepted = mixed(model.eve_ir, self.intercept * active);
        LinkModel {
            eve_ir: intercepted,
            eve_key_basis: if self.intercept > 0.0 { self.key_basis } else { model.eve_key_basis },
            p_dark: mixed(model.p_dark, self.dark),
            e_mis: (model.e_mis + self.misalignment + drift).min(0.5),
            ..self.at_transmitter(model)
        }
    }

    /// What of it acts before the photons are drawn: loss, splitting and a cut fibre.
    pub(super) fn at_transmitter(&self, model: &LinkModel) -> LinkModel {
        let splitting = if self.cut { Some((0.0, 0.0)) } else { self.splitting };
        LinkModel {
            extra_loss_db: model.extra_loss_db + self.loss_db,
            eve_pns: splitting.or(model.eve_pns),
            ..model.clone()
        }
    }

    /// In a few words, for status; empty if nothing is done.
    pub fn describe(&self) -> String {
        let mut words = Vec::new();
        if self.cut {
            words.push("cut".to_owned());
        }
        if self.intercept > 0.0 {
            let burst = self.burst.map_or(String::new(), |burst| format!(" in one stretch of {}", burst.every));
            words.push(format!("intercepts and resends {:.0} % of the photons{burst}", self.intercept * 100.0));
        }
        if let Some((single, multi)) = self.splitting {
            words.push(format!("splits photon numbers (yields {single} and {multi})"));
        }
        if self.dark > 0.0 {
            words.push(format!("injects {:e} dark clicks per gate", self.dark));
        }
        if self.loss_db > 0.0 {
            words.push(format!("adds {} dB of loss", self.loss_db));
        }
        if self.misalignment > 0.0 {
            words.push(format!("misaligns by {:.1} %", self.misalignment * 100.0));
        }
        if let Some(drift) = self.drift {
            words.push(format!("misaligns by up to {:.1} %", drift.peak * 100.0));
        }
        words.join(", ")
    }
}

/// Measures a fraction of the photons and sends on what she saw.
pub struct InterceptResend {
    mean: f64,
    key_basis: u64,
    burst: Option<Burst>,
    coins: Coins,
    /// Photons that pass before the next one she takes.
    passing: u64,
}

impl InterceptResend {
    /// Attacks `fraction` of the photons, in the key basis with `key_basis_probability`.
    pub fn new(fraction: f64, key_basis_probability: f64, burst: Option<Burst>, seed: [u8; 32]) -> Self {
        let mut coins = Coins::new(seed);
        // All photons are a gap of one slot each, which the law of gaps reaches only in the limit.
        let mean = if fraction >= 1.0 { 0.0 } else { arrivals::mean_gap(fraction) };
        let passing = coins.gap(mean) - 1;
        Self { mean, key_basis: limit(key_basis_probability), burst, coins, passing }
    }

    fn is_active(&self, slot: u64) -> bool {
        self.burst.is_none_or(|burst| (slot / burst.pulses.max(1)).is_multiple_of(burst.every.max(1)))
    }
}

impl Channel for InterceptResend {
    fn transit(&mut self, photons: &mut Photons) {
        let count = photons.len() as u64;
        while self.passing < count {
            let index = self.passing as usize;
            self.passing += self.coins.gap(self.mean);
            if !photons.slot(index).is_some_and(|slot| self.is_active(slot)) {
                continue;
            }
            let word = self.coins.word();
            let basis = if upper(word) < self.key_basis { Basis::Key } else { Basis::Test };
            photons.exchange(index, |photon| Photon::prepare(basis, photon.measure(basis, middle(word) & 1 == 1)));
        }
        self.passing -= count;
    }
}
