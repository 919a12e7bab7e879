//! Kills at every step, and every kind of damage: a typed error, and nothing lost.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use qkd_proto::node::effect::{Record, Table};

use super::super::access::read_master_key;
use super::super::audit::report::verify;
use super::super::rotation::Turn;
use super::super::sled_store::Operation;
use super::*;

fn master() -> SecretBytes {
    SecretBytes::new(vec![7; MASTER_KEY_BYTES])
}

fn prepared() -> (tempfile::TempDir, PathBuf) {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("data");
    DataDir::prepare(&path).unwrap();
    (home, path)
}

fn open(path: &Path) -> Result<OpenedData, DataDirError> {
    DataDir::open(path, &master())
}

fn put(opened: &mut OpenedData, table: Table, key: &str, value: &[u8]) {
    let value = Some(SecretBytes::copy_of(value));
    opened.store.commit(vec![Record { table, key: key.into(), value }]).unwrap();
}

fn get(opened: &OpenedData, table: Table) -> BTreeMap<String, Vec<u8>> {
    let pairs = opened.store.load(table).unwrap().into_iter();
    pairs.map(|(key, value)| (String::from_utf8(key).unwrap(), value.expose().to_vec())).collect()
}

/// A directory that was used in two runs: two marks, some pads.
fn used() -> (tempfile::TempDir, PathBuf) {
    let (home, path) = prepared();
    for run in [1, 2] {
        let mut opened = open(&path).unwrap();
        put(&mut opened, Table::Marks, "a-b", &[run; 10]);
        put(&mut opened, Table::Marks, "a-c", &[run + 10; 10]);
        put(&mut opened, Table::Pads, "a-b slot 1", &[run; 4096]);
        put(&mut opened, Table::Pads, "a-b slot 1", &[run; 4096]);
    }
    (home, path)
}

/// Every file beneath `path` with its bytes, but the lock and the table engine's own.
fn content(path: &Path, with_store: bool) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut todo = vec![path.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let at = entry.unwrap().path();
            match at.file_name().unwrap().to_str().unwrap() {
                "lock" => {}
                "store" if !with_store => {}
                _ if at.is_dir() => todo.push(at),
                _ => drop(found.insert(at.clone(), fs::read(&at).unwrap())),
            }
        }
    }
    found
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    fs::set_permissions(to, fs::metadata(from).unwrap().permissions()).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let at = entry.unwrap().path();
        let target = to.join(at.file_name().unwrap());
        if at.is_dir() { copy(&at, &target) } else { fs::copy(&at, &target).map(drop).unwrap() }
    }
}

fn replace(from: &Path, to: &Path) {
    fs::remove_dir_all(to).unwrap();
    copy(from, to);
}

/// Opens a damaged directory: the error must be of the kind that `expected` takes, name what to do,
/// and leave all as it was.
fn refused(path: &Path, with_store: bool, expected: impl Fn(&StoreError) -> bool) {
    let before = content(path, with_store);
    let error = open(path).err().expect("damage is refused");
    assert!(matches!(&error, DataDirError::Store(error) if expected(error)), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("qkdctl pool reset --config FILE") && !text.ends_with('.'), "{text}");
    assert!(content(path, with_store) == before, "something was changed");
}

#[test]
fn each_open_has_its_own_incarnation_and_keeps_the_records() {
    let (_home, path) = used();
    let opened = open(&path).unwrap();
    assert_eq!((opened.incarnation, opened.generation), (Incarnation(3), 3));
    assert_eq!(get(&opened, Table::Marks)["a-b"], [2; 10]);
    assert_eq!(get(&opened, Table::Pads)["a-b slot 1"], [2; 4096]);
}

#[test]
fn a_second_open_is_refused_while_the_store_lives() {
    let (_home, path) = prepared();
    let OpenedData { store, .. } = open(&path).unwrap();
    assert!(matches!(open(&path), Err(DataDirError::InUse { .. })));
    assert!(matches!(DataDir::reset(&path, None), Err(DataDirError::InUse { .. })));
    drop(store);
    open(&path).unwrap();
}

