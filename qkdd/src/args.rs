//! The command line of the daemon.

use std::path::PathBuf;

use clap::Parser;

/// Run one node of a quantum-relay network
#[derive(Debug, Parser)]
#[command(name = "qkdd", version)]
pub struct Args {
    /// Run in the foreground with this configuration; log to stderr
    #[arg(long, value_name = "FILE", required_unless_present_any = ["check_config", "reset_pools", "zeroize", "audit", "audit_dir"])]
    pub config: Option<PathBuf>,
    /// Check a configuration as start-up would, and stop
    #[arg(long, value_name = "FILE", conflicts_with = "config")]
    pub check_config: Option<PathBuf>,
    /// Discard the pools and undelivered keys of a stopped node, so that it starts anew
    #[arg(long, value_name = "FILE", conflicts_with_all = ["config", "check_config"], hide = true)]
    pub reset_pools: Option<PathBuf>,
    /// Destroy the state of a stopped node
    #[arg(long, value_name = "FILE", conflicts_with_all = ["config", "check_config", "reset_pools"], hide = true)]
    pub zeroize: Option<PathBuf>,
    /// Check the audit log of the node with this configuration
    #[arg(long, value_name = "FILE", conflicts_with = "config", hide = true)]
    pub audit: Option<PathBuf>,
    /// Check the audit log in this data directory, without the node's key
    #[arg(long, value_name = "DIR", conflicts_with_all = ["config", "audit"], hide = true)]
    pub audit_dir: Option<PathBuf>,
    /// Tell the last lines of the audit log instead
    #[arg(long, value_name = "N", hide = true)]
    pub last: Option<usize>,
}
