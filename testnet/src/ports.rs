//! Free ports. In: how many nodes. Out: three ports each. Always: each was free a moment ago, and lies
//! below the range from which the system takes the ports of outgoing connections, so that a daemon
//! that starts again finds its own.

use std::net::TcpListener;
use std::time::{SystemTime, UNIX_EPOCH};

use qkdctl::net::NodePorts;

use crate::error::Failed;

/// Lowest port given.
const LOWEST: u32 = 10_000;
/// Ports to choose from: Linux takes those of outgoing connections from 32768 on.
const RANGE: u32 = 22_000;

/// Ports for `nodes` nodes.
pub(crate) fn free(nodes: usize) -> Result<Vec<NodePorts>, Failed> {
    let start = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.subsec_micros());
    let start = start.wrapping_add(std::process::id().wrapping_mul(7919));
    let candidates = (0..RANGE).filter_map(|i| u16::try_from(LOWEST + start.wrapping_add(i) % RANGE).ok());
    let found: Vec<u16> = candidates.filter(|&port| is_free(port)).take(3 * nodes).collect();
    if found.len() < 3 * nodes {
        return Err(Failed::new(format!(
            "{} ports are free, {} are needed: end other networks",
            found.len(),
            3 * nodes
        )));
    }
    let each = found.chunks_exact(3).map(|of| NodePorts { overlay: of[0], supply: of[1], metrics: of[2] });
    Ok(each.collect())
}

fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok() && TcpListener::bind(("0.0.0.0", port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_differ_and_are_free() {
        let ports = free(9).expect("ports");
        let mut all: Vec<_> = ports.iter().flat_map(|node| [node.overlay, node.supply, node.metrics]).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 27);
        assert!(all.iter().all(|&port| port < 32_768));
    }
}