#[test]
fn what_others_may_read_is_refused() {
    let (home, path) = prepared();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o750)).unwrap();
    let error = open(&path).err().unwrap();
    assert!(matches!(error, DataDirError::Exposed { mode: 0o750, .. }), "{error}");
    let key = home.path().join("master.key");
    fs::write(&key, [1; 32]).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    assert!(matches!(read_master_key(&key), Err(DataDirError::Exposed { .. })));
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(read_master_key(&key).unwrap().expose(), [1; 32]);
    fs::write(&key, [1; 33]).unwrap();
    assert!(matches!(read_master_key(&key), Err(DataDirError::MasterKeyLength { .. })));
}

#[test]
fn a_kill_after_any_step_leaves_a_directory_that_opens() {
    let first = [Step::Emptied, Step::StateMade, Step::StoreMade, Step::FreshGone];
    for step in first.into_iter().chain([Step::StateOpening, Step::StoreBumped, Step::StateOpen]) {
        let (_home, path) = prepared();
        for _ in 0..3 {
            kill_after(&path, step);
        }
        let mut opened = open(&path).unwrap_or_else(|error| panic!("{step:?}: {error}"));
        put(&mut opened, Table::Marks, "a-b", b"1");
        drop(opened);
        for _ in 0..3 {
            kill_after(&path, step);
        }
        let again = open(&path).unwrap_or_else(|error| panic!("{step:?}: {error}"));
        assert_eq!(get(&again, Table::Marks)["a-b"], b"1", "{step:?}");
    }
}

/// Opens up to and with `step`; a start that does not come by it is a whole one.
fn kill_after(path: &Path, step: Step) {
    let mut killed = |at| if at == step { Err(DataDirError::FreshFormat { path: path.to_owned() }) } else { Ok(()) };
    let _ = DataDir::at(path).open_in_steps(&master(), &mut killed);
}

#[test]
fn a_kill_after_any_step_of_a_renewal_loses_nothing() {
    let turns = [Turn::Announced, Turn::RingCopied, Turn::MarksWritten, Turn::Forgotten, Turn::OtherGone];
    for turn in turns {
        let (home, path) = prepared();
        let mut opened = open(&path).unwrap();
        put(&mut opened, Table::Transfers, "t", b"1");
        drop(opened);
        for kill in 1..4u8 {
            let dir = DataDir::at(&path);
            let mut parts = dir.check(&master()).unwrap();
            let mut seen = Vec::new();
            let killed = rotation::renew(&mut parts, &mut |at| {
                seen.push(at);
                if at == turn { Err(StoreError::Broken { path: path.clone() }) } else { Ok(()) }
            });
            assert!(killed.is_err() && seen.last() == Some(&turn));
            drop(parts);
            let copied = home.path().join(format!("killed {kill}"));
            copy(&path, &copied);
            let mut opened = open(&path).unwrap_or_else(|error| panic!("{turn:?}: {error}"));
            let held = get(&opened, Table::Transfers)["t"].clone();
            assert_eq!(held, [b'0' + kill], "{turn:?}");
            put(&mut opened, Table::Transfers, "t", &[b'1' + kill]);
            put(&mut opened, Table::Marks, "a-b", &[kill]);
            drop(opened);
            assert_eq!(files::names(&path).unwrap().iter().filter(|name| name.starts_with("ring.")).count(), 1);
            drop(open(&copied).unwrap_or_else(|error| panic!("{turn:?}: {error}")));
        }
    }
}

/// A kill between the two slots of the last step leaves the earlier key in one: the next open overwrites it.
#[test]
fn a_kill_while_a_key_is_forgotten_is_made_good() {
    let (_home, path) = prepared();
    drop(open(&path).unwrap());
    let mut parts = DataDir::at(&path).check(&master()).unwrap();
    let mut before = Vec::new();
    rotation::renew(&mut parts, &mut |at| {
        if at == Turn::MarksWritten {
            before = fs::read(path.join("shred")).unwrap();
        }
        Ok(())
    })
    .unwrap();
    drop(parts);
    let after = fs::read(path.join("shred")).unwrap();
    let (old, new) = (&before[..4096], &after[4096..]);
    assert!(before[4096..] == *old && after[..4096] == *new && old != new);
    fs::write(path.join("shred"), [old, new].concat()).unwrap();
    let opened = open(&path).unwrap();
    assert!(fs::read(path.join("shred")).unwrap() == [new, new].concat());
    drop(opened);
}

#[test]
fn incarnations_never_repeat_across_kills() {
    let (_home, path) = used();
    kill_after(&path, Step::StateOpening);
    kill_after(&path, Step::StoreBumped);
    assert_eq!(open(&path).unwrap().incarnation, Incarnation(5));
}

