//! The model of a link as a function from JSON to JSON, for `qkdctl link model`. In: an array of
//! questions (a link and a number of pulses, or counts). Out: an array of as many answers, in order.
//! Always: the input is bounded; what is refused is named by index, field, value and limit.
//!
//! One file a kind: `link` (the closed form, and a run of the emulator), `counts` (the key-length
//! formulas); `fields` reads numbers.

mod counts;
mod fields;
mod link;

use serde_json::{Map, Value};

use fields::Wrong;

/// Most bytes of the input.
pub const INPUT_BYTES_MAX: u64 = 16 << 20;
/// Most questions in it.
pub const ELEMENTS_MAX: usize = 100_000;

/// Why the input was refused.
#[derive(Debug, thiserror::Error)]
pub enum ModelInputError {
    /// Not JSON.
    #[error("the input is not JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// Not an array.
    #[error("the input is not a JSON array: put the questions between [ and ]")]
    NotAnArray,
    /// Too many questions.
    #[error("the input has {0} elements, over the limit of {ELEMENTS_MAX}: split it")]
    TooMany(usize),
    /// A question that cannot be answered.
    #[error("element {index}: {wrong}")]
    Element {
        /// Its place, from 0.
        index: usize,
        /// What is wrong with it.
        wrong: Wrong,
    },
}

/// Answers every question of a JSON array.
///
/// # Errors
/// If the input is not such an array, or the first question that cannot be answered.
pub fn answer(input: &[u8]) -> Result<Vec<Value>, ModelInputError> {
    let Value::Array(questions) = serde_json::from_slice(input)? else { return Err(ModelInputError::NotAnArray) };
    if questions.len() > ELEMENTS_MAX {
        return Err(ModelInputError::TooMany(questions.len()));
    }
    let answers = questions
        .iter()
        .enumerate()
        .map(|(index, question)| answer_one(question).map_err(|wrong| ModelInputError::Element { index, wrong }));
    answers.collect()
}

fn answer_one(question: &Value) -> Result<Value, Wrong> {
    let question = fields::object(question, "element")?;
    let answer: Map<String, Value> = if question.contains_key("counts") {
        fields::only(question, &["counts"])?;
        counts::lengths(fields::object(&question["counts"], "counts")?)?
    } else {
        link::row(question)?
    };
    Ok(Value::Object(answer))
}

#[cfg(test)]
mod tests;
