//! Pad blocks as records of the disk. In: boxes of blocks. Out: records. Always: the ends of old boxes come
//! before new boxes, since a slot may be both's.

use super::effect::{Record, Table};
use crate::id::LinkId;
use crate::pool::{LinkKeyPool, PadBlocks, record};

/// Boxes of spent blocks that end with one deposit, in each direction.
const PURGED_MAX: u64 = 512;

/// Records of pad blocks in their boxes.
pub fn boxes(link: &LinkId, pads: PadBlocks) -> Vec<Record> {
    let record = |(direction, index, sealed)| Record {
        table: Table::Pads,
        key: record::pad_key(link, direction, index),
        value: Some(sealed),
    };
    pads.into_iter().map(record).collect()
}

/// Records that end the boxes which are of no use any more.
pub fn ends(link: &LinkId, pool: &mut LinkKeyPool) -> Vec<Record> {
    let end =
        |(direction, index)| Record { table: Table::Pads, key: record::pad_key(link, direction, index), value: None };
    pool.purge(PURGED_MAX).into_iter().map(end).collect()
}
