//! A network under load, for harnesses. In: a scenario. Out: running daemons, two SAEs that ask for keys
//! all the time, and what they saw. Always: what was seen is judged at the end, whatever happened.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use qkdctl::net::RenderOptions;
use tempfile::TempDir;
use tokio::task::{JoinHandle, JoinSet};

use super::copies;
use super::history::History;
use crate::binaries;
use crate::cluster::Cluster;
use crate::delivery::{self, Outcome, Sae};
use crate::error::Failed;
use crate::ledger::PadLedger;
use crate::progress::say;
use crate::report::Report;
use crate::scenario::Scenario;

/// Time for the first key of the network.
const FIRST_KEY_WAIT: Duration = Duration::from_secs(60);
/// A slave gives up if the network has been whole for so long.
const GIVE_UP_AFTER: Duration = Duration::from_secs(10);
/// Pause of a client between two keys.
const CLIENT_PAUSE: Duration = Duration::from_millis(40);
/// Fetches of one client under way, at most.
const FETCHES_MAX: usize = 64;
/// Time from a fetch to the next of the same key, which often has a fault in it.
const AGAIN_AFTER: Duration = Duration::from_secs(2);
/// Pause after a refusal.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// File of each node that lists its pad uses, in its folder and outside its data directory.
pub(super) const PAD_LEDGER: &str = "pads.log";

/// What clients and rounds share.
#[derive(Default)]
struct Shared {
    history: Mutex<History>,
    /// Since when every node runs and keys flow.
    whole: Mutex<Option<Instant>>,
    /// The next stops clients, at the end or for a while.
    stop: AtomicBool,
}

impl Shared {
    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_whole_for(&self, time: Duration) -> bool {
        self.whole.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|since| since.elapsed() > time)
    }
}

/// A cluster and its clients.
pub(super) struct Load {
    /// The daemons.
    pub(super) cluster: Cluster,
    /// The SAE that asks first.
    pub(super) alice: Arc<Sae>,
    /// The SAE at the other end.
    pub(super) bob: Arc<Sae>,
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<()>>,
    /// In memory: each node's anchor has a folder there.
    anchors: Option<TempDir>,
}

impl Load {
    /// Renders the network; nothing runs yet.
    pub(super) fn render(scenario: &Scenario, more: &[(&str, toml::Value)]) -> Result<Self, Failed> {
        let mut table: toml::Table =
            [("i_know".to_owned(), true.into()), ("pad_ledger".to_owned(), PAD_LEDGER.into())].into_iter().collect();
        table.extend(more.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        let options = RenderOptions { insecure_test: Some(table), ..RenderOptions::default() };
        let cluster = Cluster::render(binaries::find()?, &scenario.topology, None, Some(options))?;
        let dir = cluster.net_dir();
        let alice = Arc::new(Sae::open(&dir, scenario.initiator.id.as_str())?);
        let bob = Arc::new(Sae::open(&dir, scenario.target.id.as_str())?);
        let anchors = place_anchors(&cluster)?;
        Ok(Self { cluster, alice, bob, shared: Arc::default(), clients: Vec::new(), anchors })
    }

    /// The folder of a node's anchor; none where no folder is in memory.
    pub(super) fn anchor_dir(&self, i: usize) -> Option<PathBuf> {
        let name = &self.cluster.daemons[i].node.name;
        self.anchors.as_ref().map(|dir| dir.path().join(name))
    }

    /// Forgets what a node's memory says of its disk, as a power cut does.
    pub(super) fn forget_anchor(&self, i: usize) -> Result<(), Failed> {
        let Some(dir) = self.anchor_dir(i) else { return Ok(()) };
        copies::remove(&dir)?;
        make_private(&dir)
    }

    /// Renders and starts the network, and waits for the first key.
    pub(super) async fn start(scenario: &Scenario, more: &[(&str, toml::Value)]) -> Result<Self, Failed> {
        let mut load = Self::render(scenario, more)?;
        load.start_daemons().await?;
        Ok(load)
    }

    /// Starts every daemon and waits for the first key.
    pub(super) async fn start_daemons(&mut self) -> Result<(), Failed> {
        let started = match self.cluster.start().await {
            Ok(()) => delivery::deliver(&self.alice, &self.bob, Instant::now() + FIRST_KEY_WAIT).await,
            Err(failed) => Err(failed),
        };
        if started.is_err() {
            self.cluster.show_logs();
        }
        let first = started?;
        say(&format!("first key {}, equal: {}", first.key_id, first.is_equal()));
        self.whole();
        Ok(())
    }

    /// Lets clients ask, in both directions.
    pub(super) fn go(&mut self) {
        self.shared.stop.store(false, Ordering::Relaxed);
        for (master, slave) in [(&self.alice, &self.bob), (&self.bob, &self.alice)] {
            let client = client(Arc::clone(master), Arc::clone(slave), Arc::clone(&self.shared));
            self.clients.push(tokio::spawn(client));
        }
    }

    /// Ends the clients, once each has fetched what it asked for.
    pub(super) async fn halt(&mut self) -> Result<(), Failed> {
        self.shared.stop.store(true, Ordering::Relaxed);
        for client in std::mem::take(&mut self.clients) {
            client.await.map_err(|error| Failed::new(format!("a client broke: {error}")))?;
        }
        Ok(())
    }

    /// Ends the clients as they are.
    pub(super) fn abandon(&mut self) {
        self.clients.drain(..).for_each(|client| client.abort());
    }

    /// From here on a node is missing: slaves wait for it.
    pub(super) fn broken(&self) {
        self.set_whole(None);
    }

    /// From here on every node runs: slaves wait no longer than they must.
    pub(super) fn whole(&self) {
        self.set_whole(Some(Instant::now()));
    }

    fn set_whole(&self, since: Option<Instant>) {
        *self.shared.whole.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }

    /// What the SAEs saw so far.
    pub(super) fn history(&self) -> MutexGuard<'_, History> {
        self.shared.history()
    }

