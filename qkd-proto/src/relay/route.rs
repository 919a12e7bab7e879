//! Which links a transfer takes. In: the roster, the adverts, what to avoid. Out: a route, or none.
//! Always: a proposal; whether a hop can pay shows when it is asked to.

use std::collections::{BTreeMap, BTreeSet};

use super::adverts::AdvertBook;
use super::message::{LinkState, ROUTE_LINKS_MAX};
use crate::id::{LinkId, NodeId};
use crate::topology::Roster;

/// Links from origin to target, and the nodes they join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// In order.
    pub links: Vec<LinkId>,
    /// One more than links.
    pub nodes: Vec<NodeId>,
}

/// What a route must do.
#[derive(Debug, Clone, Default)]
pub struct Demand {
    /// Every hop's end must have at least this much to send under, in KiB; none: letters only.
    pub level_kib: Option<u64>,
    /// Links not to take.
    pub avoid: BTreeSet<LinkId>,
}

/// Cost of a hop with plenty of pad.
const HOP_COST: u64 = 1000;
/// Added for each halving of the store below 2^10 KiB.
const SCARCITY_COST: u64 = 100;

/// The cheapest route: fewest hops, and among those the one with the fullest stores.
pub fn find(roster: &Roster, adverts: &AdvertBook, from: &NodeId, to: &NodeId, demand: &Demand) -> Option<Route> {
    let neighbours = neighbours(roster, adverts, demand);
    let mut best = Best::from([(from, (0, 0, None))]);
    let mut frontier: BTreeSet<(u64, &NodeId)> = BTreeSet::from([(0, from)]);
    while let Some((cost, node)) = frontier.pop_first() {
        if node == to {
            break;
        }
        let hops = best[node].1;
        if hops == ROUTE_LINKS_MAX {
            continue;
        }
        for &(link, next, price) in neighbours.get(node).into_iter().flatten() {
            let total = cost + price;
            if best.get(next).is_none_or(|known| total < known.0) {
                best.insert(next, (total, hops + 1, Some((link, node))));
                frontier.insert((total, next));
            }
        }
    }
    walk_back(&best, to)
}

/// For every node reached: cost, links, and over which link from which node.
type Best<'a> = BTreeMap<&'a NodeId, (u64, usize, Option<(&'a LinkId, &'a NodeId)>)>;
type Hops<'a> = BTreeMap<&'a NodeId, Vec<(&'a LinkId, &'a NodeId, u64)>>;

/// For every node the links it may send over, with their price.
fn neighbours<'a>(roster: &'a Roster, adverts: &'a AdvertBook, demand: &Demand) -> Hops<'a> {
    let least = if demand.level_kib.is_some() { LinkState::Up } else { LinkState::Talk };
    let mut hops = Hops::new();
    for link in roster.links.iter().filter(|link| !demand.avoid.contains(&link.id)) {
        let ends = [&link.transmitter, &link.receiver];
        if adverts.state(&link.id, ends) < least {
            continue;
        }
        for (here, there) in [(ends[0], ends[1]), (ends[1], ends[0])] {
            let level = adverts.end(here, &link.id).map_or(0, |end| u64::from(end.level));
            if demand.level_kib.is_some_and(|needed| 1 << level < needed) {
                continue;
            }
            let price = HOP_COST + SCARCITY_COST * 10_u64.saturating_sub(level);
            hops.entry(here).or_default().push((&link.id, there, price));
        }
    }
    hops
}

fn walk_back(best: &Best<'_>, to: &NodeId) -> Option<Route> {
    let mut route = Route { links: Vec::new(), nodes: vec![to.clone()] };
    let mut at = best.get(to)?;
    while let Some((link, previous)) = at.2 {
        route.links.push(link.clone());
        route.nodes.push(previous.clone());
        at = best.get(previous)?;
    }
    route.links.reverse();
    route.nodes.reverse();
    Some(route)
}

/// The nodes along `links` from `from`, if the roster joins them so.
pub fn nodes_along(roster: &Roster, from: &NodeId, links: &[LinkId]) -> Option<Vec<NodeId>> {
    let mut nodes = vec![from.clone()];
    for link in links {
        let next = roster.link(link)?.far_end(nodes.last()?)?.clone();
        if nodes.contains(&next) {
            return None;
        }
        nodes.push(next);
    }
    Some(nodes)
}
