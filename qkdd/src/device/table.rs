//! A link at its published rate, without optics: both ends derive a block's bits from the secret of
//! their link session, and wait as long as the rate says. A link with passes makes key during them
//! only; they are counted in link time from the epoch, so that both ends agree.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use qkd_proto::id::{BlockId, LinkId};
use qkd_proto::node::input::Input;
use qkd_proto::node::settings::TABLE_BLOCK_BITS;
use qkd_proto::optics::catalogue::PassSchedule;
use qkd_proto::optics::table;
use qkd_proto::secret::SecretBytes;

use super::{DeviceCommand, PhotonDevice, Way};

/// No block waits longer.
const WAIT_SECONDS_MAX: f64 = 1e9;

/// When a rate-table link makes key, by the world's clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    pub(super) schedule: Option<PassSchedule>,
    /// Wall time per link time.
    pub(super) dilution: f64,
}

impl Pace {
    /// Link time at this moment.
    fn link_time(&self) -> Duration {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Duration::from_secs_f64(wall.as_secs_f64() / self.dilution)
    }

    fn wall(&self, link_time: Duration) -> Duration {
        Duration::from_secs_f64((link_time.as_secs_f64() * self.dilution).min(WAIT_SECONDS_MAX))
    }

    /// Wall time from link time `at` until the device has worked for `work`.
    fn wait(&self, at: Duration, work: Duration) -> Duration {
        self.wall(self.schedule.map_or(work, |schedule| schedule.wait_for(at, work)))
    }

    fn until_pass(&self, at: Duration) -> Option<Duration> {
        Some(self.wall(self.schedule?.next_pass(at).saturating_sub(at)))
    }

    /// Wall time until the next pass, nothing during one; none without passes.
    pub(super) fn next_pass(&self) -> Option<Duration> {
        self.until_pass(self.link_time())
    }
}

pub(super) struct RateTable {
    link: LinkId,
    /// Link time that a block takes.
    work: Duration,
    pace: Pace,
}

impl RateTable {
    pub(super) fn new(link: LinkId, rate_bps: f64, pace: Pace) -> Self {
        let work = Duration::from_secs_f64((TABLE_BLOCK_BITS.0 as f64 / rate_bps).min(WAIT_SECONDS_MAX));
        Self { link, work, pace }
    }
}

impl PhotonDevice for RateTable {
    fn measure(&mut self, block: BlockId, secret: &SecretBytes, way: &Way) -> Option<DeviceCommand> {
        let end = Instant::now() + self.pace.wait(self.pace.link_time(), self.work);
        if let Err(told) = way.wait_until(end, |_| {}) {
            return told;
        }
        let bits = table::block_bits(secret, &self.link, block, TABLE_BLOCK_BITS);
        way.tell(Input::DeviceKey(way.link.clone(), block, bits));
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_works_during_its_passes_only() {
        let seconds = Duration::from_secs;
        let schedule = PassSchedule { period: seconds(100), pass: seconds(10), offset: seconds(5) };
        let pace = Pace { schedule: Some(schedule), dilution: 0.5 };
        // Ten seconds of work from the middle of a pass: five now, five in the next.
        assert_eq!(pace.wait(seconds(10), seconds(10)), seconds(100) / 2);
        assert_eq!(pace.until_pass(seconds(25)), Some(seconds(40)));
        assert_eq!(pace.until_pass(seconds(107)), Some(Duration::ZERO));
        assert!(pace.next_pass().is_some_and(|wait| wait < seconds(50)));
        let always = Pace { schedule: None, dilution: 2.0 };
        assert_eq!((always.wait(seconds(10), seconds(10)), always.next_pass()), (seconds(20), None));
    }
}
