//! One block at one end of a link, from photon records to a secret key: a state machine. In: the
//! device's batch, the other end's messages, results of jobs and tags. Out: messages, jobs, tags to
//! make and to check, and one outcome. Always: [`BlockEffect::Done`] comes once; it carries a key
//! only after this end made its own tag and the other end's tag over the whole transcript was
//! found right; whatever a peer sends ends in an [`AbortReason`] at worst.
//!
//! | from | message | says |
//! |---|---|---|
//! | receiver | `Detections` | where it clicked, in which basis |
//! | transmitter | `Sift` | which clicks count, intensities, test bits |
//! | receiver | `Estimate` | errors of the test basis |
//! | transmitter | `Syndromes` | what corrects the receiver's key |
//! | receiver | `Report` | which frames were corrected, key-basis errors, verification hash |
//! | transmitter | `Amplify`, `Tag` | seed and length, its one tag |
//! | receiver | `Tag` | its one tag |

use std::collections::VecDeque;
use std::time::Duration;

use super::abort::AbortReason;
use super::finite_key::Formula;
use super::job::{Job, JobResult, Product, Work};
use super::key::{ReconciledKey, SecretKey, SiftedKey, VerifiedKey};
use super::message::{AmplifyMessage, BlockMessage, DetectionsMessage, EstimateMessage};
use super::plan::{BlockPlan, Role};
use super::report::{BlockOutcome, BlockReport};
use super::sift::{DetectionSifter, EmissionSifter};
use super::transcript::Transcript;
use crate::codec::Bytes;
use crate::entropy::SeededEntropy;
use crate::mac::AuthTag;
use crate::optics::PhotonBatch;
use crate::optics::event::Emissions;
use crate::quantity::BitCount;

/// Messages that may wait while a job runs: the protocol never has more in flight.
const WAITING_MAX: usize = 2;
/// The acceptance rule in reports (Tupkary et al., PR Research 6, 023002).
const ACCEPTANCE: &str = "variable-length";

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
    /// Make this end's tag over the text, under this end's label; answer with [`BlockInput::OwnTag`].
    MakeTag(Vec<u8>),
    /// Check the other end's tag over the text; answer with [`BlockInput::PeerTag`].
    CheckTag(Vec<u8>, AuthTag),
    /// The block is over.
    Done(Box<BlockOutcome>),
}

/// What is awaited, with the material that waits.
pub(super) enum State {
    Photons,
    Detections,
    Sift,
    Estimate(SiftedKey, [u64; 2]),
    Syndromes(SiftedKey, u8),
    Report(SiftedKey),
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
    pub(super) hash_key: [u8; 16],
    pub(super) reported: [u64; 2],
    emissions: Vec<Emissions>,
    sifter: DetectionSifter,
    announced: Vec<Bytes>,
}

impl BlockSession {
    /// Starts a block at one end.
    pub fn new(role: Role, plan: BlockPlan) -> Self {
        let link_time = Duration::try_from_secs_f64(plan.pulses as f64 / plan.model.rate_hz).unwrap_or_default();
        let report = BlockReport {
            pulses: plan.pulses,
            link_time,
            sifted: BitCount(0),
            qber: None,
            qber_test: None,
            leak: BitCount(0),
            f_ec: None,
            secret: BitCount(0),
            formula: Formula::default().name(),
            acceptance: ACCEPTANCE,
        };
        Self {
            role,
            coins: SeededEntropy::new(plan.entropy),
            transcript: Transcript::new(&plan),
            plan,
            state: State::Photons,
            waiting: VecDeque::new(),
            effects: VecDeque::new(),
            report,
            test: EstimateMessage { counts: [0; 2], errors: [0; 2] },
            hash_key: [0; 16],
            reported: [0; 2],
            emissions: Vec::new(),
            sifter: DetectionSifter::new(),
            announced: Vec::new(),
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
        match (self.role, self.take(), batch) {
            (Role::Transmitter, State::Photons, PhotonBatch::Emissions(emissions)) => {
                self.state = if emissions.is_last() { State::Detections } else { State::Photons };
                self.emissions.push(emissions);
                Ok(())
            }
            (Role::Receiver, State::Photons, PhotonBatch::Detections(detections)) => {
                let last = detections.is_last();
                self.announced.push(Bytes::from(self.sifter.detections(detections)));
                self.state = State::Photons;
                if last {
                    let (gaps, bases) = (std::mem::take(&mut self.announced), self.sifter.bases());
                    self.send(&BlockMessage::Detections { body: DetectionsMessage { gaps, bases } });
                    self.state = State::Sift;
                }
                Ok(())
            }
            _ => Err(AbortReason::Malformed("unexpected photon batch")),
        }
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
            State::Detections
            | State::Sift
            | State::Estimate(..)
            | State::Syndromes(..)
            | State::Report(_)
            | State::Amplify(_)
            | State::FirstTag(..)
            | State::LastTag(_) => true,
            State::Photons
            | State::FirstVerdict(..)
            | State::OwnTag(_)
            | State::LastVerdict(_)
            | State::Job
            | State::Done => false,
        }
    }