    /// A key that was asked for from here on, equal at both ends; its id, or what was last heard.
    pub(super) async fn fresh_key(&self, within: Duration) -> Result<String, String> {
        let deadline = Instant::now() + within;
        let mut last = "nothing asked".to_owned();
        while Instant::now() < deadline {
            let got = self.alice.get(&self.bob.id).await;
            let known = self.history().got(&got);
            let Some(id) = known else {
                last = got.text();
                tokio::time::sleep(RETRY_PAUSE).await;
                continue;
            };
            match self.fetch_fresh(&got, &id, deadline).await {
                Ok(true) => return Ok(id),
                Ok(false) => return Err(format!("key {id} differs")),
                Err(text) => last = text,
            }
        }
        Err(last)
    }

    async fn fetch_fresh(&self, got: &Outcome, id: &str, deadline: Instant) -> Result<bool, String> {
        let mut last = String::new();
        while Instant::now() < deadline {
            let fetched = self.bob.fetch(&self.alice.id, id).await;
            self.history().fetched(id, &fetched);
            if let (Outcome::Delivered(_, own), Outcome::Delivered(_, other)) = (got, &fetched) {
                return Ok(own == other);
            }
            last = fetched.text();
            // A key that the fault took from one end is not waited for: the next one is asked for.
            if !fetched.is_passing() {
                break;
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
        Err(last)
    }

    /// Asks for keys at the first SAE that nobody fetches yet.
    pub(super) async fn hoard(&self, count: usize) -> Vec<String> {
        let mut ids = Vec::with_capacity(count);
        let deadline = Instant::now() + FIRST_KEY_WAIT;
        while ids.len() < count && Instant::now() < deadline {
            let got = self.alice.get(&self.bob.id).await;
            let known = self.history().got(&got);
            match known {
                Some(id) => ids.push(id),
                None => tokio::time::sleep(RETRY_PAUSE).await,
            }
        }
        ids
    }

    /// Fetches each once; how many were handed out.
    pub(super) async fn fetch_each(&self, ids: &[String]) -> usize {
        let mut delivered = 0;
        for id in ids {
            let fetched = self.bob.fetch(&self.alice.id, id).await;
            self.history().fetched(id, &fetched);
            delivered += usize::from(matches!(fetched, Outcome::Delivered(..)));
        }
        delivered
    }

    /// Kills a daemon and starts it again; the time until it answers.
    pub(super) async fn restart(&mut self, i: usize) -> Result<Duration, Failed> {
        self.cluster.daemons[i].kill().await?;
        let started = Instant::now();
        self.cluster.start_one(i)?;
        self.cluster.await_answer(i).await?;
        Ok(started.elapsed())
    }

    /// Stops everything and judges what was seen. `lossy` says that keys may have been lost at one end.
    pub(super) async fn end(&mut self, label: &str, lossy: bool, report: &mut Report) -> Result<(), Failed> {
        self.halt().await?;
        let faults = self.cluster.stop().await;
        let clean = if faults.is_empty() { Ok("all nodes".into()) } else { Err(faults.join("; ")) };
        report.check(&format!("{label}: clean end"), clean);
        say(&self.history().counts());
        for (name, verdict) in self.history().verdicts().into_iter().take(if lossy { 2 } else { 3 }) {
            report.check(&format!("{label}: {name}"), verdict);
        }
        report.check(&format!("{label}: no pad byte twice"), check_pads(&self.cluster));
        Ok(())
    }
}

/// Gives every node a folder of its own in memory for its anchor, and tells it.
fn place_anchors(cluster: &Cluster) -> Result<Option<TempDir>, Failed> {
    let memory = Path::new("/dev/shm");
    if !memory.is_dir() {
        return Ok(None);
    }
    let mut made = tempfile::Builder::new();
    made.prefix("qkdd-deep-").permissions(PermissionsExt::from_mode(0o711));
    let dir = made.tempdir_in(memory).map_err(|error| Failed::file(memory, error))?;
    for daemon in &cluster.daemons {
        let own = dir.path().join(&daemon.node.name);
        make_private(&own)?;
        let config = &daemon.node.config;
        let text = std::fs::read_to_string(config).map_err(|error| Failed::file(config, error))?;
        let text = format!("{text}\n[store]\nanchor_dir = \"{}\"\n", own.display());
        std::fs::write(config, text).map_err(|error| Failed::file(config, error))?;
    }
    Ok(Some(dir))
}

/// Makes a folder for its owner alone.
pub(super) fn make_private(dir: &Path) -> Result<(), Failed> {
    std::fs::create_dir_all(dir).map_err(|error| Failed::file(dir, error))?;
    std::fs::set_permissions(dir, PermissionsExt::from_mode(0o700)).map_err(|error| Failed::file(dir, error))
}

/// Asks for keys until the end, each of which is fetched at the other end.
async fn client(master: Arc<Sae>, slave: Arc<Sae>, shared: Arc<Shared>) {
    let mut fetches = JoinSet::new();
    while !shared.stop.load(Ordering::Relaxed) {
        let outcome = master.get(&slave.id).await;
        let known = shared.history().got(&outcome);
        match known {
            Some(id) => {
                fetches.spawn(fetch_twice(Arc::clone(&master), Arc::clone(&slave), Arc::clone(&shared), id));
                tokio::time::sleep(CLIENT_PAUSE).await;
            }
            None => tokio::time::sleep(RETRY_PAUSE).await,
        }
        while fetches.len() >= FETCHES_MAX {
            fetches.join_next().await;
        }
    }
    fetches.join_all().await;
}

/// Fetches a key, and later once more, which has to be refused.
async fn fetch_twice(master: Arc<Sae>, slave: Arc<Sae>, shared: Arc<Shared>, id: String) {
    fetch(&master, &slave, &shared, &id).await;
    tokio::time::sleep(AGAIN_AFTER).await;
    let again = slave.fetch(&master.id, &id).await;
    shared.history().fetched(&id, &again);
}

/// Fetches until it succeeds, or the network has been whole for long.
async fn fetch(master: &Sae, slave: &Sae, shared: &Shared, id: &str) {
    loop {
        let outcome = slave.fetch(&master.id, id).await;
        shared.history().fetched(id, &outcome);
        if matches!(outcome, Outcome::Delivered(..)) {
            return;
        }
        if shared.is_whole_for(GIVE_UP_AFTER) {
            shared.history().gave_up(id, &outcome.text());
            return;
        }
        tokio::time::sleep(RETRY_PAUSE).await;
    }
}

/// No pad byte hid two things, as far as the nodes' own ledgers tell.
pub(super) fn check_pads(cluster: &Cluster) -> Result<String, String> {
    let mut ledger = PadLedger::default();
    for daemon in &cluster.daemons {
        let path = daemon.node.config.with_file_name(PAD_LEDGER);
        ledger.read(&path).map_err(|error| error.to_string())?;
    }
    let faults = ledger.faults();
    let (uses, pools) = ledger.counts();
    if uses == 0 {
        return Err("the nodes listed no use at all: the check is blind".into());
    }
    if faults.is_empty() { Ok(format!("{uses} uses of {pools} pools")) } else { Err(faults.join("; ")) }
}
