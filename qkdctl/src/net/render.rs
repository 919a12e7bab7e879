//! Writes a network. In: a topology. Out: `DIR/nodes/NAME`, `DIR/saes/ID`, `DIR/net.json` and the
//! operator's keys. Always: whole or not at all, folders 0700, secrets 0600.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use qkd_proto::crypto::{IdentityKey, PublicKey, SystemEntropy};
use qkd_proto::entropy::Entropy as _;
use qkd_proto::id::SaeId;
use qkd_proto::labels;
use qkd_proto::secret::SecretBytes;
use qkd_proto::topology::{Member, Roster, RosterLink};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::pki::{Authority, Issued};
use super::topology::{Topology, TopologyNode};

/// First port by default.
pub const BASE_PORT_DEFAULT: u16 = 7100;
/// Ports from one node to the next.
const PORT_STEP: usize = 10;
/// Longest path of a Unix socket, in bytes.
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// Why nothing was rendered.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// The target exists.
    #[error("{0} exists already: remove it, or name another folder")]
    Exists(PathBuf),
    /// A control socket would have too long a path.
    #[error("control socket {0} has {1} bytes, at most {SOCKET_PATH_BYTES_MAX} fit: use a shorter folder")]
    SocketPath(PathBuf, usize),
    /// The ports do not fit.
    #[error("ports from {0} on do not suffice for {1} nodes: use a lower base port")]
    Ports(u16, usize),
    /// A file could not be written or read.
    #[error("{0}: {1}")]
    File(PathBuf, io::Error),
    /// A certificate could not be issued.
    #[error("certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// A rendered folder is not understood.
    #[error("{0}: {1}: render the network anew")]
    NotRendered(PathBuf, String),
}

/// Ports of one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodePorts {
    /// For other nodes.
    pub overlay: u16,
    /// For applications.
    pub supply: u16,
    /// For Prometheus.
    pub metrics: u16,
}

/// Choices of the caller.
#[derive(Debug, Clone)]
pub struct RenderOptions {
    /// First port, if `ports` is empty.
    pub base_port: u16,
    /// Ports of each node in the topology's order; empty counts from `base_port`.
    pub ports: Vec<NodePorts>,
    /// Further host names and addresses under which applications reach every node.
    pub supply_names: Vec<String>,
    /// Lines for a table `[insecure_test]` of every node, for test harnesses.
    pub insecure_test: Option<toml::Table>,
}

impl Default for RenderOptions {
    fn default() -> Self {
        Self { base_port: BASE_PORT_DEFAULT, ports: Vec::new(), supply_names: Vec::new(), insecure_test: None }
    }
}

/// What was rendered: the content of `net.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Net {
    /// Edition of this form.
    pub schema: u32,
    /// Name of the network.
    pub network: String,
    /// Its nodes.
    pub nodes: Vec<NetNode>,
    /// Its SAEs.
    pub saes: Vec<NetSae>,
}

/// One rendered node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetNode {
    /// Its name.
    pub name: String,
    /// Its configuration file.
    pub config: PathBuf,
    /// Where applications ask, `https://host:port`.
    pub supply_url: String,
    /// Where operators ask.
    pub control_socket: PathBuf,
    /// Where nodes dial, `host:port`.
    pub overlay: String,
    /// Where Prometheus asks.
    pub metrics_url: String,
}

/// One rendered SAE.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetSae {
    /// Its name.
    pub id: String,
    /// Its node.
    pub node: String,
}

impl Net {
    /// Reads `net.json` of a rendered folder.
    ///
    /// # Errors
    /// If it is missing or not understood.
    pub fn read(dir: &Path) -> Result<Self, RenderError> {
        let path = dir.join("net.json");
        let text = std::fs::read(&path).map_err(|error| RenderError::File(path.clone(), error))?;
        serde_json::from_slice(&text).map_err(|error| RenderError::NotRendered(path, error.to_string()))
    }

