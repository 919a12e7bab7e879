//! Simulated applications: masters ask for keys, slaves fetch them, some ask twice, some ask for
//! what is not theirs.

use std::collections::BTreeMap;
use std::time::Duration;

use super::world::{Event, World, sae_of};
use crate::id::{KeyId, RequestId, SaeId};
use crate::node::input::Input;
use crate::quantity::BitCount;
use crate::supply::message::{Refusal, SupplyAnswer, SupplyRequest};

/// How often a slave asks before it gives up.
const TRIES: u32 = 60;

/// A slave that wants its keys.
#[derive(Clone)]
pub(super) struct Fetch {
    master: usize,
    slave: usize,
    ids: Vec<KeyId>,
    tries: u32,
    /// After success it asks again, to be refused.
    again: bool,
}

enum Question {
    Keys { master: usize, slave: usize, number: usize },
    Fetch(Fetch),
    Theft,
}

/// What the applications wait for.
#[derive(Default)]
pub(super) struct Users {
    asked: BTreeMap<RequestId, (usize, Question)>,
    next: u64,
    pub(super) after_faults: usize,
}

impl Users {
    pub(super) fn forget_questions_to(&mut self, node: usize) {
        // A fetch whose answer was lost may have burnt the key: the application must not expect it.
        self.asked.retain(|_, (at, _)| *at != node);
    }
}

impl World {
    fn ask(&mut self, at: usize, question: Question, request: SupplyRequest) {
        self.users.next += 1;
        let id = RequestId(self.users.next);
        if self.sites[at].node.is_some() {
            self.users.asked.insert(id, (at, question));
            self.feed(at, Input::Supply(id, request));
        } else if let Question::Fetch(fetch) = question {
            self.try_again(fetch);
        }
    }

    /// Some application asks for keys.
    pub(super) fn user(&mut self) {
        let count = self.sites.len() as u64;
        let master = self.dice.below(count) as usize;
        let slave = (master + 1 + self.dice.below(count - 1) as usize) % count as usize;
        let number = 1 + self.dice.below(3) as usize;
        let size = [None, Some(BitCount(64)), Some(BitCount(1024))][self.dice.below(3) as usize];
        let request = SupplyRequest::EncKeys {
            caller: self.sae(master),
            slave: self.sae(slave),
            number: number as u32,
            size,
            additional: Vec::new(),
        };
        self.ask(master, Question::Keys { master, slave, number }, request);
        let next = self.about(self.scenario.request_every);
        self.at(next, Event::User);
    }

    pub(super) fn fetch(&mut self, fetch: Fetch) {
        let (caller, master) = (self.sae(fetch.slave), self.sae(fetch.master));
        let request = SupplyRequest::DecKeys { caller, master, ids: fetch.ids.clone() };
        self.ask(fetch.slave, Question::Fetch(fetch), request);
    }

    fn try_again(&mut self, mut fetch: Fetch) {
        fetch.tries += 1;
        if fetch.tries < TRIES {
            self.at(Duration::from_millis(300), Event::Fetch(fetch));
        }
    }

    pub(super) fn sae(&self, node: usize) -> SaeId {
        sae_of(&self.sites[node].name)
    }

    pub(super) fn answered(&mut self, at: usize, id: RequestId, answer: SupplyAnswer) {
        let Some((asked, question)) = self.users.asked.remove(&id) else { return };
        if asked != at {
            return;
        }
        match (question, answer) {
            (Question::Keys { master, slave, number }, SupplyAnswer::Keys(keys)) => {
                let (to, pair) = (self.sae(master), (self.sae(master), self.sae(slave)));
                self.note(format_args!("keys {:?} to {to}", keys.iter().map(|key| key.id).collect::<Vec<_>>()));
                assert_eq!(keys.len(), number, "never fewer keys than asked for");
                keys.iter().for_each(|key| self.ledger.delivered(key.id, &key.key, &to, (&pair.0, &pair.1)));
                self.users.after_faults += if self.faults_are_over() { number } else { 0 };
                let ids: Vec<KeyId> = keys.into_iter().map(|key| key.id).collect();
                self.steal(slave, master, &ids);
                let after = self.about(Duration::from_millis(100));
                self.at(after, Event::Fetch(Fetch { master, slave, ids, tries: 0, again: false }));
            }
            (Question::Fetch(fetch), SupplyAnswer::Keys(keys)) => {
                let (to, pair) = (self.sae(fetch.slave), (self.sae(fetch.master), self.sae(fetch.slave)));
                self.note(format_args!("fetched {:?} to {to}", keys.iter().map(|key| key.id).collect::<Vec<_>>()));
                keys.iter().for_each(|key| self.ledger.delivered(key.id, &key.key, &to, (&pair.0, &pair.1)));
                if self.dice.unit() < 0.3 {
                    self.at(Duration::from_millis(50), Event::Fetch(Fetch { again: true, ..fetch }));
                }
            }
            (Question::Fetch(fetch), SupplyAnswer::Refused(refusal)) if !fetch.again => match refusal {
                Refusal::Unavailable(_) => self.try_again(fetch),
                Refusal::BadRequest(_) | Refusal::Unauthorised => {
                    self.note(format_args!("slave refused {:?}: {refusal}", fetch.ids));
                    // A node that was rolled back discards what it may have handed out.
                    if self.rollbacks == 0 {
                        fetch.ids.iter().for_each(|id| self.ledger.one_sided(*id));
                    }
                }
            },
            (Question::Theft, SupplyAnswer::Keys(keys)) => {
                let nobody = self.sae(at);
                keys.iter().for_each(|key| self.ledger.delivered(key.id, &key.key, &nobody, (&nobody, &nobody)));
            }
            _ => {}
        }
    }

    /// A third application at the slave's node knows the ids, and asks.
    fn steal(&mut self, at: usize, master: usize, ids: &[KeyId]) {
        if self.dice.unit() < 0.2 {
            let thief: SaeId = "sae-thief".parse().expect("letters are a name");
            let request = SupplyRequest::DecKeys { caller: thief, master: self.sae(master), ids: ids.to_vec() };
            self.ask(at, Question::Theft, request);
        }
    }

    /// The end: nothing is asked any more; what the applications got was judged as they got it.
    pub(super) fn settle(&mut self) {
        self.users.asked.clear();
    }
}
