//! Planted edits, deletions, moves, cuts and tears: each shows, and nothing else does.

use std::os::unix::fs::PermissionsExt as _;

use super::report::{Verdict, last, verify};
use super::*;

fn master() -> SecretBytes {
    SecretBytes::new(vec![7; 32])
}

const SMALL: AuditLimits = AuditLimits { file_bytes: 2000, files: 3 };

fn open(dir: &Path) -> AuditLog {
    AuditLog::open(dir, &master(), AuditLimits::default()).unwrap()
}

/// A log whose files hold some ten lines.
fn small(dir: &Path) -> AuditLog {
    AuditLog::open(dir, &master(), SMALL).unwrap()
}

fn record(text: &str) -> Record {
    Record { table: Table::Audit, key: Vec::new(), value: Some(SecretBytes::copy_of(text.as_bytes())) }
}

/// A log of `count` lines, written by one run.
fn written(count: u64) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    (1..=count).for_each(|i| log.append(&[record(&format!("{{\"unix_ms\":5,\"n\":{i}}}"))]).unwrap());
    dir
}

fn checked(dir: &Path) -> Verdict {
    let (keyed, plain) = (verify(dir, Some(&master())).unwrap(), verify(dir, None).unwrap());
    assert!(keyed.authenticated && !plain.authenticated);
    assert!(keyed.whole <= plain.whole, "who has the key sees at least as much: {keyed:?} {plain:?}");
    keyed
}

fn lines(dir: &Path) -> Vec<String> {
    fs::read_to_string(dir.join(CURRENT)).unwrap().lines().map(str::to_owned).collect()
}

