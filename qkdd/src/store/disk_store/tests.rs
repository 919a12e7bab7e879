//! Shredding, seen by who has every file and the master key: what was replaced a second ago is gone.
//!
//! The table engine's log keeps every envelope that it ever held; only the lack of keys makes them useless.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use qkd_proto::crypto;
use qkd_proto::id::DataDirId;
use qkd_proto::labels::derive::STORE_SEAL;

use super::super::data_dir::{DataDir, OpenedData};
use super::super::seal;
use super::*;

const VALUE_BYTES: usize = 40;
/// Version, slot, nonce, value, tag.
const ENVELOPE_BYTES: usize = 9 + 12 + VALUE_BYTES + 16;
const SHRED_MAGIC: [u8; 8] = *b"qkdshred";
const MARK_MAGIC: [u8; 8] = *b"qkdmark\0";

fn master() -> SecretBytes {
    SecretBytes::new(vec![7; 32])
}

/// A version of a record: nobody else writes these bytes.
fn value(version: u8) -> [u8; VALUE_BYTES] {
    [version; VALUE_BYTES]
}

/// Every version that whoever holds these files can read: of records, by name, and of marks.
struct Attacker {
    id: DataDirId,
    wraps: Vec<SecretBytes>,
    data_keys: Vec<SecretBytes>,
}

impl Attacker {
    /// Takes every key out of the files, from both slots of each.
    fn new(path: &Path, id: DataDirId) -> Self {
        let mut attacker = Self { id, wraps: Vec::new(), data_keys: Vec::new() };
        let wrap = crypto::derive(&[], &master(), STORE_SEAL, &[b"shred"], 32);
        for payload in sealed_payloads(&wrap, &path.join("shred"), SHRED_MAGIC, id) {
            attacker.wraps.extend(payload[8..].chunks(32).map(SecretBytes::copy_of));
        }
        for name in ["ring.0", "ring.1"] {
            let bytes = fs::read(path.join(name)).unwrap_or_default();
            for (slot, bytes) in bytes.chunks(64).enumerate() {
                let about = [b"ring".as_slice(), &id.0, &(slot as u32).to_be_bytes()].concat();
                let opened = attacker.wraps.iter().filter_map(|wrap| crypto::open(wrap, &about, &bytes[..60]).ok());
                let opened: Vec<_> = opened.collect();
                attacker.data_keys.extend(opened);
            }
        }
        attacker
    }

    /// Versions in the engine's files, by trying every key on every place that looks like an envelope.
    fn records(&self, path: &Path, table: &str, keys: &[&[u8]]) -> BTreeSet<u8> {
        let mut found = BTreeSet::new();
        let directory = crypto::derive(&[], &master(), STORE_SEAL, &[&self.id.0], 32);
        for file in fs::read_dir(path.join("store")).unwrap().map(|entry| entry.unwrap().path()) {
            let bytes = if file.is_file() { fs::read(file).unwrap() } else { continue };
            let envelopes = bytes.windows(ENVELOPE_BYTES).filter(|bytes| bytes[..7] == [1, 0, 0, 0, 0, 0, 0]);
            for envelope in envelopes {
                for data_key in self.data_keys.iter().chain(&self.wraps).chain([&directory]) {
                    let opened = keys.iter().filter_map(|key| seal::open_under(data_key, table, key, envelope));
                    found.extend(opened.map(|plain| plain.expose()[0]));
                }
            }
        }
        found
    }

    fn marks(&self, path: &Path, link: &str) -> BTreeSet<u8> {
        let file = path.join("marks").join(format!("{link}.mark"));
        let payloads = self.wraps.iter().flat_map(|wrap| sealed_payloads(wrap, &file, MARK_MAGIC, self.id));
        payloads.map(|payload| payload[0]).collect()
    }
}

/// What both slots of a slot file hold under a key.
fn sealed_payloads(wrap: &SecretBytes, path: &Path, magic: [u8; 8], id: DataDirId) -> Vec<Vec<u8>> {
    let (bytes, name) = (fs::read(path).unwrap(), path.file_name().unwrap().to_str().unwrap().to_owned());
    let slots = bytes.chunks(4096).filter_map(|slot| {
        let length = u32::from_be_bytes(slot[52..56].try_into().unwrap()) as usize;
        let about = [magic.as_slice(), &id.0, &slot[28..36], name.as_bytes()].concat();
        Some(crypto::open(wrap, &about, slot.get(56..56 + length)?).ok()?.expose().to_vec())
    });
    slots.collect()
}

