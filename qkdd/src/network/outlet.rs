//! The ways out of a link's session. In: frames from the driver. Out: bounded queues that the
//! session's writers empty. Always: a queue is bounded in frames and in bytes; the sessions listed
//! are those whose `LinkUp` the driver has taken, so that no frame meets a session it was not for.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use qkd_proto::id::LinkId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::frame::Channel;

/// A frame that waits to be written.
pub(super) struct Queued {
    pub(super) bytes: Vec<u8>,
    _room: OwnedSemaphorePermit,
}

/// What became of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Offer {
    /// It will be written.
    Queued,
    /// The queue has no room.
    Full,
    /// Empty, or longer than the channel allows.
    Oversize,
    /// The session has ended.
    Gone,
}

/// The queue of one channel.
#[derive(Clone)]
pub(super) struct Outlet {
    queue: mpsc::Sender<Queued>,
    room: Arc<Semaphore>,
    frame_bytes_max: usize,
}

/// Frames and bytes that a channel's queue holds.
fn bounds(channel: Channel) -> (usize, usize) {
    match channel {
        Channel::Link => (1024, 4 << 20),
        Channel::Block => (1024, 72 << 20),
        Channel::Photons => (8, 2 << 20),
    }
}

impl Outlet {
    /// A queue and the end that the writer empties.
    pub(super) fn new(channel: Channel) -> (Self, mpsc::Receiver<Queued>) {
        let (frames_max, bytes_max) = bounds(channel);
        let (queue, writer) = mpsc::channel(frames_max);
        let frame_bytes_max = channel.frame_bytes_max();
        (Self { queue, room: Arc::new(Semaphore::new(bytes_max)), frame_bytes_max }, writer)
    }

    fn permits(&self, bytes: &[u8]) -> Option<u32> {
        // An empty frame is the keep-alive of the session itself.
        let legal = (1..=self.frame_bytes_max).contains(&bytes.len());
        u32::try_from(bytes.len()).ok().filter(|_| legal)
    }

    /// Queues without waiting.
    pub(super) fn offer(&self, bytes: Vec<u8>) -> Offer {
        let Some(permits) = self.permits(&bytes) else { return Offer::Oversize };
        let Ok(room) = Arc::clone(&self.room).try_acquire_many_owned(permits) else { return Offer::Full };
        match self.queue.try_send(Queued { bytes, _room: room }) {
            Ok(()) => Offer::Queued,
            Err(mpsc::error::TrySendError::Full(_)) => Offer::Full,
            Err(mpsc::error::TrySendError::Closed(_)) => Offer::Gone,
        }
    }

    /// Queues, and waits for room until the session ends.
    pub(super) async fn push(&self, bytes: Vec<u8>, end: &CancellationToken) -> Offer {
        let Some(permits) = self.permits(&bytes) else { return Offer::Oversize };
        let queued = async {
            let room = Arc::clone(&self.room).acquire_many_owned(permits).await.ok()?;
            self.queue.send(Queued { bytes, _room: room }).await.ok()
        };
        match end.run_until_cancelled(queued).await.flatten() {
            Some(()) => Offer::Queued,
            None => Offer::Gone,
        }
    }
}

/// The three queues of one session.
#[derive(Clone)]
pub(super) struct Outlets {
    pub(super) link: Outlet,
    pub(super) block: Outlet,
    pub(super) photons: Outlet,
    /// Cancelled to end the session, and when it has ended.
    pub(super) end: CancellationToken,
}

/// The sessions that the driver knows to be up.
#[derive(Clone, Default)]
pub(super) struct Sessions {
    up: Arc<Mutex<HashMap<LinkId, Outlets>>>,
    refused: Arc<AtomicU64>,
}

impl Sessions {
    fn lock(&self) -> MutexGuard<'_, HashMap<LinkId, Outlets>> {
        self.up.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The session of a link.
    pub(super) fn get(&self, link: &LinkId) -> Option<Outlets> {
        self.lock().get(link).cloned()
    }

    /// Notes a session that the driver has just learnt of.
    pub(super) fn insert(&self, link: LinkId, outlets: Outlets) {
        self.lock().insert(link, outlets);
    }

    /// Forgets a link's session.
    pub(super) fn remove(&self, link: &LinkId) -> Option<Outlets> {
        self.lock().remove(link)
    }

    /// Counts something that was refused.
    pub(super) fn count_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// How much was refused so far.
    pub(super) fn refused_count(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}
