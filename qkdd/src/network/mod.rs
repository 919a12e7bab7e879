//! The overlay: the task that owns the libp2p swarm, and the handle to it. In: frames for links,
//! adverts, questions to the directory. Out: [`NetworkEvent`]s, through one bounded channel.
//! Always: only members of the roster are heard; a link's bytes lie between its `LinkUp` and its
//! `LinkDown`, and bytes meant for one session of a link never travel in another.

mod accept;
mod address;
mod behaviour;
mod directory;
mod events;
mod frame;
mod gossip;
mod link;
mod outlet;
mod peers;
mod session;
mod swarm;
mod worker;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use qkd_proto::id::{LinkId, NodeId};
use qkd_proto::secret::SecretBytes;
use qkd_proto::topology::Roster;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{debug, warn};

pub use self::events::{NetworkEvent, NetworkEvents};
use self::outlet::{Offer, Outlets, Sessions};
pub use self::peers::PeersError;
use self::worker::{Command, Worker};

/// Events that wait for the driver, at most.
const EVENTS_MAX: usize = 1024;
/// Commands that wait for the swarm task, at most.
const COMMANDS_MAX: usize = 256;

/// Says whether a value is an SAE roster that this node really signed.
pub type VerifySaes = Arc<dyn Fn(&NodeId, &[u8]) -> bool + Send + Sync>;

/// What the overlay needs to start.
pub struct NetworkSettings {
    /// The 32-byte Ed25519 seed of this node's identity key.
    pub identity_seed: SecretBytes,
    /// Where to listen, `host:port`; port 0 takes a free one.
    pub listen: String,
    /// This node.
    pub node: NodeId,
    /// Who may connect, and which links exist.
    pub roster: Arc<Roster>,
    /// The check that every SAE roster passes before it is stored or reported.
    pub verify_saes: VerifySaes,
}

/// Why the overlay did not start.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// The identity key or the roster is unusable.
    #[error(transparent)]
    Peers(#[from] PeersError),
    /// The swarm could not be built.
    #[error("network: {0}")]
    Build(String),
    /// The address cannot be listened on.
    #[error("network: cannot listen on {address:?}: {reason}")]
    Listen {
        /// As configured.
        address: String,
        /// As the system tells it.
        reason: String,
    },
}

/// The link has no session, or lost it while this waited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the link is down")]
pub struct LinkGone;

/// The handle to the overlay: cheap to clone. When the last one is dropped, the overlay stops.
#[derive(Clone)]
pub struct Network {
    shared: Arc<Shared>,
}

struct Shared {
    commands: mpsc::Sender<Command>,
    sessions: Sessions,
    task: Mutex<Option<JoinHandle<()>>>,
    stop: CancellationToken,
    _stop_on_drop: DropGuard,
}

impl Network {
    /// Listens and starts the overlay; links come up by themselves.
    ///
    /// # Errors
    /// An unusable identity or roster, or an address that cannot be listened on.
    pub async fn start(settings: NetworkSettings) -> Result<(Self, NetworkEvents, SocketAddr), NetworkError> {
        let (commands, command_queue) = mpsc::channel(COMMANDS_MAX);
        let (events, event_queue) = mpsc::channel(EVENTS_MAX);
        let stop = CancellationToken::new();
        let mut worker = Worker::new(&settings, commands.clone(), events)?;
        let bound = worker.listen(&settings.listen).await?;
        let task = tokio::spawn(worker.run(command_queue, stop.clone()));
        let sessions = Sessions::default();
        let shared = Shared {
            commands,
            sessions: sessions.clone(),
            task: Mutex::new(Some(task)),
            _stop_on_drop: stop.clone().drop_guard(),
            stop,
        };
        Ok((Self { shared: Arc::new(shared) }, NetworkEvents::new(event_queue, sessions), bound))
    }

    /// Queues a frame of pool or relay talk; a full queue or an oversize frame drops the link.
    pub fn send_link(&self, link: &LinkId, bytes: Vec<u8>) {
        self.offer(link, bytes, |outlets, bytes| outlets.link.offer(bytes));
    }

    /// Queues a frame of distillation talk; a full queue or an oversize frame drops the link.
    pub fn send_block(&self, link: &LinkId, bytes: Vec<u8>) {
        self.offer(link, bytes, |outlets, bytes| outlets.block.offer(bytes));
    }

    fn offer(&self, link: &LinkId, bytes: Vec<u8>, offer: impl FnOnce(&Outlets, Vec<u8>) -> Offer) {
        let Some(outlets) = self.shared.sessions.get(link) else {
            debug!(%link, "Frame for a link that is down, discarded");
            return;
        };
        match offer(&outlets, bytes) {
            Offer::Queued => {}
            refused @ (Offer::Full | Offer::Oversize) => {
                warn!(%link, reason = ?refused, "Outgoing frame refused, link dropped");
                self.shared.sessions.count_refused();
                self.drop_link(link);
            }
            Offer::Gone => debug!(%link, "Frame for a link that just went down, discarded"),
        }
    }

    /// Queues sealed photons, and waits while the link is slower than they come.
    ///
    /// # Errors
    /// The link is down or went down meanwhile.
    pub async fn send_photons(&self, link: &LinkId, bytes: Vec<u8>) -> Result<(), LinkGone> {
        let outlets = self.shared.sessions.get(link).ok_or(LinkGone)?;
        match outlets.photons.push(bytes, &outlets.end).await {
            Offer::Queued => Ok(()),
            refused @ (Offer::Full | Offer::Oversize) => {
                warn!(%link, reason = ?refused, "Outgoing photons refused, link dropped");
                self.shared.sessions.count_refused();
                outlets.end.cancel();
                Err(LinkGone)
            }
            Offer::Gone => Err(LinkGone),
        }
    }

    /// Ends the link's session; `LinkDown` follows, then a new attempt.
    pub fn drop_link(&self, link: &LinkId) {
        if let Some(outlets) = self.shared.sessions.remove(link) {
            outlets.end.cancel();
        }
    }

    /// Gossips an advert of this node to the network, as well as gossip can.
    pub fn publish_advert(&self, bytes: Vec<u8>) {
        self.command(Command::PublishAdvert(bytes));
    }

    /// Publishes this node's signed SAE roster, and again now and then.
    pub fn publish_saes(&self, bytes: Vec<u8>) {
        self.command(Command::PublishSaes(bytes));
    }

    /// Asks the directory for a node's SAE roster. Each distinct value comes as one event; `None`
    /// comes if there is no value.
    pub fn find_saes(&self, node: NodeId) {
        self.command(Command::FindSaes(node));
    }

    fn command(&self, command: Command) {
        if self.shared.commands.try_send(command).is_err() {
            warn!("The swarm task is overloaded or gone, command discarded");
            self.shared.sessions.count_refused();
        }
    }

    /// How many frames and commands were refused because a queue was full or a frame too large.
    pub fn refused_count(&self) -> u64 {
        self.shared.sessions.refused_count()
    }

    /// Closes every connection and waits for the swarm task. The event channel ends; no `LinkDown`
    /// is told for what this itself takes down.
    pub async fn stop(self) {
        self.shared.stop.cancel();
        let task = self.shared.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task
            && let Err(error) = task.await
        {
            warn!(%error, "The swarm task ended badly");
        }
    }
}
