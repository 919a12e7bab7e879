//! What two ends' states of a link have to say about each other. In: this end's introduction, the neighbour's
//! hello. Out: whether the pool goes on, and why not; whether a store was rolled back. Always: when in
//! doubt, the pool is discarded.

use super::handshake::Introduction;
use super::message::{HelloText, Resume};
use super::record::{BLOCKS_AHEAD_MAX, HOLES_MAX};
use super::{AUTHENTICATION_FLOOR_BYTES, PAD_BLOCK_BYTES};

/// What a neighbour's memory tells an end about its own store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Testimony {
    /// Nothing: it did not know this data directory.
    None,
    /// It remembers no more than the store has; the memory is sure, or may be an older copy itself.
    Fits {
        /// It is sure.
        sure: bool,
    },
    /// It remembers more: an older copy of this store was put back, or a copy of it runs elsewhere.
    Contradicts(String),
}

impl Introduction {
    /// The resume offer of this end, given the neighbour's: none if the pool cannot go on, and why.
    pub(super) fn judge(&self, theirs: &HelloText) -> (Option<Resume>, Option<String>) {
        let own = self.resume.as_ref();
        let why = self.rolled_back(theirs).or_else(|| match (own, &theirs.resume) {
            (Some(_), Some(_)) if !self.vouches && !theirs.vouches => {
                Some("nothing vouches that the stores of both ends are no older copies".into())
            }
            (Some(own), Some(theirs)) => contradiction(own, theirs).or_else(|| self.too_little(theirs)),
            (Some(_), None) => Some("the neighbour has no pool to resume".into()),
            (None, _) => None,
        });
        match (own, &theirs.resume, &why) {
            (Some(own), Some(_), None) => (Some(own.clone()), None),
            _ => (None, why.filter(|_| own.is_some())),
        }
    }

    /// A pool that leaves an end without pads to authenticate with is not worth going on with.
    fn too_little(&self, theirs: &Resume) -> Option<String> {
        let Self { link, own, send_next, send_runs, .. } = self;
        let side = usize::from(*own != link.transmitter);
        let first = (*send_next).max(theirs.recv_floor);
        let bytes = |(from, to): (u64, u64)| {
            let (from, to) = (from * PAD_BLOCK_BYTES as u64, to.min(theirs.held[side]) * PAD_BLOCK_BYTES as u64);
            to.saturating_sub(from.max(first))
        };
        let lost = |run: (u64, u64)| -> u64 {
            let holes = theirs.holes[side].iter().map(|hole| (hole.0.clamp(run.0, run.1), hole.1.clamp(run.0, run.1)));
            holes.map(bytes).fold(0, u64::saturating_add)
        };
        let left: u64 = send_runs.iter().map(|&run| bytes(run).saturating_sub(lost(run))).sum();
        (left < AUTHENTICATION_FLOOR_BYTES).then(|| format!("{left} bytes of pad are left"))
    }

    /// Compares what the neighbour says of itself with what this end remembers, and the other way round.
    fn rolled_back(&self, theirs: &HelloText) -> Option<String> {
        if let Testimony::Contradicts(why) = self.testimony(theirs) {
            return Some(why);
        }
        let known = self.marks.peer?;
        if known.data_dir != theirs.data_dir {
            return Some("the neighbour has another data directory".into());
        }
        if theirs.incarnation < known.incarnation {
            return Some(format!(
                "the neighbour was rolled back: run {} after run {}",
                theirs.incarnation.0, known.incarnation.0
            ));
        }
        if theirs.incarnation == known.incarnation && theirs.boot != known.boot {
            return Some(format!("the neighbour was cloned: two processes of run {}", known.incarnation.0));
        }
        let marks = theirs.resume.as_ref().map_or(u64::MAX, |resume| resume.mark_sequence);
        if marks < known.mark_sequence || theirs.store_sequence < known.store_sequence {
            return Some("the neighbour's marks or store went back".into());
        }
        None
    }

    /// What the neighbour remembers of this end.
    pub(super) fn testimony(&self, theirs: &HelloText) -> Testimony {
        let Self { incarnation, boot, data_dir, store_sequence, marks, .. } = self;
        let Some(known) = theirs.remembers.filter(|known| known.data_dir == *data_dir) else {
            return Testimony::None;
        };
        let copy = known.incarnation == *incarnation && known.boot != *boot;
        // A mark sequence belongs to a pool; without one there is nothing to compare.
        let marks_back = marks.pool.is_some() && known.mark_sequence > marks.sequence;
        if copy {
            Testimony::Contradicts(format!("a copy of this node was seen as run {}", known.incarnation.0))
        } else if known.incarnation > *incarnation || known.store_sequence > *store_sequence || marks_back {
            let (seen, here) = (known.incarnation.0, incarnation.0);
            Testimony::Contradicts(format!("this node was rolled back: the neighbour knew run {seen}, this is {here}"))
        } else {
            Testimony::Fits { sure: theirs.vouches }
        }
    }
}

/// Finds why two ends' states of a pool do not belong together.
fn contradiction(own: &Resume, theirs: &Resume) -> Option<String> {
    if own.pool != theirs.pool {
        return Some("the two ends have different pools".into());
    }
    if theirs.recv_reserved > own.send_reserved || own.recv_reserved > theirs.send_reserved {
        return Some("a mark is behind what the other end recorded".into());
    }
    if theirs.recv_floor > theirs.recv_reserved || theirs.recv_floor > own.send_reserved {
        return Some("the neighbour's floor is beyond what is reserved".into());
    }
    let far = |side: usize| own.held[side].abs_diff(theirs.held[side]) > BLOCKS_AHEAD_MAX;
    if (0..2).any(far) {
        return Some("the two ends' stores are too far apart".into());
    }
    let holes: usize = own.holes.iter().chain(&theirs.holes).map(Vec::len).sum();
    if holes > HOLES_MAX {
        return Some(format!("{holes} holes are over the limit of {HOLES_MAX}"));
    }
    None
}
