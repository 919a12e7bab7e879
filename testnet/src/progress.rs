//! What is going on, on stderr. In: lines. Out: at most one every two seconds. Always: stdout stays
//! the caller's.

use std::time::{Duration, Instant};

/// Pause between two lines.
const PAUSE: Duration = Duration::from_secs(2);

/// Tells of long waits.
pub(crate) struct Progress {
    told: Instant,
}

impl Progress {
    /// Silent for the first two seconds.
    pub(crate) fn new() -> Self {
        Self { told: Instant::now() }
    }

    /// Says what is awaited, unless something was said just now.
    pub(crate) fn tell(&mut self, text: impl FnOnce() -> String) {
        if self.told.elapsed() >= PAUSE {
            self.told = Instant::now();
            say(&text());
        }
    }
}

/// One line on stderr.
pub(crate) fn say(text: &str) {
    eprintln!("testnet: {text}");
}
