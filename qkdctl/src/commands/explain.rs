//! Why a link's last block gave as much key as it did.

use std::path::Path;

use qkd_proto::control::block_record::{BlockRecord, LengthRecord};
use serde_json::Value;

use crate::client::{ask, from_json};
use crate::exit::{Exit, Failure};
use crate::output::{Output, print};

pub(crate) async fn explain(socket: &Path, link: &str, output: Output) -> Result<Exit, Failure> {
    let value: Value = ask(socket, &format!("/v1/links/{link}/explain")).await?;
    let record: BlockRecord = from_json(value.to_string().as_bytes())?;
    print(output, &value, &sheet(&record));
    Ok(Exit::Done)
}

/// A readable sheet, from what was sent to what came out.
fn sheet(record: &BlockRecord) -> String {
    let percent = |ratio: Option<f64>| ratio.map_or("-".into(), |ratio| format!("{:.3} %", ratio * 100.0));
    let mut text = format!(
        "link        {}, block {} ({}, emulation diluted {} times)\n\
         pulses      N = {} fixed in advance, {:.3} s of link time\n\
         sifted      {} bits in the key basis, QBER {} (test basis {})\n\
         told        {} bits by the transmitter, {} by the receiver, to correct errors by {}\n\
         leak        {} bits charged (rule: {}; verification hash {} of them), f_EC {}\n",
        record.link,
        record.block,
        record.device,
        record.dilution,
        record.pulses,
        record.link_time_s,
        record.sifted_bits,
        percent(record.qber_key),
        percent(record.qber_test),
        record.told_transmitter_bits,
        record.told_receiver_bits,
        record.engine,
        record.leak_bits,
        record.leak_rule,
        record.verification_bits,
        record.f_ec.map_or("-".into(), |f_ec| format!("{f_ec:.3}")),
    );
    if let Some(length) = &record.length {
        text.push_str(&length_sheet(length));
    }
    match &record.refused {
        Some(reason) => text.push_str(&format!("result      no key: {reason}\n")),
        None => text.push_str(&format!(
            "result      {} secret bits, {:.0} bit/s of link time{}\n",
            record.secret_bits,
            record.skr_bps,
            bound(record),
        )),
    }
    text
}

fn bound(record: &BlockRecord) -> String {
    let plob = record.length.as_ref().and_then(|length| length.plob_bps);
    plob.map_or(String::new(), |plob| format!(" (repeaterless bound {plob:.0} bit/s)"))
}

fn length_sheet(length: &LengthRecord) -> String {
    let pair = |pair: [f64; 2]| format!("{:.0} signal, {:.0} decoy", pair[0], pair[1]);
    let number = |number: Option<f64>, digits: usize| number.map_or("-".into(), |number| format!("{number:.digits$}"));
    format!(
        "formula     {} ({}); acceptance {}; eps_sec {:e}, eps_cor {:e}\n\
         source      mean photon numbers {} and {}, sent with probability {} and {}\n\
         n_key       {}; errors {}\n\
         n_test      {}; errors {}\n\
         bounds      single photons s1 >= {}, vacuum s0 >= {}, phase error phi <= {}\n\
         length      ell = s1 (1 - h(phi)) - leak - terms of eps = {}, rounded down with a margin of one bit\n",
        length.formula,
        length.edition,
        length.acceptance,
        length.eps_sec,
        length.eps_cor,
        length.mus[0],
        length.mus[1],
        length.ps[0],
        length.ps[1],
        pair(length.n_key),
        pair(length.m_key),
        pair(length.n_test),
        pair(length.m_test),
        number(length.s1_key, 1),
        number(length.s0_key, 1),
        number(length.phi, 6),
        number(length.ell, 1),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> BlockRecord {
        BlockRecord {
            schema: 1,
            link: "a-b".into(),
            device: "simulated".into(),
            block: 7,
            refused: None,
            pulses: 1_000,
            link_time_s: 0.1,
            dilution: 1.0,
            sifted_bits: 265_000,
            qber_key: Some(0.0125),
            qber_test: Some(0.0131),
            engine: "polar".into(),
            leak_rule: "both".into(),
            told_transmitter_bits: 30_000,
            told_receiver_bits: 1,
            verification_bits: 128,
            leak_bits: 30_129,
            f_ec: Some(1.25),
            length: None,
            secret_bits: 90_000,
            skr_bps: 900_000.0,
        }
    }

    #[test]
    fn a_sheet_says_what_came_out_or_why_nothing_did() {
        assert!(sheet(&record()).contains("90000 secret bits, 900000 bit/s of link time"));
        let refused = BlockRecord { refused: Some("no key: too short".into()), ..record() };
        assert!(sheet(&refused).contains("no key: too short"));
    }
}
