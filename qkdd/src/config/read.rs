//! From file to [`Config`]. In: a path. Out: the configuration or all faults. Always: every section
//! is read to its end before the first fault is told.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use qkd_proto::crypto::{IdentityKey, PublicKey};
use qkd_proto::id::NodeId;
use qkd_proto::secret::SecretBytes;
use qkd_proto::topology::{ROSTER_BYTES_MAX, Roster};
use toml::de::DeTable;

use super::audit::read_audit;
use super::fault::FaultList;
use super::guard;
use super::hardening::{check_unwritable, read_hardening};
use super::secret_file::{FILE_BYTES_MAX, check_private, hex_bytes, read_secret};
use super::section::{Section, line_at};
use super::{
    Config, ConfigFaults, InsecureTest, LinkSettings, SOCKET_PATH_BYTES_MAX, SaeSettings, SupplySettings, store,
};

/// Most links of one node.
const LINKS_MAX: usize = 256;
/// Most SAEs of one node.
const SAES_MAX: usize = 10_000;

/// Resolves what a configuration names.
pub(super) struct Reader<'a> {
    folder: PathBuf,
    faults: &'a FaultList,
}

pub(super) fn load(path: &Path) -> Result<Config, ConfigFaults> {
    let faults = FaultList::default();
    let text = match read_file(path, FILE_BYTES_MAX) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(text) => {
            faults.add(None, text);
            return faults.finish(path, None);
        }
    };
    if let Err(text) = check_unwritable(path) {
        faults.add(None, text);
    }
    let config = read_text(path, &text, &faults);
    faults.finish(path, config)
}

fn read_text(path: &Path, text: &str, faults: &FaultList) -> Option<Config> {
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let line = error.span().map(|span| line_at(text, span.start));
        faults.add(line, format!("not TOML: {}", error.message()));
    }
    if !errors.is_empty() {
        return None;
    }
    let root = Section::root(text, faults, table.get_ref());
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let folder = absolute.parent().map(Path::to_owned).unwrap_or_default();
    Reader { folder, faults }.config(&root)
}

fn read_file(path: &Path, limit: u64) -> Result<Vec<u8>, String> {
    let file = File::open(path).map_err(|error| format!("cannot be read: {error}"))?;
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(|error| format!("cannot be read: {error}"))?;
    if bytes.len() as u64 > limit {
        return Err(format!("is larger than {limit} bytes: give a smaller file"));
    }
    Ok(bytes)
}

