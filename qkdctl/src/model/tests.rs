//! The command's function against the golden rows, and against input that it must refuse.

use serde_json::json;

use super::*;

fn golden() -> Value {
    serde_json::from_str(include_str!("../../../qkd-proto/tests/golden.json")).unwrap()
}

fn ask(questions: &Value) -> Vec<Value> {
    // Through text and back: printed numbers must round-trip.
    let answers = answer(questions.to_string().as_bytes()).unwrap();
    serde_json::from_str(&Value::Array(answers).to_string()).unwrap()
}

#[track_caller]
fn near(ours: &Value, golden: &Value, what: &str) {
    match (ours, golden) {
        (Value::Array(ours), Value::Array(golden)) => {
            assert_eq!(ours.len(), golden.len(), "{what}");
            ours.iter().zip(golden).for_each(|(ours, golden)| near(ours, golden, what));
        }
        (Value::Number(ours), Value::Number(golden)) => {
            let (ours, golden) = (ours.as_f64().unwrap(), golden.as_f64().unwrap());
            assert!((ours - golden).abs() <= 1e-9 * golden.abs().max(1e-9), "{what}: {ours} is not {golden}");
        }
        _ => assert_eq!(ours, golden, "{what}"),
    }
}

/// Every field of the golden row, but what only names it.
fn same_row(ours: &Value, golden: &Value, name: &str) {
    let fields =
        golden.as_object().unwrap().iter().filter(|(field, _)| !["kind", "f", "y1", "ym"].contains(&field.as_str()));
    fields.for_each(|(field, golden)| near(&ours[field], golden, &format!("{name}: {field}")));
}

#[test]
fn every_golden_row_comes_out() {
    for (name, preset) in golden()["presets"].as_object().unwrap() {
        let rows = preset["rows"].as_array().unwrap();
        let question = |row: &Value| {
            let mut link = preset["link"].clone();
            link["length_km"] = row["length_km"].clone();
            json!({"link": link, "pulses": preset["pulses"]})
        };
        let answers = ask(&rows.iter().map(question).collect());
        assert_eq!(answers.len(), rows.len());
        answers.iter().zip(rows).for_each(|(ours, row)| same_row(ours, row, name));
    }
}

#[test]
fn every_golden_eavesdropper_comes_out() {
    let golden = golden();
    let rows = golden["eve"].as_array().unwrap();
    let question = |row: &Value| {
        let kind = row["kind"].as_str().unwrap();
        // What is missing is as in `apd-1g`.
        let mut link = json!({"length_km": row["length_km"]});
        match kind {
            "pns" => link["eve_pns"] = json!([row["y1"], row["ym"]]),
            _ => link["eve_ir"] = row["f"].clone(),
        }
        if kind.contains("key basis") {
            link["eve_key_basis"] = json!(1.0);
        }
        json!({"link": link, "pulses": 1e11})
    };
    let answers = ask(&rows.iter().map(question).collect());
    answers.iter().zip(rows).for_each(|(ours, row)| same_row(ours, row, row["kind"].as_str().unwrap()));
}

#[test]
fn every_golden_formula_comes_out() {
    let golden = golden();
    for vector in golden["formulas"].as_array().unwrap() {
        let name = vector["name"].as_str().unwrap();
        let known = ["mus", "ps", "nK", "mK", "nT", "mT", "leak", "eps_sec", "eps_cor"];
        let mut counts: Map<String, Value> =
            known.iter().filter_map(|&field| Some((field.to_owned(), vector.get(field)?.clone()))).collect();
        counts.insert("cap_v1".into(), name.contains("cap_v1=True").into());
        let ell = ask(&json!([{"counts": counts}]))[0]["ell"].clone();
        let formula = vector["formula"].as_str().unwrap();
        near(&ell[formula], &vector["ell"], name);
        assert_eq!(ell["lim2014"].is_null(), formula != "lim2014");
        assert_eq!(ell["wiesemann"].is_null(), formula == "lim2014");
    }
}

#[test]
fn a_run_of_the_emulator_is_beside_its_closed_form() {
    let row =
        &ask(&json!([{"link": {"length_km": 10}, "pulses": 1000000, "simulate": {"pulses": 1000000, "seed": 3}}]))[0];
    let (run, expected) = (row["simulated"]["n_key"][0].as_f64().unwrap(), row["n_key"][0].as_f64().unwrap());
    assert!((run - expected).abs() < 6.0 * expected.sqrt(), "{run}, {expected}");
    assert_eq!(row["simulated"]["pulses"], 1_000_000);
}

#[test]
fn what_is_refused_is_named() {
    let refused = [
        (
            json!([{"link": {}, "pulses": 1}, {"link": {"e_mis": 0.7}, "pulses": 1}]),
            "element 1: e_mis = 0.7 is outside 0 to 0.5",
        ),
        (json!([{"link": {"lenght_km": 1}, "pulses": 1}]), "element 0: lenght_km = 1 is outside the known fields"),
        (json!([{"link": {}, "pulses": 0.5}]), "element 0: pulses = 0.5 is outside 1 to"),
        (json!([{"link": {"mus": [0.5, 0.1, 0.0]}, "pulses": 1}]), "element 0: mus = [0.5,0.1,0.0] is outside"),
        (
            json!([{"link": {}, "pulses": 1, "simulate": {"pulses": 1e15}}]),
            "simulate.pulses = 1000000000000000 is outside",
        ),
        (json!([{"counts": {"mus": [0.5, 0.1]}}]), "element 0: ps = null is outside"),
        (json!([7]), "element 0: element = 7 is outside"),
        (json!({}), "not a JSON array"),
        (Value::Array(vec![json!(0); ELEMENTS_MAX + 1]), "100001 elements, over the limit of 100000"),
    ];
    for (input, text) in refused {
        let error = answer(input.to_string().as_bytes()).unwrap_err().to_string();
        assert!(error.contains(text), "{error}");
    }
    assert!(matches!(answer(b"["), Err(ModelInputError::Json(_))));
    assert!(answer(b"[]").unwrap().is_empty());
}
