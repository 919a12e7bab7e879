//! Key lengths of given counts. In: counts per intensity, leak and failure probabilities. Out: the
//! unrounded length by each formula, null where one does not apply.

use qkd_proto::distill::finite_key::{
    BasisCounts, BlockCounts, CountsError, Epsilons, KeyLength, Lim, PerIntensity, Rusca, Wiesemann,
};
use serde_json::{Map, Value, json};

use super::fields::{self, Wrong};

impl From<CountsError> for Wrong {
    fn from(error: CountsError) -> Self {
        Self::new(error.field, error.value, error.limit)
    }
}

const FIELDS: [&str; 10] = ["mus", "ps", "nK", "mK", "nT", "mT", "leak", "eps_sec", "eps_cor", "cap_v1"];

pub(super) fn lengths(counts: &Map<String, Value>) -> Result<Map<String, Value>, Wrong> {
    fields::only(counts, &FIELDS)?;
    let errors = if counts.get("mK").is_none_or(Value::is_null) { None } else { Some(per_intensity(counts, "mK")?) };
    let block = BlockCounts {
        mus: per_intensity(counts, "mus")?,
        ps: per_intensity(counts, "ps")?,
        key: BasisCounts { counts: per_intensity(counts, "nK")?, errors },
        test: BasisCounts { counts: per_intensity(counts, "nT")?, errors: Some(per_intensity(counts, "mT")?) },
        leak: fields::number(counts, "leak")?,
    };
    let eps = Epsilons { secrecy: fields::number(counts, "eps_sec")?, correctness: fields::number(counts, "eps_cor")? };
    block.check()?;
    eps.check()?;
    let cap_single_errors = match counts.get("cap_v1") {
        None => false,
        Some(Value::Bool(cap)) => *cap,
        Some(other) => return Err(Wrong::new("cap_v1", other, "true and false")),
    };
    let length = |formula: &dyn KeyLength| formula.length(&block, eps).map(|bounds| bounds.length);
    let ell = json!({
        "wiesemann": length(&Wiesemann),
        "rusca2018": length(&Rusca),
        "lim2014": length(&Lim { cap_single_errors }),
    });
    Ok([("ell".to_owned(), ell)].into_iter().collect())
}

fn per_intensity(counts: &Map<String, Value>, field: &str) -> Result<PerIntensity, Wrong> {
    match fields::list(counts, field)?.as_slice() {
        [a, b] => Ok([*a, *b].into()),
        [a, b, c] => Ok([*a, *b, *c].into()),
        _ => Err(Wrong::new(field, &counts[field], "lists of two or three numbers")),
    }
}
