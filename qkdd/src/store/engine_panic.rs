//! Panics of the table engine. In: its directory. Out: an error in words and a clean end. Always: damage that
//! the engine does not expect ends this process as an error at start does, with what to do.
//!
//! sled checks the content of its pages, not that of its page table: some damaged files make it panic, and
//! a release does not unwind. A hook is the one place that still runs then.

use std::panic::{self, PanicHookInfo};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, Once, PoisonError};

use super::error::StoreError;

/// How the engine's source files are known.
const SOURCE: &str = "/sled-0.";

static HOOK: Once = Once::new();
static DIR: Mutex<Option<PathBuf>> = Mutex::new(None);

/// From here on a panic of the engine names `dir`, the directory it was opened in last.
pub(super) fn put_in_words(dir: &Path) {
    *DIR.lock().unwrap_or_else(PoisonError::into_inner) = Some(dir.to_owned());
    HOOK.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| if is_of_engine(info) { end() } else { usual(info) }));
    });
}

fn is_of_engine(info: &PanicHookInfo<'_>) -> bool {
    info.location().is_some_and(|place| place.file().contains(SOURCE))
}

fn end() {
    let dir = DIR.lock().unwrap_or_else(PoisonError::into_inner).take();
    let reason = "the table engine cannot work with its own file".into();
    let error = StoreError::Damaged { path: dir.unwrap_or_default(), reason };
    eprintln!("qkdd: {error}");
    std::process::exit(1);
}
