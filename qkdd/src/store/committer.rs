//! The one thread that writes. In: commits and reads, over one bounded channel. Out: for each commit,
//! `Committed` once it is on stable storage, or `CommitFailed`; for each read, `PadsRead`. Always: commits
//! of a lane become durable in order, a read sees what was committed before it, and after a failed commit
//! every later one of its lane fails until the daemon restarts.
//!
//! Group commit: what waits is written together, one sync for all. When a group fails, each of its
//! commits is tried alone, so that a fault of one lane (a mark file) does not stop the others. An
//! audit line of such a group may appear twice.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use qkd_proto::id::{CommitId, LinkId, StoreSequence};
use qkd_proto::kernel::heap;
use qkd_proto::node::effect::{Commit, Lane, Record, Table};
use tokio::sync::mpsc::{Sender, error};

use super::error::StoreError;
use super::{FoundRecord, Store};
use crate::fail_point::{self, Point};

/// Commits and reads that may wait.
pub const QUEUE_COMMITS_MAX: usize = 1024;
/// Records after which a group is closed: it bounds the wait of the first.
const GROUP_RECORDS_MAX: usize = 1024;
/// How long after a commit the store overwrites what was replaced: with the time for it, within a second.
const SETTLE_AFTER: Duration = Duration::from_millis(500);
/// How long a store is left alone at most.
const REST_MAX: Duration = Duration::from_secs(60);
/// A store without a commit for so long hands free memory back: not every link's key comes from job threads.
const TRIM_AFTER: Duration = Duration::from_secs(2);
/// How often a full result channel is tried again.
const RESULT_WAIT: Duration = Duration::from_millis(1);

/// What the thread is given to do.
#[derive(Debug)]
pub enum Work {
    /// Make records durable.
    Commit(Commit),
    /// Read pad blocks of a link back, by their keys.
    Read(LinkId, Vec<Vec<u8>>),
    /// Let the next start stand on this run; no result comes.
    Vouch,
}

/// What became of it.
#[derive(Debug)]
pub enum CommitResult {
    /// It is on stable storage.
    Committed(CommitId, StoreSequence),
    /// It is not, or not wholly; its lane takes no more.
    CommitFailed(CommitId),
    /// What a link's pads table has under each key that was asked for.
    PadsRead(LinkId, Vec<FoundRecord>),
}

/// Work that was not taken.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// Too many wait.
    #[error("{QUEUE_COMMITS_MAX} commits and reads wait for the disk: try again when some are done")]
    Full(Work),
    /// The thread has ended.
    #[error("the store takes no more commits and reads: restart the daemon")]
    Stopped(Work),
}

/// The handle of the writing thread.
pub struct Committer {
    queue: SyncSender<Work>,
    thread: JoinHandle<()>,
    stopping: Arc<AtomicBool>,
}

impl Committer {
    /// Starts the thread, which owns the store from here on.
    ///
    /// # Errors
    /// If the operating system gives no thread.
    pub fn start(store: Box<dyn Store + Send>, results: Sender<CommitResult>) -> std::io::Result<Self> {
        let (queue, waiting) = sync_channel(QUEUE_COMMITS_MAX);
        let stopping = Arc::new(AtomicBool::new(false));
        let writer = Writer {
            store,
            results,
            stopping: stopping.clone(),
            poisoned: BTreeSet::new(),
            settle_at: Instant::now() + REST_MAX,
            trim_at: None,
        };
        let thread = thread::Builder::new().name("committer".into()).spawn(move || writer.run(&waiting))?;
        Ok(Self { queue, thread, stopping })
    }

    /// Hands work over; its result comes later.
    ///
    /// # Errors
    /// If too much waits or the thread has ended; the work comes back.
    pub fn submit(&self, work: Work) -> Result<(), SubmitError> {
        self.queue.try_send(work).map_err(|error| match error {
            TrySendError::Full(work) => SubmitError::Full(work),
            TrySendError::Disconnected(work) => SubmitError::Stopped(work),
        })
    }

    /// Writes all that waits, closes the store and ends the thread. Blocks until then. Results that
    /// the channel has no room for are dropped: take them out first, or have room for all.
    pub fn stop(self) {
        self.stopping.store(true, Ordering::Relaxed);
        drop(self.queue);
        if self.thread.join().is_err() {
            tracing::error!("The committer thread panicked before it stopped");
        }
    }
}

struct Writer {
    store: Box<dyn Store + Send>,
    results: Sender<CommitResult>,
    stopping: Arc<AtomicBool>,
    poisoned: BTreeSet<Lane>,
    settle_at: Instant,
    /// When free memory is handed back, if there was a commit since it last was.
    trim_at: Option<Instant>,
}

impl Writer {
    fn run(mut self, waiting: &Receiver<Work>) {
        let mut next = None;
        while let Some(work) = next.take().or_else(|| self.wait(waiting)) {
            next = match work {
                Work::Commit(first) => self.gather(first, waiting),
                Work::Read(link, keys) => {
                    self.read(link, keys);
                    None
                }
                Work::Vouch => {
                    self.store.vouch();
                    None
                }
            };
            if Instant::now() >= self.settle_at {
                self.settle();
            }
        }
    }

