//! The log: structured lines to stderr; key bits never.

use tracing_subscriber::EnvFilter;

/// Starts logging at `level`; the variable `QKDD_LOG` says more exactly what is logged.
pub fn start(level: &str) {
    let default = format!("{level},libp2p=warn,sled=warn");
    let filter = std::env::var("QKDD_LOG").unwrap_or(default);
    let started = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .try_init();
    if let Err(error) = started {
        tracing::debug!(%error, "A log was started before");
    }
}
