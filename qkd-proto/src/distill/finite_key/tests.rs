//! Properties that hold for every formula and whatever counts.

use proptest::prelude::*;

use super::*;

const EPS: Epsilons = Epsilons { secrecy: 1e-10, correctness: 1e-15 };

/// Counts from nothing to the most, at every scale.
fn count() -> impl Strategy<Value = f64> {
    prop_oneof![Just(0.0), (0.0..15f64).prop_map(|power| 10f64.powf(power).round())]
}

fn basis<const N: usize>() -> impl Strategy<Value = ([f64; N], [f64; N])> {
    let intensity = (count(), prop_oneof![Just(0.0), Just(1.0), 0.0..1f64, 0.0..0.1f64]);
    proptest::collection::vec(intensity, N).prop_map(|list| {
        let counts = std::array::from_fn(|k| list[k].0);
        (counts, std::array::from_fn(|k| (list[k].0 * list[k].1).floor()))
    })
}

fn block<const N: usize>() -> impl Strategy<Value = BlockCounts>
where
    PerIntensity: From<[f64; N]>,
{
    let weights = proptest::collection::vec(0.001..1f64, N);
    let steps = proptest::collection::vec(prop_oneof![Just(0.0), 1e-5..0.9f64], N);
    (weights, steps, basis::<N>(), basis::<N>(), count()).prop_map(|(weights, steps, key, test, leak)| {
        let sum: f64 = weights.iter().sum();
        let mut mus: Vec<f64> = steps
            .iter()
            .scan(0.0, |mu, step| {
                *mu += step;
                Some(*mu)
            })
            .collect();
        mus.reverse();
        let basis =
            |(counts, errors): ([f64; N], [f64; N])| BasisCounts { counts: counts.into(), errors: Some(errors.into()) };
        BlockCounts {
            mus: std::array::from_fn(|k| mus[k]).into(),
            ps: std::array::from_fn(|k| weights[k] / sum).into(),
            key: basis(key),
            test: basis(test),
            leak,
        }
    })
}

fn formulas() -> [&'static dyn KeyLength; 4] {
    [&Wiesemann, &Rusca, &Lim { cap_single_errors: false }, &Lim { cap_single_errors: true }]
}

fn holds(block: &BlockCounts, more: f64) -> Result<(), TestCaseError> {
    for formula in formulas() {
        let Some(found) = formula.length(block, EPS) else { continue };
        let total = block.key.counts.total();
        prop_assert!(
            [found.vacuum, found.single_photon, found.phase_error, found.length].iter().all(|x| x.is_finite())
        );
        prop_assert!((0.0..=total).contains(&found.vacuum) && (0.0..=total).contains(&found.single_photon));
        prop_assert!((0.0..=0.5).contains(&found.phase_error));
        prop_assert!(found.whole_bits() as f64 <= total);
        prop_assert!(found.whole_bits() as f64 <= (found.length - 1.0).max(0.0));
        let told = formula.length(&BlockCounts { leak: block.leak + more, ..*block }, EPS);
        prop_assert!(told.is_none_or(|told| told.length <= found.length && told.whole_bits() <= found.whole_bits()));
    }
    Ok(())
}

proptest! {
    #[test]
    fn one_decoy_is_finite_bounded_and_falls_with_the_leak(block in block::<2>(), more in count()) {
        holds(&block, more)?;
        prop_assert!(Formula::Lim.length(&block, EPS).is_none());
    }

    #[test]
    fn two_decoys_are_finite_bounded_and_fall_with_the_leak(block in block::<3>(), more in count()) {
        holds(&block, more)?;
        prop_assert!(Wiesemann.length(&block, EPS).is_none() && Rusca.length(&block, EPS).is_none());
    }

    #[test]
    fn whatever_numbers_never_panic(numbers in proptest::collection::vec(any::<f64>(), 13), good in block::<2>()) {
        let two = |at: usize| PerIntensity::Two([numbers[at], numbers[at + 1]]);
        let basis = |at: usize| BasisCounts { counts: two(at), errors: Some(two(at + 2)) };
        let block = BlockCounts { mus: two(0), ps: two(2), key: basis(4), test: basis(8), leak: numbers[12] };
        let eps = Epsilons { secrecy: numbers[0], correctness: numbers[1] };
        for formula in formulas() {
            prop_assert!(formula.length(&block, EPS).is_none_or(|found| found.length.is_finite()));
            prop_assert!(formula.length(&good, eps).is_none_or(|found| found.length.is_finite()));
        }
    }
}

#[test]
fn a_wrong_number_is_named() {
    let two = |a: f64, b: f64| PerIntensity::Two([a, b]);
    let basis = BasisCounts { counts: two(10.0, 10.0), errors: Some(two(1.0, 11.0)) };
    let block = BlockCounts { mus: two(0.5, 0.1), ps: two(0.5, 0.5), key: basis, test: basis, leak: 0.0 };
    assert_eq!(block.check().map_err(|error| (error.field, error.value)), Err(("mK", 11.0)));
    let block = BlockCounts { ps: PerIntensity::Three([0.2, 0.3, 0.5]), ..block };
    assert_eq!(block.check().map_err(|error| error.field), Err("intensities"));
}

#[test]
fn no_preset_passes_the_repeaterless_bound() {
    use crate::optics::model::LinkModel;
    use crate::optics::preset::Preset;
    for preset in [Preset::Lab, Preset::Apd1g, Preset::Sdapd1g, Preset::Snspd25g] {
        for length_km in [1.0, 10.0, 50.0, 100.0, 200.0, 300.0] {
            let model = LinkModel { length_km, ..preset.model() };
            assert!(forecast::Forecast::of(&model, 1e12, 1.06, EPS).below_plob(), "{preset} at {length_km} km");
        }
    }
}
