//! Time as the protocol sees it: given from outside, never read. In: what the driver's or the
//! simulator's clock says. Out: comparisons. Always: [`Moment`] orders timers, [`UnixMillis`] only
//! labels records.

use std::ops::Add;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Monotonic time since the clock's own zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Moment(pub Duration);

impl Moment {
    /// How long ago `earlier` was; zero if it lies ahead.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(span))
    }
}

/// Wall time in milliseconds since 1970, for records and people; no decision rests on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixMillis(pub u64);

/// Both clocks at one call.
#[derive(Debug, Clone, Copy, Default)]
pub struct Now {
    /// For timers.
    pub moment: Moment,
    /// For records.
    pub wall: UnixMillis,
}
