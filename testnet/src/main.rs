//! Many nodes on one machine: a demo that ends with a proof, a network in Docker, and harnesses that
//! try to break one, and benches. In: arguments. Out: an exit code. Always: real daemons, real sockets, real
//! certificates; only the photons are emulated.

mod bench;
mod binaries;
mod cli;
mod cluster;
mod daemon;
mod deep;
mod delivery;
mod demo;
mod docker;
mod error;
mod launch;
mod ledger;
mod ports;
mod progress;
mod proof;
mod report;
mod scenario;

use clap::Parser as _;

fn main() -> std::process::ExitCode {
    cli::Cli::parse().run()
}
