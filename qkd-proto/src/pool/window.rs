//! How much one reservation sets aside. In: how fast a direction is spent. Out: a window. Always: between one
//! block and [`WINDOW_BYTES`], so that a crash burns little where little is spent (`design` 5).

use std::time::Duration;

use super::{PAD_BLOCK_BYTES, WINDOW_BYTES};
use crate::moment::Moment;

/// A window lasts as long, or a round trip if that is longer.
const HORIZON: Duration = Duration::from_secs(5);
/// Shortest time over which a rate is measured.
const SLICE: Duration = Duration::from_millis(100);

/// The rate at which a direction is spent.
#[derive(Default)]
pub struct Window {
    since: Moment,
    next: u64,
    bytes_per_s: f64,
    /// The longest piece that was asked for and not to be had.
    wanted: u64,
}

impl Window {
    /// A piece of `length` bytes was not ready: the next window has room for it.
    pub fn want(&mut self, length: u64) {
        self.wanted = self.wanted.max(length.saturating_add(PAD_BLOCK_BYTES as u64));
    }

    /// The window at `now`; `next` is the first byte that was not handed out.
    pub fn bytes(&mut self, now: Moment, next: u64, round_trip: Option<Duration>) -> u64 {
        let elapsed = now.since(self.since);
        if elapsed >= SLICE || next < self.next {
            let rate = next.saturating_sub(self.next) as f64 / elapsed.as_secs_f64().max(SLICE.as_secs_f64());
            self.bytes_per_s = rate.max((self.bytes_per_s + rate) / 2.0);
            (self.since, self.next) = (now, next);
        }
        let horizon = round_trip.unwrap_or_default().max(HORIZON).as_secs_f64();
        let block = PAD_BLOCK_BYTES as u64;
        let wanted = std::mem::take(&mut self.wanted);
        let bytes = ((self.bytes_per_s * horizon) as u64).max(wanted).clamp(block, WINDOW_BYTES);
        bytes.div_ceil(block) * block
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Moment {
        Moment(Duration::from_millis(ms))
    }

    #[test]
    fn a_window_follows_the_rate_between_a_block_and_the_limit() {
        let mut window = Window::default();
        assert_eq!(window.bytes(at(0), 0, None), 4096);
        assert_eq!(window.bytes(at(1000), 2000, None), 12_288, "2,000 bytes a second for five seconds");
        assert_eq!(window.bytes(at(2000), 1 << 30, None), WINDOW_BYTES);
        for second in 3..40 {
            window.bytes(at(second * 1000), 1 << 30, None);
        }
        assert_eq!(window.bytes(at(40_000), 1 << 30, None), 4096, "idle again");
    }

    #[test]
    fn a_piece_that_was_too_long_fits_the_next_time() {
        let mut window = Window::default();
        window.want(16_500);
        assert!(window.bytes(at(0), 0, None) >= 16_500);
        window.want(u64::MAX);
        assert_eq!(window.bytes(at(0), 0, None), WINDOW_BYTES);
    }
}
