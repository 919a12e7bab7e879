//! The way to the node for every socket. In: questions. Out: answers, or that the node is busy.
//! Always: the queue is bounded, and a question that was queued is answered even if its asker left.

use std::sync::Arc;
use std::time::Duration;

use qkd_proto::control::block_record::BlockRecord;
use qkd_proto::control::reply::{KeyReply, LinkReply, StatusReply};
use qkd_proto::control::request::FaultRequest;
use qkd_proto::id::{KeyId, LinkId};
use qkd_proto::secret::SecretBytes;
use qkd_proto::supply::message::{Refusal, SupplyAnswer, SupplyRequest};
use tokio::sync::{mpsc, oneshot};

use crate::guard::{Guard, Permit};

/// Longest wait for an answer; arnika and others give up after 10 s.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(20);

/// Something that a socket asks of the node.
#[derive(Debug)]
pub enum Question {
    /// An application asks.
    Supply(SupplyRequest, oneshot::Sender<SupplyAnswer>),
    /// An operator asks for everything.
    Status(oneshot::Sender<StatusReply>),
    /// An operator asks what a key cost.
    Key(KeyId, oneshot::Sender<Option<KeyReply>>),
    /// An operator asks how the key length of a link's last block came about.
    Explain(LinkId, oneshot::Sender<Option<BlockRecord>>),
    /// An operator puts a fault on a link; the answer says why not.
    Fault(FaultRequest, oneshot::Sender<Result<(), String>>),
    /// Who decides whether the node may be unlocked.
    Guard(oneshot::Sender<Arc<Guard>>),
    /// An operator locks the node.
    Lock(oneshot::Sender<()>),
    /// An operator who may do so unlocks it.
    Unlock(Permit, oneshot::Sender<()>),
}

/// The node has no room for the question, or did not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the node is busy or stopping: try again")]
pub struct NodeBusy;

/// Asks the node.
#[derive(Debug, Clone)]
pub struct NodeHandle(mpsc::Sender<Question>);

impl NodeHandle {
    /// A handle and the queue that the node empties; `capacity` questions wait at most.
    pub fn new(capacity: usize) -> (Self, mpsc::Receiver<Question>) {
        let (sender, receiver) = mpsc::channel(capacity);
        (Self(sender), receiver)
    }

    /// Passes on what an application asks; 503 if the node is busy.
    pub async fn supply(&self, request: SupplyRequest) -> SupplyAnswer {
        let answer = self.ask(|reply| Question::Supply(request, reply)).await;
        answer.unwrap_or_else(|busy| SupplyAnswer::Refused(Refusal::Unavailable(busy.to_string())))
    }

    /// The state of the node.
    ///
    /// # Errors
    /// If the node is busy.
    pub async fn status(&self) -> Result<StatusReply, NodeBusy> {
        self.ask(Question::Status).await
    }

    /// The state of its links.
    ///
    /// # Errors
    /// If the node is busy.
    pub async fn links(&self) -> Result<Vec<LinkReply>, NodeBusy> {
        self.status().await.map(|status| status.links)
    }

    /// What a delivered key cost; none if this node does not know it.
    ///
    /// # Errors
    /// If the node is busy.
    pub async fn key(&self, id: KeyId) -> Result<Option<KeyReply>, NodeBusy> {
        self.ask(|reply| Question::Key(id, reply)).await
    }

    /// The record of a link's last block; none before the first, or if there is no such link.
    ///
    /// # Errors
    /// If the node is busy.
    pub async fn explain(&self, link: LinkId) -> Result<Option<BlockRecord>, NodeBusy> {
        self.ask(|reply| Question::Explain(link, reply)).await
    }

    /// Puts a fault on a link, or takes it off.
    ///
    /// # Errors
    /// If the node is busy; inside, if it refuses.
    pub async fn fault(&self, request: FaultRequest) -> Result<Result<(), String>, NodeBusy> {
        self.ask(|reply| Question::Fault(request, reply)).await
    }

    /// Locks the node.
    ///
    /// # Errors
    /// If the node is busy.
    pub async fn lock(&self) -> Result<(), NodeBusy> {
        self.ask(Question::Lock).await
    }

    /// Unlocks the node for who may: with the passphrase, where there is one.
    ///
    /// # Errors
    /// If the node is busy; inside, if the secret is wrong or missing.
    pub async fn unlock(&self, secret: Option<SecretBytes>) -> Result<Result<(), String>, NodeBusy> {
        let guard = self.ask(Question::Guard).await?;
        let asked = tokio::task::spawn_blocking(move || guard.permit(secret.as_ref())).await;
        match asked.map_err(|_| NodeBusy)? {
            Ok(permit) => self.ask(|reply| Question::Unlock(permit, reply)).await.map(Ok),
            Err(text) => Ok(Err(text)),
        }
    }

    /// Orders that the node destroys its state and ends.
    ///
    /// # Errors
    /// If the node is busy.
    pub async fn zeroize(&self, reason: &str) -> Result<(), NodeBusy> {
        self.ask(Question::Guard).await.map(|guard| guard.zeroize.give(reason))
    }

    async fn ask<T>(&self, question: impl FnOnce(oneshot::Sender<T>) -> Question) -> Result<T, NodeBusy> {
        let (reply, answer) = oneshot::channel();
        self.0.try_send(question(reply)).map_err(|_| NodeBusy)?;
        let answered = tokio::time::timeout(ANSWER_WAIT_MAX, answer).await;
        answered.map_err(|_| NodeBusy)?.map_err(|_| NodeBusy)
    }
}
