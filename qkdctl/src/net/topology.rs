//! A topology. In: a TOML file. Out: nodes, links and SAEs. Always: names are unique, every link joins
//! two nodes of the file, every SAE stands at one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use qkd_proto::id::{LinkId, NodeId, SaeId};
use serde::Deserialize;

/// Options of a link that are passed on to the node configurations as they stand.
const LINK_OPTIONS: &[&str] = &[
    "preset",
    "length",
    "device",
    "rate",
    "qber",
    "pass_every",
    "pass_length",
    "pass_offset",
    "dilution",
    "capacity",
    "block",
    "eve",
    "clock",
    "loss",
    "extra_loss",
    "detector_efficiency",
    "dark_probability",
    "misalignment",
    "dead_time",
    "afterpulse_probability",
    "afterpulse_time",
    "mu",
    "p",
    "basis_probability",
    "transmitter_basis_probability",
    "receiver_basis_probability",
    "module",
    "engine",
    "leak",
    "formula",
    "fixed_length",
];
/// Tables of a link with options for one end: the transmitter's, the receiver's.
const END_TABLES: [&str; 2] = ["transmitter", "receiver"];
/// Most nodes of a topology: ten ports each must fit.
const NODES_MAX: usize = 5000;
/// Largest topology file, in bytes.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Why a topology is refused.
#[derive(Debug, thiserror::Error)]
pub enum TopologyError {
    /// It cannot be read.
    #[error("topology {0} cannot be read: {1}")]
    Read(PathBuf, std::io::Error),
    /// It is not of the form.
    #[error("topology: {0}")]
    Form(String),
    /// It contradicts itself; one line each.
    #[error("topology: {}", .0.join("\ntopology: "))]
    Faults(Vec<String>),
}

/// A checked topology.
#[derive(Debug, Clone)]
pub struct Topology {
    /// Name of the network.
    pub name: String,
    /// Its nodes.
    pub nodes: Vec<TopologyNode>,
    /// Its links.
    pub links: Vec<TopologyLink>,
    /// Its SAEs.
    pub saes: Vec<TopologySae>,
}

/// A node.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TopologyNode {
    /// Its name.
    pub name: NodeId,
    /// The address that others dial; none is loopback.
    pub host: Option<String>,
}

/// A link; its first end transmits.
#[derive(Debug, Clone)]
pub struct TopologyLink {
    /// Its name.
    pub name: LinkId,
    /// Transmitter and receiver.
    pub ends: [NodeId; 2],
    /// Options for the node configurations of both ends.
    pub options: toml::Table,
    /// Further options for each end, which win over those of both.
    pub end_options: [toml::Table; 2],
}

impl TopologyLink {
    /// The options of one end; 0 is the transmitter.
    pub fn options_of(&self, end: usize) -> toml::Table {
        let own = self.end_options.get(end).into_iter().flatten();
        self.options.iter().chain(own).map(|(name, value)| (name.clone(), value.clone())).collect()
    }
}

/// An SAE.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TopologySae {
    /// Its name.
    pub id: SaeId,
    /// Where it stands.
    pub node: NodeId,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    #[serde(default)]
    node: Vec<TopologyNode>,
    #[serde(default)]
    link: Vec<FileLink>,
    #[serde(default)]
    sae: Vec<TopologySae>,
}

#[derive(Deserialize)]
struct FileLink {
    name: Option<LinkId>,
    ends: [NodeId; 2],
    #[serde(default)]
    transmitter: toml::Table,
    #[serde(default)]
    receiver: toml::Table,
    #[serde(flatten)]
    options: toml::Table,
}

impl Topology {
    /// Reads a file.
    ///
    /// # Errors
    /// If it cannot be read, or [`Topology::parse`] refuses it.
    pub fn read(path: &Path) -> Result<Self, TopologyError> {
        let refused = |error| TopologyError::Read(path.to_owned(), error);
        if std::fs::metadata(path).map_err(refused)?.len() > FILE_BYTES_MAX {
            return Err(TopologyError::Form(format!(
                "the file is larger than {FILE_BYTES_MAX} bytes: split the network"
            )));
        }
        Self::parse(&std::fs::read_to_string(path).map_err(refused)?)
    }

    /// Reads a text.
    ///
    /// # Errors
    /// If it is not of the form, or contradicts itself.
    pub fn parse(text: &str) -> Result<Self, TopologyError> {
        let file: File = toml::from_str(text).map_err(|error| TopologyError::Form(error.to_string()))?;
        let faults = check(&file);
        if !faults.is_empty() {
            return Err(TopologyError::Faults(faults));
        }
        let links = name_links(file.link)?;
        Ok(Self { name: file.name, nodes: file.node, links, saes: file.sae })
    }
}

