//! The pad checker. In: the lines that daemons wrote before each use of a pad. Out: every pad byte
//! that hid two different things. Always: the same range with the same digest is a repetition of one
//! message, anything else that overlaps is a fault.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::error::Failed;

/// Most faults that are told.
const FAULTS_SHOWN: usize = 20;

/// One use of a pad range.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub(crate) struct PadUse {
    link: String,
    pool: String,
    forward: bool,
    offset: u64,
    length: u64,
    digest: String,
    #[serde(default)]
    purpose: String,
}

/// What the ledgers of all nodes tell together.
#[derive(Default)]
pub(crate) struct PadLedger {
    uses: Vec<PadUse>,
}

impl PadLedger {
    /// Adds one node's file; a missing file is an empty one.
    pub(crate) fn read(&mut self, path: &Path) -> Result<(), Failed> {
        if !path.exists() {
            return Ok(());
        }
        let text = std::fs::read_to_string(path).map_err(|error| Failed::file(path, error))?;
        for (i, line) in text.lines().enumerate() {
            self.add(line).map_err(|error| Failed::new(format!("{}:{}: {error}", path.display(), i + 1)))?;
        }
        Ok(())
    }

    fn add(&mut self, line: &str) -> Result<(), serde_json::Error> {
        self.uses.push(serde_json::from_str(line)?);
        Ok(())
    }

    /// How many uses were seen, of how many pools.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let pools: std::collections::BTreeSet<_> = self.uses.iter().map(|used| (&used.link, &used.pool)).collect();
        (self.uses.len(), pools.len())
    }

    /// Every fault, one line each, at most twenty.
    pub(crate) fn faults(&mut self) -> Vec<String> {
        self.uses.sort();
        let mut last: BTreeMap<(&str, &str, bool), &PadUse> = BTreeMap::new();
        let mut faults = Vec::new();
        for used in &self.uses {
            let stream = (used.link.as_str(), used.pool.as_str(), used.forward);
            let Some(before) = last.get_mut(&stream) else {
                last.insert(stream, used);
                continue;
            };
            let repeated = (before.offset, before.length, &before.digest) == (used.offset, used.length, &used.digest);
            if before.offset + before.length > used.offset && !repeated {
                faults.push(describe(before, used));
            }
            if used.offset + used.length >= before.offset + before.length {
                *before = used;
            }
        }
        faults.truncate(FAULTS_SHOWN);
        faults
    }
}

fn describe(before: &PadUse, used: &PadUse) -> String {
    let direction = if used.forward { "forward" } else { "backward" };
    format!(
        "link {} pool {} {direction}: bytes {}+{} for {} and {}+{} for {} hide different things",
        used.link, used.pool, before.offset, before.length, before.purpose, used.offset, used.length, used.purpose
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(uses: &[(&str, bool, u64, u64, &str)]) -> PadLedger {
        let mut ledger = PadLedger::default();
        for (pool, forward, offset, length, digest) in uses {
            let line = format!(
                r#"{{"link":"a-b","pool":"{pool}","forward":{forward},"offset":{offset},"length":{length},"purpose":"relay","digest":"{digest}"}}"#
            );
            ledger.add(&line).expect("a line");
        }
        ledger
    }

    #[test]
    fn a_planted_reuse_is_caught() {
        for planted in
            [("p", true, 0, 32, "bb"), ("p", true, 31, 1, "bb"), ("p", true, 31, 1, "aa"), ("p", true, 8, 8, "cc")]
        {
            let mut ledger = ledger(&[("p", true, 0, 32, "aa"), ("p", true, 32, 32, "dd"), planted]);
            assert_eq!(ledger.faults().len(), 1, "{planted:?}");
        }
    }

    #[test]
    fn a_long_range_hides_no_later_overlap() {
        let mut ledger = ledger(&[("p", true, 0, 100, "aa"), ("p", true, 100, 4, "dd"), ("p", true, 98, 1, "bb")]);
        assert_eq!(ledger.faults().len(), 1);
    }

    #[test]
    fn repetitions_and_other_streams_are_fine() {
        let fine = [
            ("p", true, 0, 32, "aa"),
            ("p", true, 0, 32, "aa"),
            ("p", false, 0, 32, "bb"),
            ("q", true, 0, 32, "cc"),
            ("p", true, 32, 1, "dd"),
        ];
        let mut ledger = ledger(&fine);
        assert_eq!(ledger.faults(), Vec::<String>::new());
        assert_eq!(ledger.counts(), (5, 2));
        assert!(ledger.add("{").is_err());
    }
}
