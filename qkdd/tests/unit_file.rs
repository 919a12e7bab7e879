//! The systemd unit is as closed as it may be, and lets the node do what it must. Where there is no
//! `systemd-analyze`, this says so and passes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Highest exposure level, from 0 to 10.
const EXPOSURE_MAX: f64 = 1.5;
/// What the node calls at start and while it serves, of what filters often take away.
const NEEDED: [&str; 18] = [
    "mlock",
    "memfd_secret",
    "landlock_create_ruleset",
    "landlock_add_rule",
    "landlock_restrict_self",
    "seccomp",
    "prlimit64",
    "prctl",
    "execve",
    "clone3",
    "fallocate",
    "sync_file_range",
    "flock",
    "statx",
    "getrandom",
    "accept4",
    "epoll_wait",
    "chmod",
];

fn unit() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/systemd/qkdd.service")
}

/// What the program says; none where it is not installed.
fn analyze(arguments: &[&str]) -> Option<String> {
    match Command::new("systemd-analyze").args(arguments).output() {
        Ok(output) => Some(String::from_utf8_lossy(&output.stdout).into_owned()),
        Err(error) => {
            println!("systemd-analyze does not run here ({error}): the unit was not looked at");
            None
        }
    }
}

#[test]
fn the_exposure_is_low() {
    let unit = unit();
    let unit = unit.to_str().expect("UTF-8");
    let Some(told) = analyze(&["security", "--offline=true", "--no-pager", unit]) else { return };
    let level = told.lines().find_map(|line| line.split_once("exposure level for qkdd.service: "));
    let level: f64 =
        level.and_then(|(_, rest)| rest.split(' ').next()?.parse().ok()).unwrap_or_else(|| panic!("{told}"));
    println!("exposure level {level}");
    assert!(level <= EXPOSURE_MAX, "{told}");
}

#[test]
fn the_filter_lets_the_node_do_what_it_must() {
    let Some(told) = analyze(&["syscall-filter", "--no-pager"]) else { return };
    let mut groups: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut current = "";
    for line in told.lines() {
        let word = line.trim().trim_start_matches("\u{1b}[0;1;39m").trim_end_matches("\u{1b}[0m");
        if line.starts_with('@') {
            current = word;
        } else if line.starts_with(' ') && !word.starts_with('#') {
            groups.entry(current).or_default().push(word);
        }
    }
    let text = fs::read_to_string(unit()).expect("the unit");
    let mut allowed = BTreeSet::new();
    for rule in text.lines().filter_map(|line| line.strip_prefix("SystemCallFilter=")) {
        let removed = rule.starts_with('~');
        for word in rule.trim_start_matches('~').split(' ') {
            let mut calls = BTreeSet::new();
            expand(&groups, word, &mut calls);
            allowed = if removed { &allowed - &calls } else { &allowed | &calls };
        }
    }
    let missing: Vec<_> = NEEDED.iter().filter(|call| !allowed.contains(**call)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    let deadly = ["ptrace", "mount", "bpf", "keyctl", "init_module", "process_vm_readv"];
    assert!(deadly.iter().all(|call| !allowed.contains(call)));
}

fn expand<'a>(groups: &BTreeMap<&str, Vec<&'a str>>, word: &'a str, calls: &mut BTreeSet<&'a str>) {
    match groups.get(word) {
        Some(members) => members.iter().for_each(|member| expand(groups, member, calls)),
        None => drop(calls.insert(word)),
    }
}