    /// Where an SAE asks.
    pub fn supply_url_of(&self, sae: &str) -> Option<String> {
        let home = &self.saes.iter().find(|entry| entry.id == sae)?.node;
        self.nodes.iter().find(|node| node.name == *home).map(|node| node.supply_url.clone())
    }
}

/// Writes the folder of a network.
///
/// # Errors
/// If the folder exists, a path or port does not fit, or a file cannot be written; nothing stays then.
pub fn render(topology: &Topology, dir: &Path, options: RenderOptions) -> Result<Net, RenderError> {
    let dir = std::path::absolute(dir).map_err(|error| RenderError::File(dir.to_owned(), error))?;
    if dir.symlink_metadata().is_ok() {
        return Err(RenderError::Exists(dir));
    }
    let net = plan(topology, &dir, &options)?;
    let mut name = dir.file_name().unwrap_or_default().to_owned();
    name.push(".partial");
    let partial = dir.with_file_name(name);
    if let Some(parent) = partial.parent() {
        std::fs::create_dir_all(parent).map_err(|error| RenderError::File(parent.to_owned(), error))?;
    }
    make_dir(&partial)?;
    let written =
        Renderer { topology, options: &options, net: &net, dir: &partial, entropy: SystemEntropy::new() }.write();
    let moved = written.and_then(|()| std::fs::rename(&partial, &dir).map_err(|error| RenderError::File(dir, error)));
    if moved.is_err() {
        let _ = std::fs::remove_dir_all(&partial);
    }
    moved.map(|()| net)
}

/// Issues a certificate for one more SAE from the authority of a rendered folder; returns its folder.
///
/// # Errors
/// If the folder is not a rendered one, or has the SAE already.
pub fn issue_sae(dir: &Path, sae: &SaeId) -> Result<PathBuf, RenderError> {
    let net = Net::read(dir)?;
    let path = dir.join("ca.key");
    let key = std::fs::read_to_string(&path).map_err(|error| RenderError::File(path, error))?;
    let authority = Authority::open(&net.network, &Zeroizing::new(key))?;
    let folder = dir.join("saes").join(sae.as_str());
    if folder.symlink_metadata().is_ok() {
        return Err(RenderError::Exists(folder));
    }
    write_sae(&folder, &authority.issue_sae(sae)?)?;
    Ok(folder)
}

fn plan(topology: &Topology, dir: &Path, options: &RenderOptions) -> Result<Net, RenderError> {
    let mut nodes = Vec::with_capacity(topology.nodes.len());
    for (i, node) in topology.nodes.iter().enumerate() {
        let ports = ports(topology, options, i)?;
        let folder = dir.join("nodes").join(node.name.as_str());
        let control_socket = folder.join("qkdd.sock");
        let length = control_socket.as_os_str().len();
        if length > SOCKET_PATH_BYTES_MAX {
            return Err(RenderError::SocketPath(control_socket, length));
        }
        let host = dialled(node);
        nodes.push(NetNode {
            name: node.name.to_string(),
            config: folder.join("qkdd.toml"),
            supply_url: format!("https://{host}:{}", ports.supply),
            control_socket,
            overlay: format!("{host}:{}", ports.overlay),
            metrics_url: format!("http://127.0.0.1:{}/metrics", ports.metrics),
        });
    }
    let saes = topology.saes.iter().map(|sae| NetSae { id: sae.id.to_string(), node: sae.node.to_string() });
    Ok(Net { schema: 1, network: topology.name.clone(), nodes, saes: saes.collect() })
}

fn ports(topology: &Topology, options: &RenderOptions, i: usize) -> Result<NodePorts, RenderError> {
    let short = || RenderError::Ports(options.base_port, topology.nodes.len());
    if !options.ports.is_empty() {
        return options.ports.get(i).copied().ok_or_else(short);
    }
    let overlay = u16::try_from(usize::from(options.base_port) + PORT_STEP * i).map_err(|_| short())?;
    let supply = overlay.checked_add(1).ok_or_else(short)?;
    Ok(NodePorts { overlay, supply, metrics: supply.checked_add(1).ok_or_else(short)? })
}

