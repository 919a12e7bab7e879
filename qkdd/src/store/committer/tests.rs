//! Order, failure and stop of the writing thread.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;

use qkd_proto::secret::SecretBytes;
use tokio::sync::mpsc;

use super::*;

/// What a [`Watched`] store was given: one list of keys a commit.
type Seen = Arc<Mutex<Vec<Vec<Vec<u8>>>>>;

/// A store that waits for its gate, fails on keys that say so, and tells what it was given.
struct Watched {
    seen: Seen,
    gate: Option<Receiver<()>>,
}

impl Store for Watched {
    fn commit(&mut self, records: Vec<Record>) -> Result<StoreSequence, StoreError> {
        if let Some(gate) = self.gate.take() {
            let _ = gate.recv();
        }
        if records.iter().any(|record| record.key == b"bad") {
            return Err(StoreError::Broken { path: PathBuf::from("x") });
        }
        let mut seen = self.seen.lock().unwrap();
        seen.push(records.into_iter().map(|record| record.key).collect());
        Ok(StoreSequence(seen.len() as u64))
    }

    /// Gives back how many commits came before.
    fn read(&self, _table: Table, keys: Vec<Vec<u8>>) -> Result<Vec<FoundRecord>, StoreError> {
        let before = self.seen.lock().unwrap().concat().len() as u8;
        Ok(keys.into_iter().map(|key| (key, Some(SecretBytes::new(vec![before])))).collect())
    }

    fn settle(&mut self) -> Result<(), StoreError> {
        self.seen.lock().unwrap().push(vec![b"settled".to_vec()]);
        Ok(())
    }

    fn load(&self, _table: Table) -> Result<Vec<(Vec<u8>, SecretBytes)>, StoreError> {
        Ok(Vec::new())
    }
}

fn commit(id: u64, link: &str, table: Table, key: &str) -> Commit {
    let record = Record { table, key: key.into(), value: None };
    Commit { id: CommitId(id), lane: Lane::Link(link.parse().unwrap()), records: vec![record] }
}

/// Submits all while the store waits in the first commit, then lets it go and stops.
fn run(commits: Vec<Commit>, room: usize) -> (BTreeMap<u64, bool>, Vec<Vec<Vec<u8>>>) {
    let (open, gate) = sync_channel(1);
    let (results, mut done) = mpsc::channel(room);
    let seen = Seen::default();
    let store = Watched { seen: seen.clone(), gate: Some(gate) };
    let committer = Committer::start(Box::new(store), results).unwrap();
    commits.into_iter().for_each(|commit| committer.submit(Work::Commit(commit)).unwrap());
    open.send(()).unwrap();
    committer.stop();
    let mut outcomes = BTreeMap::new();
    while let Some(result) = done.blocking_recv() {
        match result {
            CommitResult::Committed(id, _) => outcomes.insert(id.0, true),
            CommitResult::CommitFailed(id) => outcomes.insert(id.0, false),
            CommitResult::PadsRead(link, _) => panic!("nobody read {link}"),
        };
    }
    let seen = std::mem::take(&mut *seen.lock().unwrap());
    (outcomes, seen)
}

#[test]
fn a_stop_writes_all_that_waits_in_order_and_in_groups() {
    let commits = (0..100).map(|id| commit(id, "a-b", Table::Pools, &format!("{id:03}"))).collect();
    let (outcomes, seen) = run(commits, 200);
    assert_eq!(outcomes, (0..100).map(|id| (id, true)).collect());
    assert!(seen.len() < 100, "{} groups", seen.len());
    let keys: Vec<_> = seen.concat();
    assert!(keys.is_sorted() && keys.len() == 100);
}

#[test]
fn a_failure_closes_its_lane_and_no_other() {
    let commits = vec![
        commit(0, "a-b", Table::Pools, "0"),
        commit(1, "a-b", Table::Pools, "bad"),
        commit(2, "a-c", Table::Pools, "2"),
        commit(3, "a-b", Table::Pools, "3"),
        commit(4, "a-c", Table::Pools, "4"),
    ];
    let (outcomes, seen) = run(commits, 200);
    assert_eq!(outcomes, BTreeMap::from([(0, true), (1, false), (2, true), (3, false), (4, true)]));
    assert!(!seen.concat().contains(&b"3".to_vec()));
}

