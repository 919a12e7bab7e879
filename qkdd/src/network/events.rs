//! What the overlay tells the driver. In: deliveries from the tasks. Out: events, one by one.
//! Always: a session's outlets open when its `LinkUp` is taken and close when its `LinkDown` is.

use qkd_proto::id::{LinkId, NodeId};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::frame::Channel;
use super::outlet::{Outlets, Sessions};

/// Something that happened in the overlay.
#[derive(Clone, PartialEq, Eq)]
pub enum NetworkEvent {
    /// All three streams of a link are open at both ends: a new session.
    LinkUp(LinkId),
    /// The session has ended.
    LinkDown(LinkId),
    /// A frame of pool or relay talk.
    LinkBytes(LinkId, Vec<u8>),
    /// A frame of distillation talk.
    BlockBytes(LinkId, Vec<u8>),
    /// A batch of sealed photons.
    PhotonBytes(LinkId, Vec<u8>),
    /// An advert, by a member whose signature on it was checked.
    Advert {
        /// Its author.
        from: NodeId,
        /// As published.
        bytes: Vec<u8>,
    },
    /// A verified SAE roster of a node, or that none was found.
    Saes(NodeId, Option<Vec<u8>>),
}

impl std::fmt::Debug for NetworkEvent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::LinkUp(link) => write!(f, "LinkUp({link})"),
            Self::LinkDown(link) => write!(f, "LinkDown({link})"),
            Self::LinkBytes(link, bytes) => write!(f, "LinkBytes({link}, {} bytes)", bytes.len()),
            Self::BlockBytes(link, bytes) => write!(f, "BlockBytes({link}, {} bytes)", bytes.len()),
            Self::PhotonBytes(link, bytes) => write!(f, "PhotonBytes({link}, {} bytes)", bytes.len()),
            Self::Advert { from, bytes } => write!(f, "Advert({from}, {} bytes)", bytes.len()),
            Self::Saes(node, value) => write!(f, "Saes({node}, {:?} bytes)", value.as_ref().map(Vec::len)),
        }
    }
}

/// An event on its way, with what belongs to it.
pub(super) enum Delivery {
    /// A session and its outlets.
    Up(LinkId, Outlets),
    /// A session's end.
    Down(LinkId),
    /// A frame, with its share of the session's inbound memory.
    Bytes(LinkId, Channel, Vec<u8>, OwnedSemaphorePermit),
    /// What needs no more than the event.
    Event(NetworkEvent),
}

/// The receiving end of the event channel.
pub struct NetworkEvents {
    queue: mpsc::Receiver<Delivery>,
    sessions: Sessions,
}

impl NetworkEvents {
    pub(super) fn new(queue: mpsc::Receiver<Delivery>, sessions: Sessions) -> Self {
        Self { queue, sessions }
    }

    /// The next event; `None` once the overlay has stopped. Safe to cancel.
    pub async fn recv(&mut self) -> Option<NetworkEvent> {
        let delivery = self.queue.recv().await?;
        Some(self.take(delivery))
    }

    fn take(&self, delivery: Delivery) -> NetworkEvent {
        match delivery {
            Delivery::Up(link, outlets) => {
                self.sessions.insert(link.clone(), outlets);
                NetworkEvent::LinkUp(link)
            }
            Delivery::Down(link) => {
                self.sessions.remove(&link);
                NetworkEvent::LinkDown(link)
            }
            Delivery::Bytes(link, channel, bytes, room) => {
                // From here on the driver accounts for the memory.
                drop(room);
                match channel {
                    Channel::Link => NetworkEvent::LinkBytes(link, bytes),
                    Channel::Block => NetworkEvent::BlockBytes(link, bytes),
                    Channel::Photons => NetworkEvent::PhotonBytes(link, bytes),
                }
            }
            Delivery::Event(event) => event,
        }
    }
}