#[test]
fn half_made_files_are_not_in_the_way() {
    let (_home, path) = used();
    fs::write(path.join("state.new"), b"half").unwrap();
    fs::write(path.join("marks/a-d.mark.new"), b"half").unwrap();
    fs::write(path.join("store/snap.0000.generating"), b"").unwrap();
    let mut opened = open(&path).unwrap();
    put(&mut opened, Table::Marks, "a-d", b"1");
    assert_eq!(get(&opened, Table::Marks).len(), 3);
}

#[test]
fn without_fresh_an_empty_directory_is_not_filled() {
    let (_home, path) = prepared();
    fs::remove_file(path.join(FRESH_FILE)).unwrap();
    refused(&path, true, |error| matches!(error, StoreError::Missing { .. }));
}

#[test]
fn fresh_beside_used_state_is_refused() {
    let (_home, path) = used();
    assert!(matches!(DataDir::prepare(&path), Err(DataDirError::FreshBesideUsed { .. })));
    fs::write(path.join(FRESH_FILE), "qkdd fresh 1\n").unwrap();
    let before = content(&path, true);
    assert!(matches!(open(&path), Err(DataDirError::FreshBesideUsed { .. })));
    assert!(content(&path, true) == before);
    fs::remove_file(path.join("state")).unwrap();
    assert!(matches!(open(&path), Err(DataDirError::FreshBesideUsed { .. })));
    fs::write(path.join(FRESH_FILE), "anything").unwrap();
    assert!(matches!(open(&path), Err(DataDirError::FreshFormat { .. })));
}

#[test]
fn reset_keeps_the_audit_log_and_counts_incarnations_on() {
    let (_home, path) = used();
    let mut opened = open(&path).unwrap();
    let id = opened.id;
    put(&mut opened, Table::Audit, "", b"line one");
    drop(opened);
    fs::remove_file(path.join("marks/a-b.mark")).unwrap();
    assert!(open(&path).is_err());
    DataDir::reset(&path, Some(&master())).unwrap();
    DataDir::reset(&path, None).unwrap();
    let opened = open(&path).unwrap();
    assert_eq!((opened.incarnation, opened.generation), (Incarnation(4), 1));
    assert_ne!(opened.id, id);
    assert!(get(&opened, Table::Marks).is_empty() && get(&opened, Table::Pads).is_empty());
    drop(opened);
    let kept = verify(&path, Some(&master())).unwrap();
    assert!(kept.whole && kept.lines == 1, "{kept:?}");
}

#[test]
fn missing_parts_are_missing_never_fresh() {
    for part in ["state", "shred", "ring.1", "store", "store/db", "store/conf", "marks", "marks/a-b.mark"] {
        let (_home, path) = used();
        let at = path.join(part);
        if at.is_dir() {
            fs::remove_dir_all(at).unwrap()
        } else {
            fs::remove_file(at).unwrap()
        }
        let with_store = !part.starts_with("marks");
        refused(&path, with_store, |error| matches!(error, StoreError::Missing { .. }));
    }
}

#[test]
fn a_truncated_database_is_refused() {
    let (_home, path) = used();
    let whole = fs::read(path.join("store/db")).unwrap();
    for length in [0, 1, 100, 4096, whole.len() / 2] {
        let (_home, path) = used();
        let file = fs::OpenOptions::new().write(true).open(path.join("store/db")).unwrap();
        file.set_len(length as u64).unwrap();
        for name in files::names(&path.join("store")).unwrap() {
            if name.starts_with("snap.") {
                fs::remove_file(path.join("store").join(name)).unwrap();
            }
        }
        if let Ok(opened) = open(&path) {
            assert_eq!(get(&opened, Table::Pads)["a-b slot 1"], [2; 4096], "{length}: data lost without an error");
            continue;
        }
        refused(&path, false, |error| !matches!(error, StoreError::Broken { .. }));
    }
}