    /// The next work; none once the handle is gone. Meanwhile the store is looked after.
    fn wait(&mut self, waiting: &Receiver<Work>) -> Option<Work> {
        loop {
            let next = self.trim_at.map_or(self.settle_at, |trim_at| trim_at.min(self.settle_at));
            match waiting.recv_timeout(next.saturating_duration_since(Instant::now())) {
                Ok(work) => return Some(work),
                Err(RecvTimeoutError::Timeout) => self.rest(),
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
    }

    /// Nothing waits: what is due is done.
    fn rest(&mut self) {
        let now = Instant::now();
        if self.trim_at.take_if(|trim_at| *trim_at <= now).is_some() {
            heap::give_back();
        }
        if now >= self.settle_at {
            self.settle();
        }
    }

    /// A failure closes the file that it is of: commits that need it fail from here on.
    fn settle(&mut self) {
        if let Err(error) = self.store.settle() {
            tracing::error!(%error, "The store cannot overwrite what was replaced");
        }
        self.settle_at = Instant::now() + REST_MAX;
    }

    /// Writes a commit and those that wait behind it; gives back what must come after them.
    fn gather(&mut self, first: Commit, waiting: &Receiver<Work>) -> Option<Work> {
        let mut group = Group::new(first);
        let mut next = None;
        while let Ok(work) = waiting.try_recv() {
            match work {
                Work::Commit(commit) if group.takes(&commit) => group.push(commit),
                work => {
                    next = Some(work);
                    break;
                }
            }
        }
        self.write(group);
        next
    }

    /// Losing pads is cheap: what the disk does not give back is told as not there.
    fn read(&self, link: LinkId, keys: Vec<Vec<u8>>) {
        let found = self.store.read(Table::Pads, keys.clone()).unwrap_or_else(|error| {
            tracing::error!(%link, %error, "Pad blocks cannot be read back: they count as lost");
            keys.into_iter().map(|key| (key, None)).collect()
        });
        self.report(CommitResult::PadsRead(link, found));
    }

    fn write(&mut self, group: Group) {
        self.settle_at = self.settle_at.min(Instant::now() + SETTLE_AFTER);
        self.trim_at = Some(Instant::now() + TRIM_AFTER);
        fail_point::pass(Point::CommitTaken);
        let poisoned = &self.poisoned;
        let (bad, good): (Vec<_>, Vec<_>) =
            group.commits.into_iter().partition(|commit| poisoned.contains(&commit.lane));
        bad.iter().for_each(|commit| self.report(CommitResult::CommitFailed(commit.id)));
        let together = if good.len() > 1 { self.write_together(&good) } else { None };
        match together {
            Some(seq) => good.iter().for_each(|commit| self.report(CommitResult::Committed(commit.id, seq))),
            None => good.into_iter().for_each(|commit| self.write_alone(commit)),
        }
    }

    fn write_together(&mut self, commits: &[Commit]) -> Option<StoreSequence> {
        let records = commits
            .iter()
            .flat_map(|commit| kept(&commit.lane, commit.records.iter().map(copy_of).collect()))
            .collect();
        self.store.commit(records).ok()
    }

    fn write_alone(&mut self, commit: Commit) {
        let Commit { id, lane, records } = commit;
        let records = kept(&lane, records);
        let done = if self.poisoned.contains(&lane) { Err(None) } else { self.store.commit(records).map_err(Some) };
        match done {
            Ok(seq) => self.report(CommitResult::Committed(id, seq)),
            Err(error) => {
                self.poison(lane, error.as_ref());
                self.report(CommitResult::CommitFailed(id));
            }
        }
    }

    fn poison(&mut self, lane: Lane, error: Option<&StoreError>) {
        if let Some(error) = error {
            tracing::error!(?lane, %error, "A commit failed: its lane is closed until the daemon restarts");
        }
        self.poisoned.insert(lane);
    }

    /// Waits for room in the channel, but not for a receiver that waits for this thread to stop.
    fn report(&self, mut result: CommitResult) {
        fail_point::pass(Point::CommitTold);
        while let Err(error::TrySendError::Full(back)) = self.results.try_send(result) {
            if self.stopping.load(Ordering::Relaxed) {
                return;
            }
            result = back;
            thread::sleep(RESULT_WAIT);
        }
    }
}

/// What is written of a commit: all, unless a test planted the bug that deliveries are not.
fn kept(lane: &Lane, records: Vec<Record>) -> Vec<Record> {
    let is_lost = *lane == Lane::Delivery && fail_point::is_planted(fail_point::DELIVERIES_NOT_WRITTEN);
    if is_lost { Vec::new() } else { records }
}

/// A group is written from copies, so that its commits can be tried alone when it fails.
fn copy_of(record: &Record) -> Record {
    let value = record.value.as_ref().map(|value| qkd_proto::secret::SecretBytes::copy_of(value.expose()));
    Record { table: record.table, key: record.key.clone(), value }
}

/// Commits that are written together.
struct Group {
    commits: Vec<Commit>,
    records: usize,
    marked: BTreeSet<Lane>,
}

impl Group {
    fn new(first: Commit) -> Self {
        let mut group = Self { commits: Vec::new(), records: 0, marked: BTreeSet::new() };
        group.push(first);
        group
    }

    /// A store writes tables before marks. A commit whose tables follow a mark of its lane would
    /// overtake that mark, so it starts the next group.
    fn takes(&self, commit: &Commit) -> bool {
        let in_tables = |record: &Record| record.table != Table::Marks;
        let overtakes = self.marked.contains(&commit.lane) && commit.records.iter().any(in_tables);
        !overtakes && self.records + commit.records.len() <= GROUP_RECORDS_MAX
    }

    fn push(&mut self, commit: Commit) {
        self.records += commit.records.len();
        if commit.records.iter().any(|record| record.table == Table::Marks) {
            self.marked.insert(commit.lane.clone());
        }
        self.commits.push(commit);
    }
}

#[cfg(test)]
mod tests;
