//! One suite for every store, and random histories against a model.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use proptest::prelude::*;
use qkd_proto::node::effect::{Record, Table};
use qkd_proto::secret::SecretBytes;
use qkdd::store::Store;
use qkdd::store::data_dir::DataDir;
use qkdd::store::error::StoreError;
use qkdd::store::memory_store::MemoryStore;

type BoxedStore = Box<dyn Store + Send>;
type Model = BTreeMap<(Table, Vec<u8>), Vec<u8>>;
type Change = (usize, u8, Option<Vec<u8>>);

const TABLES: [Table; 4] = [Table::Pools, Table::Pads, Table::Transfers, Table::Marks];

struct Disk {
    _home: tempfile::TempDir,
    path: PathBuf,
}

impl Disk {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("data");
        DataDir::prepare(&path).unwrap();
        Self { _home: home, path }
    }

    fn open(&self) -> BoxedStore {
        open(&self.path)
    }
}

fn open(path: &Path) -> BoxedStore {
    DataDir::open(path, &SecretBytes::new(vec![1; 32])).unwrap().store
}

fn put(table: Table, key: &[u8], value: &[u8]) -> Record {
    Record { table, key: key.to_vec(), value: Some(SecretBytes::copy_of(value)) }
}

fn delete(table: Table, key: &[u8]) -> Record {
    Record { table, key: key.to_vec(), value: None }
}

fn content(store: &dyn Store) -> Model {
    let of = |table| store.load(table).unwrap().into_iter().map(move |(key, value)| ((table, key), value));
    TABLES.into_iter().flat_map(of).map(|(at, value)| (at, value.expose().to_vec())).collect()
}

fn suite(mut store: BoxedStore) {
    assert!(content(&*store).is_empty());
    keeps_tables_apart(&mut *store);
    later_records_win(&mut *store);
    takes_more_than_a_batch(&mut *store);
    refuses_whole_commits(&mut *store);
    reads_what_was_asked_for(&mut *store);
    counts_commits_of_tables(&mut *store);
}

fn keeps_tables_apart(store: &mut dyn Store) {
    let records = TABLES.iter().enumerate().map(|(i, &table)| put(table, b"a-b", &[i as u8]));
    store.commit(records.collect()).unwrap();
    for (i, table) in TABLES.into_iter().enumerate() {
        assert_eq!(content(store)[&(table, b"a-b".to_vec())], [i as u8]);
    }
    store.commit(TABLES.map(|table| delete(table, b"a-b")).into()).unwrap();
    assert!(content(store).is_empty());
}

fn later_records_win(store: &mut dyn Store) {
    for table in TABLES {
        store.commit(vec![put(table, b"x", b"1"), delete(table, b"x"), put(table, b"x", b"2")]).unwrap();
        assert_eq!(content(store)[&(table, b"x".to_vec())], b"2");
        store.commit(vec![put(table, b"x", b"3"), delete(table, b"x")]).unwrap();
        assert!(content(store).is_empty());
    }
}

fn takes_more_than_a_batch(store: &mut dyn Store) {
    let records = (0..1000u64).map(|i| put(Table::Pads, &i.to_be_bytes(), &i.to_le_bytes()));
    store.commit(records.collect()).unwrap();
    let loaded = store.load(Table::Pads).unwrap();
    assert!(loaded.iter().map(|(key, _)| key.clone()).eq((0..1000u64).map(|i| i.to_be_bytes().to_vec())));
    store.commit((0..1000u64).map(|i| delete(Table::Pads, &i.to_be_bytes())).collect()).unwrap();
    assert!(content(store).is_empty());
}

fn refuses_whole_commits(store: &mut dyn Store) {
    let bad = [
        put(Table::Marks, b"../x", b"1"),
        put(Table::Marks, b"", b"1"),
        put(Table::Marks, b"a-b", &[0; 3073]),
        put(Table::Audit, b"", b"two\nlines"),
        put(Table::Audit, b"", &vec![b'x'; (64 << 10) + 1]),
        put(Table::Audit, b"", &[0xff]),
        delete(Table::Audit, b""),
    ];
    for record in bad {
        let commit = vec![put(Table::Pools, b"a-b", b"1"), record];
        assert!(matches!(store.commit(commit), Err(StoreError::Refused { .. })));
        assert!(content(store).is_empty());
    }
    store.commit(vec![put(Table::Marks, b"a-b", &[0; 3072]), put(Table::Audit, b"", b"line")]).unwrap();
    assert!(store.load(Table::Audit).unwrap().is_empty());
}

