//! The emulated link against its closed form: whole blocks, distilled, at full size.
//!
//! The long run takes the three presets at 10, 25 and 50 km, blocks of about 2^24 key bits, two of each
//! unless `QKDD_BLOCKS` says otherwise (20 for the table of `docs/performance.md`):
//!
//! ```text
//! QKDD_BLOCKS=20 cargo test --release -p qkd-proto --test closed_form -- --ignored --nocapture
//! ```
//!
//! Everything is held against the closed form at the same number of pulses: counts and errors in units of
//! Poisson's sigma (more by afterpulses, which come in company; less by dead time, for which nothing is
//! taken off), the length in units of the sample's own sigma, at the measured leak.

mod block;

use block::Seen;
use qkd_proto::optics::eavesdropper::Attack;
use qkd_proto::optics::model::{Expectation, LinkModel};
use qkd_proto::optics::preset::{BIASED_BLOCK_KEY_BITS, FULL_BLOCK_KEY_BITS, Preset, pulses_for};

/// Blocks below which the sample says too little of its own spread.
const SAMPLE_MIN: usize = 10;

/// One line of the table.
struct Row {
    what: &'static str,
    measured: f64,
    expected: f64,
    sigma: f64,
}

impl Row {
    fn deviation(&self) -> f64 {
        (self.measured - self.expected) / self.sigma
    }
}

fn sum(seen: &[Seen], number: impl Fn(&Seen) -> [u64; 2]) -> f64 {
    seen.iter().map(|seen| number(seen).iter().sum::<u64>() as f64).sum()
}

/// Counts, error rates and lengths of blocks of `pulses` pulses, and what the model says of them.
fn compare(model: &LinkModel, pulses: u64, seen: &[Seen]) -> Vec<Row> {
    let expected = model.expected(pulses as f64);
    let n = seen.len() as f64;
    let company = 1.0 / (1.0 - model.p_ap);
    let [key, key_errors] = [sum(seen, |seen| seen.key_counts), sum(seen, |seen| seen.key_errors)];
    let [test, test_errors] = [sum(seen, |seen| seen.test_counts), sum(seen, |seen| seen.test_errors)];
    let kept = sum(seen, |seen| [seen.kept, 0]) / key;
    let count = |what, measured, expected: f64| Row { what, measured, expected, sigma: expected.sqrt() * company };
    let rate = |what, errors: f64, counts: f64, expected: f64| Row {
        what,
        measured: errors / counts,
        expected,
        sigma: (expected * (1.0 - expected) / counts).sqrt() * company,
    };
    let decoys = |number: fn(&Seen) -> [u64; 2]| sum(seen, |seen| [number(seen)[1], 0]);
    vec![
        count("n_K", key, n * expected.key.total()),
        count("n_K of decoys", decoys(|seen| seen.key_counts), n * expected.key.counts[1]),
        count("n_T", test, n * expected.test.total()),
        count("n_T of decoys", decoys(|seen| seen.test_counts), n * expected.test.counts[1]),
        rate("QBER", key_errors, kept * key, expected.key.qber()),
        rate("QBER of T", test_errors, test, expected.test.qber()),
        secret(model, &expected, kept, seen),
    ]
}

/// The mean length; its leak is the measured one, so only what comes before the leak may differ. Where the
/// closed form says 0 there must be none at all.
fn secret(model: &LinkModel, expected: &Expectation, kept: f64, seen: &[Seen]) -> Row {
    let n = seen.len() as f64;
    let leak = sum(seen, |seen| [seen.leak, 0]) / n;
    let length = block::length(model, expected, kept).length - leak;
    if length < 0.0 {
        let measured = sum(seen, |seen| [seen.secret, 0]) / n;
        return Row { what: "secret", measured, expected: 0.0, sigma: f64::MIN_POSITIVE };
    }
    assert!(seen.iter().all(|seen| !seen.gave_up), "a block gave no key");
    let before: Vec<f64> = seen.iter().map(|seen| (seen.secret + seen.leak) as f64).collect();
    let (mean, spread) = block::moments(&before);
    let spread = if seen.len() < SAMPLE_MIN { block::length_sigma(model, expected, kept) } else { spread };
    Row { what: "secret", measured: mean - leak, expected: length, sigma: spread / n.sqrt() }
}

/// Runs blocks of a preset at a length; prints the lines of the table and gives those beyond 3 sigma.
fn check(preset: Preset, km: f64, key_bits: u64, blocks: u64) -> Vec<String> {
    let model = LinkModel { length_km: km, ..preset.model() };
    let pulses = pulses_for(&model, key_bits);
    let seen: Vec<Seen> =
        (0..blocks).map(|seed| block::run(&model, &Attack::default(), pulses, 1_000 + seed)).collect();
    let rows = compare(&model, pulses, &seen);
    rows.into_iter()
        .filter_map(|row| {
            let line = format!(
                "| {preset} | {km} | 2^{} | {} | {:.8} | {:.8} | {:+.2} |",
                key_bits.ilog2(),
                row.what,
                row.measured,
                row.expected,
                row.deviation()
            );
            println!("{line}");
            (row.deviation().abs() > 3.0).then_some(line)
        })
        .collect()
}

#[test]
fn short_blocks_are_within_three_sigma_of_the_closed_form() {
    let beyond: Vec<String> = [Preset::Apd1g, Preset::Sdapd1g, Preset::Snspd25g]
        .into_iter()
        .flat_map(|preset| check(preset, 10.0, 1 << 17, 2))
        .chain(check(Preset::Lab, 10.0, Preset::Lab.block_key_bits(), 2))
        .collect();
    assert!(beyond.is_empty(), "{beyond:#?}");
}

#[test]
#[ignore = "long: 18 blocks of 2^24 key bits"]
fn full_blocks_are_within_three_sigma_of_the_closed_form() {
    let blocks = block::number("QKDD_BLOCKS", 2);
    println!("| preset | km | n_K | what | measured | closed form | sigma |\n|---|---|---|---|---|---|---|");
    let beyond: Vec<String> = [Preset::Apd1g, Preset::Sdapd1g, Preset::Snspd25g]
        .into_iter()
        .flat_map(|preset| [10.0, 25.0, 50.0].map(|km| (preset, km)))
        .flat_map(|(preset, km)| check(preset, km, FULL_BLOCK_KEY_BITS, blocks))
        .collect();
    assert!(beyond.is_empty(), "beyond 3 sigma: {beyond:#?}");
}

#[test]
#[ignore = "long: 3 blocks of 2^26 key bits, 15 with 20 of the others"]
fn the_longest_blocks_of_sdapd_are_within_three_sigma_of_the_closed_form() {
    // At 2^24 the preset's rare test bits and decoys leave no key at any distance.
    let blocks = block::number("QKDD_BLOCKS", 2).div_ceil(4);
    let beyond: Vec<String> = [10.0, 25.0, 50.0]
        .into_iter()
        .flat_map(|km| check(Preset::Sdapd1g, km, BIASED_BLOCK_KEY_BITS, blocks))
        .collect();
    assert!(beyond.is_empty(), "beyond 3 sigma: {beyond:#?}");
}
