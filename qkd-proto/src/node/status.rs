//! What an operator sees of a node.

use super::Node;
use super::block_end::secret_rate_bps;
use super::link::{Link, Phase};
use super::settings::DevicePlan;
use crate::control::reply::{CostReply, KeyReply, LinkReply, SCHEMA, StatusReply};
use crate::distill::plan::Role;
use crate::id::{KeyId, LinkId};
use crate::mac::ONE_TIME_KEY_BYTES;
use crate::moment::Moment;
use crate::pool::LinkKeyPool;
use crate::relay::record::TransferRole;
use crate::relay::route;
use crate::relay::session::CONFIRMATION_PAD_BYTES;
use crate::relay::transfer::Transfer;

impl Node {
    /// The node's state at `now`; `version` is the daemon's.
    pub fn status(&self, now: Moment, version: &str) -> StatusReply {
        StatusReply {
            schema: SCHEMA,
            node: self.settings.id.to_string(),
            network: self.settings.roster.network.clone(),
            version: version.to_owned(),
            incarnation: self.settings.incarnation.0,
            uptime_s: now.since(self.started).as_secs(),
            links: self.links.values().map(link_reply).collect(),
            nodes_known: self.adverts.nodes().map(ToString::to_string).collect(),
            saes: self.settings.saes.iter().map(ToString::to_string).collect(),
            keys_waiting: self.keys_waiting(),
            locked: self.locked,
            alarms: self.alarms.values().cloned().collect(),
        }
    }

    /// Which way a key came, and what that cost.
    pub fn key(&self, id: &KeyId) -> Option<KeyReply> {
        let (transfer, _) = self.key_ids.get(id)?;
        let transfer = self.transfers.get(transfer)?;
        let (role, origin) = match transfer.role() {
            TransferRole::Origin => ("origin", &self.settings.id),
            TransferRole::Target => ("target", transfer.peer()),
            TransferRole::Local => ("local", &self.settings.id),
        };
        let nodes = |links: &Vec<LinkId>| {
            let nodes = route::nodes_along(&self.settings.roster, origin, links).unwrap_or_default();
            nodes.iter().map(ToString::to_string).collect()
        };
        Some(KeyReply {
            schema: SCHEMA,
            key_id: id.to_string(),
            role: role.into(),
            routes: transfer.routes().iter().map(nodes).collect(),
            hybrid: transfer.hybrid(),
            cost: transfer.routes().iter().flatten().map(|link| cost(link, transfer)).collect(),
        })
    }
}

fn cost(link: &LinkId, transfer: &Transfer) -> CostReply {
    CostReply {
        link: link.to_string(),
        relay_bytes: (transfer.count() * transfer.key_bytes()) as u64,
        auth_bytes: (CONFIRMATION_PAD_BYTES + ONE_TIME_KEY_BYTES) as u64,
    }
}

fn link_reply(link: &Link) -> LinkReply {
    let pool = link.pool.as_ref();
    let report = link.stats.report.as_ref();
    let (qber, rate) = match &link.plan.device {
        DevicePlan::Table { rate_bps, qber, .. } => (*qber, Some(*rate_bps)),
        // Modules tell neither.
        DevicePlan::Etsi014 { .. } => (None, None),
        DevicePlan::Simulated { .. } | DevicePlan::Seeded { .. } => {
            (report.and_then(|report| report.qber.or(report.qber_test)).map(f64::from), report.map(secret_rate_bps))
        }
    };
    LinkReply {
        name: link.roster.id.to_string(),
        peer: link.peer.to_string(),
        role: if link.role == Role::Transmitter { "transmitter" } else { "receiver" }.into(),
        device: link.plan.device.name().into(),
        dilution: link.plan.dilution,
        state: state_of(link).into(),
        authentication: if pool.is_none_or(LinkKeyPool::is_bootstrap) { "computational bootstrap" } else { "pool" }
            .into(),
        qber,
        skr_bps: rate,
        store_bytes: pool.map_or(0, |pool| pool.send().available()),
        store_peer_bytes: pool.map_or(0, |pool| pool.receive().available()),
        capacity_bytes: link.plan.capacity_bytes,
        sifted_bits: link.stats.sifted,
        secret_bits: link.stats.secret,
        blocks_ok: link.stats.blocks_ok,
        blocks_aborted: link.stats.blocks_aborted,
        last_abort: link.stats.last_abort.clone(),
        spent_relay_bytes: link.stats.spent_relay,
        spent_auth_bytes: link.stats.spent_auth,
        faults: link.plan.faults.clone(),
        // The world's clock is the daemon's.
        next_pass_s: None,
    }
}

fn state_of(link: &Link) -> &'static str {
    match (&link.phase, link.quarantine) {
        _ if link.poisoned => "failed",
        (Phase::Down, _) => "down",
        (Phase::Greeting(_), _) => "handshake",
        (Phase::Session { .. }, Some(_)) => "quarantine",
        (Phase::Session { .. }, None) => "up",
    }
}
