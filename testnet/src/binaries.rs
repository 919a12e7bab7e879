//! The daemon's binary. In: where this program lies. Out: `qkdd` and `qkdctl` of the same build.
//! Always: under `cargo run` they are built first, so that a clean clone works.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::Failed;
use crate::progress::say;

/// Set by tests: take what lies there, build only what is missing.
const KEEP: &str = "QKDD_TESTNET_KEEP_BINARIES";

/// Where the programs lie.
pub(crate) struct Binaries {
    /// The daemon.
    pub(crate) qkdd: PathBuf,
    /// The operator's program.
    pub(crate) qkdctl: PathBuf,
    /// This program.
    pub(crate) testnet: PathBuf,
}

/// Finds them beside this program; builds them first if Cargo started it.
pub(crate) fn find() -> Result<Binaries, Failed> {
    let testnet = std::env::current_exe().map_err(|error| Failed::new(format!("own path is unknown: {error}")))?;
    let folder = testnet.parent().unwrap_or(Path::new("/")).to_owned();
    let (qkdd, qkdctl) = (folder.join("qkdd"), folder.join("qkdctl"));
    let complete = || qkdd.is_file() && qkdctl.is_file();
    if let Some(cargo) = std::env::var_os("CARGO")
        && !(complete() && std::env::var_os(KEEP).is_some())
    {
        build(Path::new(&cargo), &folder)?;
    }
    if !complete() {
        let shown = folder.display();
        return Err(Failed::new(format!("no qkdd and qkdctl in {shown}: run cargo build --release --workspace")));
    }
    Ok(Binaries { qkdd, qkdctl, testnet })
}

/// Builds in the profile that the folder is named after.
fn build(cargo: &Path, folder: &Path) -> Result<(), Failed> {
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    say(&format!("building qkdd and qkdctl (profile {profile}); the first time takes minutes"));
    let mut command = Command::new(cargo);
    // This package, too: features are those of the packages named, so nothing is compiled twice.
    command.args(["build", "--quiet", "--profile", profile, "-p", "qkdd", "-p", "qkdctl", "-p", "testnet"]);
    command.current_dir(env!("CARGO_MANIFEST_DIR")).stdout(std::io::stderr());
    // `cargo run` tells of this package; build scripts that look (ring's does) would build anew each time.
    for (name, _) in std::env::vars_os().filter(|(name, _)| is_of_package(&name.to_string_lossy())) {
        command.env_remove(name);
    }
    let ended = command.status().map_err(|error| Failed::file(cargo, error))?;
    if ended.success() { Ok(()) } else { Err(Failed::new(format!("cargo build ended with {ended}: see above"))) }
}

/// Whether Cargo sets the variable for one package alone.
fn is_of_package(name: &str) -> bool {
    ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|prefix| name.starts_with(prefix))
}
