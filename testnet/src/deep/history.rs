//! What applications saw. In: the outcome of each request. Out: a verdict per rule. Always: a lost
//! answer counts as neither success nor failure.

use std::collections::BTreeMap;

use crate::delivery::Outcome;

/// Faults told of one rule.
const FAULTS_SHOWN: usize = 5;

/// One key, as its two SAEs saw it.
#[derive(Default)]
struct Key {
    /// Digests that the master got.
    got: Vec<String>,
    /// Digests that the slave got.
    fetched: Vec<String>,
    /// Requests of the slave whose answer was lost.
    lost: u32,
    /// Why the slave gave up.
    refused: Option<String>,
}

/// All requests so far.
#[derive(Default)]
pub(super) struct History {
    keys: BTreeMap<String, Key>,
    delivered: u64,
    refused: u64,
    unknown: u64,
}

impl History {
    /// A master asked; returns the id of the key it got.
    pub(super) fn got(&mut self, outcome: &Outcome) -> Option<String> {
        self.count(outcome);
        let Outcome::Delivered(id, digest) = outcome else { return None };
        self.keys.entry(id.clone()).or_default().got.push(digest.clone());
        Some(id.clone())
    }

    /// A slave asked for a key of its master.
    pub(super) fn fetched(&mut self, id: &str, outcome: &Outcome) {
        self.count(outcome);
        let key = self.keys.entry(id.to_owned()).or_default();
        match outcome {
            Outcome::Delivered(_, digest) => key.fetched.push(digest.clone()),
            Outcome::Unknown(_) => key.lost += 1,
            Outcome::Refused(..) | Outcome::NotSent(_) => {}
        }
    }

    /// A slave gave up though the network is whole.
    pub(super) fn gave_up(&mut self, id: &str, reason: &str) {
        self.keys.entry(id.to_owned()).or_default().refused = Some(reason.to_owned());
    }

    /// Counts of requests, in words.
    pub(super) fn counts(&self) -> String {
        let keys = self.keys.len();
        format!(
            "{keys} keys; {} answers with key, {} refusals, {} answers lost",
            self.delivered, self.refused, self.unknown
        )
    }

    /// A verdict per rule.
    pub(super) fn verdicts(&self) -> [(&'static str, Result<String, String>); 3] {
        let twice = |key: &Key| key.got.len() > 1 || key.fetched.len() > 1;
        let unequal = |key: &Key| key.fetched.iter().any(|digest| !key.got.contains(digest));
        let one_sided = |key: &Key| key.refused.is_some() && key.fetched.is_empty() && key.lost == 0;
        [
            ("no key twice to one SAE", self.verdict(twice)),
            ("both ends equal", self.verdict(unequal)),
            ("no key at one end alone", self.verdict(one_sided)),
        ]
    }

    fn verdict(&self, is_broken: impl Fn(&Key) -> bool) -> Result<String, String> {
        let broken: Vec<_> = self.keys.iter().filter(|(_, key)| is_broken(key)).collect();
        if broken.is_empty() {
            return Ok(format!("{} keys", self.keys.len()));
        }
        let shown = broken.iter().take(FAULTS_SHOWN).map(|(id, key)| {
            let reason = key.refused.as_deref().unwrap_or("see the digests");
            format!("{id} ({} to the master, {} to the slave, {reason})", key.got.len(), key.fetched.len())
        });
        Err(format!("{} keys: {}", broken.len(), shown.collect::<Vec<_>>().join(", ")))
    }

    fn count(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Delivered(..) => self.delivered += 1,
            Outcome::Refused(..) | Outcome::NotSent(_) => self.refused += 1,
            Outcome::Unknown(_) => self.unknown += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(digest: &str) -> Outcome {
        Outcome::Delivered("k".into(), digest.into())
    }

    fn broken(history: &History) -> [bool; 3] {
        history.verdicts().map(|(_, verdict)| verdict.is_err())
    }

    fn delivered() -> History {
        let mut history = History::default();
        assert_eq!(history.got(&key("aa")).as_deref(), Some("k"));
        history
    }

    #[test]
    fn a_key_at_both_ends_is_fine() {
        let mut history = delivered();
        history.fetched("k", &Outcome::Unknown("broke".into()));
        history.fetched("k", &key("aa"));
        history.fetched("k", &Outcome::Refused(400, "not found".into()));
        assert_eq!(broken(&history), [false; 3]);
    }

    #[test]
    fn planted_faults_are_caught() {
        let mut twice = delivered();
        twice.fetched("k", &key("aa"));
        twice.fetched("k", &key("aa"));
        assert_eq!(broken(&twice), [true, false, false]);
        let mut unequal = delivered();
        unequal.fetched("k", &key("bb"));
        assert_eq!(broken(&unequal), [false, true, false]);
        let mut one_sided = delivered();
        one_sided.gave_up("k", "400");
        assert_eq!(broken(&one_sided), [false, false, true]);
        let mut lost = delivered();
        lost.fetched("k", &Outcome::Unknown("broke".into()));
        lost.gave_up("k", "400");
        assert_eq!(broken(&lost), [false; 3], "the lost answer may have carried the key");
    }
}
