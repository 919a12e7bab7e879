//! Landlock: after start the process opens its own files and no others. In: the configuration. Out: how
//! far the kernel enforces it. Always: entered before there are threads, for all that come after.
//!
//! Certificates are renewed under new names and moved into place, so their folders may be read, not only
//! the files. Whoever wants key files out of reach keeps them in another folder, or as credentials.

use std::fmt;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, BitFlags, PathBeneath, PathFd, Ruleset, RulesetAttr as _, RulesetCreated,
    RulesetCreatedAttr as _, RulesetError, RulesetStatus, Scope,
};

use super::{HardeningError, Wanted};
use crate::config::{Config, DeviceSettings};
use crate::store::anchor;

/// The newest edition of Landlock that is asked for; older kernels enforce what they know.
const EDITION: ABI = ABI::V6;
/// What the resolver of names reads, where static programs draw randomness, the anchor's boot, and how disks
/// are mounted.
const SYSTEM: [&str; 9] = [
    "/etc/hosts",
    "/etc/resolv.conf",
    "/etc/nsswitch.conf",
    "/etc/host.conf",
    "/etc/gai.conf",
    "/dev/random",
    "/dev/urandom",
    "/proc/sys/kernel/random/boot_id",
    "/proc/self/mountinfo",
];

/// How far the fence holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fenced {
    /// Wholly.
    Full,
    /// As far as an older kernel can.
    Partly,
    /// Not at all.
    No,
}

impl fmt::Display for Fenced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "enforced",
            Self::Partly => "enforced in part",
            Self::No => "not enforced",
        })
    }
}

/// Enters the fence; the calling thread and its children never leave it.
///
/// # Errors
/// If it is required and the kernel does not have it.
pub fn enter(file: &Path, config: &Config) -> Result<Fenced, HardeningError> {
    let wanted = config.hardening.landlock;
    if wanted == Wanted::Off {
        return Ok(Fenced::No);
    }
    let entered = restrict(file, config);
    match (entered, wanted) {
        (Ok(Fenced::No), Wanted::Require) => Err(HardeningError::Landlock("the kernel has none".into())),
        (Err(error), Wanted::Require) => Err(HardeningError::Landlock(error.to_string())),
        (Ok(fenced), _) => Ok(fenced),
        (Err(error), _) => {
            tracing::warn!(%error, "Landlock is not enforced");
            Ok(Fenced::No)
        }
    }
}

fn restrict(file: &Path, config: &Config) -> Result<Fenced, RulesetError> {
    let (all, read) = (AccessFs::from_all(EDITION), AccessFs::from_read(EDITION) & !AccessFs::Execute);
    let handled = Ruleset::default().handle_access(all)?.scope(Scope::from_all(EDITION))?;
    let mut rules = handled.create()?;
    for path in written(config) {
        rules = allow(rules, &path, all & !AccessFs::Execute)?;
    }
    for path in folders_read(file, config).into_iter().chain(SYSTEM.map(PathBuf::from)) {
        rules = allow(rules, &path, read)?;
    }
    Ok(match rules.restrict_self()?.ruleset {
        RulesetStatus::FullyEnforced => Fenced::Full,
        RulesetStatus::PartiallyEnforced => Fenced::Partly,
        RulesetStatus::NotEnforced => Fenced::No,
    })
}

/// What is not there now stays closed.
fn allow(rules: RulesetCreated, path: &Path, access: BitFlags<AccessFs>) -> Result<RulesetCreated, RulesetError> {
    let Ok(place) = PathFd::new(path) else { return Ok(rules) };
    let access = if path.is_dir() { access } else { access & AccessFs::from_file(EDITION) };
    rules.add_rule(PathBeneath::new(place, access))
}

fn written(config: &Config) -> Vec<PathBuf> {
    let ledger = config.insecure_test.as_ref().and_then(|test| test.pad_ledger.as_deref());
    let folders = [Some(config.control_socket.as_path()), ledger].into_iter().flatten().map(folder_of);
    let anchor = anchor::place(&config.store.anchor_dir, &config.control_socket).ok().flatten();
    std::iter::once(config.data_dir.clone()).chain(anchor).chain(folders).collect()
}

fn folders_read(file: &Path, config: &Config) -> Vec<PathBuf> {
    let supply = &config.supply;
    let mut files = vec![file, &supply.certificate, &supply.key, &supply.client_ca];
    for link in &config.links {
        if let DeviceSettings::Etsi014(module) = &link.device {
            files.extend([&*module.ca, &*module.certificate, &*module.key]);
        }
    }
    let tamper = &config.tamper;
    files.extend(
        tamper.file.iter().chain(&tamper.seal).chain(tamper.gpio.iter().map(|(path, _)| path)).map(|path| &**path),
    );
    files.into_iter().map(folder_of).collect()
}

fn folder_of(file: &Path) -> PathBuf {
    let absolute = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    let real = absolute.canonicalize().unwrap_or(absolute);
    real.parent().map_or_else(|| real.clone(), Path::to_owned)
}