impl Reader<'_> {
    /// A path of the file, from the file's own folder.
    pub(super) fn path(&self, text: &str) -> PathBuf {
        self.folder.join(text)
    }

    /// A secret of 32 bytes.
    pub(super) fn secret(&self, section: &Section<'_>, key: &str, path: &Path) -> Option<SecretBytes> {
        read_secret(path).map_err(|text| section.fault(key, format!("file {} {text}", path.display()))).ok()
    }

    fn config(&self, root: &Section<'_>) -> Option<Config> {
        let node: Option<NodeId> = root.required("node");
        let network_key = self.network_key(root);
        let roster = self.roster(root, network_key.as_ref());
        let identity_key = self.secret(root, "identity_key", &self.path_or(root, "identity_key", "identity.key"));
        let kept = root.section("store");
        let master_key = guard::read_master_key(self, root, &kept);
        let tamper = guard::read_tamper(self, root);
        let hardening = read_hardening(root);
        let data_dir = self.path_or(root, "data_dir", "data");
        let store = store::read(self, &kept);
        kept.finish();
        let audit = read_audit(root);
        let overlay_listen = read_overlay(root);
        let supply = self.supply(root);
        let control_socket = self.control_socket(root);
        let metrics_listen = read_metrics(root);
        let log = root.section("log");
        let log_level = log.optional("level").unwrap_or_default();
        log.finish();
        let links = self.links(root, node.as_ref(), roster.as_ref());
        let saes = read_saes(root);
        let insecure_test = self.insecure_test(root);
        root.finish();
        self.membership(root, node.as_ref(), roster.as_ref(), identity_key.as_ref());
        Some(Config {
            node: node?,
            network_key: network_key?,
            roster: roster?,
            identity_key: identity_key?,
            master_key: master_key?,
            tamper,
            hardening,
            data_dir,
            store,
            audit,
            overlay_listen: overlay_listen?,
            supply: supply?,
            control_socket: control_socket?,
            metrics_listen,
            log_level,
            links,
            saes,
            insecure_test,
        })
    }

    fn path_or(&self, section: &Section<'_>, key: &'static str, default: &str) -> PathBuf {
        self.path(section.text(key).unwrap_or(default))
    }

    fn network_key(&self, root: &Section<'_>) -> Option<PublicKey> {
        let bytes = hex_bytes(root.required_text("network_key")?.as_bytes());
        if bytes.is_none() {
            root.fault("network_key", "must be 64 hex digits: copy the operator's public key");
        }
        bytes.map(PublicKey)
    }

    fn roster(&self, root: &Section<'_>, network_key: Option<&PublicKey>) -> Option<Roster> {
        let path = self.path_or(root, "roster", "roster.cbor");
        let fault = |text: String| root.fault("roster", format!("file {} {text}", path.display()));
        let bytes = read_file(&path, ROSTER_BYTES_MAX as u64).map_err(fault).ok()?;
        let opened = Roster::open(&bytes, network_key?);
        opened.map_err(|error| fault(format!("is refused: {error}: get it anew from the operator"))).ok()
    }

    fn membership(
        &self,
        root: &Section<'_>,
        node: Option<&NodeId>,
        roster: Option<&Roster>,
        identity_key: Option<&SecretBytes>,
    ) {
        let (Some(node), Some(roster)) = (node, roster) else { return };
        let Some(member) = roster.member(node) else {
            root.fault("node", format!("= \"{node}\" is not in the roster: ask the operator for a new roster"));
            return;
        };
        let Some(seed) = identity_key else { return };
        if IdentityKey::from_seed(seed).public() != member.key {
            root.fault("identity_key", format!("is not the key that the roster gives for {node}: use its own file"));
        }
    }

    fn supply(&self, root: &Section<'_>) -> Option<SupplySettings> {
        let supply = required_section(root, "supply")?;
        let listen = supply.required("listen");
        let certificate = self.path_or(&supply, "certificate", "kme.pem");
        let key = self.path_or(&supply, "key", "kme.key");
        let client_ca = self.path_or(&supply, "client_ca", "ca.pem");
        for (name, path) in [("certificate", &certificate), ("client_ca", &client_ca)] {
            if let Err(text) = read_file(path, FILE_BYTES_MAX) {
                supply.fault(name, format!("file {} {text}", path.display()));
            }
        }
        if let Err(text) = check_private(&key) {
            supply.fault("key", format!("file {} {text}", key.display()));
        }
        supply.finish();
        Some(SupplySettings { listen: listen?, certificate, key, client_ca })
    }

    fn control_socket(&self, root: &Section<'_>) -> Option<PathBuf> {
        let control = root.section("control");
        let socket = self.path_or(&control, "socket", "qkdd.sock");
        control.finish();
        if let Some(Err(text)) = socket.parent().map(check_unwritable) {
            control.fault("socket", format!("lies where others could replace it: {text}"));
        }
        let length = socket.as_os_str().len();
        if length > SOCKET_PATH_BYTES_MAX {
            let shown = socket.display();
            control.fault(
                "socket",
                format!("path {shown} has {length} bytes, at most {SOCKET_PATH_BYTES_MAX} fit: use a shorter path"),
            );
            return None;
        }
        Some(socket)
    }

    fn links(&self, root: &Section<'_>, node: Option<&NodeId>, roster: Option<&Roster>) -> Vec<LinkSettings> {
        let sections = root.sections("link");
        if sections.len() > LINKS_MAX {
            root.fault("link", format!("has {} entries, at most {LINKS_MAX} are allowed: remove some", sections.len()));
        }
        let mut names = BTreeSet::new();
        let read = sections.iter().take(LINKS_MAX).filter_map(|section| {
            let link = LinkSettings::read(self, section)?;
            if !names.insert(link.name.clone()) {
                section.fault("name", format!("= \"{}\" appears twice: give each link once", link.name));
            }
            if let (Some(node), Some(roster)) = (node, roster)
                && roster.link(&link.name).and_then(|link| link.far_end(node)).is_none()
            {
                section.fault("name", format!("= \"{}\" is no link of {node} in the roster: correct it", link.name));
            }
            Some(link)
        });
        read.collect()
    }

    fn insecure_test(&self, root: &Section<'_>) -> Option<InsecureTest> {
        let section = root.section("insecure_test");
        let acknowledged = section.flag("i_know").unwrap_or(false);
        let settings = InsecureTest {
            pad_ledger: section.text("pad_ledger").map(|text| self.path(text)),
            self_pair: section.flag("self_pair").unwrap_or(false),
            emulator_seed: section.integer("emulator_seed"),
            faults: section.flag("faults").unwrap_or(false),
        };
        section.finish();
        if !section.is_present() {
            return None;
        }
        if !acknowledged {
            let text = "insecure_test breaks the security of this node: remove it, or add i_know = true";
            self.faults.add(section.line(), text);
        }
        Some(settings)
    }
}

fn required_section<'a>(root: &Section<'a>, key: &'static str) -> Option<Section<'a>> {
    let section = root.section(key);
    if !root.has(key) {
        root.fault(key, format!("is missing: add a table [{key}]"));
        return None;
    }
    Some(section)
}

fn read_overlay(root: &Section<'_>) -> Option<std::net::SocketAddr> {
    let overlay = required_section(root, "overlay")?;
    let listen = overlay.required("listen");
    overlay.finish();
    listen
}

fn read_metrics(root: &Section<'_>) -> Option<std::net::SocketAddr> {
    let metrics = root.section("metrics");
    let listen = if metrics.is_present() { metrics.required("listen") } else { None };
    metrics.finish();
    listen
}

fn read_saes(root: &Section<'_>) -> Vec<SaeSettings> {
    let sections = root.sections("sae");
    if sections.len() > SAES_MAX {
        root.fault("sae", format!("has {} entries, at most {SAES_MAX} are allowed: remove some", sections.len()));
    }
    let mut names = BTreeSet::new();
    let read = sections.iter().take(SAES_MAX).filter_map(|section| {
        let id: Option<qkd_proto::id::SaeId> = section.required("id");
        let pin = section.text("fingerprint");
        let fingerprint = pin.and_then(|text| hex_bytes(text.as_bytes()));
        if pin.is_some() && fingerprint.is_none() {
            section.fault("fingerprint", "must be 64 hex digits: give the certificate's SHA-256 without colons");
        }
        section.finish();
        let id = id?;
        if !names.insert(id.clone()) {
            section.fault("id", format!("= \"{id}\" appears twice: give each SAE once"));
        }
        Some(SaeSettings { id, fingerprint })
    });
    read.collect()
}
