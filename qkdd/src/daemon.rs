//! Builds the parts of a node, starts them, and stops them in order: the only file that knows all
//! parts. In: a [`Config`]. Out: a running node, until a signal. Always: what `--check-config` accepts
//! is what starts.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use qkd_proto::crypto::{IdentityKey, SystemEntropy};
use qkd_proto::entropy::draw;
use qkd_proto::id::BootId;
use qkd_proto::node::effect::Table;
use qkd_proto::node::gate::Gate;
use qkd_proto::node::settings::{LinkPlan, NodeSettings};
use qkd_proto::node::{Node, RestoreError, Stored};
use qkd_proto::relay::directory;
use qkd_proto::secret::SecretBytes;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::api::control_socket::{self, ControlSocket};
use crate::api::handle::{NodeHandle, Question};
use crate::api::key_socket::{self, KeySocket, KeySocketOptions};
use crate::api::metrics::MetricsSocket;
use crate::config::{Config, ConfigFaults, StoreSettings};
use crate::device::{self, Device, DeviceSetup, PlanError};
use crate::driver::{Clock, Driver, Sources};
use crate::faults::Faults;
use crate::guard::Guard;
use crate::hardening::HardeningError;
use crate::jobs::Jobs;
use crate::network::{Network, NetworkError, NetworkSettings};
use crate::pad_ledger::PadLedger;
use crate::store::Store;
use crate::store::anchor;
use crate::store::committer::Committer;
use crate::store::data_dir::{DataDir, DataDirError, OpenedData};
use crate::store::error::StoreError;
use crate::store::locked::Hold;
use crate::store::master_key::MasterKeyError;
use crate::store::options::StoreOptions;
use crate::store::zeroize::{self, Destroyed, ZeroizedError};
use crate::{hardening, shutdown, tamper};

