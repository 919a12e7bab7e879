//! The two ends of one block on one thread: emulated photons, two block sessions, a wire that a test
//! may change and a bench may time. In: a model, two plans, a seed, a [`Wire`]. Out: both ends'
//! outcomes. Always: the sessions are the real ones; the same seed gives the same block.

use std::collections::VecDeque;

use crate::distill::abort::AbortReason;
use crate::distill::acceptance::Acceptance;
use crate::distill::finite_key::{Epsilons, Formula};
use crate::distill::job::{Job, JobResult};
use crate::distill::key::SecretKey;
use crate::distill::message::{BlockMessage, EngineKind};
use crate::distill::plan::{BlockPlan, LeakRule, QBER_LIMIT, Role};
use crate::distill::report::BlockOutcome;
use crate::distill::session::{BlockEffect, BlockInput, BlockSession};
use crate::id::BlockId;
use crate::labels;
use crate::mac::{AuthTag, HashValue, PadStock, RunningHash};
use crate::optics::PhotonBatch;
use crate::optics::eavesdropper::Attack;
use crate::optics::model::LinkModel;
use crate::optics::receiver::{Receiver, Reception};
use crate::optics::transmitter::{Emission, Transmitter};
use crate::quantity::Qber;

/// Kinds of messages in the order of the protocol, by number from 1; see [`kind_of`].
pub const KINDS: usize = 9;

/// What stands between the two ends.
pub trait Wire {
    /// Sees each message with its sender; may change or drop it.
    fn alter(&mut self, _sender: Role, bytes: Vec<u8>) -> Option<Vec<u8>> {
        Some(bytes)
    }

    /// Does a job of one end.
    fn run(&mut self, _role: Role, job: Job) -> JobResult {
        job.run()
    }
}

/// A wire that changes nothing.
#[derive(Debug, Default)]
pub struct Honest;

impl Wire for Honest {}

/// A wire that a closure changes: it gets each message with its sender and kind (1 to
/// [`KINDS`]; of the clicks the second chunk's alone, the others are 0).
pub struct Altered<F> {
    change: F,
    clicks: usize,
}

impl<F: FnMut(Role, usize, Vec<u8>) -> Option<Vec<u8>>> Altered<F> {
    /// Changed by `change`.
    pub fn new(change: F) -> Self {
        Self { change, clicks: 0 }
    }
}

impl<F: FnMut(Role, usize, Vec<u8>) -> Option<Vec<u8>>> Wire for Altered<F> {
    fn alter(&mut self, sender: Role, bytes: Vec<u8>) -> Option<Vec<u8>> {
        let mut kind = kind_of(sender, &bytes);
        if kind == 1 {
            self.clicks += 1;
            kind = usize::from(self.clicks == 2);
        }
        (self.change)(sender, kind, bytes)
    }
}

/// The kind of a message: 1 clicks, 2 bases, 3 sift, 4 estimate, 5 the engine's
/// first word, 6 report, 7 amplify, 8 the transmitter's tag, 9 the receiver's; 0 everything else.
pub fn kind_of(sender: Role, bytes: &[u8]) -> usize {
    match BlockMessage::from_bytes(bytes) {
        Ok(BlockMessage::Clicks { .. }) => 1,
        Ok(BlockMessage::Bases { .. }) => 2,
        Ok(BlockMessage::Sift { .. }) => 3,
        Ok(BlockMessage::Estimate { .. }) => 4,
        Ok(BlockMessage::Reconcile { .. }) => 5,
        Ok(BlockMessage::Report { .. }) => 6,
        Ok(BlockMessage::Amplify { .. }) => 7,
        Ok(BlockMessage::Tag { .. }) => 8 + usize::from(sender == Role::Receiver),
        Ok(BlockMessage::Question { .. } | BlockMessage::Answer { .. } | BlockMessage::Abort { .. }) | Err(_) => 0,
    }
}

/// A plan with the defaults of a node, for this number of pulses.
///
/// # Panics
/// Never: its names are legal.
pub fn plan(model: &LinkModel, pulses: u64, entropy: u8) -> BlockPlan {
    let name = |text: &str| text.parse().expect("a legal name");
    BlockPlan {
        link: "alice-bob".parse().expect("a legal name"),
        transmitter: name("alice"),
        receiver: name("bob"),
        block: BlockId(1),
        model: model.clone(),
        pulses,
        eps_sec: Epsilons::OF_LINKS.secrecy,
        eps_cor: Epsilons::OF_LINKS.correctness,
        qber_limit: Qber::try_from(QBER_LIMIT).unwrap_or_default(),
        engine: EngineKind::Polar,
        leak: LeakRule::Both,
        formula: Formula::default(),
        acceptance: Acceptance::default(),
        entropy: [entropy; 32],
    }
}

