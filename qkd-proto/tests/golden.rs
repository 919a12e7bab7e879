//! The closed form and the key-length formulas against the Python oracle (`golden.json`).

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use qkd_proto::distill::finite_key::{BasisCounts, BlockCounts, Bounds, Epsilons, Formula};
use qkd_proto::optics::catalogue;
use qkd_proto::optics::model::{BasisExpectation, Expectation, LinkModel};
use qkd_proto::optics::preset::{Preset, pulses_for};
use qkd_proto::optics::rates::ContinuousVariable;
use serde_json::Value;

fn golden() -> Value {
    serde_json::from_str(include_str!("golden.json")).unwrap()
}

fn pair(value: &Value) -> [f64; 2] {
    [value[0].as_f64().unwrap(), value[1].as_f64().unwrap()]
}

#[track_caller]
fn near(ours: f64, golden: &Value, what: &str) {
    let golden = golden.as_f64().unwrap();
    assert!((ours - golden).abs() <= 1e-9 * golden.abs().max(1e-9), "{what}: {ours} is not {golden}");
}

fn model(link: &Value) -> LinkModel {
    let number = |field: &str| link[field].as_f64().unwrap();
    LinkModel {
        rate_hz: number("rate_hz"),
        mus: pair(&link["mus"]),
        ps: pair(&link["ps"]),
        pz_a: number("pz_a"),
        pz_b: number("pz_b"),
        length_km: number("length_km"),
        alpha_db_km: number("alpha_db_km"),
        extra_loss_db: number("extra_loss_db"),
        eta_det: number("eta_det"),
        p_dark: number("p_dark"),
        e_mis: number("e_mis"),
        p_ap: number("p_ap"),
        tau_ap_s: number("tau_ap_s"),
        dead_s: number("dead_s"),
        eve_ir: number("eve_ir"),
        eve_key_basis: number("eve_key_basis"),
        eve_pns: None,
    }
}

fn counts(basis: &BasisExpectation) -> BasisCounts {
    BasisCounts { counts: basis.counts, errors: basis.errors }
}

fn bounds(formula: Formula, model: &LinkModel, expected: &Expectation, leak: f64) -> Bounds {
    let (key, test) = (counts(&expected.key), counts(&expected.test));
    let block = BlockCounts { mus: model.mus, ps: model.ps, key, test, leak };
    formula.bounds(&block, Epsilons { secrecy: 1e-10, correctness: 1e-15 })
}

fn check_row(model: &LinkModel, pulses: f64, row: &Value, name: &str) {
    let expected = model.expected(pulses);
    let what = |field: &str| format!("{name} at {} km: {field}", model.length_km);
    near(expected.eta, &row["eta"], &what("eta"));
    near(expected.background, &row["background"], &what("background"));
    near(expected.live, &row["live"], &what("live"));
    near(expected.key.qber(), &row["qber_key"], &what("qber_key"));
    near(expected.test.qber(), &row["qber_test"], &what("qber_test"));
    for k in 0..2 {
        near(expected.gain[k], &row["gain"][k], &what("gain"));
        near(expected.key.counts[k], &row["n_key"][k], &what("n_key"));
        near(expected.key.errors[k], &row["m_key"][k], &what("m_key"));
        near(expected.test.counts[k], &row["n_test"][k], &what("n_test"));
        near(expected.test.errors[k], &row["m_test"][k], &what("m_test"));
    }
    let leak = row["leak_bits"].as_f64().unwrap();
    let wiesemann = bounds(Formula::Wiesemann, model, &expected, leak);
    near(wiesemann.single_photon, &row["s1_key"], &what("s1_key"));
    near(wiesemann.phase_error, &row["phi"], &what("phi"));
    near(wiesemann.length, &row["ell_wiesemann"], &what("ell_wiesemann"));
    near(bounds(Formula::Rusca, model, &expected, leak).length, &row["ell_rusca"], &what("ell_rusca"));
}