fn write_lines(dir: &Path, lines: &[String]) {
    fs::write(dir.join(CURRENT), lines.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
}

#[test]
fn lines_are_chained_over_runs() {
    let dir = written(5);
    open(dir.path()).append(&[record("{\"a\":1}"), record("plain \"words\"")]).unwrap();
    let verdict = checked(dir.path());
    assert_eq!((verdict.whole, verdict.lines, verdict.last_seq, verdict.torn), (true, 7, Some(7), 0), "{verdict:?}");
    let shown = last(dir.path(), 2).unwrap();
    assert_eq!(shown[0]["a"], 1);
    assert_eq!((&shown[1]["seq"], &shown[1]["text"]), (&7.into(), &"plain \"words\"".into()));
    let mode = fs::metadata(dir.path().join(CURRENT)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_planted_edit_deletion_or_move_shows_in_its_line() {
    type Plant = fn(&mut Vec<String>);
    let plants: [(Plant, u64, bool); 6] = [
        (|lines| lines[3] = lines[3].replace("\"n\":4", "\"n\":9"), 4, true),
        (|lines| drop(lines.remove(3)), 4, true),
        (|lines| lines.swap(3, 4), 4, true),
        (|lines| lines.insert(3, "{}".into()), 4, true),
        (|lines| lines.insert(3, lines[2].clone()), 4, true),
        // The hashes of the last line stand behind nothing: only the MAC and the head tell.
        (|lines| lines[9] = lines[9].replace("\"n\":10", "\"n\":11"), 10, true),
    ];
    for (i, (plant, line, shows)) in plants.into_iter().enumerate() {
        let dir = written(10);
        let mut text = lines(dir.path());
        plant(&mut text);
        write_lines(dir.path(), &text);
        let verdict = checked(dir.path());
        assert_eq!(!verdict.whole, shows, "plant {i}: {verdict:?}");
        assert_eq!(verdict.broken.as_ref().map(|broken| broken.line), Some(line), "plant {i}: {verdict:?}");
        assert!(!verify(dir.path(), None).unwrap().whole, "plant {i} without the key");
        drop(open(dir.path()));
        assert!(!checked(dir.path()).whole, "plant {i}: a start does not heal it");
    }
}

/// Who can write the disk but has not the key can make a chain that hashes well.
#[test]
fn a_chain_written_anew_shows_to_the_key() {
    let dir = written(10);
    let foreign = AuditKey::new(&SecretBytes::new(vec![8; 32]));
    let (mut chain, mut text) = (Chain::START, Vec::new());
    for i in 1..=10 {
        let (line, after) = foreign.compose(&chain, &format!("\"unix_ms\":5,\"n\":{}", i * 2));
        text.push(line);
        chain = after;
    }
    write_lines(dir.path(), &text);
    assert_eq!(checked(dir.path()).broken.unwrap().line, 1);
}

#[test]
fn a_cut_end_shows_before_and_after_the_next_start() {
    for keep in [0, 1, 9] {
        let dir = written(10);
        write_lines(dir.path(), &lines(dir.path())[..keep]);
        assert!(!verify(dir.path(), None).unwrap().whole, "{keep} lines are left");
        assert!(!checked(dir.path()).whole);
        let mut log = open(dir.path());
        log.append(&[record("{\"n\":11}")]).unwrap();
        drop(log);
        let verdict = checked(dir.path());
        assert!(verdict.broken.unwrap().reason.contains("lines at its end were cut"), "{keep} lines are left");
        let seqs: Vec<_> = last(dir.path(), 2).unwrap().iter().map(|line| line["seq"].as_u64().unwrap()).collect();
        assert_eq!(seqs, [11, 12], "no number is used twice");
    }
    let dir = written(10);
    fs::remove_file(dir.path().join(CURRENT)).unwrap();
    assert!(!checked(dir.path()).whole);
    drop(open(dir.path()));
    assert!(!checked(dir.path()).whole);
    let dir = written(10);
    fs::remove_file(dir.path().join(HEAD)).unwrap();
    assert!(!checked(dir.path()).whole);
    drop(open(dir.path()));
    assert!(checked(dir.path()).broken.unwrap().reason.contains("its head was gone"));
}

#[test]
fn what_a_crash_tears_is_marked_and_the_chain_goes_on() {
    for torn in [&b"{\"seq\":11,\"un"[..], &[0; 5000], b"\0\0\0\n{\"seq\":13}\nx", b"half\n"] {
        let dir = written(10);
        let mut file = files::options().append(true).open(dir.path().join(CURRENT)).unwrap();
        file.write_all(torn).unwrap();
        let before = checked(dir.path());
        assert_eq!(before.ends_torn, !torn.contains(&b'\n'), "{before:?}");
        let mut log = open(dir.path());
        log.append(&[record("{\"n\":11}")]).unwrap();
        drop(log);
        let verdict = checked(dir.path());
        assert_eq!((verdict.whole, verdict.torn, verdict.last_seq), (true, 1, Some(12)), "{verdict:?}");
        // A tear that is edited afterwards is none.
        let text = fs::read(dir.path().join(CURRENT)).unwrap();
        let at = text.windows(torn.len()).position(|window| window == torn).unwrap();
        let edited = [&text[..at], b"y", &text[at + 1..]].concat();
        fs::write(dir.path().join(CURRENT), edited).unwrap();
        assert!(!checked(dir.path()).whole);
    }
}

/// A kill between the append and the head, or a power loss that kept an older head.
#[test]
fn a_head_that_is_behind_is_brought_up() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = small(dir.path());
    (0..3).for_each(|_| log.append(&[record("{\"n\":1}")]).unwrap());
    let old = fs::read(dir.path().join(HEAD)).unwrap();
    (0..20).for_each(|_| log.append(&[record("{\"n\":2}")]).unwrap());
    std::mem::forget(log);
    fs::write(dir.path().join(HEAD), old).unwrap();
    let mut log = small(dir.path());
    log.append(&[record("{\"n\":3}")]).unwrap();
    let verdict = checked(dir.path());
    assert!(verdict.whole && verdict.files > 1, "{verdict:?}");
}

#[test]
fn full_files_are_kept_up_to_their_number_and_hold_one_chain() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = small(dir.path());
    (0..200).for_each(|i| log.append(&[record(&format!("{{\"unix_ms\":5,\"n\":{i}}}"))]).unwrap());
    drop(log);
    let files = log_files(dir.path()).unwrap();
    assert_eq!(files.len(), 4);
    let verdict = checked(dir.path());
    assert!(verdict.whole && verdict.first_seq > Some(100) && verdict.lines > 20, "{verdict:?}");
    assert_eq!(last(dir.path(), 25).unwrap().len(), 25);
    for (i, gone) in files[..3].iter().enumerate() {
        let kept = fs::read(&gone.path).unwrap();
        fs::remove_file(&gone.path).unwrap();
        assert!(!checked(dir.path()).whole, "file {i} is gone");
        fs::write(&gone.path, &kept[..kept.len() / 2]).unwrap();
        assert!(!checked(dir.path()).whole, "file {i} is cut");
        fs::write(&gone.path, kept).unwrap();
    }
    // A kill right after the rename: the chain goes on in a new file.
    fs::rename(dir.path().join(CURRENT), dir.path().join(full_name(first_seq(&files[3].path)))).unwrap();
    let mut log = small(dir.path());
    log.append(&[record("{\"n\":1}")]).unwrap();
    assert!(checked(dir.path()).whole, "{:?}", checked(dir.path()));
}

fn first_seq(path: &Path) -> u64 {
    let text = fs::read_to_string(path).unwrap();
    line::Entry::parse(text.lines().next().unwrap().as_bytes()).unwrap().seq
}

#[test]
fn a_sink_that_cannot_be_written_refuses_until_it_can() {
    let dir = written(3);
    let mut log = open(dir.path());
    log.open.file = File::open("/dev/full").unwrap();
    assert!(log.append(&[record("{\"n\":4}")]).is_err(), "a file that is open for reading takes nothing");
    log.append(&[record("{\"n\":4}")]).unwrap();
    assert_eq!(checked(dir.path()).last_seq, Some(4));
    log.open.state = State::Broken;
    assert!(matches!(log.append(&[record("{\"n\":5}")]), Err(StoreError::Broken { .. })));
}

#[test]
fn fields_of_the_log_itself_are_refused() {
    for text in ["{\"seq\":1}", "{\"a\":1,\"mac\":2}", "{}", "{\"a\":", "{\"a\":1} x", "{\"lost\":\"x\"}"] {
        assert!(check(&record(text)).is_err(), "{text}");
    }
    assert!(check(&record("{\"a\":{\"b\":{}}}")).is_ok());
    assert_eq!(fields("{\"a\":{\"b\":{}}}").unwrap(), "\"a\":{\"b\":{}}");
}
