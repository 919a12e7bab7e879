//! T1: daemons are killed with SIGKILL under load. In: a seed and a share of 400 rounds. Out: a check
//! per round, and the checks of the whole history and of every pad used. Always: the same network runs
//! on through all rounds.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use qkd_proto::entropy::SeededEntropy;
use qkdctl::net::RenderOptions;

use tokio::task::JoinSet;

use super::history::History;
use crate::binaries;
use crate::cluster::Cluster;
use crate::delivery::{self, Outcome, Sae};
use crate::error::Failed;
use crate::ledger::PadLedger;
use crate::progress::say;
use crate::report::Report;
use crate::scenario::Scenario;

/// Rounds at full size.
const ROUNDS: f64 = 400.0;
/// Longest way from the restart to a fresh key at both ends.
const RECOVERY_MAX: Duration = Duration::from_secs(10);
/// Time for the first key of the network.
const FIRST_KEY_WAIT: Duration = Duration::from_secs(60);
/// Milliseconds under load before a kill: least, and how many more at most.
const UP_MS: (u64, u64) = (50, 1450);
/// Milliseconds from the kill to the restart, at most.
const DOWN_MS_MAX: u64 = 500;
/// Pause of a client between two keys.
const CLIENT_PAUSE: Duration = Duration::from_millis(40);
/// Fetches of one client under way, at most.
const FETCHES_MAX: usize = 64;
/// Time from a fetch to the next of the same key, which often has a kill in it.
const AGAIN_AFTER: Duration = Duration::from_secs(2);
/// Pause after a refusal.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// File of each node that lists its pad uses, in its folder.
const PAD_LEDGER: &str = "pads.log";

/// What clients and rounds share.
#[derive(Default)]
struct Shared {
    history: Mutex<History>,
    /// Since when every node runs and keys flow.
    whole: Mutex<Option<Instant>>,
    stop: AtomicBool,
}

impl Shared {
    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_whole(&self, since: Option<Instant>) {
        *self.whole.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }

    fn is_whole_for(&self, time: Duration) -> bool {
        self.whole.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|since| since.elapsed() > time)
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// Runs the loop.
pub(super) async fn run(seed: u64, scale: f64, report: &mut Report) -> Result<(), Failed> {
    let rounds = (ROUNDS * scale).ceil() as usize;
    println!("T1 kill -9 loop: {rounds} rounds, seed {seed}; random kills only, fail points come later");
    let scenario = Scenario::line_of_four()?;
    let options = RenderOptions { insecure_test: Some(insecure_test()), ..RenderOptions::default() };
    let mut cluster = Cluster::render(binaries::find()?, &scenario.topology, None, Some(options))?;
    let outcome = play(&scenario, &mut cluster, seed, rounds, report).await;
    let faults = cluster.stop().await;
    report.check("clean end", if faults.is_empty() { Ok("all nodes".into()) } else { Err(faults.join("; ")) });
    if outcome.is_err() {
        cluster.show_logs();
    }
    outcome?;
    report.check("no pad byte twice", check_pads(&cluster));
    Ok(())
}

fn insecure_test() -> toml::Table {
    [("i_know".to_owned(), toml::Value::Boolean(true)), ("pad_ledger".to_owned(), PAD_LEDGER.into())]
        .into_iter()
        .collect()
}

async fn play(
    scenario: &Scenario,
    cluster: &mut Cluster,
    seed: u64,
    rounds: usize,
    report: &mut Report,
) -> Result<(), Failed> {
    cluster.start().await?;
    let dir = cluster.net_dir();
    let alice = Arc::new(Sae::open(&dir, scenario.initiator.id.as_str())?);
    let bob = Arc::new(Sae::open(&dir, scenario.target.id.as_str())?);
    let first = delivery::deliver(&alice, &bob, Instant::now() + FIRST_KEY_WAIT).await?;
    say(&format!("first key {}, equal: {}", first.key_id, first.is_equal()));
    let shared = Arc::new(Shared::default());
    shared.set_whole(Some(Instant::now()));
    let pairs = [(&alice, &bob), (&bob, &alice)];
    let clients: Vec<_> =
        pairs.iter().map(|(a, b)| tokio::spawn(client(Arc::clone(a), Arc::clone(b), Arc::clone(&shared)))).collect();
    let mut random = SeededEntropy::from_number(seed);
    let mut times = Vec::new();
    for number in 1..=rounds {
        let done = round(cluster, &mut random, &shared, &alice, &bob).await?;
        report.check(
            &format!("round {number}"),
            done.map(|(text, time)| {
                times.push(time);
                text
            }),
        );
    }
    shared.stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.map_err(|error| Failed::new(format!("a client broke: {error}")))?;
    }
    say(&format!("{}; {}", shared.history().counts(), recovery(&mut times)));
    for (name, verdict) in shared.history().verdicts() {
        report.check(name, verdict);
    }
    Ok(())
}

