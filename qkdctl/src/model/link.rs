//! The closed form of a link, and a run of the emulator beside it. In: a link's parameters and a
//! number of pulses. Out: one row of numbers.

use qkd_proto::distill::finite_key::Epsilons;
use qkd_proto::distill::finite_key::forecast::Forecast;
use qkd_proto::distill::simulate::{Simulated, simulate};
use qkd_proto::optics::eavesdropper::Attack;
use qkd_proto::optics::model::{LinkModel, ModelError};
use qkd_proto::optics::preset::{PULSES_MAX, Preset};
use serde_json::{Map, Value, json};

use super::fields::{self, Wrong};

/// Leak over Shannon's, where the question does not say.
pub(crate) const F_EC: f64 = 1.06;
/// Failure probabilities, where the question does not say.
pub(crate) const EPS: Epsilons = Epsilons { secrecy: 1e-10, correctness: 1e-15 };
/// Most detections that a run may be expected to have: what fits the memory of a small machine.
const CLICKS_MAX: f64 = 5e7;

impl From<ModelError> for Wrong {
    fn from(error: ModelError) -> Self {
        Self::new(error.field, error.value, error.limit)
    }
}

const LINK_FIELDS: [&str; 17] = [
    "rate_hz",
    "mus",
    "ps",
    "pz_a",
    "pz_b",
    "length_km",
    "alpha_db_km",
    "extra_loss_db",
    "eta_det",
    "p_dark",
    "e_mis",
    "p_ap",
    "tau_ap_s",
    "dead_s",
    "eve_ir",
    "eve_key_basis",
    "eve_pns",
];

pub(super) fn row(question: &Map<String, Value>) -> Result<Map<String, Value>, Wrong> {
    fields::only(question, &["link", "pulses", "simulate", "fec", "eps_sec", "eps_cor"])?;
    let model = model(fields::object(question.get("link").unwrap_or(&Value::Null), "link")?)?;
    let pulses = fields::within("pulses", fields::number(question, "pulses")?, 1.0, 1e18)?;
    let f_ec = fields::within("fec", fields::number_or(question, "fec", F_EC)?, 0.0, 100.0)?;
    let eps = Epsilons {
        secrecy: fields::number_or(question, "eps_sec", EPS.secrecy)?,
        correctness: fields::number_or(question, "eps_cor", EPS.correctness)?,
    };
    eps.check()?;
    let mut row = closed_form(&model, &Forecast::of(&model, pulses, f_ec, eps));
    if let Some(run) = question.get("simulate") {
        row.insert("simulated".into(), simulated(&model, fields::object(run, "simulate")?)?);
    }
    Ok(row)
}

/// The parameters; what is missing is as in `apd-1g`.
fn model(link: &Map<String, Value>) -> Result<LinkModel, Wrong> {
    fields::only(link, &LINK_FIELDS)?;
    let other = Preset::Apd1g.model();
    let number = |field: &str, default: f64| fields::number_or(link, field, default);
    let pair = |field: &str, default| if link.contains_key(field) { fields::pair(link, field) } else { Ok(default) };
    let pns = link.get("eve_pns").filter(|yields| !yields.is_null());
    let model = LinkModel {
        rate_hz: number("rate_hz", other.rate_hz)?,
        mus: pair("mus", other.mus)?,
        ps: pair("ps", other.ps)?,
        pz_a: number("pz_a", other.pz_a)?,
        pz_b: number("pz_b", other.pz_b)?,
        length_km: number("length_km", other.length_km)?,
        alpha_db_km: number("alpha_db_km", other.alpha_db_km)?,
        extra_loss_db: number("extra_loss_db", other.extra_loss_db)?,
        eta_det: number("eta_det", other.eta_det)?,
        p_dark: number("p_dark", other.p_dark)?,
        e_mis: number("e_mis", other.e_mis)?,
        p_ap: number("p_ap", other.p_ap)?,
        tau_ap_s: number("tau_ap_s", other.tau_ap_s)?,
        dead_s: number("dead_s", other.dead_s)?,
        eve_ir: number("eve_ir", other.eve_ir)?,
        eve_key_basis: number("eve_key_basis", other.eve_key_basis)?,
        eve_pns: pns.map(|_| fields::pair(link, "eve_pns")).transpose()?.map(|[single, multi]| (single, multi)),
    };
    model.check()?;
    Ok(model)
}

/// The row: lengths in bits, unrounded, may be negative; rates in bits per second of link time, null
/// where nothing bounds them.
pub(crate) fn closed_form(model: &LinkModel, forecast: &Forecast) -> Map<String, Value> {
    let Forecast { expected, wiesemann, rusca, .. } = forecast;
    let rate = |bounds: &Option<_>| bounds.as_ref().map(|bounds| forecast.secret_bps(bounds));
    let row = json!({
        "length_km": model.length_km,
        "eta": expected.eta,
        "background": expected.background,
        "live": expected.live,
        "gain": expected.gain,
        "n_key": expected.key.counts,
        "m_key": expected.key.errors,
        "n_test": expected.test.counts,
        "m_test": expected.test.errors,
        "qber_key": expected.key.qber(),
        "qber_test": expected.test.qber(),
        "leak_bits": forecast.leak,
        "s1_key": wiesemann.map(|bounds| bounds.single_photon),
        "phi": wiesemann.map(|bounds| bounds.phase_error),
        "ell_wiesemann": wiesemann.map(|bounds| bounds.length),
        "ell_rusca": rusca.map(|bounds| bounds.length),
        "sifted_bps": forecast.sifted_bps,
        "skr_wiesemann": rate(wiesemann),
        "skr_rusca": rate(rusca),
        "plob_bps": forecast.plob_bps,
    });
    if let Value::Object(row) = row { row } else { Map::new() }
}

fn simulated(model: &LinkModel, run: &Map<String, Value>) -> Result<Value, Wrong> {
    fields::only(run, &["pulses", "seed"])?;
    let pulses = fields::whole(run, "pulses", 1, PULSES_MAX)?;
    let seed = if run.contains_key("seed") { fields::whole(run, "seed", 0, u64::MAX)? } else { 0 };
    let arrival = model.arrival();
    // Dead time hides detections that are drawn all the same.
    let drawn = model.ps[0] * arrival[0] + model.ps[1] * arrival[1] + 2.0 * model.p_dark;
    fields::within("simulate.pulses", pulses as f64, 1.0, (CLICKS_MAX / drawn).floor())?;
    let found = simulate(model, &Attack::default(), pulses, seed)
        .map_err(|error| Wrong::new("simulate", error, "what the emulator does"))?;
    let Simulated { key_counts, key_errors, test_counts, test_errors, clicks } = found;
    Ok(json!({
        "pulses": pulses,
        "n_key": key_counts,
        "m_key": key_errors,
        "n_test": test_counts,
        "m_test": test_errors,
        "clicks": clicks,
    }))
}
