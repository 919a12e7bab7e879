//! A network in Docker. In: a topology. Out: one container per node, keys from them, and nothing left
//! after `down`. Always: images are built from nothing but the daemon's own static binary.

mod compose;
mod engine;
mod state;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use qkdctl::cli::Output;
use qkdctl::net::{Net, Topology};

use self::engine::Engine;
use self::state::State;
use crate::delivery::{self, Sae};
use crate::error::Failed;
use crate::progress::{Progress, say};
use crate::proof::{self, Printer};

/// Time in which every container has to become healthy.
const HEALTHY_WAIT: Duration = Duration::from_secs(90);
/// Pause between two looks.
const POLL: Duration = Duration::from_millis(500);

/// What to do with the network.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Build the image, start the network, and wait until every node is healthy
    Up {
        /// Topology file
        topology: PathBuf,
    },
    /// Fetch one key at two nodes or SAEs, and tell whether both got the same
    Key {
        /// Name of the node or SAE that asks first
        from: String,
        /// Name of the other one
        to: String,
        /// Form of the output
        #[arg(long, value_enum, default_value = "table")]
        output: Output,
        /// Longest wait for the key, in seconds
        #[arg(long, default_value_t = 60, value_name = "S")]
        wait: u64,
    },
    /// Remove containers, network, image and keys
    Down,
    /// Pass a command on to docker-compose, as in: compose stop relay1
    Compose {
        /// Arguments of docker-compose
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        arguments: Vec<String>,
    },
}

/// Runs one command; false if it failed in a way that is told already.
pub(crate) async fn run(dir: &Path, command: Command) -> Result<bool, Failed> {
    let dir = std::path::absolute(dir).map_err(|error| Failed::file(dir, error))?;
    match command {
        Command::Up { topology } => up(&dir, &topology).await,
        Command::Key { from, to, output, wait } => key(&dir, &from, &to, output, Duration::from_secs(wait)).await,
        Command::Down => down(&dir),
        Command::Compose { arguments } => {
            let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
            Ok(Engine::find()?.compose(&dir, &State::read(&dir)?.project, &arguments)?.success())
        }
    }
}

async fn up(dir: &Path, topology: &Path) -> Result<bool, Failed> {
    let started = Instant::now();
    let engine = Engine::find()?;
    let topology = Topology::read(topology)?;
    let state = State::create(dir, topology)?;
    say(&format!("building image {}", state.project));
    let outcome = match launch(dir, &engine, &state) {
        Ok(()) => await_health(&engine, &state).await,
        Err(failed) => Err(failed),
    };
    if let Err(failed) = outcome {
        let _ = engine.compose(dir, &state.project, &["logs", "--tail", "12"]);
        let _ = down(dir);
        return Err(failed);
    }
    let seconds = started.elapsed().as_secs_f64();
    println!("{} containers of {} are healthy after {seconds:.1} s", state.services.len(), state.network);
    println!("{:<12}{:<16}{:<16}ETSI 014", "NODE", "CONTAINER", "SAES");
    let net = Net::read(&dir.join("net"))?;
    for (service, node) in state.services.iter().zip(&net.nodes) {
        let saes = net.saes.iter().filter(|sae| sae.node == node.name).map(|sae| sae.id.as_str());
        let saes = saes.collect::<Vec<_>>().join(" ");
        println!("{:<12}{:<16}{saes:<16}{}", node.name, service.name, node.supply_url);
    }
    Ok(true)
}

fn launch(dir: &Path, engine: &Engine, state: &State) -> Result<(), Failed> {
    compose::stage(dir, state)?;
    engine.build(&dir.join("image"), &state.project)?;
    say(&format!("starting {} containers", state.services.len()));
    let ended = engine.compose(dir, &state.project, &["up", "-d"])?;
    if ended.success() { Ok(()) } else { Err(Failed::new(format!("compose up ended with {ended}: see above"))) }
}

/// Until every container is healthy; the ends of a link with an eavesdropper need to run only.
async fn await_health(engine: &Engine, state: &State) -> Result<(), Failed> {
    let (started, mut progress) = (Instant::now(), Progress::new());
    loop {
        let told = engine.health(&state.project)?;
        let is_well = |service: &state::Service| {
            let status = told.iter().find(|(name, _)| *name == service.name).map(|(_, status)| status.as_str());
            status.is_some_and(|status| {
                status.contains("(healthy)") || (service.tapped && status.contains("(unhealthy)"))
            })
        };
        let awaited: Vec<_> = state.services.iter().filter(|service| !is_well(service)).collect();
        if awaited.is_empty() {
            return Ok(());
        }
        let names = awaited.iter().map(|service| service.name.as_str()).collect::<Vec<_>>().join(", ");
        if started.elapsed() > HEALTHY_WAIT {
            let limit = HEALTHY_WAIT.as_secs();
            return Err(Failed::new(format!("not healthy within {limit} s: {names}: see the logs above")));
        }
        progress.tell(|| format!("waiting for {names} to become healthy"));
        tokio::time::sleep(POLL).await;
    }
}

async fn key(dir: &Path, from: &str, to: &str, output: Output, wait: Duration) -> Result<bool, Failed> {
    State::read(dir)?;
    let dir = dir.join("net");
    let net = Net::read(&dir)?;
    let ends = [sae_of(&net, from)?, sae_of(&net, to)?];
    let (initiator, target) = (Sae::open(&dir, &ends[0].1)?, Sae::open(&dir, &ends[1].1)?);
    let delivery = delivery::deliver(&initiator, &target, Instant::now() + wait).await?;
    let bill = delivery::bill(&net, &initiator.id, &delivery.key_id).await?;
    Printer::new(output, Instant::now()).key([(&ends[0].0, &ends[0].1), (&ends[1].0, &ends[1].1)], &delivery, &bill);
    if output == Output::Json {
        println!("{}", proof::keys_json(&delivery, &bill));
    }
    Ok(delivery.is_equal())
}

/// Node and SAE that a name means.
fn sae_of(net: &Net, name: &str) -> Result<(String, String), Failed> {
    let found = net.saes.iter().find(|sae| sae.id == name).or_else(|| net.saes.iter().find(|sae| sae.node == name));
    let found = found.map(|sae| (sae.node.clone(), sae.id.clone()));
    found.ok_or_else(|| {
        let known: Vec<_> = net.saes.iter().map(|sae| sae.id.as_str()).collect();
        Failed::new(format!("{name} is no SAE and no node with one: use one of {}", known.join(", ")))
    })
}

fn down(dir: &Path) -> Result<bool, Failed> {
    let state = State::read(dir)?;
    let engine = Engine::find()?;
    let ended = engine.compose(dir, &state.project, &["down", "--volumes", "--remove-orphans", "--timeout", "10"])?;
    if !ended.success() {
        return Err(Failed::new(format!("compose down ended with {ended}: see above; its state stays")));
    }
    engine.remove_image(&state.project);
    std::fs::remove_dir_all(dir).map_err(|error| Failed::file(dir, error))?;
    println!("network {} is gone, its keys are erased", state.network);
    Ok(true)
}
