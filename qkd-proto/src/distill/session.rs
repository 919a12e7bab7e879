//! One block at one end of a link, from photon records to a secret key: a state machine. In: the
//! device's batch, the other end's messages, results of jobs and tags. Out: messages, jobs, tags to
//! make and to check, and one outcome. Always: [`BlockEffect::Done`] comes once; it carries a key
//! only after this end made its own tag and the other end's tag over the whole transcript was
//! found right; whatever a peer sends ends in an [`AbortReason`] at worst.
//!
//! | from | message | says |
//! |---|---|---|
//! | receiver | `Clicks`, one a photon frame | in which slots it clicked |
//! | receiver | `Bases` | in which bases, after the last pulse |
//! | transmitter | `Sift` | which clicks count, intensities, test bits |
//! | receiver | `Estimate` | errors of the test basis |
//! | transmitter | `Reconcile` | engine, seed, first word |
//! | receiver, transmitter | `Question`, `Answer`, as often as the engine wants | what corrects the receiver's key |
//! | receiver | `Report` | which frames were corrected, key-basis errors, verification hash |
//! | transmitter | `Amplify`, `Tag` | seed and length, its one tag |
//! | receiver | `Tag` | its one tag |

use std::collections::VecDeque;

use super::abort::AbortReason;
use super::engine::{Corrector, Teller};
use super::job::{Job, JobResult, Product, Work};
use super::key::{ReconciledKey, SecretKey, SiftedKey, VerifiedKey};
use super::message::{AmplifyMessage, BlockMessage, EstimateMessage};
use super::plan::{BlockPlan, Role};
use super::report::{BlockOutcome, BlockReport};
use super::sift::{DetectionSifter, EmissionSifter};
use super::transcript::Transcript;
use crate::codec::Bytes;
use crate::entropy::SeededEntropy;
use crate::mac::{AuthTag, HashValue, RunningHash};
use crate::optics::PhotonBatch;
use crate::optics::event::Emissions;
use crate::quantity::Qber;

/// Messages that may wait: clicks of as many photon frames as an honest receiver is ahead by.
const WAITING_MAX: usize = 1024;

/// Something that happened to a block.
#[derive(Debug)]
pub enum BlockInput {
    /// This end's device is done.
    Photons(PhotonBatch),
    /// A message of the other end.
    Message(Vec<u8>),
    /// A job is done.
    JobDone(JobResult),
    /// The tag that [`BlockEffect::MakeTag`] asked for.
    OwnTag(AuthTag),
    /// The verdict that [`BlockEffect::CheckTag`] asked for.
    PeerTag {
        /// True if the tag is right.
        valid: bool,
    },
    /// The block took too long.
    Timeout,
}

/// Something a block wants done.
#[derive(Debug)]
pub enum BlockEffect {
    /// Send to the other end.
    Send(Vec<u8>),
    /// Compute; answer with [`BlockInput::JobDone`].
    Run(Job),
    /// Make this end's tag of what was said; answer with [`BlockInput::OwnTag`].
    MakeTag(HashValue),
    /// Check the other end's tag of what was said; answer with [`BlockInput::PeerTag`].
    CheckTag(HashValue, AuthTag),
    /// The block is over.
    Done(Box<BlockOutcome>),
}

/// What is awaited, with the material that waits.
pub(super) enum State {
    /// The transmitter's pulses, and their clicks.
    Emitting(Box<EmissionSifter>),
    Estimate(SiftedKey, [u64; 2]),
    /// The receiver's questions, and at last its report.
    Telling(Box<dyn Teller>),
    /// The receiver's clicks.
    Detecting(Box<DetectionSifter>),
    Sift(Box<DetectionSifter>),
    Reconcile(SiftedKey, Qber),
    /// The transmitter's answers.
    Correcting(Box<dyn Corrector>),
    Amplify(ReconciledKey),
    /// The transmitter's tag, at the receiver.
    FirstTag(VerifiedKey, AmplifyMessage),
    FirstVerdict(VerifiedKey, AmplifyMessage),
    /// This end's own tag.
    OwnTag(Tagged),
    /// The receiver's tag, at the transmitter.
    LastTag(SecretKey),
    LastVerdict(SecretKey),
    Job,
    Done,
}

