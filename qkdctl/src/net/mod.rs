//! From topology to folders. In: one TOML file. Out: a folder per node with all that it needs. Always:
//! a topology is checked whole before anything is written, and an existing folder is left alone.

mod pki;
mod render;
mod topology;

pub use render::{BASE_PORT_DEFAULT, Net, NetNode, NetSae, NodePorts, RenderError, RenderOptions, issue_sae, render};
pub use topology::{Topology, TopologyError, TopologyLink, TopologyNode, TopologySae};
