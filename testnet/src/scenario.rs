//! Which network and which two SAEs. In: a topology. Out: its users and the links an eavesdropper
//! sits on. Always: the two SAEs stand at different nodes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;

use qkd_proto::id::NodeId;
use qkdctl::net::{Topology, TopologyLink, TopologySae};

use crate::error::Failed;

/// The network that is shown if none is named.
const LINE_OF_FOUR: &str = include_str!("../topologies/line-of-four.toml");

/// A topology and the pair that gets a key.
#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    /// The network.
    pub(crate) topology: Topology,
    /// The SAE that asks first.
    pub(crate) initiator: TopologySae,
    /// The SAE that fetches.
    pub(crate) target: TopologySae,
}

impl Scenario {
    /// The line of four.
    pub(crate) fn line_of_four() -> Result<Self, Failed> {
        Self::of(Topology::parse(LINE_OF_FOUR)?)
    }

    /// A line from alice over relays to bob.
    pub(crate) fn line(nodes: usize) -> Result<Self, Failed> {
        let relays = (1..nodes.saturating_sub(1)).map(|i| format!("relay{i}"));
        let names: Vec<_> = ["alice".to_owned()].into_iter().chain(relays).chain(["bob".to_owned()]).collect();
        let mut text = format!("name = \"line-of-{nodes}\"\n");
        names.iter().for_each(|name| text.push_str(&format!("[[node]]\nname = \"{name}\"\n")));
        for pair in names.windows(2) {
            text.push_str(&format!(
                "[[link]]\nends = [\"{}\", \"{}\"]\npreset = \"lab\"\nlength = \"10km\"\n",
                pair[0], pair[1]
            ));
        }
        for name in ["alice", "bob"] {
            text.push_str(&format!("[[sae]]\nid = \"sae-{name}\"\nnode = \"{name}\"\n"));
        }
        Self::of(Topology::parse(&text)?)
    }

    /// From a file.
    pub(crate) fn read(path: &Path) -> Result<Self, Failed> {
        Self::of(Topology::read(path)?)
    }

    fn of(topology: Topology) -> Result<Self, Failed> {
        let (initiator, target) = pair(&topology).ok_or_else(|| {
            Failed::new("the topology has no two SAEs at different nodes that links join: add [[sae]] tables")
        })?;
        Ok(Self { initiator, target, topology })
    }

    /// Names of the links that an eavesdropper sits on.
    pub(crate) fn eve_links(&self) -> Vec<String> {
        self.topology.links.iter().filter(|link| has_eve(link)).map(|link| link.name.to_string()).collect()
    }

    /// Whether links that `usable` accepts join the two nodes.
    pub(crate) fn has_route(&self, usable: impl Fn(&TopologyLink) -> bool) -> bool {
        distances(&self.topology, &self.initiator.node, usable).contains_key(&self.target.node)
    }
}

/// Whether the file puts an eavesdropper on the link.
pub(crate) fn has_eve(link: &TopologyLink) -> bool {
    let share = link.options.get("eve");
    share.and_then(|eve| eve.as_float().or_else(|| eve.as_integer().map(|eve| eve as f64))).is_some_and(|eve| eve > 0.0)
}

/// The ends of the first link with an eavesdropper, else the first SAE and the one farthest from it,
/// of equals the last.
fn pair(topology: &Topology) -> Option<(TopologySae, TopologySae)> {
    let at = |node: &NodeId| topology.saes.iter().find(|sae| sae.node == *node).cloned();
    let tapped = topology.links.iter().find(|link| has_eve(link));
    if let Some(pair) = tapped.and_then(|link| Some((at(&link.ends[0])?, at(&link.ends[1])?))) {
        return Some(pair);
    }
    let first = topology.saes.first()?;
    let hops = distances(topology, &first.node, |_| true);
    let others = topology.saes.iter().filter(|sae| sae.node != first.node);
    let target = others.filter(|sae| hops.contains_key(&sae.node)).max_by_key(|sae| hops[&sae.node])?;
    Some((first.clone(), target.clone()))
}

fn distances<'a>(
    topology: &'a Topology,
    from: &'a NodeId,
    usable: impl Fn(&TopologyLink) -> bool,
) -> BTreeMap<&'a NodeId, usize> {
    let mut hops = BTreeMap::from([(from, 0)]);
    let mut queue = VecDeque::from([from]);
    while let Some(node) = queue.pop_front() {
        let next: BTreeSet<&NodeId> = topology
            .links
            .iter()
            .filter(|link| link.ends.contains(node) && usable(link))
            .flat_map(|link| &link.ends)
            .collect();
        for far in next {
            if !hops.contains_key(far) {
                hops.insert(far, hops[node] + 1);
                queue.push_back(far);
            }
        }
    }
    hops
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str) -> Scenario {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("topologies").join(name);
        Scenario::read(&path).expect(name)
    }

    fn pair_of(scenario: &Scenario) -> [&str; 2] {
        [scenario.initiator.id.as_str(), scenario.target.id.as_str()]
    }

    #[test]
    fn the_pair_is_far_apart() {
        assert_eq!(pair_of(&Scenario::line_of_four().expect("a line")), ["sae-alice", "sae-bob"]);
        assert_eq!(pair_of(&file("ring-of-five.toml")), ["sae-n1", "sae-n4"]);
        assert_eq!(pair_of(&file("tokyo.toml")), ["sae-koganei", "sae-hongo"]);
    }

    #[test]
    fn with_an_eavesdropper_the_pair_is_hers() {
        let eve = file("eve-ring.toml");
        assert_eq!(pair_of(&eve), ["sae-n1", "sae-n2"]);
        assert_eq!(eve.eve_links(), ["n1-n2"]);
        assert!(eve.has_route(|link| !has_eve(link)));
        assert!(!eve.has_route(|link| link.name.as_str() == "n2-n3"));
    }

    #[test]
    fn lines_have_two_to_nine_nodes() {
        for nodes in 2..=9 {
            let line = Scenario::line(nodes).expect("a line");
            assert_eq!((line.topology.nodes.len(), line.topology.links.len()), (nodes, nodes - 1));
        }
    }
}
