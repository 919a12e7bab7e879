//! What guards a node at rest and while it runs: where its master key is, and what counts as tampering.
//! In: `master_key`, `[store]` and `[tamper]`. Out: checked settings. Always: exactly one source of the
//! master key.

use std::path::{Path, PathBuf};

use super::read::Reader;
use super::secret_file::check_private;
use super::section::Section;
use crate::store::master_key::MasterKeySource;
use crate::tamper::TamperSettings;

/// Where systemd shows a service its credentials.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

pub(super) fn read_master_key(reader: &Reader<'_>, root: &Section<'_>, store: &Section<'_>) -> Option<MasterKeySource> {
    let file = root.text("master_key").map(|text| ("master_key", MasterKeySource::File(reader.path(text))));
    let credential = store.text("credential").and_then(|name| {
        let path = credential(name).map_err(|text| store.fault("credential", text)).ok()?;
        Some(("credential", MasterKeySource::Credential(path)))
    });
    let passphrase = store
        .text("passphrase_file")
        .map(|text| ("passphrase_file", MasterKeySource::PassphraseFile(reader.path(text))));
    let prompt = store.flag("prompt").filter(|prompt| *prompt).map(|_| ("prompt", MasterKeySource::Prompt));
    let failed = store.has("credential") && credential.is_none();
    let mut named: Vec<_> = [file, credential, passphrase, prompt].into_iter().flatten().collect();
    if named.len() > 1 {
        let names: Vec<_> = named.iter().map(|(name, _)| *name).collect();
        store
            .fault(names[1], format!("is given beside {}: the master key has one source, remove the others", names[0]));
        return None;
    }
    if failed {
        return None;
    }
    let default = || ("master_key", MasterKeySource::File(reader.path("master.key")));
    let (name, source) = named.pop().unwrap_or_else(default);
    let section = if name == "master_key" { root } else { store };
    let private = match &source {
        MasterKeySource::File(path) | MasterKeySource::PassphraseFile(path) => {
            check_private(path).map_err(|text| format!("file {} {text}", path.display()))
        }
        MasterKeySource::Credential(_) | MasterKeySource::Prompt => Ok(()),
    };
    let checked = private.and_then(|()| source.check().map_err(|error| format!("cannot be used: {error}")));
    checked.map_err(|text| section.fault(name, text)).ok()?;
    Some(source)
}

fn credential(name: &str) -> Result<PathBuf, String> {
    if name.is_empty() || name.len() > 255 || name.contains('/') || name.starts_with('.') {
        return Err(format!("= {name:?} is no name of a credential: give the name of LoadCredential= without a path"));
    }
    let folder = std::env::var_os(CREDENTIALS)
        .ok_or_else(|| format!("needs {CREDENTIALS}: start the node by systemd, with LoadCredential={name}:FILE"))?;
    Ok(Path::new(&folder).join(name))
}

pub(super) fn read_tamper(reader: &Reader<'_>, root: &Section<'_>) -> TamperSettings {
    let tamper = root.section("tamper");
    let path = |key| tamper.text(key).map(|text| reader.path(text));
    let level = tamper.text("gpio_active");
    let active = match level {
        None | Some("high") => true,
        Some("low") => false,
        Some(other) => {
            tamper.fault("gpio_active", format!("= {other:?} is no level: use high or low"));
            true
        }
    };
    let settings = TamperSettings {
        file: path("file"),
        seal: path("seal"),
        gpio: path("gpio").map(|path| (path, active)),
        signal: tamper.optional("signal"),
    };
    if level.is_some() && settings.gpio.is_none() {
        tamper.fault("gpio_active", "has no effect without gpio: add gpio, or remove it");
    }
    tamper.finish();
    settings
}
