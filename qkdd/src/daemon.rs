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
use tokio_util::sync::CancellationToken;

use crate::api::control_socket::{self, ControlSocket};
use crate::api::handle::{NodeHandle, Question};
use crate::api::key_socket::{self, KeySocket, KeySocketOptions};
use crate::api::metrics::MetricsSocket;
use crate::config::{Config, ConfigFaults, StoreSettings};
use crate::device::{self, Device, DeviceSetup, PlanError};
use crate::driver::{Clock, Driver, Sources};
use crate::faults::Faults;
use crate::jobs::Jobs;
use crate::network::{Network, NetworkError, NetworkSettings};
use crate::pad_ledger::PadLedger;
use crate::shutdown;
use crate::store::Store;
use crate::store::anchor;
use crate::store::committer::Committer;
use crate::store::data_dir::{DataDir, DataDirError, OpenedData};
use crate::store::error::StoreError;
use crate::store::options::StoreOptions;

/// Questions that wait for the node, at most.
const QUESTIONS_MAX: usize = 4096;
/// Inputs of devices and jobs that wait for the node, at most.
const INPUTS_MAX: usize = 256;
/// Results of the disk that wait for the node, at most.
const RESULTS_MAX: usize = 4096;
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
    /// Threads, files, the metrics socket.
    #[error("{0}: {1}")]
    System(&'static str, std::io::Error),
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

/// Discards the pools of a stopped node.
///
/// # Errors
/// If the configuration is wrong, the node runs, or the disk fails.
pub fn reset_pools(path: &Path) -> Result<(), StartError> {
    let config = Config::load(path)?;
    Ok(DataDir::reset(&config.data_dir, Some(&config.master_key))?)
}

fn store_options(config: &Config) -> Result<StoreOptions, DataDirError> {
    let StoreSettings { anchor_dir, profile, strict } = &config.store;
    let anchor_dir = anchor::place(anchor_dir, &config.control_socket)?;
    Ok(StoreOptions { anchor_dir, profile: *profile, strict: *strict })
}

fn link_plans(config: &Config) -> Result<Vec<LinkPlan>, PlanError> {
    config.links.iter().map(device::link_plan).collect()
}

fn device_setups(config: &Config) -> Result<Vec<DeviceSetup>, PlanError> {
    let seed = config.insecure_test.as_ref().and_then(|test| test.emulator_seed);
    let transmits = |link| config.roster.link(link).is_some_and(|link| link.transmitter == config.node);
    config.links.iter().map(|link| DeviceSetup::new(link, transmits(&link.name), seed)).collect()
}

/// Runs a node until a signal ends it.
///
/// # Errors
/// If a part does not start.
pub async fn run(config: Config) -> Result<(), StartError> {
    let stop = shutdown::on_signal().map_err(|error| StartError::System("signals", error))?;
    run_until(config, stop).await
}

/// Runs a node until `stop` is cancelled.
///
/// # Errors
/// If a part does not start.
pub async fn run_until(config: Config, stop: CancellationToken) -> Result<(), StartError> {
    let opened = DataDir::open_with(&config.data_dir, &config.master_key, store_options(&config)?)?;
    let OpenedData { id, incarnation, sequence, standing, alarms, store, .. } = opened;
    alarms.iter().for_each(|text| tracing::warn!("Alarm {text}"));
    let settings = NodeSettings {
        id: config.node.clone(),
        identity: IdentityKey::from_seed(&config.identity_key),
        roster: config.roster.clone(),
        incarnation,
        boot: BootId(draw(&mut SystemEntropy::new())),
        data_dir: id,
        sequence,
        standing,
        strict: config.store.strict,
        links: link_plans(&config)?,
        saes: config.saes.iter().map(|sae| sae.id.clone()).collect(),
        self_pair: config.insecure_test.as_ref().is_some_and(|test| test.self_pair),
    };
    let clock = Clock::start();
    let node = Node::new(settings, load(&*store)?, Box::new(SystemEntropy::new()), clock.now())?;
    let (questions, queue) = NodeHandle::new(QUESTIONS_MAX);
    let (driver, sources) = assemble(&config, node, clock, store, queue).await?;
    let sockets = Sockets::start(&config, &questions).await?;
    tracing::info!(node = %config.node, incarnation = incarnation.0, "Node started");
    let driver = tokio::spawn(driver.run(sources, stop.clone()));
    stop.cancelled().await;
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