/// One kill and one restart; what happened in words, and the time to a fresh key.
async fn round(
    cluster: &mut Cluster,
    random: &mut SeededEntropy,
    shared: &Shared,
    alice: &Sae,
    bob: &Sae,
) -> Result<Result<(String, Duration), String>, Failed> {
    let victim = random.below(cluster.daemons.len() as u64) as usize;
    let up = Duration::from_millis(UP_MS.0 + random.below(UP_MS.1));
    let down = Duration::from_millis(random.below(DOWN_MS_MAX));
    tokio::time::sleep(up).await;
    shared.set_whole(None);
    cluster.daemons[victim].kill().await?;
    tokio::time::sleep(down).await;
    let restarted = Instant::now();
    cluster.start_one(victim)?;
    let name = cluster.daemons[victim].node.name.clone();
    let text = format!("{name} killed after {} ms, down {} ms", up.as_millis(), down.as_millis());
    let fresh = fresh_key(shared, alice, bob, restarted + RECOVERY_MAX).await;
    cluster.await_answer(victim).await?;
    cluster.check_alive()?;
    let time = restarted.elapsed();
    shared.set_whole(Some(Instant::now()));
    Ok(match fresh {
        Ok(id) => Ok((format!("{text}; key {id} after {} ms", time.as_millis()), time)),
        Err(last) => Err(format!("{text}; no fresh key within {} s: {last}", RECOVERY_MAX.as_secs())),
    })
}

/// A key that was asked for after the restart, equal at both ends.
async fn fresh_key(shared: &Shared, alice: &Sae, bob: &Sae, deadline: Instant) -> Result<String, String> {
    let mut last = "nothing asked".to_owned();
    while Instant::now() < deadline {
        let got = alice.get(&bob.id).await;
        let known = shared.history().got(&got);
        let Some(id) = known else {
            last = got.text();
            tokio::time::sleep(RETRY_PAUSE).await;
            continue;
        };
        while Instant::now() < deadline {
            let fetched = bob.fetch(&alice.id, &id).await;
            shared.history().fetched(&id, &fetched);
            if let (Outcome::Delivered(_, own), Outcome::Delivered(_, other)) = (&got, &fetched) {
                return if own == other { Ok(id) } else { Err(format!("key {id} differs")) };
            }
            last = fetched.text();
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }
    Err(last)
}

/// Asks for keys until the end, each of which is fetched at the other end.
async fn client(master: Arc<Sae>, slave: Arc<Sae>, shared: Arc<Shared>) {
    let mut fetches = JoinSet::new();
    while !shared.stopped() {
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
        if shared.is_whole_for(RECOVERY_MAX) {
            shared.history().gave_up(id, &outcome.text());
            return;
        }
        tokio::time::sleep(RETRY_PAUSE).await;
    }
}

fn check_pads(cluster: &Cluster) -> Result<String, String> {
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

fn recovery(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let at =
        |share: f64| times.get((times.len().saturating_sub(1) as f64 * share) as usize).map_or(0, Duration::as_millis);
    format!("restart to fresh key: median {} ms, p99 {} ms, most {} ms", at(0.5), at(0.99), at(1.0))
}