fn reads_what_was_asked_for(store: &mut dyn Store) {
    for table in TABLES {
        store.commit(vec![put(table, b"a-b", b"1"), put(table, b"a-c", b"2")]).unwrap();
        let keys = [b"a-c", b"a-x", b"a-b"].map(|key| key.to_vec());
        let found = store.read(table, keys.to_vec()).unwrap();
        assert!(found.iter().map(|(key, _)| key).eq(&keys));
        let values = found.iter().map(|(_, value)| value.as_ref().map(|value| value.expose().to_vec()));
        assert!(values.eq([Some(b"2".to_vec()), None, Some(b"1".to_vec())]), "{table:?}");
        store.commit(vec![delete(table, b"a-b"), delete(table, b"a-c")]).unwrap();
    }
    assert!(store.read(Table::Audit, vec![Vec::new()]).unwrap()[0].1.is_none());
}

fn counts_commits_of_tables(store: &mut dyn Store) {
    let mark = store.commit(vec![put(Table::Marks, b"a-b", b"1")]).unwrap();
    let first = store.commit(vec![put(Table::Pools, b"a-b", b"1")]).unwrap();
    let second = store.commit(vec![delete(Table::Pools, b"a-b")]).unwrap();
    assert!(mark < first && first < second, "{mark:?} {first:?} {second:?}");
}

#[test]
fn memory_store_passes_the_suite() {
    suite(Box::new(MemoryStore::new()));
}

#[test]
fn disk_store_passes_the_suite() {
    suite(Disk::new().open());
}

#[test]
fn the_tables_hold_no_value_in_the_clear() {
    let disk = Disk::new();
    let mut store = disk.open();
    let secret = b"thirty-two bytes of secret value";
    // Pad blocks come in boxes already.
    store.commit(vec![put(Table::Pools, b"k", secret), put(Table::Transfers, b"k", secret)]).unwrap();
    drop(store);
    for entry in std::fs::read_dir(disk.path.join("store")).unwrap() {
        let path = entry.unwrap().path();
        let bytes = if path.is_file() { std::fs::read(path).unwrap() } else { Vec::new() };
        assert!(!bytes.windows(secret.len()).any(|window| window == secret));
    }
}

const KILLED_DIR: &str = "QKDD_TEST_KILLED_DIR";

#[test]
fn the_sequence_rises_over_all_runs() {
    let (disk, mut last) = (Disk::new(), 0);
    for _ in 0..3 {
        let mut opened = DataDir::open(&disk.path, &SecretBytes::new(vec![1; 32])).unwrap();
        assert!(opened.sequence.0 > last);
        let sequence = opened.store.commit(vec![put(Table::Transfers, b"k", b"v")]).unwrap();
        assert!(sequence > opened.sequence);
        last = sequence.0;
    }
}

/// Not a test: the process that the next one kills. Commits numbers for ever and says which are durable.
#[test]
fn writes_until_killed() {
    let Some(path) = std::env::var_os(KILLED_DIR) else { return };
    let mut store = open(Path::new(&path));
    let mut number = newest(&*store).1;
    loop {
        number += 1;
        let value = number.to_be_bytes();
        let pads = (0..number * 37 % 600).map(|slot| put(Table::Pads, &slot.to_be_bytes(), &[value[7]; 100]));
        let mut records: Vec<_> = pads.collect();
        records.extend([put(Table::Pools, b"a-b", &value), put(Table::Marks, b"a-b", &value)]);
        store.commit(records).unwrap();
        writeln!(std::io::stdout(), "\ndurable {number}").unwrap();
    }
}

