//! What a simulated network looks like and what happens to it.

use std::time::Duration;

/// A defect put in on purpose, to see that the checker catches it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Planted {
    /// Pad bytes are handed out again.
    PadReuse,
    /// Effects do not wait for their commit.
    NoBarrier,
    /// Nobody compares what neighbours remember.
    DeafToRollback,
    /// The same, and pad is spent before the neighbour has recorded it.
    NoNeighbourMark,
}

/// Size, faults and length of a run.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Number of nodes.
    pub nodes: usize,
    /// Links beyond the ring that joins them all.
    pub chords: usize,
    /// How long faults happen.
    pub faults: Duration,
    /// How long the network may recover afterwards.
    pub quiet: Duration,
    /// Mean time between crashes of any node; none: no crash.
    pub crash_every: Option<Duration>,
    /// Share of the crashes that are clean stops instead.
    pub clean_stops: f64,
    /// Mean time between copies of any node's disk, each put back a little later; none: no rollback.
    pub rollback_every: Option<Duration>,
    /// Time between two disks that are put back, at least.
    pub rollbacks_apart: Duration,
    /// Mean time between cuts of any link; none: no cut.
    pub cut_every: Option<Duration>,
    /// Probability that a link message breaks the connection.
    pub reset: f64,
    /// Probability that an advert does not reach a node.
    pub advert_loss: f64,
    /// Mean time between requests of any application.
    pub request_every: Duration,
    /// Time of a disk's sync.
    pub sync: Duration,
    /// Keys are handed out only once a neighbour remembers that.
    pub strict: bool,
    /// The defect, if one is planted.
    pub planted: Option<Planted>,
}

impl Scenario {
    /// A small network in strict mode whose disks are put back all the time.
    pub fn disks_put_back(planted: Option<Planted>) -> Self {
        Self {
            nodes: 5,
            chords: 2,
            faults: Duration::from_secs(8),
            crash_every: Some(Duration::from_millis(1500)),
            rollback_every: Some(Duration::from_millis(700)),
            strict: true,
            planted,
            ..Self::default()
        }
    }

    /// The same with slow disks, more broken connections and no clean stop: what bugs need to show.
    pub fn slow_disks_put_back(planted: Option<Planted>) -> Self {
        let (sync, reset) = (Duration::from_millis(20), 0.02);
        Self { sync, reset, clean_stops: 0.0, ..Self::disks_put_back(planted) }
    }
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            nodes: 10,
            chords: 4,
            faults: Duration::from_secs(12),
            quiet: Duration::from_secs(10),
            crash_every: Some(Duration::from_millis(900)),
            clean_stops: 0.25,
            rollback_every: None,
            rollbacks_apart: Duration::ZERO,
            cut_every: Some(Duration::from_millis(1200)),
            reset: 0.002,
            advert_loss: 0.1,
            request_every: Duration::from_millis(60),
            sync: Duration::from_millis(2),
            strict: false,
            planted: None,
        }
    }
}
