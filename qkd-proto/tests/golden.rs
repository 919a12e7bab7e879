//! The closed form and the key-length formulas against the Python oracle (`golden.json`).

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use qkd_proto::distill::finite_key::forecast::Forecast;
use qkd_proto::distill::finite_key::{
    BasisCounts, BlockCounts, Epsilons, KeyLength, Lim, PerIntensity, Rusca, Wiesemann,
};
use qkd_proto::optics::catalogue;
use qkd_proto::optics::model::LinkModel;
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

/// With the oracle's efficiency and failure probabilities.
fn forecast(model: &LinkModel, pulses: f64) -> Forecast {
    let golden = golden();
    let number = |field: &str| golden["eps"][field].as_f64().unwrap();
    let eps = Epsilons { secrecy: number("eps_sec"), correctness: number("eps_cor") };
    Forecast::of(model, pulses, golden["fec"].as_f64().unwrap(), eps)
}

fn check_row(model: &LinkModel, pulses: f64, row: &Value, name: &str) {
    let forecast = forecast(model, pulses);
    let (expected, what) = (forecast.expected, |field: &str| format!("{name} at {} km: {field}", model.length_km));
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
    let (wiesemann, rusca) = (forecast.wiesemann.unwrap(), forecast.rusca.unwrap());
    near(forecast.leak, &row["leak_bits"], &what("leak_bits"));
    near(wiesemann.single_photon, &row["s1_key"], &what("s1_key"));
    near(wiesemann.phase_error, &row["phi"], &what("phi"));
    near(wiesemann.length, &row["ell_wiesemann"], &what("ell_wiesemann"));
    near(rusca.length, &row["ell_rusca"], &what("ell_rusca"));
    near(forecast.sifted_bps, &row["sifted_bps"], &what("sifted_bps"));
    near(forecast.secret_bps(&wiesemann), &row["skr_wiesemann"], &what("skr_wiesemann"));
    near(forecast.secret_bps(&rusca), &row["skr_rusca"], &what("skr_rusca"));
    match forecast.plob_bps {
        Some(plob) => near(plob, &row["plob_bps"], &what("plob_bps")),
        None => assert!(row["plob_bps"].is_null(), "{}", what("plob_bps")),
    }
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

fn list(value: &Value) -> PerIntensity {
    let numbers: Vec<f64> = value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect();
    match numbers.as_slice() {
        [a, b] => [*a, *b].into(),
        [a, b, c] => [*a, *b, *c].into(),
        _ => panic!("two or three intensities"),
    }
}

/// The catalogue's pulse models give what was published, within 1 %.
#[test]
fn every_catalogued_pulse_model() {
    for link in catalogue::all() {
        let Some(pulses) = &link.pulses else { continue };
        let count = pulses_for(&pulses.model, pulses.block_key_bits) as f64;
        let forecast = forecast(&pulses.model, count);
        let (rate_bps, qber) = (forecast.secret_bps(&forecast.wiesemann.unwrap()), forecast.expected.key.qber());
        assert!((rate_bps / link.rate_bps - 1.0).abs() < 0.01, "{}: {rate_bps} bit/s", link.name);
        assert!(forecast.below_plob());
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
fn every_formula_vector() {
    for vector in golden()["formulas"].as_array().unwrap() {
        let name = vector["name"].as_str().unwrap();
        let formula: &dyn KeyLength = match vector["formula"].as_str().unwrap() {
            "wiesemann" => &Wiesemann,
            "rusca2018" => &Rusca,
            "lim2014" => &Lim { cap_single_errors: name.contains("cap_v1=True") },
            other => panic!("{other}"),
        };
        let errors = |field: &str| vector.get(field).map(list);
        let block = BlockCounts {
            mus: list(&vector["mus"]),
            ps: list(&vector["ps"]),
            key: BasisCounts { counts: list(&vector["nK"]), errors: errors("mK") },
            test: BasisCounts { counts: list(&vector["nT"]), errors: errors("mT") },
            leak: vector["leak"].as_f64().unwrap(),
        };
        let number = |field: &str| vector[field].as_f64().unwrap();
        let eps = Epsilons { secrecy: number("eps_sec"), correctness: number("eps_cor") };
        let found = formula.length(&block, eps).unwrap();
        near(found.length, &vector["ell"], name);
        assert_eq!(found.whole_bits(), number("ell").floor() as u64 - 1);
        for (ours, field) in [(found.vacuum, "s0K"), (found.single_photon, "s1K"), (found.phase_error, "phi")] {
            vector.get(field).iter().for_each(|golden| near(ours, golden, &format!("{name}: {field}")));
        }
    }
}
