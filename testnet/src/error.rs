//! Why a command failed. In: what went wrong below. Out: one line for stderr. Always: what, value,
//! limit, what to do.

use std::fmt::Display;
use std::path::Path;

/// The reason of a failed command, ready to be shown.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Failed(String);

impl Failed {
    /// From its text.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// From what a file gave.
    pub(crate) fn file(path: &Path, error: impl Display) -> Self {
        Self(format!("{}: {error}", path.display()))
    }
}

impl From<qkdctl::net::TopologyError> for Failed {
    fn from(error: qkdctl::net::TopologyError) -> Self {
        Self(error.to_string())
    }
}

impl From<qkdctl::net::RenderError> for Failed {
    fn from(error: qkdctl::net::RenderError) -> Self {
        Self(error.to_string())
    }
}

impl From<qkdctl::Failure> for Failed {
    fn from(error: qkdctl::Failure) -> Self {
        Self(error.to_string())
    }
}
