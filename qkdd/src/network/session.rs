//! One session of a link: three open streams. In: the streams. Out: `LinkUp`, frames, `LinkDown`.
//! Always: `LinkDown` is queued only after every reader has ended, so nothing of a session follows
//! it; a neighbour that says nothing for eight seconds is taken for dead.

use std::sync::Arc;
use std::time::Duration;

use futures::io::{ReadHalf, WriteHalf};
use futures::{AsyncReadExt, AsyncWriteExt};
use libp2p::Stream;
use qkd_proto::id::LinkId;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::events::Delivery;
use super::frame::{self, Channel, FrameError};
use super::outlet::{Outlet, Outlets, Queued};

/// Pause after which an idle writer of the link channel sends an empty frame.
const KEEP_ALIVE: Duration = Duration::from_secs(2);
/// Silence on the link channel that ends the session.
const SILENCE_MAX: Duration = Duration::from_secs(8);
/// Bytes received on one session that the driver has not taken, at most.
const INBOUND_BYTES_MAX: usize = 72 << 20;
/// Frames are written together up to this many bytes.
const BATCH_BYTES: usize = 64 << 10;

/// The streams of a session, in the order of [`Channel::ALL`].
pub(super) type Streams = [Stream; 3];

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum End {
    /// The driver asked for it, or a queue to the neighbour was full.
    #[error("dropped at this end")]
    Dropped,
    /// The neighbour opened the link anew.
    #[error("opened anew by the neighbour")]
    Replaced(Box<Streams>),
    /// Nothing was heard: the connection is taken for dead.
    #[error("nothing heard for {} s", SILENCE_MAX.as_secs())]
    Silent,
    /// A stream ended, or carried something illegal.
    #[error("{0:?}: {1}")]
    Stream(Channel, FrameError),
}

/// What all tasks of one session share.
#[derive(Clone)]
struct Context {
    link: LinkId,
    events: mpsc::Sender<Delivery>,
    inbound: Arc<Semaphore>,
}

/// Runs a session to its end. `replaced` completes when the neighbour opens the link anew.
pub(super) async fn run(
    link: &LinkId,
    streams: Streams,
    events: &mpsc::Sender<Delivery>,
    replaced: impl Future<Output = Streams>,
) -> End {
    let inbound = Arc::new(Semaphore::new(INBOUND_BYTES_MAX));
    let context = Context { link: link.clone(), events: events.clone(), inbound };
    let (outlets, writers) = outlets();
    let end = outlets.end.clone();
    if events.send(Delivery::Up(link.clone(), outlets)).await.is_err() {
        return End::Dropped;
    }
    info!(%link, "Link up");
    let mut tasks = JoinSet::new();
    for ((stream, writer), channel) in streams.into_iter().zip(writers).zip(Channel::ALL) {
        let (read_half, write_half) = stream.split();
        tasks.spawn(read(context.clone(), channel, read_half));
        tasks.spawn(write(channel, write_half, writer));
    }
    let reason = tokio::select! {
        () = end.cancelled() => End::Dropped,
        streams = replaced => End::Replaced(Box::new(streams)),
        Some(ended) = tasks.join_next() => ended.unwrap_or(End::Dropped),
    };
    end.cancel();
    tasks.shutdown().await;
    info!(%link, %reason, "Link down");
    // A closed channel means that the driver is gone: nobody is left to be told.
    let _ = events.send(Delivery::Down(link.clone())).await;
    reason
}

fn outlets() -> (Outlets, [mpsc::Receiver<Queued>; 3]) {
    let (link, link_writer) = Outlet::new(Channel::Link);
    let (block, block_writer) = Outlet::new(Channel::Block);
    let (photons, photon_writer) = Outlet::new(Channel::Photons);
    let end = CancellationToken::new();
    (Outlets { link, block, photons, end }, [link_writer, block_writer, photon_writer])
}

async fn read(context: Context, channel: Channel, mut stream: ReadHalf<Stream>) -> End {
    loop {
        let delivery = match next(&context, channel, &mut stream).await {
            Ok(None) => continue,
            Ok(Some(delivery)) => delivery,
            Err(end) => return end,
        };
        if context.events.send(delivery).await.is_err() {
            return End::Dropped;
        }
    }
}

async fn next(context: &Context, channel: Channel, stream: &mut ReadHalf<Stream>) -> Result<Option<Delivery>, End> {
    let failed = |error| End::Stream(channel, error);
    let length = heard(channel, frame::read_length(stream, channel.frame_bytes_max())).await?.map_err(failed)?;
    let Some(permits) = u32::try_from(length).ok().filter(|&permits| permits > 0) else { return Ok(None) };
    let room = Arc::clone(&context.inbound).acquire_many_owned(permits).await.map_err(|_| End::Dropped)?;
    let bytes = heard(channel, frame::read_body(stream, length)).await?.map_err(failed)?;
    Ok(Some(Delivery::Bytes(context.link.clone(), channel, bytes, room)))
}

/// Waits no longer than a living neighbour may be silent on this channel.
async fn heard<T>(channel: Channel, reading: impl Future<Output = T>) -> Result<T, End> {
    match channel {
        Channel::Link => timeout(SILENCE_MAX, reading).await.map_err(|_| End::Silent),
        Channel::Block | Channel::Photons => Ok(reading.await),
    }
}

async fn write(channel: Channel, mut stream: WriteHalf<Stream>, mut queue: mpsc::Receiver<Queued>) -> End {
    loop {
        let mut batch = Vec::new();
        match timeout(KEEP_ALIVE, queue.recv()).await {
            Ok(Some(first)) => frame::append(&mut batch, &first.bytes),
            // The session keeps no sender: the driver let go of the link.
            Ok(None) => return End::Dropped,
            Err(_) if channel == Channel::Link => frame::append(&mut batch, &[]),
            Err(_) => continue,
        }
        while batch.len() < BATCH_BYTES
            && let Ok(more) = queue.try_recv()
        {
            frame::append(&mut batch, &more.bytes);
        }
        let written = async {
            stream.write_all(&batch).await?;
            stream.flush().await
        };
        if let Err(error) = written.await {
            return End::Stream(channel, error.into());
        }
    }
}
