//! Both machines of an engine in memory, for benches and tests. In: a machine of each end. Out: what it
//! came to. Always: both ends' keys are in one hand here, so they are of `noise` and secret to nobody.

use super::abort::AbortReason;
use super::engine::{Corrector, Progress, Teller, Told};
use crate::bits::BitString;

/// What a trial found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trial {
    /// Questions of the receiver.
    pub questions: u32,
    /// Bits told, by each end.
    pub told: Told,
    /// Frames that passed.
    pub kept: BitString,
    /// Bits that were wrong in them.
    pub errors: u64,
    /// True if both ends' keys are equal.
    pub equal: bool,
}

/// Carries words from end to end, `opening` the first, until the receiver is done; gives the number of
/// its questions.
///
/// # Errors
/// If the ends do not understand each other.
pub fn talk(teller: &mut dyn Teller, corrector: &mut dyn Corrector, opening: Vec<u8>) -> Result<u32, AbortReason> {
    let (mut words, mut questions) = (opening, 0);
    while let Progress::Ask(question) = corrector.hear(&words)? {
        words = teller.answer(&question)?;
        questions += 1;
    }
    Ok(questions)
}

/// Runs both machines to the end and compares their keys.
///
/// # Errors
/// If no frame could be corrected.
pub fn run(mut teller: Box<dyn Teller>, mut corrector: Box<dyn Corrector>) -> Result<Trial, AbortReason> {
    let opening = teller.open();
    let questions = talk(&mut *teller, &mut *corrector, opening)?;
    let told = corrector.told();
    let corrected = corrector.finish()?;
    let own = teller.finish(&corrected.kept)?;
    Ok(Trial {
        questions,
        told,
        equal: own.bits.expose() == corrected.key.bits.expose(),
        errors: corrected.errors.iter().sum(),
        kept: corrected.kept,
    })
}