/// Questions that wait for the node, at most.
const QUESTIONS_MAX: usize = 4096;
/// Inputs of devices and jobs that wait for the node, at most.
const INPUTS_MAX: usize = 256;
/// Results of the disk that wait for the node, at most.
const RESULTS_MAX: usize = 4096;
/// The exit code of a node that was zeroized.
const EXIT_ZEROIZED: u8 = 79;
/// A zeroization waits so long for the parts that write; then it does without them.
const LAST_WRITES_WAIT: Duration = Duration::from_millis(300);
/// A clean stop takes no longer.
const STOP_WAIT: Duration = Duration::from_secs(7);

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration.
    #[error("{0}")]
    Config(#[from] ConfigFaults),
    /// A link's device.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The data directory.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What the store holds.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// The overlay.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The key socket.
    #[error(transparent)]
    KeySocket(#[from] key_socket::StartError),
    /// The control socket.
    #[error(transparent)]
    ControlSocket(#[from] control_socket::StartError),
    /// The master key.
    #[error(transparent)]
    MasterKey(#[from] MasterKeyError),
    /// What was destroyed before.
    #[error(transparent)]
    Zeroized(#[from] ZeroizedError),
    /// What was destroyed just now, by an order or a sign of tampering.
    #[error(
        "ZEROIZED ({reason}): {} files with {} bytes are overwritten and removed, {} could not be; run `qkdctl pool \
         reset --config FILE` to begin anew",
        done.files, done.bytes, done.failed
    )]
    Destroyed {
        /// Why.
        reason: String,
        /// How much.
        done: Destroyed,
    },
    /// The walls around the process.
    #[error(transparent)]
    Hardening(#[from] HardeningError),
    /// Threads, files, the metrics socket.
    #[error("{0}: {1}")]
    System(&'static str, std::io::Error),
}

impl StartError {
    /// The exit code: a service manager does not start a zeroized node again.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Destroyed { .. } | Self::Zeroized(_) => EXIT_ZEROIZED,
            _ => 1,
        }
    }
}

/// What start-up would refuse.
///
/// # Errors
/// Every fault of the configuration, or the first of what it names.
pub fn check(path: &Path) -> Result<Config, StartError> {
    let config = Config::load(path)?;
    device_setups(&config)?;
    store_options(&config)?;
    KeySocket::check(&config.supply).map_err(key_socket::StartError::from)?;
    Ok(config)
}

fn store_options(config: &Config) -> Result<StoreOptions, DataDirError> {
    let StoreSettings { anchor_dir, profile, strict } = &config.store;
    let anchor_dir = anchor::place(anchor_dir, &config.control_socket)?;
    Ok(StoreOptions { anchor_dir, profile: *profile, strict: *strict, audit: config.audit })
}

fn link_plans(config: &Config) -> Result<Vec<LinkPlan>, PlanError> {
    config.links.iter().map(device::link_plan).collect()
}

fn device_setups(config: &Config) -> Result<Vec<DeviceSetup>, PlanError> {
    let seed = config.insecure_test.as_ref().and_then(|test| test.emulator_seed);
    let transmits = |link| config.roster.link(link).is_some_and(|link| link.transmitter == config.node);
    config.links.iter().map(|link| DeviceSetup::new(link, transmits(&link.name), seed)).collect()
}

/// Gets the master key of a node that may start.
///
/// # Errors
/// If the directory was zeroized, the key is not to be had, or not to be held as configured.
pub fn unlock_disk(config: &Config) -> Result<Arc<Guard>, StartError> {
    zeroize::check(&config.data_dir)?;
    let key = config.master_key.open(&config.data_dir)?;
    if key.hold() == Hold::Unlocked && config.hardening.memory == hardening::Wanted::Require {
        return Err(HardeningError::Memory.into());
    }
    Ok(Arc::new(Guard::new(key, config.master_key.clone(), config.data_dir.clone())))
}

/// Runs a node until a signal ends it; `seal` is called once every part has started.
///
/// # Errors
/// If a part does not start, or the node was zeroized.
pub async fn run(
    config: &Config,
    guard: Arc<Guard>,
    seal: impl FnOnce() -> Result<(), StartError>,
) -> Result<(), StartError> {
    let stop = shutdown::on_signal().map_err(|error| StartError::System("signals", error))?;
    run_guarded(config, guard, stop, seal).await
}

/// Runs a node until `stop` is cancelled, without walls around the process.
///
/// # Errors
/// As [`run`].
pub async fn run_until(config: Config, stop: CancellationToken) -> Result<(), StartError> {
    let guard = unlock_disk(&config)?;
    run_guarded(&config, guard, stop, || Ok(())).await
}

async fn run_guarded(
    config: &Config,
    guard: Arc<Guard>,
    stop: CancellationToken,
    seal: impl FnOnce() -> Result<(), StartError>,
) -> Result<(), StartError> {
    tamper::watch(&config.tamper, &guard.zeroize).map_err(|error| StartError::System("tamper", error))?;
    let opened = DataDir::open_with(&config.data_dir, &guard.key.copy(), store_options(config)?)?;
    let settings = node_settings(config, &opened)?;
    let OpenedData { incarnation, alarms, store, .. } = opened;
    alarms.iter().for_each(|text| tracing::warn!("Alarm {text}"));
    let clock = Clock::start();
    let node = Node::new(settings, load(&*store)?, Box::new(SystemEntropy::new()), clock.now())?;
    let (questions, queue) = NodeHandle::new(QUESTIONS_MAX);
    let (driver, sources) = assemble(config, node, clock, store, queue, guard.clone()).await?;
    let sockets = Sockets::start(config, &questions).await?;
    seal()?;
    tracing::info!(node = %config.node, incarnation = incarnation.0, "Node started");
    let halt = stop.child_token();
    let driver = tokio::spawn(driver.run(sources, halt.clone()));
    tokio::select! {
        () = stop.cancelled() => {}
        reason = guard.zeroize.given() => {
            halt.cancel();
            return Err(destroy(config, &guard, sockets, driver, reason).await);
        }
    }
    tracing::info!("Node stops");
    let stopped = tokio::time::timeout(STOP_WAIT, async {
        sockets.stop().await;
        if let Ok(driver) = driver.await {
            dismantle(driver).await;
        }
    });
    if stopped.await.is_err() {
        tracing::warn!("The node did not stop in time: what was reserved is burnt at the next start");
    }
    Ok(())
}

fn node_settings(config: &Config, opened: &OpenedData) -> Result<NodeSettings, PlanError> {
    Ok(NodeSettings {
        id: config.node.clone(),
        identity: IdentityKey::from_seed(&config.identity_key),
        roster: config.roster.clone(),
        incarnation: opened.incarnation,
        boot: BootId(draw(&mut SystemEntropy::new())),
        data_dir: opened.id,
        sequence: opened.sequence,
        standing: opened.standing,
        strict: config.store.strict,
        links: link_plans(config)?,
        saes: config.saes.iter().map(|sae| sae.id.clone()).collect(),
        self_pair: config.insecure_test.as_ref().is_some_and(|test| test.self_pair),
    })
}

/// Ends what writes, as far as it ends in time, and destroys the data directory.
async fn destroy(
    config: &Config,
    guard: &Guard,
    sockets: Sockets,
    driver: JoinHandle<Driver>,
    reason: String,
) -> StartError {
    tracing::error!("The node is zeroized: {reason}");
    let Sockets { keys, control, .. } = sockets;
    drop(keys);
    let ended = tokio::time::timeout(LAST_WRITES_WAIT, async {
        // The node's own secrets are wiped here.
        let Driver { committer, .. } = driver.await.ok()?;
        tokio::task::spawn_blocking(move || committer.stop()).await.ok()
    });
    let quiet = ended.await.is_ok();
    let (dir, master, limits, why) = (config.data_dir.clone(), guard.key.copy(), config.audit, reason.clone());
    let done = tokio::task::spawn_blocking(move || {
        if quiet { zeroize::destroy_with_record(&dir, &master, limits, &why) } else { zeroize::destroy(&dir, &why) }
    });
    let done = done.await.unwrap_or_default();
    control.stop().await;
    StartError::Destroyed { reason, done }
}

fn load(store: &dyn Store) -> Result<Stored, StoreError> {
    Ok(Stored {
        pools: store.load(Table::Pools)?,
        marks: store.load(Table::Marks)?,
        transfers: store.load(Table::Transfers)?,
    })
}

async fn assemble(
    config: &Config,
    node: Node,
    clock: Clock,
    store: Box<dyn Store + Send>,
    questions: mpsc::Receiver<Question>,
    guard: Arc<Guard>,
) -> Result<(Driver, Sources), StartError> {
    let system = |what| move |error| StartError::System(what, error);
    let roster = Arc::new(config.roster.clone());
    let check = roster.clone();
    let (network, events, _) = Network::start(NetworkSettings {
        identity_seed: SecretBytes::copy_of(config.identity_key.expose()),
        listen: config.overlay_listen.to_string(),
        node: config.node.clone(),
        roster,
        verify_saes: Arc::new(move |node, bytes| directory::open(bytes, &check).is_ok_and(|text| text.node == *node)),
    })
    .await?;
    let (results, commits) = mpsc::channel(RESULTS_MAX);
    let committer = Committer::start(store, results).map_err(system("committer thread"))?;
    let (inputs, queue) = mpsc::channel(INPUTS_MAX);
    let jobs = Jobs::start(&inputs).map_err(system("job thread"))?;
    let mut devices = BTreeMap::new();
    for setup in device_setups(config)? {
        let link = setup.link().clone();
        let device = Device::start(setup, inputs.clone(), network.clone()).map_err(system("device thread"))?;
        devices.insert(link, device);
    }
    let ledger = config.insecure_test.as_ref().and_then(|test| test.pad_ledger.as_deref());
    let pad_ledger = ledger.map(PadLedger::open).transpose().map_err(system("pad ledger"))?;
    let allowed = config.insecure_test.as_ref().is_some_and(|test| test.faults);
    let configured = link_plans(config)?.into_iter().map(|plan| (plan.link, plan.faults)).collect();
    let driver = Driver {
        node,
        clock,
        network,
        committer,
        devices,
        faults: Faults::new(allowed, configured),
        guard,
        jobs,
        pad_ledger,
        gate: Gate::default(),
        backlog: VecDeque::new(),
        waiting: BTreeMap::new(),
        last_request: 0,
    };
    Ok((driver, Sources { network: events, commits, inputs: queue, questions }))
}

/// The sockets that people and applications reach the node by.
struct Sockets {
    keys: KeySocket,
    control: ControlSocket,
    metrics: Option<MetricsSocket>,
}

impl Sockets {
    async fn start(config: &Config, node: &NodeHandle) -> Result<Self, StartError> {
        let self_pair = config.insecure_test.as_ref().is_some_and(|test| test.self_pair);
        let options = KeySocketOptions { self_pair, ..KeySocketOptions::default() };
        let control = ControlSocket::start(&config.control_socket, node.clone())?;
        let keys = KeySocket::start(&config.supply, &config.saes, options, node.clone()).await?;
        let metrics = match config.metrics_listen {
            None => None,
            Some(listen) => {
                let socket = MetricsSocket::start(listen, node.clone()).await;
                Some(socket.map_err(|error| StartError::System("metrics socket", error))?)
            }
        };
        Ok(Self { keys, control, metrics })
    }

    async fn stop(self) {
        drop(self.metrics);
        self.keys.stop().await;
        self.control.stop().await;
    }
}

/// Stops devices, then the network, then the store.
async fn dismantle(driver: Driver) {
    let Driver { devices, network, committer, .. } = driver;
    network.stop().await;
    let stopped = tokio::task::spawn_blocking(move || {
        devices.into_values().for_each(Device::stop);
        committer.stop();
    });
    if stopped.await.is_err() {
        tracing::error!("A part panicked while it stopped");
    }
}
