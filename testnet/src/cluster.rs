//! A network of real daemons on loopback. In: a topology. Out: processes that answer. Always: free
//! ports, a folder of its own, and nothing left behind unless asked.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use qkd_proto::control::reply::{KeyReply, LinkReply, StatusReply};
use qkdctl::net::{Net, RenderOptions, Topology, render};
use tempfile::TempDir;

use crate::binaries::Binaries;
use crate::daemon::Daemon;
use crate::error::Failed;
use crate::ports;
use crate::progress::{Progress, say};

/// Time in which every daemon has to answer after its start.
const START_WAIT: Duration = Duration::from_secs(20);
/// Pause between two looks.
const POLL: Duration = Duration::from_millis(50);

/// The folder of a cluster.
enum Folder {
    Temporary(TempDir),
    Kept(PathBuf),
}

/// Rendered, and running once started.
pub(crate) struct Cluster {
    folder: Folder,
    binaries: Binaries,
    /// What was rendered.
    pub(crate) net: Net,
    /// Its nodes, in the topology's order.
    pub(crate) daemons: Vec<Daemon>,
}

impl Cluster {
    /// Renders the topology, to `keep` or a folder that is erased at the end.
    pub(crate) fn render(
        binaries: Binaries,
        topology: &Topology,
        keep: Option<&Path>,
        insecure_test: Option<RenderOptions>,
    ) -> Result<Self, Failed> {
        let folder = match keep {
            Some(dir) => Folder::Kept(dir.to_owned()),
            None => {
                let made = tempfile::Builder::new().prefix("qkdd-").tempdir();
                Folder::Temporary(made.map_err(|error| Failed::new(format!("no temporary folder: {error}")))?)
            }
        };
        let options = insecure_test.unwrap_or_default();
        let options = RenderOptions { ports: ports::free(topology.nodes.len())?, ..options };
        let net = render(topology, &folder.net(), options)?;
        let daemons = net.nodes.iter().cloned().map(Daemon::new).collect();
        Ok(Self { folder, binaries, net, daemons })
    }

    /// The rendered folder.
    pub(crate) fn net_dir(&self) -> PathBuf {
        self.folder.net()
    }

    /// The programs that its daemons run.
    pub(crate) fn binaries(&self) -> &Binaries {
        &self.binaries
    }

    /// Another program for the next starts of every daemon; the one before is returned.
    pub(crate) fn swap_daemon(&mut self, qkdd: PathBuf) -> PathBuf {
        std::mem::replace(&mut self.binaries.qkdd, qkdd)
    }

    /// Starts every daemon and waits until each answers.
    pub(crate) async fn start(&mut self) -> Result<(), Failed> {
        for daemon in &mut self.daemons {
            daemon.start(&self.binaries)?;
        }
        for i in 0..self.daemons.len() {
            self.await_answer(i).await?;
        }
        Ok(())
    }

    /// Starts one daemon; it need not answer yet.
    pub(crate) fn start_one(&mut self, i: usize) -> Result<(), Failed> {
        self.daemons[i].start(&self.binaries)
    }

    /// Waits until one daemon answers.
    pub(crate) async fn await_answer(&mut self, i: usize) -> Result<(), Failed> {
        let (started, mut progress) = (Instant::now(), Progress::new());
        loop {
            if self.daemons[i].status().await.is_some() {
                return Ok(());
            }
            if let Some(ended) = self.daemons[i].ended() {
                return Err(Failed::new(ended));
            }
            let name = &self.daemons[i].node.name;
            if started.elapsed() > START_WAIT {
                return Err(Failed::new(format!("node {name} does not answer after {} s", START_WAIT.as_secs())));
            }
            progress.tell(|| format!("node {name} does not answer yet, {} s", started.elapsed().as_secs()));
            tokio::time::sleep(POLL).await;
        }
    }

    /// What each node tells; nodes that do not answer are left out.
    pub(crate) async fn statuses(&self) -> Vec<StatusReply> {
        let mut statuses = Vec::with_capacity(self.daemons.len());
        for daemon in &self.daemons {
            statuses.extend(daemon.status().await);
        }
        statuses
    }

    /// Fails if a daemon ended by itself.
    pub(crate) fn check_alive(&mut self) -> Result<(), Failed> {
        match self.daemons.iter_mut().find_map(Daemon::ended) {
            Some(ended) => Err(Failed::new(ended)),
            None => Ok(()),
        }
    }

    /// The most memory of all daemons together, in MiB, rounded up.
    pub(crate) fn memory_mib(&self) -> u64 {
        self.daemons.iter().filter_map(Daemon::memory_kib).sum::<u64>().div_ceil(1024)
    }

    /// Ends every daemon; returns what was wrong.
    pub(crate) async fn stop(&mut self) -> Vec<String> {
        self.daemons.iter().for_each(Daemon::ask_to_stop);
        let mut faults = Vec::new();
        for daemon in &mut self.daemons {
            faults.extend(daemon.stop().await);
        }
        faults
    }

    /// Tells on stderr where the logs are, or how they end.
    pub(crate) fn show_logs(&self) {
        for daemon in &self.daemons {
            eprint!("{}", daemon.log_tail());
        }
        if let Folder::Kept(dir) = &self.folder {
            say(&format!("whole logs are in {}/nodes/NAME/qkdd.log", dir.display()));
        }
    }
}

impl Folder {
    fn net(&self) -> PathBuf {
        match self {
            Self::Temporary(dir) => dir.path().join("net"),
            Self::Kept(dir) => dir.clone(),
        }
    }
}

/// The link's state as its transmitter tells it; what that does not know, its receiver tells.
pub(crate) fn link(statuses: &[StatusReply], name: &str) -> Option<LinkReply> {
    let both = || statuses.iter().flat_map(|status| &status.links).filter(|link| link.name == name);
    let mut link = both().min_by_key(|link| link.role != "transmitter")?.clone();
    link.qber = link.qber.or_else(|| both().find_map(|end| end.qber));
    link.last_abort = link.last_abort.or_else(|| both().find_map(|end| end.last_abort.clone()));
    Some(link)
}

/// What a node tells of a key.
pub(crate) async fn key(socket: &Path, id: &str) -> Result<KeyReply, Failed> {
    Ok(qkdctl::client::ask(socket, &format!("/v1/keys/{id}")).await?)
}