/// The key beside which an own tag is made.
pub(super) enum Tagged {
    ByTransmitter(VerifiedKey, AmplifyMessage),
    ByReceiver(SecretKey),
}

/// One block at one end.
pub struct BlockSession {
    pub(super) role: Role,
    pub(super) plan: BlockPlan,
    pub(super) coins: SeededEntropy,
    pub(super) state: State,
    pub(super) waiting: VecDeque<(Vec<u8>, BlockMessage)>,
    pub(super) effects: VecDeque<BlockEffect>,
    pub(super) transcript: Transcript,
    pub(super) report: BlockReport,
    pub(super) test: EstimateMessage,
    /// Records whose clicks have not come back.
    pub(super) emissions: VecDeque<Emissions>,
    /// The clicks of the last chunk came back.
    pub(super) all_clicked: bool,
    /// Public random bits of the engine.
    pub(super) seed: [u8; 32],
    pub(super) hash_key: [u8; 16],
    pub(super) reported: [u64; 2],
}

impl BlockSession {
    /// Starts a block at one end; `hashes` are those of the transmitter's and the receiver's tag.
    pub fn new(role: Role, plan: BlockPlan, hashes: [RunningHash; 2]) -> Self {
        let state = match role {
            Role::Transmitter => State::Emitting(Box::new(EmissionSifter::new(plan.pulses))),
            Role::Receiver => State::Detecting(Box::default()),
        };
        Self {
            role,
            coins: SeededEntropy::new(plan.entropy),
            transcript: Transcript::new(&plan, hashes),
            state,
            waiting: VecDeque::new(),
            effects: VecDeque::new(),
            report: BlockReport::new(&plan),
            plan,
            test: EstimateMessage { counts: [0; 2], errors: [0; 2] },
            emissions: VecDeque::new(),
            all_clicked: false,
            seed: [0; 32],
            hash_key: [0; 16],
            reported: [0; 2],
        }
    }

    /// The next thing to do, in order.
    pub fn next_effect(&mut self) -> Option<BlockEffect> {
        self.effects.pop_front()
    }

    /// Takes an input; anything after the end is ignored.
    pub fn handle(&mut self, input: BlockInput) {
        if matches!(self.state, State::Done) {
            return;
        }
        let step = match input {
            BlockInput::Photons(batch) => self.photons(batch),
            BlockInput::Message(bytes) => self.message(bytes),
            BlockInput::JobDone(result) => self.job_done(result),
            BlockInput::OwnTag(tag) => self.own_tag(tag),
            BlockInput::PeerTag { valid } => self.peer_tag(valid),
            BlockInput::Timeout => Err(AbortReason::Timeout),
        };
        if let Err(reason) = step.and_then(|()| self.deliver()) {
            self.abort(reason);
        }
    }

    fn take(&mut self) -> State {
        std::mem::replace(&mut self.state, State::Job)
    }

    pub(super) fn send(&mut self, message: &BlockMessage) {
        let bytes = message.to_bytes();
        self.transcript.add(self.role, &bytes);
        self.effects.push_back(BlockEffect::Send(bytes));
    }

    pub(super) fn run(&mut self, work: Work) {
        self.state = State::Job;
        self.effects.push_back(BlockEffect::Run(Job(work)));
    }

    fn finish(&mut self, result: Result<SecretKey, AbortReason>) {
        self.state = State::Done;
        self.waiting.clear();
        if let Ok(key) = &result {
            self.report.secret = key.len();
        }
        let outcome = BlockOutcome { result, report: self.report.clone() };
        self.effects.push_back(BlockEffect::Done(Box::new(outcome)));
    }

