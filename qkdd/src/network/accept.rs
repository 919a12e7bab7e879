//! Inbound streams. In: streams that members open. Out: those with a proper greeting, to the task
//! of the link that they name. Always: the greeter is the link's other end by the roster; greetings
//! are bounded in number and time, per peer.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use libp2p::{PeerId, Stream};
use libp2p_stream::IncomingStreams;
use qkd_proto::id::LinkId;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::warn;

use super::frame::{self, Channel, FrameError, GREETING_BYTES_MAX};

/// Longest wait for a greeting.
const GREETING_TIMEOUT: Duration = Duration::from_secs(5);
/// Streams of one peer and channel whose greeting is awaited, at most.
const GREETINGS_MAX: usize = 16;

/// A greeted stream for a link.
pub(super) struct Arrival {
    /// The neighbour's number of its attempt to open the link.
    pub(super) attempt: u64,
    pub(super) channel: Channel,
    pub(super) stream: Stream,
}

/// Where the streams of a link go, and who may open them.
pub(super) struct Door {
    pub(super) peer: PeerId,
    pub(super) arrivals: mpsc::Sender<Arrival>,
}

/// The links whose other end opens the streams.
pub(super) type Doors = HashMap<LinkId, Door>;

/// Why a stream was turned away.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("no greeting in time")]
    Late,
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("the greeting is malformed")]
    Malformed,
    #[error("the peer is not the other end of link {0}")]
    NotYours(LinkId),
    #[error("link {0} has too many streams under way")]
    Busy(LinkId),
}

/// The greeting that opens a stream: attempt number and link name.
pub(super) fn greeting(attempt: u64, link: &LinkId) -> Vec<u8> {
    [&attempt.to_be_bytes(), link.as_str().as_bytes()].concat()
}

fn parse(greeting: &[u8]) -> Option<(u64, LinkId)> {
    let (attempt, name) = greeting.split_first_chunk::<8>()?;
    let link = std::str::from_utf8(name).ok()?.parse().ok()?;
    Some((u64::from_be_bytes(*attempt), link))
}

/// Takes the inbound streams of one channel until the swarm ends. It never pauses between two
/// streams: libp2p-stream drops what is not taken at once.
pub(super) async fn run(channel: Channel, mut incoming: IncomingStreams, doors: Arc<Doors>) {
    let mut greetings = JoinSet::new();
    let mut pending: HashMap<PeerId, usize> = HashMap::new();
    loop {
        tokio::select! {
            Some(ended) = greetings.join_next() => {
                if let Ok(peer) = ended
                    && let Some(count) = pending.get_mut(&peer)
                {
                    *count = count.saturating_sub(1);
                }
            }
            inbound = incoming.next() => {
                let Some((peer, stream)) = inbound else { return };
                // Peers are members, so the map is as small as the roster.
                let count = pending.entry(peer).or_default();
                if *count < GREETINGS_MAX {
                    *count += 1;
                    greetings.spawn(greet(channel, peer, stream, Arc::clone(&doors)));
                }
            }
        }
    }
}

async fn greet(channel: Channel, peer: PeerId, stream: Stream, doors: Arc<Doors>) -> PeerId {
    if let Err(reason) = admit(channel, peer, stream, &doors).await {
        warn!(%peer, ?channel, %reason, "Inbound stream refused");
    }
    peer
}

async fn admit(channel: Channel, peer: PeerId, mut stream: Stream, doors: &Doors) -> Result<(), Refusal> {
    let reading = frame::read(&mut stream, GREETING_BYTES_MAX);
    let greeting = timeout(GREETING_TIMEOUT, reading).await.map_err(|_| Refusal::Late)??;
    let (attempt, link) = parse(&greeting).ok_or(Refusal::Malformed)?;
    let Some(door) = doors.get(&link).filter(|door| door.peer == peer) else {
        return Err(Refusal::NotYours(link));
    };
    let arrival = Arrival { attempt, channel, stream };
    door.arrivals.try_send(arrival).map_err(|_| Refusal::Busy(link))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_greeting_names_attempt_and_link() {
        let link: LinkId = "a-b".parse().unwrap();
        assert_eq!(parse(&greeting(7, &link)), Some((7, link)));
        for bad in [&b""[..], b"1234567", b"12345678", b"12345678a b", b"12345678\xff"] {
            assert_eq!(parse(bad), None);
        }
    }
}