#[test]
fn every_row_of_every_preset() {
    for (name, preset) in golden()["presets"].as_object().unwrap() {
        assert_eq!(name.parse::<Preset>().unwrap().model(), model(&preset["link"]), "{name}");
        for row in preset["rows"].as_array().unwrap() {
            let length_km = row["length_km"].as_f64().unwrap();
            let model = LinkModel { length_km, ..model(&preset["link"]) };
            check_row(&model, preset["pulses"].as_f64().unwrap(), row, name);
        }
    }
}

#[test]
fn every_eavesdropper() {
    for row in golden()["eve"].as_array().unwrap() {
        let kind = row["kind"].as_str().unwrap();
        let mut model = LinkModel { length_km: row["length_km"].as_f64().unwrap(), ..Preset::Apd1g.model() };
        match kind {
            "pns" => model.eve_pns = Some((row["y1"].as_f64().unwrap(), row["ym"].as_f64().unwrap())),
            _ => model.eve_ir = row["f"].as_f64().unwrap(),
        }
        if kind.contains("key basis") {
            model.eve_key_basis = 1.0;
        }
        // The oracle's rows give rates, and the counts of one number of pulses.
        check_row(&model, 1e11, row, kind);
    }
}

/// The catalogue's pulse models give what was published, within 1 %.
#[test]
fn every_catalogued_pulse_model() {
    for link in catalogue::all() {
        let Some(pulses) = &link.pulses else { continue };
        let count = pulses_for(&pulses.model, pulses.block_key_bits) as f64;
        let expected = pulses.model.expected(count);
        let qber = expected.key.qber();
        let entropy = -qber * qber.log2() - (1.0 - qber) * (1.0 - qber).log2();
        let found = bounds(Formula::Wiesemann, &pulses.model, &expected, 1.06 * expected.key.total() * entropy);
        let rate_bps = found.length * pulses.model.rate_hz / count;
        assert!((rate_bps / link.rate_bps - 1.0).abs() < 0.01, "{}: {rate_bps} bit/s", link.name);
        assert!(rate_bps < pulses.model.plob_bps());
        assert!(link.qber.is_none_or(|published| (published - qber).abs() < 0.003), "{}: qber {qber}", link.name);
    }
}

#[test]
fn continuous_variables() {
    for row in golden()["cv"].as_array().unwrap() {
        let number = |field: &str| row[field].as_f64().unwrap();
        let link = ContinuousVariable {
            modulation: number("VA"),
            transmittance: number("T"),
            excess_noise: number("xi"),
            efficiency: number("eta"),
            electronic_noise: number("vel"),
            reconciliation: number("beta"),
        };
        let rates = link.rates();
        near(rates.mutual, &row["I"], "mutual");
        near(rates.holevo, &row["chi"], "holevo");
        near(rates.key, &row["K"], "key");
    }
}

#[test]
fn every_formula_vector_of_one_decoy() {
    for vector in golden()["formulas"].as_array().unwrap() {
        let formula = match vector["formula"].as_str().unwrap() {
            "wiesemann" => Formula::Wiesemann,
            "rusca2018" => Formula::Rusca,
            _ => continue,
        };
        let basis = |n: &str, m: &str| BasisCounts { counts: pair(&vector[n]), errors: pair(&vector[m]) };
        let block = BlockCounts {
            mus: pair(&vector["mus"]),
            ps: pair(&vector["ps"]),
            key: basis("nK", "mK"),
            test: basis("nT", "mT"),
            leak: vector["leak"].as_f64().unwrap(),
        };
        let number = |field: &str| vector[field].as_f64().unwrap();
        let eps = Epsilons { secrecy: number("eps_sec"), correctness: number("eps_cor") };
        let found = formula.bounds(&block, eps);
        near(found.length, &vector["ell"], vector["name"].as_str().unwrap());
        assert_eq!(found.whole_bits(), number("ell").floor() as u64 - 1);
    }
}