/// The devices of both ends under an attack.
fn devices(model: &LinkModel, attack: &Attack, pulses: u64, seed: u64) -> (Emission, Reception) {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let emission = Transmitter::new(model.clone(), bytes).under(attack).emit(BlockId(1), pulses);
    bytes[31] = 1;
    (emission, Receiver::new(model.clone(), bytes).under(attack).receive(BlockId(1), pulses))
}

/// One end, with the part of a node that makes and checks tags.
pub struct End {
    role: Role,
    session: BlockSession,
    /// How its block ended.
    pub outcome: Option<BlockOutcome>,
    /// Tags that it made.
    pub tags: usize,
}

fn hashes() -> [RunningHash; 2] {
    [labels::tag::BLOCK_TRANSMITTER, labels::tag::BLOCK_RECEIVER].map(|label| RunningHash::new(&[1; 16], label))
}

fn tag(signer: Role, text: &HashValue) -> AuthTag {
    AuthTag { stock: PadStock::Pool, offset: 0, tag: text.hide(&[signer as u8; 16]) }
}

impl End {
    /// An end that has seen nothing.
    pub fn new(role: Role, plan: BlockPlan) -> Self {
        Self { role, session: BlockSession::new(role, plan, hashes()), outcome: None, tags: 0 }
    }

    /// Handles an input and all that follows at this end; gives what it sends.
    ///
    /// # Panics
    /// If the session ends twice: a defect.
    pub fn handle(&mut self, input: BlockInput, wire: &mut dyn Wire) -> Vec<Vec<u8>> {
        let mut sent = Vec::new();
        self.session.handle(input);
        while let Some(effect) = self.session.next_effect() {
            match effect {
                BlockEffect::Send(bytes) => sent.push(bytes),
                BlockEffect::Run(job) => self.session.handle(BlockInput::JobDone(wire.run(self.role, job))),
                BlockEffect::MakeTag(text) => {
                    self.tags += 1;
                    self.session.handle(BlockInput::OwnTag(tag(self.role, &text)));
                }
                BlockEffect::CheckTag(text, found) => {
                    let valid = tag(self.role.other(), &text) == found;
                    self.session.handle(BlockInput::PeerTag { valid });
                }
                BlockEffect::Done(outcome) => {
                    assert!(self.outcome.is_none(), "a block ends once");
                    self.outcome = Some(*outcome);
                }
            }
        }
        sent
    }

    /// How its block ended.
    ///
    /// # Panics
    /// If it has not.
    pub fn outcome(&self) -> &BlockOutcome {
        self.outcome.as_ref().expect("the block ended")
    }

    /// Its key, if there is one.
    pub fn key(&self) -> Option<&SecretKey> {
        self.outcome().result.as_ref().ok()
    }

    /// Why there is no key.
    ///
    /// # Panics
    /// If there is one.
    pub fn reason(&self) -> AbortReason {
        *self.outcome().result.as_ref().expect_err("the block gave no key")
    }
}

/// Runs a block by these plans of the transmitter and the receiver, under an attack that they do not
/// know of.
///
/// # Panics
/// If the emulated devices refuse each other's frames: a defect.
pub fn distil(model: &LinkModel, attack: &Attack, plans: [BlockPlan; 2], seed: u64, wire: &mut dyn Wire) -> [End; 2] {
    let (mut emission, mut reception) = devices(model, attack, plans[0].pulses, seed);
    let [ours, theirs] = plans;
    let mut pair = Pair {
        ends: [End::new(Role::Transmitter, ours), End::new(Role::Receiver, theirs)],
        under_way: VecDeque::new(),
    };
    while let Some((frame, chunk)) = emission.next_frame() {
        let seen = reception.accept(&frame).expect("an honest frame");
        // The receiver is first: its clicks wait until the transmitter's own record is there.
        pair.feed(Role::Receiver, BlockInput::Photons(PhotonBatch::Detections(seen)), wire);
        pair.feed(Role::Transmitter, BlockInput::Photons(PhotonBatch::Emissions(chunk)), wire);
    }
    for end in &mut pair.ends {
        if end.outcome.is_none() {
            end.handle(BlockInput::Timeout, wire);
        }
    }
    pair.ends
}

/// Both ends and what is under way between them.
struct Pair {
    ends: [End; 2],
    under_way: VecDeque<(Role, Vec<u8>)>,
}

impl Pair {
    fn feed(&mut self, role: Role, input: BlockInput, wire: &mut dyn Wire) {
        self.handle(role, input, wire);
        while let Some((sender, bytes)) = self.under_way.pop_front() {
            if let Some(bytes) = wire.alter(sender, bytes) {
                self.handle(sender.other(), BlockInput::Message(bytes), wire);
            }
        }
    }

    fn handle(&mut self, role: Role, input: BlockInput, wire: &mut dyn Wire) {
        let sent = self.ends[usize::from(role == Role::Receiver)].handle(input, wire);
        self.under_way.extend(sent.into_iter().map(|bytes| (role, bytes)));
    }
}
