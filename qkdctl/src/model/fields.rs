//! Reading numbers out of JSON objects. In: an object and a field's name. Out: the number, or what is
//! wrong with it. Always: an unknown field is refused, since a misspelt one would silently count as
//! its default.

use serde_json::{Map, Value};

/// Longest value that is repeated in an error, in characters.
const SHOWN_MAX: usize = 80;

/// A field that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{field} = {value} is outside {limit}")]
pub struct Wrong {
    /// Its name.
    field: String,
    /// Its value, shortened.
    value: String,
    /// What is allowed.
    limit: String,
}

impl Wrong {
    pub(super) fn new(field: &str, value: impl ToString, limit: &str) -> Self {
        let value = value.to_string().chars().take(SHOWN_MAX).collect();
        Self { field: field.chars().take(SHOWN_MAX).collect(), value, limit: limit.into() }
    }
}

type Object = Map<String, Value>;

pub(super) fn object<'a>(value: &'a Value, field: &str) -> Result<&'a Object, Wrong> {
    value.as_object().ok_or_else(|| Wrong::new(field, value, "what a JSON object can hold"))
}

/// Refuses fields other than these.
pub(super) fn only(object: &Object, known: &[&str]) -> Result<(), Wrong> {
    match object.iter().find(|(field, _)| !known.contains(&field.as_str())) {
        Some((field, value)) => Err(Wrong::new(field, value, &format!("the known fields: {}", known.join(", ")))),
        None => Ok(()),
    }
}

/// A number.
pub(super) fn number(object: &Object, field: &str) -> Result<f64, Wrong> {
    let value = object.get(field).unwrap_or(&Value::Null);
    value.as_f64().ok_or_else(|| Wrong::new(field, value, "the numbers"))
}

/// A number, or its default where the field is missing.
pub(super) fn number_or(object: &Object, field: &str, default: f64) -> Result<f64, Wrong> {
    if object.contains_key(field) { number(object, field) } else { Ok(default) }
}

/// A number within limits.
pub(super) fn within(field: &str, value: f64, low: f64, high: f64) -> Result<f64, Wrong> {
    // Written so that NaN is outside.
    if value >= low && value <= high { Ok(value) } else { Err(Wrong::new(field, value, &format!("{low} to {high}"))) }
}

/// A whole number, given as integer or as `1e11`.
pub(super) fn whole(object: &Object, field: &str, low: u64, high: u64) -> Result<u64, Wrong> {
    let value = object.get(field).unwrap_or(&Value::Null);
    let whole = value.as_u64().or_else(|| {
        // Below 2^53 every whole number has a float of its own.
        value.as_f64().filter(|x| x.fract() == 0.0 && (0.0..9e15).contains(x)).map(|x| x as u64)
    });
    let fits = whole.filter(|number| (low..=high).contains(number));
    fits.ok_or_else(|| Wrong::new(field, value, &format!("the whole numbers {low} to {high}")))
}

/// A list of two or three numbers.
pub(super) fn list(object: &Object, field: &str) -> Result<Vec<f64>, Wrong> {
    let value = object.get(field).unwrap_or(&Value::Null);
    let numbers = value.as_array().and_then(|list| list.iter().map(Value::as_f64).collect::<Option<Vec<_>>>());
    let fits = numbers.filter(|numbers| (2..=3).contains(&numbers.len()));
    fits.ok_or_else(|| Wrong::new(field, value, "lists of two or three numbers"))
}

/// A list of two numbers.
pub(super) fn pair(object: &Object, field: &str) -> Result<[f64; 2], Wrong> {
    let numbers = list(object, field)?;
    <[f64; 2]>::try_from(numbers).map_err(|_| Wrong::new(field, &object[field], "lists of two numbers"))
}