/// The numbers of the newest pool record and mark.
fn newest(store: &dyn Store) -> (u64, u64) {
    let of = |table| match store.load(table).unwrap().first() {
        Some((_, value)) => u64::from_be_bytes(value.expose().try_into().unwrap()),
        None => 0,
    };
    (of(Table::Pools), of(Table::Marks))
}

#[test]
fn a_killed_process_leaves_what_it_said_was_durable() {
    let (disk, mut said_max) = (Disk::new(), 0);
    for kill in 0..12u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "writes_until_killed", "--nocapture"])
            .env(KILLED_DIR, &disk.path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(5 + 53 * kill % 300));
        child.kill().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let said = lines.filter_map(|line| line.strip_prefix("durable ")?.parse().ok()).last().unwrap_or(0);
        child.wait().unwrap();
        said_max = said_max.max(said);
        let (pool, mark) = newest(&*disk.open());
        assert!(mark >= said && pool >= mark && pool <= mark + 1, "said {said}, pool {pool}, mark {mark}");
    }
    assert!(said_max > 12, "the child wrote {said_max} numbers");
}

#[derive(Debug, Clone)]
enum Act {
    Commit(Vec<Change>),
    Read(usize, Vec<u8>),
    Settle,
    Reopen,
}

fn act() -> impl Strategy<Value = Act> {
    let value = proptest::option::weighted(0.8, proptest::collection::vec(any::<u8>(), 0..40));
    let record = (0..TABLES.len(), 0..6u8, value);
    prop_oneof![
        6 => proptest::collection::vec(record, 0..12).prop_map(Act::Commit),
        3 => (0..TABLES.len(), proptest::collection::vec(0..8u8, 0..10)).prop_map(|(table, links)| Act::Read(table, links)),
        2 => Just(Act::Settle),
        1 => Just(Act::Reopen),
    ]
}

fn read(store: &dyn Store, table: Table, keys: &[Vec<u8>]) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
    let found = store.read(table, keys.to_vec()).unwrap().into_iter();
    found.map(|(key, value)| (key, value.map(|value| value.expose().to_vec()))).collect()
}

fn at(change: &Change) -> (Table, Vec<u8>) {
    (TABLES[change.0], format!("link-{}", change.1).into_bytes())
}

fn records_of(changes: &[Change]) -> Vec<Record> {
    let of = |change: &Change| {
        let (table, key) = at(change);
        Record { table, key, value: change.2.as_deref().map(SecretBytes::copy_of) }
    };
    changes.iter().map(of).collect()
}

fn apply(model: &mut Model, changes: &[Change]) {
    for change in changes {
        match &change.2 {
            Some(value) => model.insert(at(change), value.clone()),
            None => model.remove(&at(change)),
        };
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_history_leaves_what_the_model_says(acts in proptest::collection::vec(act(), 1..20)) {
        let disk = Disk::new();
        let (mut store, mut memory, mut model) = (Some(disk.open()), MemoryStore::new(), Model::new());
        for act in acts {
            match act {
                Act::Commit(changes) => {
                    store.as_mut().unwrap().commit(records_of(&changes)).unwrap();
                    memory.commit(records_of(&changes)).unwrap();
                    apply(&mut model, &changes);
                }
                Act::Read(table, links) => {
                    let keys: Vec<_> = links.iter().map(|link| at(&(table, *link, None)).1).collect();
                    let expected = keys.iter().map(|key| (key.clone(), model.get(&(TABLES[table], key.clone())).cloned()));
                    let expected: Vec<_> = expected.collect();
                    prop_assert_eq!(&read(&**store.as_ref().unwrap(), TABLES[table], &keys), &expected);
                    prop_assert_eq!(&read(&memory, TABLES[table], &keys), &expected);
                }
                Act::Settle => {
                    store.as_mut().unwrap().settle().unwrap();
                    memory.settle().unwrap();
                }
                Act::Reopen => {
                    drop(store.take());
                    store = Some(disk.open());
                }
            }
            prop_assert_eq!(&content(&**store.as_ref().unwrap()), &model);
            prop_assert_eq!(&content(&memory), &model);
        }
        drop(store.take());
        prop_assert_eq!(&content(&*disk.open()), &model);
    }
}
