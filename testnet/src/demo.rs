//! The demo. In: a scenario. Out: one end-to-end key at two SAEs and the proof. Always: success means
//! that both hashes are equal, and the daemons end with it.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use qkd_proto::control::reply::StatusReply;
use qkdctl::cli::Output;
use qkdctl::net::TopologySae;

use crate::binaries;
use crate::cluster::{self, Cluster};
use crate::delivery::{self, Sae};
use crate::error::Failed;
use crate::progress::{Progress, say};
use crate::proof::{Printer, Proof};
use crate::scenario::{Scenario, has_eve};

/// Pause between two looks at the links.
const POLL: Duration = Duration::from_millis(100);

/// Choices of the caller.
pub(crate) struct Options {
    /// Form of the proof.
    pub(crate) output: Output,
    /// A folder that is made and stays.
    pub(crate) keep: Option<PathBuf>,
    /// Longest wait for the key.
    pub(crate) wait: Duration,
}

/// Runs it; true if the key is equal at both ends.
pub(crate) async fn demo(scenario: &Scenario, options: &Options) -> Result<bool, Failed> {
    let binaries = binaries::find()?;
    let started = Instant::now();
    let printer = Printer::new(options.output, started);
    printer.topology(scenario);
    let mut cluster = Cluster::render(binaries, &scenario.topology, options.keep.as_deref(), None)?;
    printer.pki(&cluster.net);
    let proved = prove(scenario, &mut cluster, &printer, options.wait).await;
    if proved.is_err() {
        cluster.show_logs();
    }
    for fault in cluster.stop().await {
        say(&fault);
    }
    let mut proof = proved?;
    proof.elapsed = started.elapsed();
    printer.end(&proof);
    Ok(proof.delivery.is_equal())
}

async fn prove(scenario: &Scenario, cluster: &mut Cluster, printer: &Printer, wait: Duration) -> Result<Proof, Failed> {
    let deadline = Instant::now() + wait;
    cluster.start().await?;
    printer.daemons(cluster.daemons.len());
    let dir = cluster.net_dir();
    let initiator = Sae::open(&dir, scenario.initiator.id.as_str())?;
    let target = Sae::open(&dir, scenario.target.id.as_str())?;
    await_links(scenario, cluster, deadline).await?;
    if !scenario.has_route(|link| !has_eve(link)) {
        return Err(refused_by_eve(scenario, &initiator, &target).await);
    }
    let delivery = delivery::deliver(&initiator, &target, deadline).await?;
    let bill = delivery::bill(&cluster.net, &initiator.id, &delivery.key_id).await?;
    let statuses = cluster.statuses().await;
    let links = scenario.topology.links.iter();
    let links = links.filter_map(|link| cluster::link(&statuses, link.name.as_str())).collect();
    let memory_mib = cluster.memory_mib();
    let proof = Proof {
        nodes: cluster.daemons.len(),
        links,
        delivery,
        bill,
        eve: scenario.eve_links(),
        memory_mib,
        elapsed: Duration::ZERO,
    };
    printer.links(&proof);
    let node = |sae: &TopologySae| (sae.node.to_string(), sae.id.to_string());
    let [from, to] = [node(&scenario.initiator), node(&scenario.target)];
    printer.key([(&from.0, &from.1), (&to.0, &to.1)], &proof.delivery, &proof.bill);
    Ok(proof)
}

/// Until links with key join the two nodes, and links with an eavesdropper are in quarantine.
async fn await_links(scenario: &Scenario, cluster: &mut Cluster, deadline: Instant) -> Result<(), Failed> {
    let (eve, mut progress) = (scenario.eve_links(), Progress::new());
    let clean = scenario.has_route(|link| !has_eve(link));
    loop {
        cluster.check_alive()?;
        let statuses = cluster.statuses().await;
        let caught = eve.iter().all(|name| is_in_quarantine(&statuses, name));
        if caught && (!clean || scenario.has_route(|link| has_key(&statuses, link.name.as_str()))) {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(Failed::new(format!("no key on the links in time: {}", summary(scenario, &statuses))));
        }
        progress.tell(|| format!("waiting for key: {}", summary(scenario, &statuses)));
        tokio::time::sleep(POLL).await;
    }
}

fn is_in_quarantine(statuses: &[StatusReply], name: &str) -> bool {
    cluster::link(statuses, name).is_some_and(|link| link.state == "quarantine")
}

/// Both directions hold key that blocks gave.
fn has_key(statuses: &[StatusReply], name: &str) -> bool {
    let link = cluster::link(statuses, name);
    link.is_some_and(|link| link.state == "up" && link.store_bytes > 0 && link.store_peer_bytes > 0)
}

fn summary(scenario: &Scenario, statuses: &[StatusReply]) -> String {
    let each = scenario.topology.links.iter().map(|link| {
        let told = cluster::link(statuses, link.name.as_str());
        told.map_or_else(
            || format!("{} unknown", link.name),
            |link| format!("{} {} {} B", link.name, link.state, link.store_bytes),
        )
    });
    each.collect::<Vec<_>>().join(", ")
}

/// No way without the eavesdropper's link: the KME has to refuse.
async fn refused_by_eve(scenario: &Scenario, initiator: &Sae, target: &Sae) -> Failed {
    let links = scenario.eve_links().join(", ");
    let outcome = initiator.get(&target.id).await;
    let text = outcome.text();
    Failed::new(match outcome {
        delivery::Outcome::Refused(503, _) => {
            format!("no key, as it should be: every route crosses {links} in quarantine, and the KME answers {text}")
        }
        _ => format!("every route crosses {links} in quarantine, but the KME does not answer 503: {text}"),
    })
}