#[test]
fn a_damaged_slot_loses_nothing_and_two_are_refused() {
    for file in ["state", "shred", "marks/a-b.mark"] {
        for at in [0, 8, 9, 12, 28, 36, 44, 48, 57, 58, 1000, 4063, 4064, 4095] {
            let (_home, path) = used();
            flip(&path.join(file), at);
            let opened = open(&path).unwrap();
            assert_eq!((opened.generation, &get(&opened, Table::Marks)["a-b"][..]), (3, &[2; 10][..]), "{file} {at}");
            drop(opened);
            flip(&path.join(file), at);
            flip(&path.join(file), at + 4096);
            refused(&path, true, |error| matches!(error, StoreError::Damaged { .. }));
        }
    }
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 0x10;
    fs::write(path, bytes).unwrap();
}

#[test]
fn truncated_and_longer_slot_files_are_refused() {
    for file in ["state", "shred", "marks/a-b.mark"] {
        for length in [0, 100, 4096, 8191, 8193] {
            let (_home, path) = used();
            fs::OpenOptions::new().write(true).open(path.join(file)).unwrap().set_len(length).unwrap();
            refused(&path, true, |error| matches!(error, StoreError::Damaged { .. }));
        }
    }
}

#[test]
fn parts_of_another_link_or_directory_are_refused() {
    let (_home, path) = used();
    fs::copy(path.join("marks/a-c.mark"), path.join("marks/a-b.mark")).unwrap();
    refused(&path, true, |error| matches!(error, StoreError::Damaged { .. }));

    let (_other_home, other) = used();
    let (_home, path) = used();
    fs::copy(other.join("marks/a-b.mark"), path.join("marks/a-b.mark")).unwrap();
    refused(&path, true, |error| matches!(error, StoreError::Foreign { .. }));

    let (_home, path) = used();
    replace(&other.join("store"), &path.join("store"));
    refused(&path, false, |error| matches!(error, StoreError::Foreign { .. }));

    let (_home, path) = used();
    fs::copy(other.join("state"), path.join("state")).unwrap();
    refused(&path, true, |error| matches!(error, StoreError::Foreign { .. }));

    for part in ["shred", "ring"] {
        let (_home, path) = used();
        restore(&other, &path, part);
        refused(&path, true, |error| matches!(error, StoreError::Foreign { .. }));
    }
}

#[test]
fn another_master_key_opens_nothing() {
    let (_home, path) = used();
    let opened = DataDir::open(&path, &SecretBytes::new(vec![8; 32]));
    assert!(matches!(opened, Err(DataDirError::Store(StoreError::Damaged { .. }))));
}

#[test]
fn parts_from_an_earlier_run_are_refused() {
    for part in ["state", "store", "marks", "shred", "ring"] {
        let (home, path) = used();
        let backup = home.path().join("backup");
        copy(&path, &backup);
        let mut opened = open(&path).unwrap();
        put(&mut opened, Table::Marks, "a-b", b"newer");
        put(&mut opened, Table::Pools, "a-b", b"newer");
        drop(opened);
        restore(&backup, &path, part);
        refused(&path, false, |error| matches!(error, StoreError::Older { .. }));
    }
}

#[test]
fn parts_from_earlier_in_the_same_run_are_refused() {
    for part in ["store", "marks"] {
        let (home, path) = used();
        let backup = home.path().join("backup");
        let mut opened = open(&path).unwrap();
        put(&mut opened, Table::Pools, "a-b", b"1");
        drop(opened);
        let opened = open(&path).unwrap();
        copy(&path, &backup);
        let mut opened = opened;
        put(&mut opened, Table::Pools, "a-b", b"2");
        put(&mut opened, Table::Marks, "a-b", b"3");
        put(&mut opened, Table::Pools, "a-b", b"4");
        drop(opened);
        restore(&backup, &path, part);
        refused(&path, false, |error| matches!(error, StoreError::Older { .. }));
    }
}

fn restore(backup: &Path, path: &Path, part: &str) {
    if part == "ring" {
        let names = |dir: &Path| files::names(dir).unwrap().into_iter().filter(|name| name.starts_with("ring."));
        names(path).for_each(|name| fs::remove_file(path.join(name)).unwrap());
        return names(backup).for_each(|name| fs::copy(backup.join(&name), path.join(name)).map(drop).unwrap());
    }
    let (from, to) = (backup.join(part), path.join(part));
    if from.is_dir() { replace(&from, &to) } else { fs::copy(from, to).map(drop).unwrap() }
}

