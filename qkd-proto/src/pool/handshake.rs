//! Two neighbours agree on a link session: who they are, a fresh secret, and whether the pool goes
//! on. In: [`SignedHello`]s. Out: an [`Agreement`] at both ends, or a [`Refusal`]. Always: no
//! one-time bit is spent (rollback is not yet ruled out), and nothing durable changes before the
//! neighbour has proven that it is there now.
//!
//! Three messages, transmitter first; each is signed and names the hash of the one it answers. The
//! pool goes on only if both ends offer the same one, neither finds a contradiction, and one of them vouches
//! that its own store is no older copy; else it is discarded and a new one starts from
//! `HKDF(psk, X25519 || ML-KEM-768, both incarnations)`.
//!
//! Each end tells what it remembers of the other, so an end that was rolled back hears of it.

use super::judge::Testimony;
use super::message::{Exchange, HelloText, Resume, SignedHello};
use super::record::{MarksRecord, PeerMemory};
use super::stock::{BOOTSTRAP_BYTES, BootstrapStock};
use crate::codec::{self, Bytes};
use crate::crypto::{self, IdentityKey, PublicKey, Signature};
use crate::entropy::{Entropy, draw};
use crate::hybrid::{self, HybridOffer, HybridSecret};
use crate::id::{BootId, DataDirId, Incarnation, NodeId, Nonce, PoolId, StoreSequence};
use crate::labels;
use crate::mac::HASH_KEY_BYTES;
use crate::secret::SecretBytes;
use crate::topology::RosterLink;

/// Version of a handshake text.
pub const HELLO_VERSION: u8 = 2;
const HELLO_BYTES_MAX: usize = 16 << 10;

/// What this end knows before it speaks.
pub struct Introduction {
    /// The link, as the roster has it.
    pub link: RosterLink,
    /// This end.
    pub own: NodeId,
    /// The neighbour's identity key.
    pub peer_key: PublicKey,
    /// This end's run number.
    pub incarnation: Incarnation,
    /// This process.
    pub boot: BootId,
    /// This data directory.
    pub data_dir: DataDirId,
    /// Sequence of this end's store.
    pub store_sequence: StoreSequence,
    /// This end's memory of the neighbour is sure.
    pub vouches: bool,
    /// The pool to resume, if there is one.
    pub resume: Option<Resume>,
    /// First byte of the own direction not handed out.
    pub send_next: u64,
    /// Blocks held in the own direction, as ranges.
    pub send_runs: Vec<(u64, u64)>,
    /// This end's marks, which remember the neighbour.
    pub marks: MarksRecord,
}

/// What both ends agreed on.
pub struct Agreement {
    /// Known to both ends only, fresh; computational.
    pub secret: SecretBytes,
    /// Hash of the whole handshake.
    pub transcript: [u8; 32],
    /// This end's half of the session's name.
    pub own_nonce: Nonce,
    /// The neighbour's half.
    pub peer_nonce: Nonce,
    /// What to remember of the neighbour.
    pub peer: PeerMemory,
    /// The neighbour's half of the link certificate.
    pub peer_certificate: Signature,
    /// The neighbour's state of the pool that goes on; none: a new pool starts.
    pub resume: Option<Resume>,
    /// Why a pool was discarded, if one was.
    pub discarded: Option<String>,
    /// What the neighbour remembers of this end.
    pub testimony: Testimony,
}

