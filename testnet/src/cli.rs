//! The command tree. In: arguments. Out: an exit code. Always: 0 done, 1 refused or failed, 2 bad
//! usage; errors go to stderr in one line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use qkdctl::cli::Output;
use tokio::signal::unix::{SignalKind, signal};

use crate::demo::Options;
use crate::error::Failed;
use crate::progress::say;
use crate::scenario::Scenario;
use crate::{bench, deep, demo, docker, launch};

/// Run many qkdd nodes on one machine: a demo, a Docker network, harnesses
#[derive(Debug, Parser)]
#[command(name = "testnet", version, after_help = "Exit codes: 0 done, 1 refused or failed, 2 bad usage")]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start real daemons on loopback, deliver one key to two SAEs, and prove that both have the same
    Demo(DemoArgs),
    /// Run a network in Docker
    Docker(DockerArgs),
    /// Run harnesses at full size; the last line is "N passed, N failed"
    Deep {
        /// Which ones
        #[arg(required = true, value_name = "NAME")]
        names: Vec<deep::Harness>,
        /// Repeat the random choices of an earlier run [default: from the clock]
        #[arg(long, value_name = "N")]
        seed: Option<u64>,
        /// Share of the full size: 0.05 is a twentieth
        #[arg(long, default_value_t = 1.0, value_name = "F")]
        scale: f64,
    },
    /// Measure, and print rows of value, unit and goal
    Bench {
        /// What
        name: bench::Bench,
        /// Form of the rows
        #[arg(long, value_enum, default_value = "table")]
        output: Output,
        /// How long two daemons run, in seconds; 0 leaves them out
        #[arg(long, default_value_t = 60, value_name = "S")]
        seconds: u64,
        /// Every engine, error rate, size and preset too
        #[arg(long)]
        all: bool,
    },
    /// Open a data directory and print a digest of its records
    #[command(hide = true)]
    ReadData { config: PathBuf },
    /// Start a program that dies with its parent
    #[command(hide = true)]
    Launch {
        parent: i32,
        program: PathBuf,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
}

#[derive(Debug, Args)]
struct DemoArgs {
    /// A line of this many nodes [default: the line of four]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(2..=9), conflicts_with = "topology")]
    nodes: Option<u8>,
    /// Topology file
    #[arg(long, value_name = "FILE")]
    topology: Option<PathBuf>,
    /// Form of the proof
    #[arg(long, value_enum, default_value = "table")]
    output: Output,
    /// Make this folder for configurations, keys and logs, and leave it
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Longest wait for the key, in seconds
    #[arg(long, default_value_t = 60, value_name = "S")]
    wait: u64,
}

#[derive(Debug, Args)]
struct DockerArgs {
    /// Folder of the network's state
    #[arg(long, global = true, default_value = "target/docker-testnet", value_name = "DIR")]
    dir: PathBuf,
    #[command(subcommand)]
    command: docker::Command,
}

impl Cli {
    /// Does what was asked.
    pub(crate) fn run(self) -> ExitCode {
        match self.perform() {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(failed) => {
                say(&failed.to_string());
                ExitCode::FAILURE
            }
        }
    }

    fn perform(self) -> Result<bool, Failed> {
        match self.command {
            Command::Demo(args) => {
                let scenario = scenario(&args)?;
                let wait = Duration::from_secs(args.wait);
                let options = Options { output: args.output, keep: args.keep, wait };
                block_on(demo::demo(&scenario, &options))
            }
            Command::Docker(args) => block_on(docker::run(&args.dir, args.command)),
            Command::Deep { names, seed, scale } => block_on(deep::run(&names, seed, scale)),
            Command::Bench { name, output, seconds, all } => {
                block_on(bench::run(name, &bench::Options { output, seconds, all }))
            }
            Command::ReadData { config } => deep::open_data::print(&config),
            Command::Launch { parent, program, arguments } => Err(launch::launch(parent, &program, &arguments)),
        }
    }
}

fn scenario(args: &DemoArgs) -> Result<Scenario, Failed> {
    match (&args.topology, args.nodes) {
        (Some(path), _) => Scenario::read(path),
        (None, Some(nodes)) => Scenario::line(nodes.into()),
        (None, None) => Scenario::line_of_four(),
    }
}

/// Runs on this thread alone: children are bound to the life of the thread that starts them.
fn block_on(work: impl Future<Output = Result<bool, Failed>>) -> Result<bool, Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failed::new(format!("no runtime: {error}")))?;
    runtime.block_on(async {
        tokio::select! {
            done = work => done,
            () = interrupted() => Err(Failed::new("interrupted: daemons are killed, keys are erased")),
        }
    })
}

/// Until SIGINT or SIGTERM arrives.
async fn interrupted() {
    let (Ok(mut int), Ok(mut term)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = int.recv() => {}
        _ = term.recv() => {}
    }
}