#[test]
fn a_deleted_mark_is_no_loss() {
    let (_home, path) = used();
    let mut opened = open(&path).unwrap();
    opened.store.commit(vec![Record { table: Table::Marks, key: b"a-b".to_vec(), value: None }]).unwrap();
    drop(opened);
    assert_eq!(get(&open(&path).unwrap(), Table::Marks).len(), 1);
}

#[test]
fn a_line_torn_by_a_crash_is_ended_before_the_next() {
    let (_home, path) = prepared();
    drop(open(&path).unwrap());
    fs::write(path.join("audit.log"), b"hal").unwrap();
    let mut opened = open(&path).unwrap();
    put(&mut opened, Table::Audit, "", b"next");
    let kept = verify(&path, Some(&master())).unwrap();
    assert!(kept.whole && (kept.lines, kept.torn) == (2, 1), "{kept:?}");
}

/// What is read from a database with damaged bytes is what was written, or an error.
#[test]
fn damaged_bytes_in_the_database_never_become_data() {
    let (home, path) = used();
    let (db, whole) = (path.join("store/db"), home.path().join("whole"));
    copy(&path, &whole);
    let bytes = fs::read(&db).unwrap();
    let used_up_to = bytes.iter().rposition(|&byte| byte != 0).unwrap();
    for i in 0..60 {
        replace(&whole, &path);
        let at = used_up_to * i / 60;
        let mut damaged = bytes.clone();
        match i % 3 {
            0 => damaged[at] ^= 1 << (i % 8),
            1 => damaged[at..used_up_to.min(at + 4096)].fill(0),
            _ => damaged.copy_within(0..4096.min(used_up_to - at), at),
        }
        fs::write(&db, damaged).unwrap();
        let Ok(opened) = open(&path) else { continue };
        let Ok(pads) = opened.store.load(Table::Pads) else { continue };
        assert!(pads.len() == 1 && pads[0].1.expose() == [2; 4096], "mutation {i} at {at}: {} records", pads.len());
    }
}

/// As given, pads are bytes like any others to the disk: neither hidden, nor vouched for, nor read by an open.
#[test]
fn pads_in_their_given_form_are_left_alone() {
    for (pads, sealed) in [(PadForm::Sealed, true), (PadForm::AsGiven, false)] {
        let (_home, path) = prepared();
        let dir = DataDir { pads, ..DataDir::at(&path) };
        let open = || dir.open_in_steps(&master(), &mut |_| Ok(()));
        let mut opened = open().unwrap();
        put(&mut opened, Table::Pads, "a-b slot 1", &[b'P'; 4096]);
        put(&mut opened, Table::Pools, "a-b", &[b'Q'; 4096]);
        drop(opened);
        let in_clear = |byte| fs::read(path.join("store/db")).unwrap().windows(1024).any(|bytes| bytes == [byte; 1024]);
        assert!(in_clear(b'P') != sealed && !in_clear(b'Q'));
        let opened = open().unwrap();
        assert_eq!(get(&opened, Table::Pads)["a-b slot 1"], [b'P'; 4096]);
        let key = b"a-b slot 1".to_vec();
        let found = opened.store.read(Table::Pads, vec![key.clone(), b"x".to_vec()]).unwrap();
        assert!(found[0].1.as_ref().unwrap().expose() == [b'P'; 4096] && found[1].1.is_none());
        drop(opened);
        let mut sled = SledStore::open(&path.join("store")).unwrap();
        let value = Some(b"other bytes".to_vec());
        sled.apply(vec![vec![Operation { key: [b"d".as_slice(), &key].concat(), value }]]).unwrap();
        drop(sled);
        match open() {
            Ok(opened) => assert!(!sealed && get(&opened, Table::Pads)["a-b slot 1"] == b"other bytes"),
            Err(error) => assert!(sealed, "{error}"),
        }
    }
}

fn open_anchored(path: &Path, anchors: &Path) -> OpenedData {
    let options = StoreOptions { anchor_dir: Some(anchors.to_owned()), ..StoreOptions::default() };
    DataDir::open_with(path, &master(), options).unwrap()
}