/// Why a handshake ended without agreement.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not the bytes of a handshake text.
    #[error("handshake: {0}")]
    Codec(#[from] codec::CodecError),
    /// Signed by another key, or altered.
    #[error("handshake: the signature is not the neighbour's")]
    Signature,
    /// About another link, or between others, or of the wrong step, or of another session.
    #[error("handshake: {0} is not what this step expects")]
    Unexpected(&'static str),
    /// A public value that cannot be what it claims.
    #[error("handshake: {0}")]
    Hybrid(#[from] hybrid::HybridError),
}

enum Step {
    /// Receiver, at the start.
    AwaitOffer,
    /// Transmitter, after its offer.
    AwaitAnswer { secret: Box<HybridSecret>, offer: HybridOffer, sent: [u8; 32] },
    /// Receiver, after its answer.
    AwaitDone { secret: SecretBytes, sent: [u8; 32], theirs: Box<HelloText>, resumes: bool, discarded: Option<String> },
    /// Over.
    Over,
}

/// One end of a handshake.
pub struct Handshake {
    introduction: Introduction,
    nonce: Nonce,
    step: Step,
}

/// What a message leads to.
pub struct Progress {
    /// To send.
    pub reply: Option<SignedHello>,
    /// Both ends agree.
    pub agreement: Option<Agreement>,
}

impl Handshake {
    /// Starts; the transmitter speaks first.
    pub fn start(
        introduction: Introduction,
        key: &IdentityKey,
        entropy: &mut dyn Entropy,
    ) -> (Self, Option<SignedHello>) {
        let nonce = Nonce(draw(entropy));
        let mut this = Self { introduction, nonce, step: Step::AwaitOffer };
        if this.introduction.own != this.introduction.link.transmitter {
            return (this, None);
        }
        let (secret, offer) = hybrid::offer(entropy);
        let resume = this.introduction.resume.clone();
        let hello = this.say(None, resume, Exchange::Offer(offer.clone()), key);
        this.step = Step::AwaitAnswer { secret: Box::new(secret), offer, sent: hash(&hello) };
        (this, Some(hello))
    }

    /// Takes the neighbour's next message.
    ///
    /// # Errors
    /// If it is not the neighbour's, not of this step, or malformed: drop the link.
    pub fn handle(
        &mut self,
        message: &SignedHello,
        key: &IdentityKey,
        entropy: &mut dyn Entropy,
    ) -> Result<Progress, Refusal> {
        let theirs = self.open(message)?;
        match (std::mem::replace(&mut self.step, Step::Over), &theirs.exchange) {
            (Step::AwaitOffer, Exchange::Offer(offer)) => {
                let (answer, secret) = hybrid::answer(offer, entropy)?;
                let (resume, discarded) = self.introduction.judge(&theirs);
                let resumes = resume.is_some();
                let reply = self.say(Some(hash(message)), resume, Exchange::Answer(answer), key);
                self.step =
                    Step::AwaitDone { secret, sent: hash(&reply), theirs: Box::new(theirs), resumes, discarded };
                Ok(Progress { reply: Some(reply), agreement: None })
            }
            (Step::AwaitAnswer { secret, offer, sent }, Exchange::Answer(answer)) => {
                self.expect_answer_to(&theirs, &sent)?;
                let secret = hybrid::complete(*secret, &offer, answer)?;
                let (resume, discarded) = self.introduction.judge(&theirs);
                let done = self.say(Some(hash(message)), resume.clone(), Exchange::Done, key);
                let agreed = resume.is_some();
                let agreement = self.agree(secret, hash(&done), theirs, agreed, discarded);
                Ok(Progress { reply: Some(done), agreement: Some(agreement) })
            }
            (Step::AwaitDone { secret, sent, theirs: first, resumes, discarded }, Exchange::Done) => {
                self.expect_answer_to(&theirs, &sent)?;
                if theirs.nonce != first.nonce {
                    return Err(Refusal::Unexpected("the session"));
                }
                // Both must want it: the neighbour alone cannot override what this end found.
                let agreed = resumes && theirs.resume.is_some();
                let lost = !agreed && self.introduction.resume.is_some();
                let why = discarded.or(lost.then(|| "the neighbour found a contradiction".into()));
                Ok(Progress { reply: None, agreement: Some(self.agree(secret, hash(message), *first, agreed, why)) })
            }
            _ => Err(Refusal::Unexpected("the message")),
        }
    }

    fn say(
        &self,
        answers: Option<[u8; 32]>,
        resume: Option<Resume>,
        exchange: Exchange,
        key: &IdentityKey,
    ) -> SignedHello {
        let Introduction { link, own, incarnation, boot, data_dir, store_sequence, vouches, marks, .. } =
            &self.introduction;
        let to = link.far_end(own).expect("a handshake runs at an end of its link").clone();
        let certificate = key.sign(labels::sign::LINK_CERTIFICATE, &certificate_text(link));
        let text = HelloText {
            link: link.id.clone(),
            from: own.clone(),
            to,
            incarnation: *incarnation,
            boot: *boot,
            data_dir: *data_dir,
            nonce: self.nonce,
            answers: answers.map(|hash| Bytes::from(hash.to_vec())),
            certificate,
            store_sequence: *store_sequence,
            remembers: marks.peer,
            vouches: *vouches,
            resume,
            exchange,
        };
        let text = codec::encode(HELLO_VERSION, &text);
        let signature = key.sign(labels::sign::LINK_HELLO, &text);
        SignedHello { text: Bytes::from(text), signature }
    }

    fn open(&self, message: &SignedHello) -> Result<HelloText, Refusal> {
        let Introduction { link, own, peer_key, .. } = &self.introduction;
        if !peer_key.verifies(labels::sign::LINK_HELLO, &message.text, &message.signature) {
            return Err(Refusal::Signature);
        }
        let text: HelloText = codec::decode(HELLO_VERSION, &message.text, HELLO_BYTES_MAX)?;
        if text.link != link.id || text.to != *own || Some(&text.from) != link.far_end(own) {
            return Err(Refusal::Unexpected("the link"));
        }
        if !peer_key.verifies(labels::sign::LINK_CERTIFICATE, &certificate_text(link), &text.certificate) {
            return Err(Refusal::Unexpected("the link certificate"));
        }
        Ok(text)
    }

    fn expect_answer_to(&self, theirs: &HelloText, sent: &[u8; 32]) -> Result<(), Refusal> {
        let answers = theirs.answers.as_ref().is_some_and(|hash| hash.as_slice() == sent);
        if answers { Ok(()) } else { Err(Refusal::Unexpected("the session")) }
    }

    fn agree(
        &self,
        secret: SecretBytes,
        transcript: [u8; 32],
        theirs: HelloText,
        resumes: bool,
        discarded: Option<String>,
    ) -> Agreement {
        let mark_sequence = theirs.resume.as_ref().map_or(0, |resume| resume.mark_sequence);
        let testimony = self.introduction.testimony(&theirs);
        Agreement {
            secret: crypto::derive(&transcript, &secret, labels::derive::LINK_SESSION, &[], 32),
            transcript,
            own_nonce: self.nonce,
            peer_nonce: theirs.nonce,
            peer: PeerMemory {
                data_dir: theirs.data_dir,
                incarnation: theirs.incarnation,
                boot: theirs.boot,
                mark_sequence,
                store_sequence: theirs.store_sequence,
            },
            peer_certificate: theirs.certificate,
            resume: theirs.resume.filter(|_| resumes),
            discarded,
            testimony,
        }
    }
}

/// A new pool's identity, hash keys and first pads, the same at both ends. `incarnations` are the
/// transmitter's and the receiver's.
pub fn bootstrap(
    psk: &SecretBytes,
    agreement: &Agreement,
    incarnations: [Incarnation; 2],
) -> (PoolId, [SecretBytes; 2], BootstrapStock) {
    let mut pool = [0; 16];
    pool.copy_from_slice(&crypto::sha256(&[labels::derive::POOL_ID.as_bytes(), &agreement.transcript])[..16]);
    let both = SecretBytes::copy_of(psk.expose()).join(&agreement.secret);
    let runs = incarnations.map(|incarnation| incarnation.0.to_be_bytes());
    let context: [&[u8]; 3] = [&runs[0], &runs[1], &pool];
    let length = 2 * (HASH_KEY_BYTES + BOOTSTRAP_BYTES);
    let bytes = crypto::derive(&agreement.transcript, &both, labels::derive::LINK_BOOTSTRAP, &context, length);
    let (keys, pads) = bytes.split_at(2 * HASH_KEY_BYTES);
    let (forward_key, reverse_key) = keys.split_at(HASH_KEY_BYTES);
    let (forward, reverse) = pads.split_at(BOOTSTRAP_BYTES);
    (PoolId(pool), [forward_key, reverse_key], BootstrapStock::new([forward, reverse]))
}

/// What both ends of a link sign, once each: together the link certificate.
pub fn certificate_text(link: &RosterLink) -> Vec<u8> {
    codec::encode(HELLO_VERSION, &(&link.id, &link.transmitter, &link.receiver))
}

fn hash(message: &SignedHello) -> [u8; 32] {
    crypto::sha256(&[&message.text])
}
