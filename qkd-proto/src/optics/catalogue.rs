//! Links of published networks and records. In: a link's name. Out: what was published, with a pulse
//! model where the protocol is decoy BB84 and its parameters allow one, a rate table otherwise.
//! Always: no rate is above what its loss allows (PLOB), but for twin-field links, which a middle
//! station lifts to the bound with one repeater.
//!
//! The published loss is the fibre's; efficiency and loss of the receiver, intensities and basis
//! probabilities are fitted, so that the closed form (Wiesemann's length, f_EC 1.06) gives the published
//! rate within 1 %, as `tests/golden.rs` checks. Where no loss was published it is that of 0.2 dB/km of
//! fibre, 0.17 for the longest BB84 records, 0.157 for twin-field links; the satellite's loss and
//! passes are typical, not published. Rates, losses and error rates are quoted at second hand.

use std::time::Duration;

use super::model::LinkModel;
use super::rates;

/// A published link.
#[derive(Debug, Clone, PartialEq)]
pub struct CataloguedLink {
    /// Network and ends.
    pub name: &'static str,
    /// How it makes key.
    pub protocol: &'static str,
    /// Length, in km.
    pub length_km: f64,
    /// Loss of the channel, in dB.
    pub loss_db: f64,
    /// Published rate, in bit/s (during a pass, for satellites).
    pub rate_bps: f64,
    /// Published error rate, as a ratio.
    pub qber: Option<f64>,
    /// Where it was published.
    pub source: &'static str,
    /// Channel uses per second, in Hz, where known.
    pub clock_hz: Option<f64>,
    /// The pulse model; without one, rate and error rate are the table.
    pub pulses: Option<PulseModel>,
    /// When the link is up; always, without one.
    pub schedule: Option<PassSchedule>,
}

/// A model to emulate, and the size of its blocks.
#[derive(Debug, Clone, PartialEq)]
pub struct PulseModel {
    /// The physical parameters.
    pub model: LinkModel,
    /// Expected key-basis bits of one block.
    pub block_key_bits: u64,
}

/// Passes of a satellite, all alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PassSchedule {
    /// From the start of one pass to the start of the next.
    pub period: Duration,
    /// How long a pass lasts.
    pub pass: Duration,
    /// Start of the first pass.
    pub offset: Duration,
}

impl PassSchedule {
    /// Passes begun before `at`, and the time since the last one began; `None` before the first.
    fn place(&self, at: Duration) -> Option<(u128, Duration)> {
        let since = at.checked_sub(self.offset)?;
        let period = self.period.as_nanos().max(1);
        let within = since.as_nanos() % period;
        Some((since.as_nanos() / period, Duration::from_nanos(u64::try_from(within).unwrap_or(u64::MAX))))
    }

    /// True during a pass.
    pub fn is_up(&self, at: Duration) -> bool {
        self.place(at).is_some_and(|(_, within)| within < self.pass)
    }

    /// When the first pass after `at` begins; `at` itself during a pass.
    pub fn next_pass(&self, at: Duration) -> Duration {
        match self.place(at) {
            None => self.offset,
            Some((_, within)) if within < self.pass => at,
            Some((_, within)) => at.saturating_add(self.period.saturating_sub(within)),
        }
    }

    /// Time from `at` until so much time of passes has gone by.
    pub fn wait_for(&self, at: Duration, up: Duration) -> Duration {
        let period = self.period.as_nanos().max(1);
        let pass = self.pass.as_nanos().clamp(1, period);
        // Until the pass that counts first, and what is left of it.
        let (down, left) = match self.place(at) {
            None => (self.offset.saturating_sub(at).as_nanos(), pass),
            Some((_, within)) if within.as_nanos() < pass => (0, pass - within.as_nanos()),
            Some((_, within)) => (period - within.as_nanos(), pass),
        };
        let up = up.as_nanos();
        if up <= left {
            return from_nanos(down.saturating_add(up));
        }
        let rest = up - left;
        let whole = (rest - 1) / pass;
        let gap = period - pass;
        from_nanos(down + left + gap + whole.saturating_mul(period) + (rest - whole * pass))
    }

    /// The same at the worst moment: the end of a pass.
    pub fn longest_wait_for(&self, up: Duration) -> Duration {
        self.wait_for(self.offset.saturating_add(self.pass), up)
    }

    /// Time of passes from the beginning until `at`.
    pub fn up_until(&self, at: Duration) -> Duration {
        let Some((passes, within)) = self.place(at) else { return Duration::ZERO };
        let whole = self.pass.as_nanos().saturating_mul(passes);
        Duration::from_nanos(u64::try_from(whole).unwrap_or(u64::MAX)).saturating_add(within.min(self.pass))
    }
}

fn from_nanos(nanos: u128) -> Duration {
    const SECOND: u128 = 1_000_000_000;
    Duration::new(u64::try_from(nanos / SECOND).unwrap_or(u64::MAX), (nanos % SECOND) as u32)
}