    fn abort(&mut self, reason: AbortReason) {
        if !matches!(reason, AbortReason::PeerAborted(_)) {
            self.effects.push_back(BlockEffect::Send(BlockMessage::Abort { code: reason.code() }.to_bytes()));
        }
        self.finish(Err(reason));
    }

    fn photons(&mut self, batch: PhotonBatch) -> Result<(), AbortReason> {
        match (self.role, batch) {
            (Role::Transmitter, PhotonBatch::Emissions(chunk)) => self.emitted(chunk),
            (Role::Receiver, PhotonBatch::Detections(chunk)) => match self.take() {
                State::Detecting(sifter) => self.detected(sifter, chunk),
                _ => return Err(AbortReason::Malformed("photons after the last pulse")),
            },
            _ => return Err(AbortReason::Malformed("unexpected photon batch")),
        }
        Ok(())
    }

    fn message(&mut self, bytes: Vec<u8>) -> Result<(), AbortReason> {
        let message = BlockMessage::from_bytes(&bytes).map_err(|_| AbortReason::Malformed("message"))?;
        if let BlockMessage::Abort { code } = message {
            return Err(AbortReason::PeerAborted(code));
        }
        if self.waiting.len() >= WAITING_MAX {
            return Err(AbortReason::Malformed("too many messages"));
        }
        self.waiting.push_back((bytes, message));
        Ok(())
    }

    /// Hands waiting messages to the state that awaits one.
    fn deliver(&mut self) -> Result<(), AbortReason> {
        while self.awaits_message() {
            let Some((bytes, message)) = self.waiting.pop_front() else { break };
            self.answer(&bytes, message)?;
        }
        Ok(())
    }

    fn awaits_message(&self) -> bool {
        match self.state {
            // Clicks may come before this end's own record of their pulses.
            State::Emitting(_) => self.all_clicked || !self.emissions.is_empty(),
            State::Sift(_)
            | State::Estimate(..)
            | State::Reconcile(..)
            | State::Correcting(_)
            | State::Telling(_)
            | State::Amplify(_)
            | State::FirstTag(..)
            | State::LastTag(_) => true,
            State::Detecting(_)
            | State::FirstVerdict(..)
            | State::OwnTag(_)
            | State::LastVerdict(_)
            | State::Job
            | State::Done => false,
        }
    }

    fn answer(&mut self, bytes: &[u8], message: BlockMessage) -> Result<(), AbortReason> {
        // The other end's tag is over what came before it.
        if let BlockMessage::Tag { tag } = message {
            return self.tagged(bytes, tag);
        }
        self.transcript.add(self.role.other(), bytes);
        match (self.take(), message) {
            (State::Emitting(sifter), BlockMessage::Clicks { gaps }) if !self.all_clicked => {
                return self.clicked(sifter, &gaps);
            }
            (State::Emitting(sifter), BlockMessage::Bases { bases }) if self.all_clicked => {
                self.run(Work::SiftEmissions(sifter, bases));
            }
            (State::Sift(sifter), BlockMessage::Sift { body: kept }) => self.run(Work::SiftDetections(sifter, kept)),
            (State::Estimate(key, tested), BlockMessage::Estimate { body: estimate }) => {
                return self.estimated(key, tested, estimate);
            }
            (State::Reconcile(key, qber), BlockMessage::Reconcile { body }) => return self.reconcile(key, qber, body),
            (State::Telling(teller), BlockMessage::Question { words }) => {
                self.run(Work::Answer { teller, question: words.into_vec() });
            }
            (State::Correcting(corrector), BlockMessage::Answer { words }) => {
                self.run(Work::Hear { corrector, words: words.into_vec(), hash_key: self.hash_key });
            }
            (State::Telling(teller), BlockMessage::Report { body: report }) => {
                self.reported = report.errors;
                let hash_key = bytes_of(&report.hash_key, "report")?;
                self.run(Work::Verify { teller, report, hash_key });
            }
            (State::Amplify(key), BlockMessage::Amplify { body: amplify }) => return self.amplify_asked(key, amplify),
            _ => return Err(AbortReason::Malformed("message out of turn")),
        }
        Ok(())
    }

