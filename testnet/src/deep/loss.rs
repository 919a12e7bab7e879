//! T23: a node loses all it had, and a data directory meets another version of the daemon. In: a share of
//! three rounds for each node. Out: how the node came back. Always: without its state a node refuses to
//! start; one command lets it join again, and nothing is used or handed out twice.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::copies::remove;
use super::load::{Load, make_private};
use super::{Plan, reset};
use crate::error::Failed;
use crate::report::Report;
use crate::scenario::Scenario;

/// Rounds for each node at full size.
const ROUNDS: usize = 3;
/// From the command to a fresh key.
const FRESH_MAX: Duration = Duration::from_secs(60);
/// Time under load before a loss.
const RUN: Duration = Duration::from_millis(1500);
/// Names a daemon of an earlier release, to try an upgrade and the way back.
const PREVIOUS: &str = "QKDD_TESTNET_PREVIOUS";

/// Loses nodes, one after the other.
pub(super) async fn run(plan: &Plan, report: &mut Report) -> Result<(), Failed> {
    let rounds = plan.count(ROUNDS);
    println!("T23 total loss: {rounds} rounds for each node");
    let mut load = Load::start(&Scenario::line(3)?, &[]).await?;
    load.go();
    for number in 1..=rounds {
        for i in 0..load.cluster.daemons.len() {
            // The folder itself goes in the first round, its content alone in the others.
            let lost = lose(&mut load, i, number == 1).await?;
            report.check(&format!("T23 loss {number} of {}", load.cluster.daemons[i].node.name), lost);
        }
    }
    load.end("T23", true, report).await?;
    match std::env::var_os(PREVIOUS) {
        Some(previous) => versions(previous.into(), report).await,
        None => {
            report.skip("T23 upgrade", &format!("needs a daemon of an earlier release in {PREVIOUS}"));
            Ok(())
        }
    }
}

async fn lose(load: &mut Load, i: usize, folder: bool) -> Result<Result<String, String>, Failed> {
    tokio::time::sleep(RUN).await;
    let hoard = load.hoard(10).await;
    load.fetch_each(&hoard).await;
    load.broken();
    load.cluster.daemons[i].kill().await?;
    let data = load.cluster.daemons[i].data_dir();
    remove(&data)?;
    if !folder {
        make_private(&data)?;
    }
    load.cluster.start_one(i)?;
    let started = load.cluster.await_answer(i).await.is_ok();
    let words = load.cluster.daemons[i].last_words();
    load.cluster.daemons[i].stop().await;
    if started {
        return Ok(Err("it started as if it were new, and nobody had permitted it".into()));
    }
    let back = Instant::now();
    if let Err(failed) = reset(&load.cluster.binaries().qkdctl, &load.cluster.daemons[i].node.config) {
        make_private(&data)?;
        reset(&load.cluster.binaries().qkdctl, &load.cluster.daemons[i].node.config)?;
        load.cluster.start_one(i)?;
        load.cluster.await_answer(i).await?;
        return Ok(Err(format!("refused with {words:?}, but one command does not bring it back: {failed}")));
    }
    load.cluster.start_one(i)?;
    load.cluster.await_answer(i).await?;
    let fresh = load.fresh_key(FRESH_MAX).await;
    let again = load.fetch_each(&hoard).await;
    load.whole();
    Ok(match (fresh, again, words.contains("pool reset")) {
        (Ok(_), 0, true) => Ok(format!("refused; fresh key {} ms after the command", back.elapsed().as_millis())),
        (fresh, again, says) => {
            Err(format!("fresh key: {fresh:?}; {again} keys handed out again; names the command: {says} ({words:?})"))
        }
    })
}

/// The previous daemon's directory under the new one, and back: each opens it or refuses it in words.
async fn versions(previous: PathBuf, report: &mut Report) -> Result<(), Failed> {
    let mut load = Load::render(&Scenario::line(2)?, &[])?;
    let new = load.cluster.swap_daemon(previous.clone());
    load.start_daemons().await?;
    let hoard = load.hoard(10).await;
    load.fetch_each(&hoard).await;
    for (name, program) in [("new after previous", new), ("previous after new", previous)] {
        load.cluster.stop().await;
        load.cluster.swap_daemon(program);
        let mut told = Vec::new();
        for i in 0..2 {
            load.cluster.start_one(i)?;
            let started = load.cluster.await_answer(i).await.is_ok();
            let words = load.cluster.daemons[i].last_words();
            told.push(if started { Ok("opened") } else { Err(words) });
        }
        let verdict = match (&told[0], &told[1]) {
            (Ok(_), Ok(_)) => {
                let again = load.fetch_each(&hoard).await;
                let fresh = load.fresh_key(FRESH_MAX).await;
                if again == 0 { fresh.map(|_| "opened, fresh key".into()) } else { Err(format!("{again} keys again")) }
            }
            (Err(words), _) | (_, Err(words)) if words.contains("qkdd: ") => Ok(format!("refused: {words}")),
            (a, b) => Err(format!("{a:?}, {b:?}")),
        };
        report.check(&format!("T23 {name}"), verdict);
    }
    load.cluster.stop().await;
    Ok(())
}