fn opened() -> (tempfile::TempDir, PathBuf, OpenedData) {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("data");
    DataDir::prepare(&path).unwrap();
    let opened = DataDir::open(&path, &master()).unwrap();
    (home, path, opened)
}

/// Versions 1 to 9 of two records and a mark, then a second transfer that is replaced at once, and deleted.
fn churn(opened: &mut OpenedData) {
    let record = |table, key: &[u8], value: Option<u8>| {
        let value = value.map(|version| SecretBytes::copy_of(&self::value(version)));
        Record { table, key: key.to_vec(), value }
    };
    for version in 1..=9 {
        let tables = [(Table::Transfers, b"t1".as_slice()), (Table::Pools, b"a-b"), (Table::Marks, b"a-b")];
        let records = tables.map(|(table, key)| record(table, key, Some(version)));
        opened.store.commit(records.into()).unwrap();
    }
    opened
        .store
        .commit(vec![record(Table::Transfers, b"t2", Some(20)), record(Table::Transfers, b"t2", Some(21))])
        .unwrap();
    opened.store.commit(vec![record(Table::Transfers, b"t2", None), record(Table::Marks, b"a-c", Some(1))]).unwrap();
}

const TRANSFERS: [&[u8]; 2] = [b"tt1", b"tt2"];

/// What is left of transfers, pools, and marks.
fn left(path: &Path, id: DataDirId) -> [BTreeSet<u8>; 3] {
    let attacker = Attacker::new(path, id);
    assert!(!attacker.wraps.is_empty() && !attacker.data_keys.is_empty());
    let transfers = attacker.records(path, "transfers", &TRANSFERS);
    [transfers, attacker.records(path, "pools", &[b"pa-b"]), attacker.marks(path, "a-b")]
}

#[test]
fn what_was_replaced_cannot_be_read_from_all_files_and_the_master_key() {
    let (_home, path, mut opened) = opened();
    churn(&mut opened);
    opened.store.settle().unwrap();
    let newest = || [[9].into(), [9].into(), [9].into()];
    assert_eq!(left(&path, opened.id), newest());
    let id = opened.id;
    drop(opened);
    assert_eq!(left(&path, id), newest());
}

/// The planted bug: nothing is overwritten. The attacker must find what it looks for.
#[test]
fn without_overwriting_everything_is_left() {
    let (_home, path, mut opened) = opened();
    churn(&mut opened);
    let [transfers, pools, marks] = left(&path, opened.id);
    assert_eq!(transfers, (1..=9).chain([21]).collect());
    assert_eq!(pools, (1..=9).collect());
    assert_eq!(marks, [8, 9].into());
}

/// A drive may keep copies of what was overwritten. They do not open once the key over them was renewed.
#[test]
fn copies_of_files_do_not_open_after_a_renewal() {
    let (home, path, mut opened) = opened();
    churn(&mut opened);
    let copies = home.path().join("copies");
    fs::create_dir(&copies).unwrap();
    let all = ["ring.1", "marks/a-b.mark"].map(|name| (name, fs::read(path.join(name)).unwrap()));
    let id = opened.id;
    drop(opened);
    assert!(!path.join("ring.1").exists());
    for (name, bytes) in all {
        fs::write(path.join(name), bytes).unwrap();
    }
    let attacker = Attacker::new(&path, id);
    assert_eq!(attacker.records(&path, "transfers", &TRANSFERS), [9].into());
    assert!(attacker.marks(&path, "a-b").is_empty());
}

#[test]
fn a_kill_before_overwriting_is_made_good_by_the_next_open() {
    let (_home, path, mut opened) = opened();
    churn(&mut opened);
    let id = opened.id;
    let OpenedData { store, .. } = opened;
    let killed = path.with_file_name("killed");
    assert!(std::process::Command::new("cp").arg("-a").arg(&path).arg(&killed).status().unwrap().success());
    drop(store);
    let again = DataDir::open(&killed, &master()).unwrap();
    assert_eq!(left(&killed, id), [[9].into(), [9].into(), [9].into()]);
    drop(again);
}

#[test]
fn a_removed_mark_leaves_nothing_to_read() {
    let (_home, path, mut opened) = opened();
    churn(&mut opened);
    let (at, inode) = (path.join("marks/a-c.mark"), path.join("link"));
    fs::hard_link(&at, &inode).unwrap();
    opened.store.commit(vec![Record { table: Table::Marks, key: b"a-c".to_vec(), value: None }]).unwrap();
    assert!(!at.exists() && fs::read(inode).unwrap().iter().all(|&byte| byte == 0));
}
