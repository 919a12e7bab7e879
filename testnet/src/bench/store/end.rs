//! The two ends of a pool, each with a data directory and a writing thread of its own.

use std::path::Path;

use qkd_proto::bits::BitString;
use qkd_proto::crypto::SystemEntropy;
use qkd_proto::distill::key::SecretKey;
use qkd_proto::entropy::{Entropy as _, SeededEntropy};
use qkd_proto::id::{BlockId, CommitId, LinkId, PoolId};
use qkd_proto::mac::{HASH_KEY_BYTES, TAG_PAD_BYTES};
use qkd_proto::node::effect::{Commit, Lane, Record, Table};
use qkd_proto::node::pad_records;
use qkd_proto::pool::message::DepositOffer;
use qkd_proto::pool::record::{self, MarksRecord};
use qkd_proto::pool::{BootstrapStock, Direction, LinkKeyPool, PadBlocks};
use qkd_proto::secret::{SecretBits, SecretBytes};
use qkdd::store::committer::{CommitResult, Committer, Work};
use qkdd::store::data_dir::DataDir;
use tokio::sync::mpsc;

use crate::error::Failed;

/// Tags of a bootstrap, for each direction.
const BOOTSTRAP_TAGS: usize = 64;
/// Results that may wait.
const RESULTS_MAX: usize = 64;

/// Both ends.
pub(super) struct Pair {
    pub(super) transmitter: End,
    pub(super) receiver: End,
    pub(super) next_block: u64,
}

/// One end.
pub(super) struct End {
    pub(super) pool: LinkKeyPool,
    disk: Disk,
    marks: MarksRecord,
}

/// Its disk.
struct Disk {
    link: LinkId,
    committer: Committer,
    results: mpsc::Receiver<CommitResult>,
    last: u64,
}

impl Pair {
    pub(super) fn new(folder: &Path) -> Result<Self, Failed> {
        let end = |name: &str, own| End::new(&folder.join(name), own);
        let transmitter = end("transmitter", Direction::Forward)?;
        Ok(Self { transmitter, receiver: end("receiver", Direction::Reverse)?, next_block: 1 })
    }
}

impl End {
    fn new(dir: &Path, own: Direction) -> Result<Self, Failed> {
        let said = |error: &dyn std::fmt::Display| Failed::new(format!("{}: {error}", dir.display()));
        DataDir::prepare(dir).map_err(|error| said(&error))?;
        let opened = DataDir::open(dir, &SecretBytes::new(vec![7; 32])).map_err(|error| said(&error))?;
        let (sender, results) = mpsc::channel(RESULTS_MAX);
        let committer = Committer::start(opened.store, sender).map_err(|error| said(&error))?;
        let link = "a-b".parse().map_err(|_| Failed::new("a name".to_owned()))?;
        let keys = [1, 2].map(|fill| SecretBytes::new(vec![fill; HASH_KEY_BYTES]));
        let stock =
            BootstrapStock::new([3, 4].map(|fill| SecretBytes::new(vec![fill; BOOTSTRAP_TAGS * TAG_PAD_BYTES])));
        let pool = LinkKeyPool::new(PoolId([5; 16]), own, keys, stock, &mut SystemEntropy::new());
        let marks = MarksRecord { pool: Some(pool.id()), ..MarksRecord::default() };
        let mut end = Self { pool, disk: Disk { link, committer, results, last: 0 }, marks };
        end.write_marks()?;
        Ok(end)
    }

    /// Deposits a block's key; durable when this returns.
    pub(super) fn deposit(&mut self, block: u64, bytes: usize) -> Result<DepositOffer, Failed> {
        self.pool.distilled(BlockId(block), key(block, bytes));
        let deposited = self.pool.deposit(BlockId(block), &mut SystemEntropy::new());
        let (offer, pads) = deposited.ok_or_else(|| Failed::new("nothing to deposit".to_owned()))?;
        self.write_pads(pads)?;
        Ok(offer)
    }

    /// Deposits where the other end says; durable when this returns.
    pub(super) fn deposit_at(&mut self, offer: &DepositOffer, bytes: usize) -> Result<(), Failed> {
        self.pool.distilled(offer.block, key(offer.block.0, bytes));
        let pads = self.pool.deposit_at(offer, &mut SystemEntropy::new());
        self.write_pads(pads.ok_or_else(|| Failed::new("the ends differ".to_owned()))?)?;
        self.pool.confirm_deposit(offer);
        Ok(())
    }

    fn write_pads(&mut self, pads: PadBlocks) -> Result<(), Failed> {
        let link = self.disk.link.clone();
        let mut records = pad_records::ends(&link, &mut self.pool);
        records.extend(pad_records::boxes(&link, pads));
        let pool = Some(self.pool.record().encode());
        records.push(Record { table: Table::Pools, key: link.as_str().as_bytes().to_vec(), value: pool });
        self.disk.commit(records)
    }

    /// Reads back what is not in memory, and opens all up to `to`.
    pub(super) fn open_to(&mut self, direction: Direction, to: u64) -> Result<(), Failed> {
        let unread = self.pool.unread(direction, to);
        let found = self.disk.read(direction, &unread)?;
        for (index, sealed) in unread.iter().zip(&found) {
            self.pool.read_back(direction, *index, sealed.as_ref());
        }
        self.pool.open_to(direction, to);
        Ok(())
    }

    /// The marks of now, and the heads of the chains, become durable.
    pub(super) fn write_marks(&mut self) -> Result<(), Failed> {
        let record = self.marks_record();
        self.disk.commit(vec![record])
    }

    /// The record of the marks of now.
    fn marks_record(&mut self) -> Record {
        self.marks.sequence += 1;
        self.marks.send_reserved = self.pool.send().reserved();
        self.marks.recv_reserved = self.pool.receive().reserved();
        let value = Some(self.marks.running().encode(self.pool.chains()));
        Record { table: Table::Marks, key: self.disk.link.as_str().as_bytes().to_vec(), value }
    }
}

impl Disk {
    /// Writes, and waits until it is durable.
    fn commit(&mut self, records: Vec<Record>) -> Result<(), Failed> {
        self.last += 1;
        let id = CommitId(self.last);
        let commit = Commit { id, lane: Lane::Link(self.link.clone()), records };
        self.committer.submit(Work::Commit(commit)).map_err(|error| Failed::new(error.to_string()))?;
        match self.results.blocking_recv() {
            Some(CommitResult::Committed(of, _)) if of == id => Ok(()),
            other => Err(Failed::new(format!("the store failed: {other:?}"))),
        }
    }

    /// Reads blocks back.
    fn read(&mut self, direction: Direction, indices: &[u64]) -> Result<Vec<Option<SecretBytes>>, Failed> {
        let keys = indices.iter().map(|&index| record::pad_key(&self.link, direction, index)).collect();
        let work = Work::Read(self.link.clone(), keys);
        self.committer.submit(work).map_err(|error| Failed::new(error.to_string()))?;
        match self.results.blocking_recv() {
            Some(CommitResult::PadsRead(_, found)) => Ok(found.into_iter().map(|(_, value)| value).collect()),
            other => Err(Failed::new(format!("the store failed: {other:?}"))),
        }
    }
}

/// The same key at both ends, made up.
fn key(block: u64, bytes: usize) -> SecretKey {
    let mut made = vec![0; bytes];
    SeededEntropy::from_number(block).fill(&mut made);
    SecretKey::from_device(SecretBits::new(BitString::from_bytes(&made, bytes * 8)))
}
