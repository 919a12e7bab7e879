//! What concerns one link: its model, its presets, its last block.

use std::io::Read as _;

use serde_json::Value;

use crate::exit::{Exit, Failure};
use crate::model::{self, INPUT_BYTES_MAX};

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