impl CataloguedLink {
    /// Secret bits that the published rate gives from the beginning until `at`.
    pub fn bits_until(&self, at: Duration) -> u64 {
        let up = self.schedule.map_or(at, |schedule| schedule.up_until(at));
        (up.as_secs_f64() * self.rate_bps) as u64
    }

    /// The most that its loss allows, in bit/s; `None` without a known clock.
    pub fn bound_bps(&self) -> Option<f64> {
        let transmittance = 10f64.powf(-self.loss_db / 10.0);
        let twin_field = self.protocol.starts_with("twin-field");
        let per_use = if twin_field { rates::one_repeater(transmittance) } else { rates::plob(transmittance) };
        Some(self.clock_hz? * per_use)
    }
}

/// The link of this name.
pub fn find(name: &str) -> Option<&'static CataloguedLink> {
    LINKS.iter().find(|link| link.name == name)
}

/// Every link, by network.
pub fn all() -> &'static [CataloguedLink] {
    &LINKS
}

/// A gigahertz link with self-differencing avalanche diodes.
const GIGAHERTZ: LinkModel = LinkModel {
    rate_hz: 1e9,
    mus: [0.45, 0.15],
    ps: [0.6, 0.4],
    pz_a: 0.9,
    pz_b: 0.9,
    length_km: 0.0,
    alpha_db_km: 0.0,
    extra_loss_db: 0.0,
    eta_det: 0.2,
    p_dark: 5e-6,
    e_mis: 0.015,
    p_ap: 0.01,
    tau_ap_s: 1e-7,
    dead_s: 0.0,
    eve_ir: 0.0,
    eve_key_basis: 0.5,
    eve_pns: None,
};

const CAMBRIDGE: &str = "Dynes et al., npj Quantum Information 5, 101 (2019)";
const SECOQC: &str = "Peev et al., New J. Phys. 11, 075001 (2009)";
const TOKYO: &str = "Sasaki et al., Opt. Express 19, 10387 (2011)";
const THURINGIA: &str = "Thuringia field trial (2026)";

/// A link at its published rate.
const fn table(
    name: &'static str,
    protocol: &'static str,
    (length_km, loss_db): (f64, f64),
    (rate_bps, qber): (f64, Option<f64>),
    source: &'static str,
) -> CataloguedLink {
    let (clock_hz, pulses, schedule) = (None, None, None);
    CataloguedLink { name, protocol, length_km, loss_db, rate_bps, qber, source, clock_hz, pulses, schedule }
}

/// A decoy-BB84 link with a model beside its published rate.
const fn emulated(base: CataloguedLink, model: LinkModel, block_key_bits: u64) -> CataloguedLink {
    let alpha_db_km = base.loss_db / base.length_km;
    let model = LinkModel { length_km: base.length_km, alpha_db_km, ..model };
    CataloguedLink { clock_hz: Some(model.rate_hz), pulses: Some(PulseModel { model, block_key_bits }), ..base }
}

const fn clocked(base: CataloguedLink, clock_hz: f64) -> CataloguedLink {
    CataloguedLink { clock_hz: Some(clock_hz), ..base }
}

const BB84: &str = "decoy BB84";

