//! Renewal of the intermediate key. In: the parts of a data directory, between commits. Out: the same
//! content under the next key. Always: a kill after any step leaves a directory that opens, with all it held;
//! the next open goes on where the kill was.

use std::sync::Arc;

use super::disk_store::Parts;
use super::error::StoreError;
use super::wrap::WrapKeys;
use crate::fail_point::{self, Point};

/// A durable step, for tests that stop there as a kill would.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    Announced,
    RingCopied,
    MarksWritten,
    Forgotten,
    OtherGone,
}

/// Seals all anew and forgets the current key.
pub(super) fn renew(
    parts: &mut Parts,
    reached: &mut dyn FnMut(Turn) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let Parts { shred, tables, marks, .. } = parts;
    let next = shred.announce()?;
    marks.seal_under(shred.keys().clone());
    fail_point::pass(Point::RenewalAnnounced);
    reached(Turn::Announced)?;
    let copy = tables.ring().copy_under(next.clone())?;
    reached(Turn::RingCopied)?;
    let current = Some(shred.keys().current.clone());
    marks.write_under(WrapKeys { current: Arc::clone(&next), next: current, ..shred.keys().clone() })?;
    reached(Turn::MarksWritten)?;
    if let Err(error) = shred.forget() {
        // Nobody knows which ring the next open takes.
        tables.close();
        return Err(error);
    }
    marks.seal_under(shred.keys().clone());
    *tables.ring() = copy;
    reached(Turn::Forgotten)?;
    tables.ring().remove_other()?;
    reached(Turn::OtherGone)
}