/// The address that others dial, an IPv6 address in brackets.
fn dialled(node: &TopologyNode) -> String {
    let host = node.host.as_deref().unwrap_or("127.0.0.1");
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

struct Renderer<'a> {
    topology: &'a Topology,
    options: &'a RenderOptions,
    net: &'a Net,
    dir: &'a Path,
    entropy: SystemEntropy,
}

impl Renderer<'_> {
    fn write(&mut self) -> Result<(), RenderError> {
        let (authority, ca) = Authority::create(&self.topology.name)?;
        write_public(&self.dir.join("ca.pem"), ca.certificate.as_bytes())?;
        write_private(&self.dir.join("ca.key"), ca.key.as_bytes())?;
        let network = self.identity(&self.dir.join("network.key"))?;
        for part in ["nodes", "saes"] {
            make_dir(&self.dir.join(part))?;
        }
        let members = self.write_members()?;
        let roster = self.roster(members).sign(&network);
        for (i, node) in self.topology.nodes.iter().enumerate() {
            let folder = self.folder(node.name.as_str());
            write_public(&folder.join("roster.cbor"), &roster)?;
            write_public(&folder.join("ca.pem"), ca.certificate.as_bytes())?;
            let kme = authority.issue_node(
                &node.name,
                node.host.as_deref().unwrap_or("127.0.0.1"),
                &self.options.supply_names,
            )?;
            write_public(&folder.join("kme.pem"), kme.certificate.as_bytes())?;
            write_private(&folder.join("kme.key"), kme.key.as_bytes())?;
            let config = self.config(i, node, &network.public())?;
            write_public(&folder.join("qkdd.toml"), config.as_bytes())?;
        }
        self.write_link_keys()?;
        for sae in &self.topology.saes {
            write_sae(&self.dir.join("saes").join(sae.id.as_str()), &authority.issue_sae(&sae.id)?)?;
        }
        let mut text = serde_json::to_vec_pretty(self.net).unwrap_or_default();
        text.push(b'\n');
        write_public(&self.dir.join("net.json"), &text)
    }

    fn folder(&self, node: &str) -> PathBuf {
        self.dir.join("nodes").join(node)
    }

    fn write_members(&mut self) -> Result<Vec<Member>, RenderError> {
        let mut members = Vec::with_capacity(self.topology.nodes.len());
        for (node, planned) in self.topology.nodes.iter().zip(&self.net.nodes) {
            let folder = self.folder(node.name.as_str());
            make_dir(&folder)?;
            make_dir(&folder.join("links"))?;
            make_dir(&folder.join("data"))?;
            write_public(&folder.join("data").join("FRESH"), format!("{}\n", labels::FRESH_DATA_DIR).as_bytes())?;
            let key = self.identity(&folder.join("identity.key"))?.public();
            write_private(&folder.join("master.key"), self.secret().1.as_bytes())?;
            members.push(Member { id: node.name.clone(), key, address: planned.overlay.clone() });
        }
        Ok(members)
    }

    fn roster(&self, nodes: Vec<Member>) -> Roster {
        let links = self.topology.links.iter().map(|link| RosterLink {
            id: link.name.clone(),
            transmitter: link.ends[0].clone(),
            receiver: link.ends[1].clone(),
        });
        Roster { network: self.topology.name.clone(), sequence: 1, nodes, links: links.collect() }
    }

    fn write_link_keys(&mut self) -> Result<(), RenderError> {
        for link in &self.topology.links {
            let (_, text) = self.secret();
            for end in &link.ends {
                let path = self.folder(end.as_str()).join("links").join(format!("{}.psk", link.name));
                write_private(&path, text.as_bytes())?;
            }
        }
        Ok(())
    }

    fn identity(&mut self, path: &Path) -> Result<IdentityKey, RenderError> {
        let (seed, text) = self.secret();
        write_private(path, text.as_bytes())?;
        Ok(IdentityKey::from_seed(&seed))
    }

    /// 32 fresh bytes, and their hex line.
    fn secret(&mut self) -> (SecretBytes, Zeroizing<String>) {
        let mut bytes = Zeroizing::new([0; 32]);
        self.entropy.fill(bytes.as_mut_slice());
        let mut text = Zeroizing::new(String::with_capacity(65));
        for byte in bytes.iter() {
            for nibble in [byte >> 4, byte & 15] {
                text.extend(char::from_digit(nibble.into(), 16));
            }
        }
        text.push('\n');
        (SecretBytes::copy_of(bytes.as_slice()), text)
    }

    fn config(&self, i: usize, node: &TopologyNode, network_key: &PublicKey) -> Result<String, RenderError> {
        let ports = ports(self.topology, self.options, i)?;
        let listen = if node.host.is_some() { "0.0.0.0" } else { "127.0.0.1" };
        let key: String = network_key.0.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut text = format!(
            "# {} of {}, rendered by qkdctl.\nnode = \"{}\"\nnetwork_key = \"{key}\"\nroster = \"roster.cbor\"\n\
             identity_key = \"identity.key\"\nmaster_key = \"master.key\"\ndata_dir = \"data\"\n\n\
             [overlay]\nlisten = \"{listen}:{}\"\n\n\
             [supply]\nlisten = \"{listen}:{}\"\ncertificate = \"kme.pem\"\nkey = \"kme.key\"\nclient_ca = \"ca.pem\"\n\n\
             [control]\nsocket = \"qkdd.sock\"\n\n[metrics]\nlisten = \"127.0.0.1:{}\"\n",
            node.name, self.topology.name, node.name, ports.overlay, ports.supply, ports.metrics,
        );
        for link in &self.topology.links {
            let Some(end) = link.ends.iter().position(|name| *name == node.name) else { continue };
            text.push_str(&format!("\n[[link]]\nname = \"{0}\"\npsk = \"links/{0}.psk\"\n", link.name));
            push_lines(&mut text, &link.options_of(end));
        }
        for sae in self.topology.saes.iter().filter(|sae| sae.node == node.name) {
            text.push_str(&format!("\n[[sae]]\nid = \"{}\"\n", sae.id));
        }
        if let Some(table) = &self.options.insecure_test {
            text.push_str("\n[insecure_test]\n");
            push_lines(&mut text, table);
        }
        Ok(text)
    }
}

fn push_lines(text: &mut String, table: &toml::Table) {
    for (name, value) in table {
        text.push_str(&format!("{name} = {value}\n"));
    }
}

fn write_sae(folder: &Path, issued: &Issued) -> Result<(), RenderError> {
    make_dir(folder)?;
    write_public(&folder.join("cert.pem"), issued.certificate.as_bytes())?;
    write_private(&folder.join("key.pem"), issued.key.as_bytes())
}

fn make_dir(path: &Path) -> Result<(), RenderError> {
    DirBuilder::new().mode(0o700).create(path).map_err(|error| RenderError::File(path.to_owned(), error))
}

fn write_public(path: &Path, bytes: &[u8]) -> Result<(), RenderError> {
    write_file(path, bytes, 0o644)
}

fn write_private(path: &Path, bytes: &[u8]) -> Result<(), RenderError> {
    write_file(path, bytes, 0o600)
}

fn write_file(path: &Path, bytes: &[u8], mode: u32) -> Result<(), RenderError> {
    let opened = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    opened.and_then(|mut file| file.write_all(bytes)).map_err(|error| RenderError::File(path.to_owned(), error))
}