    fn answer(&mut self, bytes: &[u8], message: BlockMessage) -> Result<(), AbortReason> {
        // The other end's tag is over what came before it.
        let text = self.transcript.text_if(self.role.other(), matches!(message, BlockMessage::Tag { .. }));
        self.transcript.add(self.role.other(), bytes);
        match (self.take(), message) {
            (State::Detections, BlockMessage::Detections { body: clicks }) => {
                let chunks = std::mem::take(&mut self.emissions);
                self.run(Work::SiftEmissions(EmissionSifter::new(self.plan.pulses), chunks, clicks));
            }
            (State::Sift, BlockMessage::Sift { body: kept }) => {
                let sifter = std::mem::take(&mut self.sifter);
                self.run(Work::SiftDetections(sifter, kept));
            }
            (State::Estimate(key, tested), BlockMessage::Estimate { body: estimate }) => {
                return self.estimated(key, tested, estimate);
            }
            (State::Syndromes(key, step), BlockMessage::Syndromes { body: syndromes }) => {
                return self.syndromes(key, step, syndromes);
            }
            (State::Report(key), BlockMessage::Report { body: report }) => {
                self.reported = report.errors;
                let hash_key = bytes_16(&report.hash_key, "report")?;
                self.run(Work::Verify { key, report, hash_key });
            }
            (State::Amplify(key), BlockMessage::Amplify { body: amplify }) => return self.amplify_asked(key, amplify),
            (State::FirstTag(key, amplify), BlockMessage::Tag { tag }) => {
                self.effects.push_back(BlockEffect::CheckTag(text, tag));
                self.state = State::FirstVerdict(key, amplify);
            }
            (State::LastTag(key), BlockMessage::Tag { tag }) => {
                self.effects.push_back(BlockEffect::CheckTag(text, tag));
                self.state = State::LastVerdict(key);
            }
            _ => return Err(AbortReason::Malformed("message out of turn")),
        }
        Ok(())
    }

    fn job_done(&mut self, result: JobResult) -> Result<(), AbortReason> {
        if !matches!(self.state, State::Job) {
            return Err(AbortReason::Malformed("unexpected job result"));
        }
        match result.0 {
            Product::EmissionsSifted(sifted) => {
                let (key, message, tested) = sifted?;
                self.emissions_sifted(key, message, tested)
            }
            Product::DetectionsSifted(sifted) => {
                let (key, estimate) = sifted?;
                self.detections_sifted(key, estimate)
            }
            Product::Encoded(key, frames) => {
                self.encoded(key, frames);
                Ok(())
            }
            Product::Decoded(decoded) => {
                let decoded = decoded?;
                self.decoded(decoded);
                Ok(())
            }
            Product::Verified(verified) => {
                let (key, counts) = verified?;
                self.verified(key, counts)
            }
            Product::Amplified(key) => {
                self.amplified(key);
                Ok(())
            }
        }
    }

    fn amplify(&mut self, key: VerifiedKey, amplify: &AmplifyMessage) -> Result<(), AbortReason> {
        let seed = <[u8; 32]>::try_from(amplify.seed.as_slice()).map_err(|_| AbortReason::Malformed("amplify"))?;
        let length = usize::try_from(amplify.length).map_err(|_| AbortReason::Malformed("amplify"))?;
        self.run(Work::Amplify { key, seed, length });
        Ok(())
    }

    fn amplified(&mut self, key: SecretKey) {
        match self.role {
            Role::Transmitter => self.state = State::LastTag(key),
            Role::Receiver => {
                self.effects.push_back(BlockEffect::MakeTag(self.transcript.text(self.role)));
                self.state = State::OwnTag(Tagged::ByReceiver(key));
            }
        }
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

pub(super) fn bytes_16(bytes: &Bytes, what: &'static str) -> Result<[u8; 16], AbortReason> {
    <[u8; 16]>::try_from(bytes.as_slice()).map_err(|_| AbortReason::Malformed(what))
}
