//! The section `[hardening]`, and who else may write what the node trusts. In: a table, paths. Out: which
//! walls. Always: a file or folder that others may change is refused.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::section::Section;
use crate::hardening::HardeningSettings;

pub(super) fn read_hardening(root: &Section<'_>) -> HardeningSettings {
    let section = root.section("hardening");
    let settings = HardeningSettings {
        landlock: section.optional("landlock").unwrap_or_default(),
        seccomp: section.optional("seccomp").unwrap_or_default(),
        memory: section.optional("memory").unwrap_or_default(),
    };
    section.finish();
    settings
}

/// Why others may change what is at `path`, which need not be there. A folder with the sticky bit is fine:
/// in it nobody moves the files of another.
pub(super) fn check_unwritable(path: &Path) -> Result<(), String> {
    let Ok(about) = std::fs::metadata(path) else { return Ok(()) };
    let mode = about.permissions().mode() & 0o7777;
    let sticky = about.is_dir() && mode & 0o1000 != 0;
    if mode & 0o022 == 0 || sticky {
        return Ok(());
    }
    let shown = path.display();
    Err(format!("{shown} has mode {mode:04o}, so others than its owner may change it: run chmod go-w {shown}"))
}
