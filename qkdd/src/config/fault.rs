//! What is wrong with a configuration. In: findings, each with its place. Out: all of them as one
//! error. Always: no fault hides another, and no secret is quoted.

use std::cell::RefCell;
use std::fmt;
use std::path::{Path, PathBuf};

/// Most faults that are kept; further ones are counted only by their absence.
const FAULTS_MAX: usize = 64;

/// One fault, with its line where the file gives one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Line in the file, from 1.
    pub line: Option<usize>,
    /// What, the value, the limit, what to do.
    pub text: String,
}

/// Every fault of one configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigFaults {
    /// The file.
    pub file: PathBuf,
    /// Its faults, in the order of finding, never empty.
    pub faults: Vec<Fault>,
}

impl fmt::Display for ConfigFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        for (i, fault) in self.faults.iter().enumerate() {
            let end = if i + 1 < self.faults.len() { "\n" } else { "" };
            match fault.line {
                Some(line) => write!(f, "{file}:{line}: {}{end}", fault.text)?,
                None => write!(f, "{file}: {}{end}", fault.text)?,
            }
        }
        Ok(())
    }
}

impl std::error::Error for ConfigFaults {}

/// Collects faults while a file is read.
#[derive(Debug, Default)]
pub(super) struct FaultList(RefCell<Vec<Fault>>);

impl FaultList {
    pub(super) fn add(&self, line: Option<usize>, text: impl Into<String>) {
        let mut list = self.0.borrow_mut();
        if list.len() < FAULTS_MAX {
            list.push(Fault { line, text: text.into() });
        }
    }

    /// The value, or all faults if there is any.
    pub(super) fn finish<T>(self, file: &Path, value: Option<T>) -> Result<T, ConfigFaults> {
        let mut faults = self.0.into_inner();
        match value {
            Some(value) if faults.is_empty() => Ok(value),
            _ => {
                faults.sort_by_key(|fault| fault.line.unwrap_or(usize::MAX));
                Err(ConfigFaults { file: file.to_owned(), faults })
            }
        }
    }
}
