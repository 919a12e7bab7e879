//! The command line of a qkdd network.

use clap::Parser as _;

fn main() -> std::process::ExitCode {
    qkdctl::cli::Cli::parse().run().into()
}