static LINKS: [CataloguedLink; 22] = [
    emulated(
        table("cambridge-cape-trel", BB84, (10.6, 3.9), (2.58e6, None), CAMBRIDGE),
        LinkModel { extra_loss_db: 3.21, ..GIGAHERTZ },
        1 << 24,
    ),
    emulated(
        table("cambridge-trel-engi", BB84, (9.8, 4.2), (2.40e6, None), CAMBRIDGE),
        LinkModel { extra_loss_db: 3.22, ..GIGAHERTZ },
        1 << 24,
    ),
    emulated(
        table("cambridge-engi-cape", BB84, (5.0, 2.5), (2.22e6, None), CAMBRIDGE),
        LinkModel { extra_loss_db: 5.25, ..GIGAHERTZ },
        1 << 24,
    ),
    emulated(
        table("secoqc-sie-brt", BB84, (33.0, 7.5), (3.1e3, Some(0.026)), SECOQC),
        LinkModel {
            rate_hz: 7e6,
            mus: [0.48, 0.13],
            pz_a: 0.75,
            pz_b: 0.75,
            eta_det: 0.1188,
            p_dark: 5e-6,
            e_mis: 0.0225,
            p_ap: 0.0,
            dead_s: 2e-6,
            ..GIGAHERTZ
        },
        1 << 20,
    ),
    table("secoqc-sie-erd", "entangled pairs", (16.0, 3.2), (2.5e3, Some(0.035)), SECOQC),
    table("secoqc-erd-gud", "continuous variables", (6.0, 2.8), (8e3, None), SECOQC),
    table("secoqc-erd-brt", "SARG", (25.0, 5.75), (1e3, None), SECOQC),
    table("secoqc-erd-for", "free-space BB84", (0.08, 0.0), (17e3, Some(0.023)), SECOQC),
    emulated(
        table("tokyo-koganei1-otemachi1", BB84, (45.0, 14.5), (81.7e3, Some(0.027)), TOKYO),
        LinkModel {
            rate_hz: 1.25e9,
            mus: [0.5, 0.15],
            ps: [0.7, 0.3],
            pz_a: 0.5,
            pz_b: 0.5,
            extra_loss_db: 0.4,
            eta_det: 0.15,
            p_dark: 1e-7,
            e_mis: 0.0265,
            p_ap: 0.0,
            dead_s: 4e-8,
            ..GIGAHERTZ
        },
        1 << 22,
    ),
    emulated(
        table("tokyo-koganei2-otemachi2", BB84, (45.0, 14.5), (304e3, None), TOKYO),
        LinkModel { eta_det: 0.2444, ..GIGAHERTZ },
        1 << 22,
    ),
    table("tokyo-koganei1-koganei2", "differential phase shift", (90.0, 27.0), (2.1e3, Some(0.023)), TOKYO),
    table("tokyo-otemachi1-otemachi2", BB84, (24.0, 13.0), (2e3, Some(0.045)), TOKYO),
    table("tokyo-otemachi2-hongo", "SARG", (13.0, 11.0), (360.0, Some(0.02)), TOKYO),
    table("thuringia-sundhausen-erfurt", "not stated", (70.0, 17.0), (12.7, Some(0.133)), THURINGIA),
    table("thuringia-erfurt-jena", "not stated", (69.0, 21.0), (22.2, Some(0.061)), THURINGIA),
    clocked(
        table("record-10km-2023", BB84, (10.0, 2.0), (115.8e6, None), "Li et al., Nature Photonics 17, 416 (2023)"),
        2.5e9,
    ),
    clocked(
        table(
            "record-2db-2018",
            BB84,
            (10.0, 2.0),
            (13.72e6, None),
            "Yuan et al., J. Lightwave Technol. 36, 3427 (2018)",
        ),
        1e9,
    ),
    clocked(
        table("record-421km-2018", BB84, (421.1, 71.9), (0.25, None), "Boaron et al., PRL 121, 190502 (2018)"),
        2.5e9,
    ),
    table(
        "record-307km-2015",
        "coherent one-way",
        (307.0, 52.2),
        (3.18, None),
        "Korzh et al., Nature Photonics 9, 163 (2015)",
    ),
    clocked(
        table("twin-field-202km", "twin-field", (202.0, 31.7), (111_740.0, None), "Liu et al., PRL 130, 210801 (2023)"),
        1e9,
    ),
    clocked(
        table("twin-field-1002km", "twin-field", (1002.0, 157.3), (0.0011, None), "Liu et al., PRL 130, 210801 (2023)"),
        3.5e8,
    ),
    CataloguedLink {
        schedule: Some(PassSchedule {
            period: Duration::from_secs(86_400),
            pass: Duration::from_secs(300),
            offset: Duration::from_secs(3_600),
        }),
        ..table(
            "satellite-beijing",
            "decoy BB84 downlink",
            (600.0, 30.0),
            (47.8e3, None),
            "Chen et al., Nature 589, 214 (2021)",
        )
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_no_rate_is_above_its_bound() {
        for (i, link) in LINKS.iter().enumerate() {
            assert_eq!(find(link.name), Some(link));
            assert!(!LINKS[..i].iter().any(|other| other.name == link.name));
            assert!(link.bound_bps().is_none_or(|bound| link.rate_bps < bound), "{}", link.name);
            if let Some(pulses) = &link.pulses {
                assert_eq!(pulses.model.check(), Ok(()), "{}", link.name);
                assert!(pulses.model.plob_bps().is_some_and(|bound| link.rate_bps < bound));
            }
        }
        assert_eq!(find("nowhere"), None);
    }

    #[test]
    fn passes_come_and_go() {
        let seconds = Duration::from_secs;
        let schedule = PassSchedule { period: seconds(100), pass: seconds(10), offset: seconds(5) };
        let up: Vec<u64> = (0..220).filter(|&at| schedule.is_up(seconds(at))).collect();
        assert!(up.iter().copied().eq((5..15).chain(105..115).chain(205..215)));
        for (at, next) in [(0, 5), (7, 7), (15, 105), (104, 105), (114, 114)] {
            assert_eq!(schedule.next_pass(seconds(at)), seconds(next));
        }
        for at in 0..220 {
            let passed = up.iter().filter(|&&second| second < at).count() as u64;
            assert_eq!(schedule.up_until(seconds(at)), seconds(passed));
        }
        for at in 0..120 {
            for wanted in [1, 7, 10, 11, 25] {
                let took = schedule.wait_for(seconds(at), seconds(wanted));
                let went_by = schedule.up_until(seconds(at) + took) - schedule.up_until(seconds(at));
                assert_eq!(went_by, seconds(wanted), "from {at}");
                let short = took - seconds(1);
                assert!(schedule.up_until(seconds(at) + short) < schedule.up_until(seconds(at)) + went_by);
                assert!(took <= schedule.longest_wait_for(seconds(wanted)));
            }
        }
        let link = find("satellite-beijing").unwrap();
        assert_eq!(link.bits_until(seconds(86_400)), 47_800 * 300);
    }
}