fn check(file: &File) -> Vec<String> {
    let mut faults = Vec::new();
    let mut nodes = BTreeSet::new();
    for node in &file.node {
        if !nodes.insert(&node.name) {
            faults.push(format!("node {} appears twice: rename one", node.name));
        }
        if node.host.as_deref().is_some_and(|host| !is_host(host)) {
            faults.push(format!("host of node {} is not a host name or address: correct it", node.name));
        }
    }
    if !(2..=NODES_MAX).contains(&file.node.len()) {
        faults.push(format!("{} nodes, 2 to {NODES_MAX} are possible: change the number", file.node.len()));
    }
    if file.name.parse::<NodeId>().is_err() {
        faults.push(format!("name {:?} is not valid: use 1 to 64 of A-Z a-z 0-9 . _ @ -", file.name));
    }
    for link in &file.link {
        let [a, b] = &link.ends;
        for end in link.ends.iter().filter(|end| !nodes.contains(end)) {
            faults.push(format!("link {a}-{b} ends at {end}, which is no node: add it or correct the name"));
        }
        if a == b {
            faults.push(format!("link {a}-{b} joins a node with itself: name two nodes"));
        }
        let options = [&link.options, &link.transmitter, &link.receiver].into_iter().flat_map(toml::Table::keys);
        for option in options.filter(|option| !LINK_OPTIONS.contains(&option.as_str())) {
            faults.push(format!(
                "link {a}-{b} has unknown option {option}: use one of {}, or a table {}",
                LINK_OPTIONS.join(", "),
                END_TABLES.join(" or ")
            ));
        }
    }
    let mut saes = BTreeSet::new();
    for sae in &file.sae {
        if !saes.insert(&sae.id) {
            faults.push(format!("SAE {} appears twice: rename one", sae.id));
        }
        if !nodes.contains(&sae.node) {
            faults.push(format!("SAE {} stands at {}, which is no node: correct it", sae.id, sae.node));
        }
    }
    faults
}

fn is_host(host: &str) -> bool {
    host.parse::<std::net::IpAddr>().is_ok()
        || (!host.is_empty()
            && host.len() <= 253
            && host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-')))
}

/// Parallel links between two nodes are named `a-b`, `a-b.2`, ...
fn name_links(links: Vec<FileLink>) -> Result<Vec<TopologyLink>, TopologyError> {
    let mut parallel: BTreeMap<[NodeId; 2], (String, u32)> = BTreeMap::new();
    let mut names = BTreeSet::new();
    let mut named = Vec::with_capacity(links.len());
    for link in links {
        let mut pair = link.ends.clone();
        pair.sort();
        let base = format!("{}-{}", link.ends[0], link.ends[1]);
        let (base, count) = parallel.entry(pair).or_insert((base, 0));
        *count += 1;
        let default = if *count == 1 { base.clone() } else { format!("{base}.{count}") };
        let name = match link.name {
            Some(name) => name,
            None => default.parse().map_err(|error| TopologyError::Form(format!("{error}")))?,
        };
        if !names.insert(name.clone()) {
            return Err(TopologyError::Faults(vec![format!("link {name} appears twice: give one a name of its own")]));
        }
        let end_options = [link.transmitter, link.receiver];
        named.push(TopologyLink { name, ends: link.ends, options: link.options, end_options });
    }
    Ok(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODES: &str = "name = 't'\n[[node]]\nname = 'a'\n[[node]]\nname = 'b'\n";

    #[test]
    fn parallel_links_get_numbers() {
        let text = format!("{NODES}[[link]]\nends = ['a','b']\n[[link]]\nends = ['b','a']\n");
        let topology = Topology::parse(&text).expect("a topology");
        let names: Vec<_> = topology.links.iter().map(|link| link.name.as_str()).collect();
        assert_eq!(names, ["a-b", "a-b.2"]);
    }

    #[test]
    fn an_end_has_options_of_its_own() {
        let text = format!(
            "{NODES}[[link]]\nends = ['a','b']\ndevice = 'etsi014'\ncapacity = '1MiB'\n\
             [link.transmitter.module]\nurl = 'https://x'\n[link.receiver]\ncapacity = '2MiB'\n"
        );
        let topology = Topology::parse(&text).expect("a topology");
        let [a, b] = [0, 1].map(|end| topology.links[0].options_of(end));
        assert_eq!(a["module"].to_string(), "{ url = \"https://x\" }");
        assert_eq!((a["capacity"].as_str(), b["capacity"].as_str()), (Some("1MiB"), Some("2MiB")));
        assert!(!b.contains_key("module") && a.contains_key("device") && b.contains_key("device"));
    }

    #[test]
    fn contradictions_are_told_together() {
        let text = format!("{NODES}[[link]]\nends = ['a','x']\nlenght = '1km'\n[[sae]]\nid = 's'\nnode = 'y'\n");
        let error = Topology::parse(&text).expect_err("faults").to_string();
        for part in ["ends at x, which is no node", "unknown option lenght", "SAE s stands at y"] {
            assert!(error.contains(part), "{error}");
        }
        assert!(Topology::parse("name = 't'\n[[node]]\nname = 'a'\n").is_err());
        assert!(Topology::parse(&format!("{NODES}[[nodes]]\n")).is_err());
    }
}
