//! The one accept loop of every socket here. In: a listener and what serves one connection. Out:
//! nothing. Always: connections are bounded, a failing accept does not spin, and at the end no new
//! connection is taken while running ones finish.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Pause after a failed accept: the system is out of file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// What connections come from.
pub(super) trait Listener: Send {
    /// A connection.
    type Stream: Send;

    /// Waits for the next one. Safe to cancel.
    fn next(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

impl Listener for TcpListener {
    type Stream = TcpStream;

    async fn next(&self) -> io::Result<TcpStream> {
        self.accept().await.map(|(stream, _)| stream)
    }
}

impl Listener for UnixListener {
    type Stream = UnixStream;

    async fn next(&self) -> io::Result<UnixStream> {
        self.accept().await.map(|(stream, _)| stream)
    }
}

/// Serves up to `connections_max` connections at a time until `stop`, then lets them finish.
pub(super) async fn accept_all<L: Listener, F: Future<Output = ()> + Send + 'static>(
    listener: L,
    connections_max: usize,
    stop: CancellationToken,
    serve: impl Fn(L::Stream, CancellationToken) -> F,
) {
    let room = Arc::new(Semaphore::new(connections_max));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(permit) = room.clone().acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = listener.next() => accepted,
            () = stop.cancelled() => break,
        };
        let Ok(stream) = accepted else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let served = serve(stream, stop.clone());
        connections.spawn(async move {
            served.await;
            drop(permit);
        });
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}
