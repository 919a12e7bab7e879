//! A directory that qkdd wrote in the first form (`tests/data-dir-1`) opens, whatever is in the way.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::super::data_dir::{DataDirError, OpenedData};
use super::super::vault::PAD_FORM;
use super::*;

/// Bytes of the database as the engine left it; the fixture lacks the zeros at its end.
const DB_BYTES: u64 = 524_287;

fn master() -> SecretBytes {
    SecretBytes::new(vec![7; 32])
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    fs::set_permissions(to, fs::Permissions::from_mode(0o700)).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let at = entry.unwrap().path();
        let target = to.join(at.file_name().unwrap());
        if at.is_dir() { copy(&at, &target) } else { fs::write(target, fs::read(at).unwrap()).unwrap() }
    }
}

fn fixture() -> (tempfile::TempDir, PathBuf) {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("data");
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data-dir-1"), &path);
    fs::OpenOptions::new().write(true).open(path.join("store/db")).unwrap().set_len(DB_BYTES).unwrap();
    (home, path)
}

fn dir(path: &Path, pads: PadForm) -> DataDir {
    DataDir { pads, ..DataDir::at(path) }
}

fn open(path: &Path, pads: PadForm) -> Result<OpenedData, DataDirError> {
    dir(path, pads).open_in_steps(&master(), &mut |_| Ok(()))
}

type Content = BTreeMap<Vec<u8>, Vec<u8>>;

fn content(opened: &OpenedData, table: Table) -> Content {
    let loaded = opened.store.load(table).unwrap().into_iter();
    loaded.map(|(key, value)| (key, value.expose().to_vec())).collect()
}

/// What the two runs of the writer left: of each three transfers without the first, pads and marks of the second.
fn expect(opened: &OpenedData, pads: PadForm) {
    let transfers = [(1, 1), (2, 1), (1, 2), (2, 2)].map(|(i, run)| (vec![b't', i, run], vec![i + 16 * run; 40]));
    assert_eq!(content(opened, Table::Transfers), transfers.into());
    let marks = [(b"a-b".to_vec(), vec![2; 100]), (b"a-c".to_vec(), vec![12; 100])];
    assert_eq!(content(opened, Table::Marks), marks.into());
    let slot = |i: u8| ([b"a-b\0".as_slice(), &u64::from(i).to_be_bytes()].concat(), vec![i + 2; 4096]);
    let (blocks, pools) = ([0, 1, 2].map(slot), [(b"a-b".to_vec(), vec![2; 60])]);
    let kept = pads == PadForm::Sealed;
    assert_eq!(content(opened, Table::Pads), if kept { blocks.into() } else { Content::new() });
    assert_eq!(content(opened, Table::Pools), if kept { pools.into() } else { Content::new() });
}

#[test]
fn a_directory_of_the_first_form_opens_with_its_ledger() {
    for pads in [PadForm::Sealed, PadForm::AsGiven] {
        let (_home, path) = fixture();
        let opened = open(&path, pads).unwrap();
        expect(&opened, pads);
        assert_eq!((opened.incarnation.0, opened.generation), (3, 3));
        assert!(opened.sequence.0 > 8, "{:?}", opened.sequence);
        assert!(opened.alarms[0].contains("3 pad blocks") && opened.alarms.len() == 1, "{:?}", opened.alarms);
        drop(opened);
        let again = open(&path, pads).unwrap();
        expect(&again, pads);
        assert!(again.alarms.is_empty() && again.incarnation.0 == 4);
        // The old lines stay; the chain begins behind them.
        let log = fs::read(path.join("audit.log")).unwrap();
        assert!(log.starts_with(b"audit line of run 1\naudit line of run 2\n{\"seq\":1,"));
        assert!(!path.join(STAGE).exists());
        let older_reads = StateFile::open(&path.join("state"), SlotKey::first(&master()));
        assert!(matches!(older_reads, Err(StoreError::Damaged { .. })), "an older qkdd would take it");
    }
}

#[test]
fn a_kill_after_any_step_loses_nothing() {
    let steps = PARTS.map(Move::Moved).into_iter().chain([Move::Made, Move::Declared, Move::Done]);
    for step in steps {
        let (_home, path) = fixture();
        for _ in 0..3 {
            let mut killed = |at| if at == step { Err(StoreError::Broken { path: path.clone() }) } else { Ok(()) };
            let _ = dir(&path, PAD_FORM).bring_to_form(&master(), &mut killed);
        }
        expect(&open(&path, PAD_FORM).unwrap_or_else(|error| panic!("{step:?}: {error}")), PAD_FORM);
    }
}

#[test]
fn damage_is_refused_before_anything_is_made() {
    for (part, at) in [("store/db", 700), ("marks/a-b.mark", 60), ("state", 60)] {
        let (_home, path) = fixture();
        let mut bytes = fs::read(path.join(part)).unwrap();
        let step = if part == "store/db" { usize::MAX } else { 4096 };
        (at..bytes.len()).step_by(step).for_each(|at| bytes[at] ^= 1);
        fs::write(path.join(part), &bytes).unwrap();
        let error = open(&path, PAD_FORM).err().expect("refused");
        assert!(error.to_string().contains("qkdctl pool reset --config FILE"), "{error}");
        assert!(!path.join(STAGE).exists() && fs::read(path.join("state")).unwrap()[8] == 1, "{part}");
    }
    for part in ["store", "marks/a-c.mark"] {
        let (_home, path) = fixture();
        if path.join(part).is_dir() {
            fs::remove_dir_all(path.join(part)).unwrap();
        } else {
            fs::remove_file(path.join(part)).unwrap();
        }
        assert!(matches!(open(&path, PAD_FORM), Err(DataDirError::Store(StoreError::Missing { .. }))));
    }
}

#[test]
fn old_parts_put_back_beside_the_new_ones_are_refused() {
    for part in ["store", "marks", "state"] {
        let (_home, path) = fixture();
        let (_old_home, old) = fixture();
        drop(open(&path, PAD_FORM).unwrap());
        if part == "state" {
            fs::copy(old.join(part), path.join(part)).unwrap();
        } else {
            fs::remove_dir_all(path.join(part)).unwrap();
            copy(&old.join(part), &path.join(part));
        }
        assert!(matches!(open(&path, PAD_FORM), Err(DataDirError::Store(_))), "{part}");
    }
}

#[test]
fn a_reset_counts_incarnations_on() {
    let (_home, path) = fixture();
    DataDir::reset(&path, Some(&master())).unwrap();
    assert_eq!(open(&path, PAD_FORM).unwrap().incarnation.0, 3);
}