/// A copy of the whole directory, put back while the machine is up, is what no part of it can tell.
#[test]
fn an_older_copy_of_the_whole_directory_is_rolled_back() {
    let anchors = tempfile::tempdir_in("/dev/shm").unwrap();
    for what in [Table::Transfers, Table::Marks] {
        let (home, path) = used();
        assert_eq!(open_anchored(&path, anchors.path()).standing, Standing::Unconfirmed);
        let mut opened = open_anchored(&path, anchors.path());
        assert_eq!(opened.standing, Standing::Unconfirmed, "nobody vouched");
        opened.store.vouch();
        drop(opened);
        let mut opened = open_anchored(&path, anchors.path());
        assert_eq!(opened.standing, Standing::Anchored);
        let (backup, killed) = (home.path().join("backup"), home.path().join("killed"));
        copy(&path, &backup);
        put(&mut opened, what, "a-b", b"newer");
        copy(&path, &killed);
        drop(opened);
        assert_eq!(open_anchored(&path, anchors.path()).standing, Standing::Anchored);
        replace(&backup, &path);
        for start in 0..3 {
            assert_eq!(open_anchored(&path, anchors.path()).standing, Standing::RolledBack, "{what:?} {start}");
        }
        assert_eq!(open(&path).unwrap().standing, Standing::Unconfirmed);
    }
}

#[test]
fn kills_leave_the_anchor_behind_by_one_commit_at_most() {
    let anchors = tempfile::tempdir_in("/dev/shm").unwrap();
    let (home, path) = prepared();
    let options = || StoreOptions { anchor_dir: Some(anchors.path().to_owned()), ..StoreOptions::default() };
    assert_eq!(open_anchored(&path, anchors.path()).standing, Standing::Anchored, "made just now");
    for (kill, step) in [Step::StateOpening, Step::StoreBumped, Step::StateOpen].into_iter().enumerate() {
        let dir = DataDir { options: options(), ..DataDir::at(&path) };
        let mut killed = |at| if at == step { Err(DataDirError::InUse { path: path.clone() }) } else { Ok(()) };
        assert!(dir.open_in_steps(&master(), &mut killed).is_err());
        let mut opened = open_anchored(&path, anchors.path());
        assert_eq!(opened.standing, Standing::Anchored, "{step:?}");
        put(&mut opened, Table::Marks, "a-b", b"1");
        put(&mut opened, Table::Transfers, "t", b"1");
        let at_kill = home.path().join(kill.to_string());
        copy(&path, &at_kill);
        let shm = fs::read_dir(anchors.path()).unwrap().map(|entry| entry.unwrap().path()).next().unwrap();
        let anchor = fs::read(&shm).unwrap();
        drop(opened);
        replace(&at_kill, &path);
        fs::write(&shm, anchor).unwrap();
        assert_eq!(open_anchored(&path, anchors.path()).standing, Standing::Anchored, "{step:?}");
    }
}

fn open_ephemeral(path: &Path) -> Result<OpenedData, DataDirError> {
    let options = StoreOptions { profile: Profile::Ephemeral, ..StoreOptions::default() };
    DataDir::open_with(path, &master(), options)
}

#[test]
fn an_ephemeral_directory_keeps_numbers_and_audit_lines_only() {
    let (_home, path) = prepared();
    let mut last = (0, StoreSequence(0));
    for run in 1..=3 {
        let mut opened = open_ephemeral(&path).unwrap();
        assert!(opened.incarnation.0 > last.0 && opened.sequence > last.1);
        assert!(get(&opened, Table::Transfers).is_empty() && get(&opened, Table::Marks).is_empty());
        put(&mut opened, Table::Transfers, "t", b"1");
        put(&mut opened, Table::Marks, "a-b", b"1");
        put(&mut opened, Table::Audit, "", format!("{{\"run\":{run}}}").as_bytes());
        last = (opened.incarnation.0, opened.store.commit(Vec::new()).unwrap());
        drop(opened);
        assert_eq!(files::names(&path).unwrap(), ["audit.head", "audit.log", "ballast", "lock", "state"]);
    }
    let log = fs::read_to_string(path.join("audit.log")).unwrap();
    assert!((1..=3).all(|run| log.contains(&format!("\"run\":{run}"))), "{log}");
    let error = open(&path).err().unwrap();
    assert!(matches!(&error, DataDirError::OtherProfile { made_with: Profile::Ephemeral, .. }), "{error}");
    DataDir::reset(&path, Some(&master())).unwrap();
    assert_eq!(open(&path).unwrap().incarnation.0, 4);
    assert!(matches!(open_ephemeral(&path), Err(DataDirError::OtherProfile { made_with: Profile::Durable, .. })));
}
