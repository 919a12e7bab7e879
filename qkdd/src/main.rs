//! The daemon's door.

use std::path::Path;
use std::process::ExitCode;

use clap::Parser as _;
use qkdd::daemon::{self, StartError};
use qkdd::{args::Args, fail_point, hardening, offline, telemetry};

fn main() -> ExitCode {
    let started = hardening::early().map_err(|error| StartError::System("hardening", error));
    match started.and_then(|()| start(&Args::parse())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("qkdd: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn start(args: &Args) -> Result<(), StartError> {
    fail_point::pass(fail_point::Point::Start);
    if let Some(path) = &args.reset_pools {
        return offline::reset_pools(path);
    }
    if let Some(path) = &args.zeroize {
        return offline::zeroize(path).map(|told| println!("{told}"));
    }
    if let Some(told) = offline::audit(args)? {
        println!("{told}");
        return Ok(());
    }
    if let Some(path) = &args.check_config {
        return daemon::check(path)
            .map(|config| println!("{}: node {} is well configured", path.display(), config.node));
    }
    run(args.config.as_deref().unwrap_or(Path::new("qkdd.toml")))
}

fn run(path: &Path) -> Result<(), StartError> {
    let config = daemon::check(path)?;
    telemetry::start(config.log_level.as_str());
    let guard = daemon::unlock_disk(&config)?;
    // Before the runtime has threads: a Landlock domain holds for the threads that come after.
    let fenced = hardening::fence::enter(path, &config).map_err(StartError::Hardening)?;
    tracing::info!(memory = ?guard.key.hold(), landlock = %fenced, "Hardening");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| StartError::System("runtime", error))?;
    let seal = || hardening::syscalls::enter(config.hardening.seccomp).map_err(StartError::Hardening);
    runtime.block_on(daemon::run(&config, guard, seal))
}
