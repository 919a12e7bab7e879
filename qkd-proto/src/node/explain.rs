//! A link's last block, for an operator who asks how its key length came about.

use super::Node;
use super::block_end::secret_rate_bps;
use super::link::Link;
use crate::control::block_record::{BlockRecord, LengthRecord};
use crate::control::reply::SCHEMA;
use crate::distill::report::Account;
use crate::distill::verify;
use crate::id::LinkId;

impl Node {
    /// The record of the link's last block that was distilled here; none before the first, or if there
    /// is no such link.
    pub fn explain(&self, id: &LinkId) -> Option<BlockRecord> {
        self.links.get(id).and_then(record)
    }
}

fn record(link: &Link) -> Option<BlockRecord> {
    let report = link.stats.report.as_ref()?;
    let (block, refused) = link.stats.last_block.clone()?;
    Some(BlockRecord {
        schema: SCHEMA,
        link: link.roster.id.to_string(),
        device: link.plan.device.name().into(),
        block: block.0,
        refused,
        pulses: report.pulses,
        link_time_s: report.link_time.as_secs_f64(),
        dilution: link.plan.dilution,
        sifted_bits: report.sifted.0,
        qber_key: report.qber.map(f64::from),
        qber_test: report.qber_test.map(f64::from),
        engine: report.engine.into(),
        leak_rule: report.leak_rule.into(),
        told_transmitter_bits: report.told.transmitter.0,
        told_receiver_bits: report.told.receiver.0,
        verification_bits: if report.leak.0 > 0 { verify::HASH_BITS } else { 0 },
        leak_bits: report.leak.0,
        f_ec: report.f_ec,
        length: report.account.as_ref().map(length),
        secret_bits: report.secret.0,
        skr_bps: secret_rate_bps(report),
    })
}

fn length(account: &Account) -> LengthRecord {
    let (key, test) = (account.counts, account.tested);
    let float = |pair: [u64; 2]| pair.map(|count| count as f64);
    let bound = |pick: fn(&crate::distill::finite_key::Bounds) -> f64| account.bounds.as_ref().map(pick);
    LengthRecord {
        formula: account.formula.into(),
        edition: account.edition.into(),
        acceptance: account.acceptance.name().into(),
        eps_sec: account.eps.secrecy,
        eps_cor: account.eps.correctness,
        mus: account.mus,
        ps: account.ps,
        n_key: float(key.0),
        m_key: float(key.1),
        n_test: float(test.0),
        m_test: float(test.1),
        s0_key: bound(|bounds| bounds.vacuum),
        s1_key: bound(|bounds| bounds.single_photon),
        phi: bound(|bounds| bounds.phase_error),
        ell: bound(|bounds| bounds.length),
        plob_bps: account.plob_bps,
    }
}
