//! The daemon's door.

use std::path::Path;
use std::process::ExitCode;

use clap::Parser as _;
use qkdd::daemon::{self, StartError};
use qkdd::{args::Args, fail_point, telemetry};
use rustix::fs::Mode;
use rustix::process::umask;

fn main() -> ExitCode {
    match start(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("qkdd: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start(args: &Args) -> Result<(), StartError> {
    fail_point::pass(fail_point::Point::Start);
    // Libraries make files, too: none of them is for others.
    umask(Mode::from_raw_mode(0o077));
    if let Some(path) = &args.reset_pools {
        return daemon::reset_pools(path);
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
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.map_err(|error| StartError::System("runtime", error))?.block_on(daemon::run(config))
}