    fn tagged(&mut self, bytes: &[u8], tag: AuthTag) -> Result<(), AbortReason> {
        self.state = match self.take() {
            State::FirstTag(key, amplify) => State::FirstVerdict(key, amplify),
            State::LastTag(key) => State::LastVerdict(key),
            _ => return Err(AbortReason::Malformed("tag out of turn")),
        };
        let text = self.transcript.finish(self.role.other())?;
        self.transcript.add(self.role.other(), bytes);
        self.effects.push_back(BlockEffect::CheckTag(text, tag));
        Ok(())
    }

    fn job_done(&mut self, result: JobResult) -> Result<(), AbortReason> {
        if !matches!(self.state, State::Job) {
            return Err(AbortReason::Malformed("unexpected job result"));
        }
        match result.0 {
            Product::EmissionsSifted(sifted) => {
                let (key, message, tested) = sifted?;
                return self.emissions_sifted(key, message, tested);
            }
            Product::DetectionsSifted(sifted) => {
                let (key, estimate) = sifted?;
                return self.detections_sifted(key, estimate);
            }
            Product::Opened(opened) => {
                let (teller, words) = opened?;
                self.opened(teller, words);
            }
            Product::Answered(answered) => {
                let (teller, words) = answered?;
                self.answered(teller, words);
            }
            Product::Heard(heard) => self.heard(heard?),
            Product::Verified(verified) => return self.verified(verified?),
            Product::Amplified(key) => return self.amplified(key),
        }
        Ok(())
    }

    fn amplify(&mut self, key: VerifiedKey, amplify: &AmplifyMessage) -> Result<(), AbortReason> {
        let seed = bytes_of(&amplify.seed, "amplify")?;
        let length = usize::try_from(amplify.length).map_err(|_| AbortReason::Malformed("amplify"))?;
        self.run(Work::Amplify { key, seed, length });
        Ok(())
    }

    fn amplified(&mut self, key: SecretKey) -> Result<(), AbortReason> {
        match self.role {
            Role::Transmitter => self.state = State::LastTag(key),
            Role::Receiver => {
                let text = self.transcript.finish(self.role)?;
                self.effects.push_back(BlockEffect::MakeTag(text));
                self.state = State::OwnTag(Tagged::ByReceiver(key));
            }
        }
        Ok(())
    }

    fn own_tag(&mut self, tag: AuthTag) -> Result<(), AbortReason> {
        let State::OwnTag(tagged) = self.take() else {
            return Err(AbortReason::Malformed("unexpected own tag"));
        };
        self.send(&BlockMessage::Tag { tag });
        match tagged {
            Tagged::ByTransmitter(key, amplify) => self.amplify(key, &amplify),
            Tagged::ByReceiver(key) => {
                self.finish(Ok(key));
                Ok(())
            }
        }
    }

    fn peer_tag(&mut self, valid: bool) -> Result<(), AbortReason> {
        match (self.take(), valid) {
            (State::FirstVerdict(key, amplify), true) => self.amplify(key, &amplify),
            (State::LastVerdict(key), true) => {
                self.finish(Ok(key));
                Ok(())
            }
            (State::FirstVerdict(..) | State::LastVerdict(_), false) => Err(AbortReason::AuthenticationFailed),
            _ => Err(AbortReason::Malformed("unexpected verdict")),
        }
    }
}

/// A field of exactly `N` bytes.
pub(super) fn bytes_of<const N: usize>(bytes: &Bytes, what: &'static str) -> Result<[u8; N], AbortReason> {
    <[u8; N]>::try_from(bytes.as_slice()).map_err(|_| AbortReason::Malformed(what))
}
