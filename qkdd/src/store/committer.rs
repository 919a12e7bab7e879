//! The one thread that writes. In: commits, over a bounded channel. Out: for each, `Committed` once it
//! is on stable storage, or `CommitFailed`. Always: commits of a lane become durable in order, and
//! after a failed one every later commit of its lane fails until the daemon restarts.
//!
//! Group commit: what waits is written together, one sync for all. When a group fails, each of its
//! commits is tried alone, so that a fault of one lane (a mark file) does not stop the others. An
//! audit line of such a group may appear twice.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use qkd_proto::id::{CommitId, StoreSequence};
use qkd_proto::node::effect::{Commit, Lane, Record, Table};
use tokio::sync::mpsc::{Sender, error};

use super::Store;
use super::error::StoreError;

/// Commits that may wait.
pub const QUEUE_COMMITS_MAX: usize = 1024;
/// Records after which a group is closed: it bounds the wait of the first.
const GROUP_RECORDS_MAX: usize = 1024;
/// How often a full result channel is tried again.
const RESULT_WAIT: Duration = Duration::from_millis(1);

/// What became of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitResult {
    /// It is on stable storage.
    Committed(CommitId, StoreSequence),
    /// It is not, or not wholly; its lane takes no more.
    CommitFailed(CommitId),
}

/// A commit that was not taken.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// Too many wait.
    #[error("{QUEUE_COMMITS_MAX} commits wait for the disk: try again when some are done")]
    Full(Commit),
    /// The thread has ended.
    #[error("the store takes no more commits: restart the daemon")]
    Stopped(Commit),
}

/// The handle of the writing thread.
pub struct Committer {
    queue: SyncSender<Commit>,
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
        let writer = Writer { store, results, stopping: stopping.clone(), poisoned: BTreeSet::new() };
        let thread = thread::Builder::new().name("committer".into()).spawn(move || writer.run(&waiting))?;
        Ok(Self { queue, thread, stopping })
    }

    /// Hands a commit over; its result comes later.
    ///
    /// # Errors
    /// If too many wait or the thread has ended; the commit comes back.
    pub fn submit(&self, commit: Commit) -> Result<(), SubmitError> {
        self.queue.try_send(commit).map_err(|error| match error {
            TrySendError::Full(commit) => SubmitError::Full(commit),
            TrySendError::Disconnected(commit) => SubmitError::Stopped(commit),
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
}

impl Writer {
    fn run(mut self, waiting: &Receiver<Commit>) {
        let mut next = waiting.recv().ok();
        while let Some(first) = next.take() {
            let mut group = Group::new(first);
            while let Ok(commit) = waiting.try_recv() {
                if !group.takes(&commit) {
                    next = Some(commit);
                    break;
                }
                group.push(commit);
            }
            self.write(group);
            next = next.or_else(|| waiting.recv().ok());
        }
    }

    fn write(&mut self, group: Group) {
        let poisoned = &self.poisoned;
        let (bad, good): (Vec<_>, Vec<_>) =
            group.commits.into_iter().partition(|commit| poisoned.contains(&commit.lane));
        bad.iter().for_each(|commit| self.report(CommitResult::CommitFailed(commit.id)));
        if good.len() > 1 && self.write_together(&good) {
            good.iter().for_each(|commit| self.report(CommitResult::Committed(commit.id, StoreSequence(0))));
        } else {
            good.into_iter().for_each(|commit| self.write_alone(commit));
        }
    }

    fn write_together(&mut self, commits: &[Commit]) -> bool {
        let records = commits.iter().flat_map(|commit| &commit.records).map(copy_of).collect();
        self.store.commit(records).is_ok()
    }

    fn write_alone(&mut self, commit: Commit) {
        let Commit { id, lane, records } = commit;
        let done = if self.poisoned.contains(&lane) { Err(None) } else { self.store.commit(records).map_err(Some) };
        match done {
            Ok(()) => self.report(CommitResult::Committed(id, StoreSequence(0))),
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
        while let Err(error::TrySendError::Full(back)) = self.results.try_send(result) {
            if self.stopping.load(Ordering::Relaxed) {
                return;
            }
            result = back;
            thread::sleep(RESULT_WAIT);
        }
    }
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
