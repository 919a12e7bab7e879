//! What concerns one link: its model, its presets, its last block.

use std::io::Read as _;

use qkd_proto::control::reply::SCHEMA;
use qkd_proto::distill::finite_key::Epsilons;
use qkd_proto::distill::finite_key::forecast::Forecast;
use qkd_proto::optics::catalogue::{self, CataloguedLink};
use qkd_proto::optics::model::LinkModel;
use qkd_proto::optics::preset::{Preset, pulses_for};
use serde_json::{Value, json};

use crate::exit::{Exit, Failure};
use crate::model::{self, INPUT_BYTES_MAX};
use crate::output::{Output, print, table};

/// Reconciliation efficiency of the table: what the default engine needs at 2^18 bits and 2 %.
const PRESETS_F_EC: f64 = 1.3;

/// Answers a JSON array from stdin; the answer is JSON whatever `--output` says.
pub(crate) fn model() -> Result<Exit, Failure> {
    let mut input = Vec::new();
    let read = std::io::stdin().take(INPUT_BYTES_MAX + 1).read_to_end(&mut input);
    read.map_err(|error| Failure::Refused(format!("standard input cannot be read: {error}")))?;
    if input.len() as u64 > INPUT_BYTES_MAX {
        let text = format!("the input has more than {INPUT_BYTES_MAX} bytes, the limit: split it");
        return Err(Failure::Refused(text));
    }
    let answers = model::answer(&input).map_err(|error| Failure::Refused(error.to_string()))?;
    println!("{}", Value::Array(answers));
    Ok(Exit::Done)
}

/// Shows what every preset gives at these lengths, in the closed form at its own block size.
pub(crate) fn presets(lengths_km: &[f64], output: Output) -> Result<Exit, Failure> {
    let mut rows = Vec::new();
    for preset in Preset::ALL {
        for &length_km in lengths_km {
            let model = LinkModel { length_km, ..preset.model() };
            model.check().map_err(|error| Failure::Refused(error.to_string()))?;
            let pulses = pulses_for(&model, preset.block_key_bits());
            rows.push((
                preset,
                length_km,
                pulses,
                Forecast::of(&model, pulses as f64, PRESETS_F_EC, Epsilons::OF_LINKS),
            ));
        }
    }
    let rate = |forecast: &Forecast| forecast.wiesemann.map_or(0.0, |bounds| forecast.secret_bps(&bounds));
    let json: Vec<Value> = rows
        .iter()
        .map(|(preset, length_km, pulses, forecast)| {
            json!({
                "preset": preset.to_string(),
                "length_km": length_km,
                "pulses": pulses,
                "qber_key": forecast.expected.key.qber(),
                "sifted_bps": forecast.sifted_bps,
                "skr_bps": rate(forecast),
                "plob_bps": forecast.plob_bps,
            })
        })
        .collect();
    let table = table(
        &["PRESET", "LENGTH", "PULSES A BLOCK", "QBER", "SIFTED", "SECRET (link time)"],
        rows.iter().map(|(preset, length_km, pulses, forecast)| {
            vec![
                preset.to_string(),
                format!("{length_km} km"),
                format!("{:.2e}", *pulses as f64),
                format!("{:.2} %", forecast.expected.key.qber() * 100.0),
                format!("{:.0} bit/s", forecast.sifted_bps),
                format!("{:.0} bit/s", rate(forecast)),
            ]
        }),
    );
    let text = format!(
        "{table}\nPublished links, as presets of device = \"simulated\", \"seeded\" (those with a pulse model) or \"table\":\n\n{}",
        published_table()
    );
    let json = json!({"schema": SCHEMA, "f_ec": PRESETS_F_EC, "presets": json, "published": published_json()});
    print(output, &json, &text);
    Ok(Exit::Done)
}

fn published_table() -> String {
    table(
        &["PRESET", "PROTOCOL", "LENGTH", "LOSS", "RATE", "QBER", "PULSE MODEL", "SOURCE"],
        catalogue::all().iter().map(|link| {
            vec![
                link.name.to_owned(),
                link.protocol.to_owned(),
                format!("{} km", link.length_km),
                format!("{} dB", link.loss_db),
                format!("{} bit/s", link.rate_bps),
                link.qber.map_or("-".into(), |qber| format!("{:.1} %", qber * 100.0)),
                if link.pulses.is_some() { "yes" } else { "-" }.to_owned(),
                link.source.to_owned(),
            ]
        }),
    )
}

fn published_json() -> Vec<Value> {
    let row = |link: &CataloguedLink| {
        let passes = link.schedule.map(|schedule| {
            json!({
                "every_s": schedule.period.as_secs(),
                "length_s": schedule.pass.as_secs(),
                "offset_s": schedule.offset.as_secs(),
            })
        });
        json!({
            "preset": link.name,
            "protocol": link.protocol,
            "length_km": link.length_km,
            "loss_db": link.loss_db,
            "rate_bps": link.rate_bps,
            "qber": link.qber,
            "pulse_model": link.pulses.is_some(),
            "passes": passes,
            "source": link.source,
        })
    };
    catalogue::all().iter().map(row).collect()
}
