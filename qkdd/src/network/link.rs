//! The life of a link. In: the roster's word that it exists. Out: one session after the other.
//! Always: the end with the smaller node name dials; a session starts only when all three streams
//! are open at both ends.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use libp2p::{PeerId, Stream};
use libp2p_stream::Control;
use qkd_proto::id::LinkId;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout};
use tracing::debug;

use super::accept::{self, Arrival};
use super::address;
use super::events::Delivery;
use super::frame::{self, Channel, FrameError};
use super::session::{self, End, Streams};
use super::worker::Command;

/// First pause before dialling again.
const BACKOFF_MIN: Duration = Duration::from_millis(100);
/// Longest pause before dialling again.
const BACKOFF_MAX: Duration = Duration::from_secs(2);
/// A session that lasted as long forgives earlier failures.
const STABLE: Duration = Duration::from_secs(2);
/// Longest wait for a connection.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait for a stream to open (rust-libp2p issue 6157: it may hang), and for the neighbour's
/// word that all three arrived.
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);

/// What the task of a link works with.
pub(super) struct Link {
    /// Its name.
    pub(super) id: LinkId,
    /// The other end.
    pub(super) peer: PeerId,
    /// The other end's address, `host:port`.
    pub(super) address: String,
    pub(super) events: mpsc::Sender<Delivery>,
    pub(super) commands: mpsc::Sender<Command>,
}

/// Why an attempt to open the link failed.
#[derive(Debug, thiserror::Error)]
enum OpenError {
    #[error("the address does not resolve: {0}")]
    Address(std::io::Error),
    #[error("no connection")]
    Dial,
    #[error("stream: {0}")]
    Stream(#[from] libp2p_stream::OpenStreamError),
    #[error("not accepted by the neighbour: {0}")]
    Refused(#[from] FrameError),
    #[error("no answer from the neighbour in time")]
    Late,
}

fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// Half to all of `pause`, so that neighbours do not redial in step.
fn jittered(pause: Duration) -> Duration {
    pause / 2 + pause.mul_f64((random() % 1024) as f64 / 2048.0)
}

/// Dials for ever.
pub(super) async fn dial(link: Link, mut control: Control) {
    let mut pause = BACKOFF_MIN;
    loop {
        match open(&link, &mut control).await {
            Ok(streams) => {
                let began = Instant::now();
                let end = session::run(&link.id, streams, &link.events, std::future::pending()).await;
                if matches!(end, End::Silent) {
                    disconnect(&link).await;
                }
                if began.elapsed() >= STABLE {
                    pause = BACKOFF_MIN;
                }
            }
            Err(reason) => {
                debug!(link = %link.id, %reason, "Link did not open");
                if matches!(reason, OpenError::Late) {
                    disconnect(&link).await;
                }
            }
        }
        sleep(jittered(pause)).await;
        pause = (pause * 2).min(BACKOFF_MAX);
    }
}

/// Lets go of a connection that no longer answers: only then can a new one be made.
async fn disconnect(link: &Link) {
    let _ = link.commands.send(Command::Disconnect(link.peer)).await;
}

async fn open(link: &Link, control: &mut Control) -> Result<Streams, OpenError> {
    connect(link).await?;
    let opening = async {
        let attempt = random();
        let mut link_stream = open_stream(link, control, Channel::Link, attempt).await?;
        let block_stream = open_stream(link, control, Channel::Block, attempt).await?;
        let photon_stream = open_stream(link, control, Channel::Photons, attempt).await?;
        // The neighbour's empty frame says that it has all three.
        frame::read(&mut link_stream, 0).await?;
        Ok([link_stream, block_stream, photon_stream])
    };
    timeout(OPEN_TIMEOUT, opening).await.unwrap_or(Err(OpenError::Late))
}

async fn connect(link: &Link) -> Result<(), OpenError> {
    let found = address::resolve(&link.address).await.map_err(OpenError::Address)?;
    let addresses = found.iter().map(address::tcp).collect();
    let (done, connected) = oneshot::channel();
    let command = Command::Dial { peer: link.peer, addresses, done };
    link.commands.send(command).await.map_err(|_| OpenError::Dial)?;
    match timeout(DIAL_TIMEOUT, connected).await {
        Ok(Ok(true)) => Ok(()),
        Ok(_) | Err(_) => Err(OpenError::Dial),
    }
}

async fn open_stream(link: &Link, control: &mut Control, channel: Channel, attempt: u64) -> Result<Stream, OpenError> {
    let mut stream = control.open_stream(link.peer, channel.protocol()).await?;
    let greeting = accept::greeting(attempt, &link.id);
    frame::write(&mut stream, &greeting).await.map_err(FrameError::from)?;
    Ok(stream)
}

/// Waits for the other end to dial, for ever. A newer attempt of it ends the session under way: the
/// other end knows best that the old one is dead.
pub(super) async fn accept(link: Link, arrivals: mpsc::Receiver<Arrival>) {
    let mut assembly = Assembly { arrivals, attempt: 0, parts: [const { None }; 3] };
    let mut next = None;
    loop {
        let mut streams = match next.take() {
            Some(streams) => streams,
            None => assembly.complete().await,
        };
        let ready = timeout(OPEN_TIMEOUT, frame::write(&mut streams[0], &[])).await;
        if !matches!(ready, Ok(Ok(()))) {
            continue;
        }
        match session::run(&link.id, streams, &link.events, assembly.complete()).await {
            End::Replaced(streams) => next = Some(*streams),
            End::Silent => disconnect(&link).await,
            End::Dropped | End::Stream(..) => {}
        }
    }
}

/// Collects the three streams of one attempt.
struct Assembly {
    arrivals: mpsc::Receiver<Arrival>,
    attempt: u64,
    parts: [Option<Stream>; 3],
}

impl Assembly {
    /// The streams of the next attempt that is complete. Safe to cancel.
    async fn complete(&mut self) -> Streams {
        loop {
            let Some(arrival) = self.arrivals.recv().await else {
                // The accepting tasks are gone: the swarm is stopping and aborts this task, too.
                std::future::pending().await
            };
            if let Some(streams) = self.add(arrival) {
                return streams;
            }
        }
    }

    fn add(&mut self, arrival: Arrival) -> Option<Streams> {
        if arrival.attempt != self.attempt {
            self.parts = [const { None }; 3];
            self.attempt = arrival.attempt;
        }
        self.parts[arrival.channel as usize] = Some(arrival.stream);
        match std::mem::take(&mut self.parts) {
            [Some(link), Some(block), Some(photons)] => Some([link, block, photons]),
            parts => {
                self.parts = parts;
                None
            }
        }
    }
}
