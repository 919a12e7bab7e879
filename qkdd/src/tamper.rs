//! Signs of tampering. In: a file, a GPIO, a signal, as configured. Out: the order to zeroize. Always: a
//! sign that cannot be read while the node runs counts as given, and is looked at ten times a second.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use crate::guard::ZeroizeOrder;

/// How often files and GPIOs are looked at.
const POLL: Duration = Duration::from_millis(100);

/// What counts as tampering.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TamperSettings {
    /// Tampered once this file is there.
    pub file: Option<PathBuf>,
    /// Tampered once this file is gone or another than at the start.
    pub seal: Option<PathBuf>,
    /// Tampered once this value file of a GPIO reads as the level.
    pub gpio: Option<(PathBuf, bool)>,
    /// Tampered once this signal comes.
    pub signal: Option<TamperSignal>,
}

/// A signal that tells of tampering.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TamperSignal {
    /// SIGUSR1.
    Usr1,
    /// SIGUSR2.
    Usr2,
}

impl std::str::FromStr for TamperSignal {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "SIGUSR1" => Ok(Self::Usr1),
            "SIGUSR2" => Ok(Self::Usr2),
            _ => Err("not a signal for this: use SIGUSR1 or SIGUSR2"),
        }
    }
}

/// Watches until the process ends; what already shows gives the order before this returns.
///
/// # Errors
/// If a seal or a GPIO cannot be read, or a signal cannot be caught.
pub fn watch(settings: &TamperSettings, order: &ZeroizeOrder) -> io::Result<()> {
    if let Some(kind) = settings.signal {
        watch_signal(kind, order.clone())?;
    }
    let TamperSettings { file, seal, gpio, .. } = settings.clone();
    if file.is_none() && seal.is_none() && gpio.is_none() {
        return Ok(());
    }
    if let Some((path, _)) = &gpio {
        level(path).map_err(|error| named(path, error))?;
    }
    let seal = seal.map(|path| Ok::<_, io::Error>((trace(&path).map_err(|error| named(&path, error))?, path)));
    let signs = Signs { file, seal: seal.transpose()?, gpio };
    if let Some(reason) = signs.shown() {
        order.give(&reason);
        return Ok(());
    }
    let order = order.clone();
    std::thread::Builder::new().name("tamper".into()).spawn(move || {
        loop {
            std::thread::sleep(POLL);
            if let Some(reason) = signs.shown() {
                return order.give(&reason);
            }
        }
    })?;
    Ok(())
}

fn watch_signal(kind: TamperSignal, order: ZeroizeOrder) -> io::Result<()> {
    let (kind, name) = match kind {
        TamperSignal::Usr1 => (SignalKind::user_defined1(), "SIGUSR1"),
        TamperSignal::Usr2 => (SignalKind::user_defined2(), "SIGUSR2"),
    };
    let mut signals = signal(kind)?;
    tokio::spawn(async move {
        if signals.recv().await.is_some() {
            order.give(&format!("tamper: signal {name}"));
        }
    });
    Ok(())
}

fn named(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// What is looked at again and again.
struct Signs {
    file: Option<PathBuf>,
    seal: Option<(Trace, PathBuf)>,
    gpio: Option<(PathBuf, bool)>,
}

impl Signs {
    fn shown(&self) -> Option<String> {
        if let Some(path) = self.file.as_ref().filter(|path| !is_absent(path)) {
            return Some(format!("tamper: {} is there", path.display()));
        }
        if let Some((_, path)) = self.seal.as_ref().filter(|(seen, path)| trace(path).ok().as_ref() != Some(seen)) {
            return Some(format!("tamper: {} is gone or was changed", path.display()));
        }
        let (path, active) = self.gpio.as_ref()?;
        match level(path) {
            Ok(level) if level != *active => None,
            Ok(_) => Some(format!("tamper: {} is active", path.display())),
            Err(error) => Some(format!("tamper: {} cannot be read: {error}", path.display())),
        }
    }
}

fn is_absent(path: &Path) -> bool {
    path.symlink_metadata().is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// What tells a changed file: its place, size and times.
type Trace = [i128; 5];

fn trace(path: &Path) -> io::Result<Trace> {
    let about = fs::metadata(path)?;
    let nanos = |seconds: i64, nanos: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
    let (modified, changed) = (nanos(about.mtime(), about.mtime_nsec()), nanos(about.ctime(), about.ctime_nsec()));
    Ok([about.dev().into(), about.ino().into(), about.size().into(), modified, changed])
}

fn level(path: &Path) -> io::Result<bool> {
    let mut text = [0; 2];
    let read = io::Read::read(&mut fs::File::open(path)?, &mut text)?;
    match &text[..read] {
        [b'0', ..] => Ok(false),
        [b'1', ..] => Ok(true),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "it says neither 0 nor 1")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sign_shows_and_quiet_is_quiet() {
        let home = tempfile::tempdir().unwrap();
        let path = |name: &str| home.path().join(name);
        fs::write(path("seal"), "x").unwrap();
        fs::write(path("gpio"), "0\n").unwrap();
        let seal = Some((trace(&path("seal")).unwrap(), path("seal")));
        let signs = Signs { file: Some(path("file")), seal, gpio: Some((path("gpio"), true)) };
        assert_eq!(signs.shown(), None);
        for (name, text, reason) in
            [("file", "", "is there"), ("gpio", "1\n", "is active"), ("gpio", "", "cannot be read")]
        {
            fs::write(path(name), text).unwrap();
            assert!(signs.shown().unwrap().contains(reason), "{name}");
            fs::write(path(name), "0\n").unwrap();
            let _ = fs::remove_file(path("file"));
            assert_eq!(signs.shown(), None);
        }
        fs::write(path("seal"), "y").unwrap();
        assert!(signs.shown().unwrap().contains("changed"));
        fs::remove_file(path("seal")).unwrap();
        assert!(signs.shown().unwrap().contains("gone"));
    }
}