#[test]
fn tables_never_overtake_a_mark_of_their_lane() {
    let mut group = Group::new(commit(0, "a-b", Table::Marks, "0"));
    assert!(group.takes(&commit(1, "a-b", Table::Marks, "1")));
    assert!(!group.takes(&commit(1, "a-b", Table::Pools, "1")));
    assert!(group.takes(&commit(1, "a-c", Table::Pools, "1")));
    group.push(commit(1, "a-c", Table::Marks, "1"));
    assert!(!group.takes(&commit(2, "a-c", Table::Pads, "2")));
}

#[test]
fn a_stop_does_not_wait_for_a_receiver_that_waits_for_it() {
    let commits = (0..20).map(|id| commit(id, "a-b", Table::Pools, &id.to_string())).collect();
    let (_, seen) = run(commits, 1);
    assert_eq!(seen.concat().len(), 20);
}

#[test]
fn a_full_queue_gives_the_commit_back() {
    let (open, gate) = sync_channel(1);
    let (results, mut done) = mpsc::channel(4 * QUEUE_COMMITS_MAX);
    let store = Watched { seen: Seen::default(), gate: Some(gate) };
    let committer = Committer::start(Box::new(store), results).unwrap();
    let mut id = 0;
    let full = loop {
        match committer.submit(Work::Commit(commit(id, "a-b", Table::Pools, "k"))) {
            Ok(()) => id += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(&full, SubmitError::Full(Work::Commit(commit)) if commit.id.0 == id), "{full}");
    open.send(()).unwrap();
    committer.stop();
    let mut count = 0;
    while done.blocking_recv().is_some() {
        count += 1;
    }
    assert_eq!(count, id);
}

#[test]
fn a_read_sees_what_came_before_it_and_nothing_after() {
    let (open, gate) = sync_channel(1);
    let (results, mut done) = mpsc::channel(100);
    let store = Watched { seen: Seen::default(), gate: Some(gate) };
    let committer = Committer::start(Box::new(store), results).unwrap();
    let link: LinkId = "a-b".parse().unwrap();
    for id in 0..10 {
        committer.submit(Work::Commit(commit(id, "a-b", Table::Pads, "k"))).unwrap();
        committer.submit(Work::Read(link.clone(), vec![b"x".to_vec(), b"y".to_vec()])).unwrap();
    }
    open.send(()).unwrap();
    committer.stop();
    let (mut commits, mut reads) = (Vec::new(), Vec::new());
    while let Some(result) = done.blocking_recv() {
        match result {
            CommitResult::Committed(id, seq) => commits.push((id.0, seq.0)),
            CommitResult::CommitFailed(id) => panic!("{id:?} failed"),
            CommitResult::PadsRead(of, found) => {
                assert!(of == link && found.len() == 2 && found[1].0 == b"y");
                reads.push(found[0].1.as_ref().unwrap().expose()[0]);
            }
        }
    }
    assert_eq!(commits, (0..10).map(|id| (id, id + 1)).collect::<Vec<_>>());
    assert_eq!(reads, (1..=10).collect::<Vec<_>>());
}

#[test]
fn what_was_replaced_is_overwritten_within_a_second() {
    let (results, _done) = mpsc::channel(100);
    let seen = Seen::default();
    let committer = Committer::start(Box::new(Watched { seen: seen.clone(), gate: None }), results).unwrap();
    let (start, mut id) = (Instant::now(), 0);
    while start.elapsed() < Duration::from_secs(2) {
        committer.submit(Work::Commit(commit(id, "a-b", Table::Pools, "k"))).unwrap();
        id += 1;
        thread::sleep(Duration::from_millis(20));
    }
    let settled = |seen: &Seen| seen.lock().unwrap().iter().filter(|keys| keys[0] == b"settled").count();
    assert!(settled(&seen) >= 2, "busy: {} times in 2 s", settled(&seen));
    thread::sleep(Duration::from_secs(1));
    assert_eq!(seen.lock().unwrap().last().unwrap(), &[b"settled".to_vec()]);
    committer.stop();
}
