//! What this node says of its links, and what it hears of others'.

use std::time::Duration;

use super::block_end::secret_rate_bps;
use super::effect::{Action, Event};
use super::link::Link;
use super::timers::Timer;
use super::{Node, message};
use crate::codec::Bytes;
use crate::id::{Incarnation, LinkId, NodeId};
use crate::labels;
use crate::relay::letter;
use crate::relay::message::{AdvertLink, AdvertText, RelayMessage, SaesText};

/// Adverts about levels wait this long for more news.
pub(super) const LEVEL_GAP: Duration = Duration::from_millis(500);
/// Adverts about anything wait this long, so that a burst of changes makes one.
const BURST_GAP: Duration = Duration::from_millis(20);
/// An advert is repeated after this long without news.
const REFRESH: Duration = Duration::from_secs(60);
/// Neighbours compare what they know this often.
const DIGEST_PERIOD: Duration = Duration::from_secs(10);
/// SAE rosters are looked up this often once known, and this often until then.
const DIRECTORY_PERIOD: Duration = Duration::from_secs(60);
const DIRECTORY_RETRY: Duration = Duration::from_secs(2);
/// Bytes of adverts in one answer to a digest.
const ADVERTS_BYTES: usize = message::NEIGHBOUR_BYTES_MAX - 4096;
/// Entries of a digest that are looked at.
const DIGEST_ENTRIES_MAX: usize = 10_000;

impl Node {
    /// An advert is due no later than `gap` from now.
    pub(super) fn advertise_soon(&mut self, gap: Duration) {
        self.timers.set_by(Timer::Advert, self.now.moment + gap.max(BURST_GAP));
    }

    /// Says to all how this node's links are.
    pub(super) fn advertise(&mut self) {
        self.timers.set(Timer::Advert, self.now.moment + REFRESH);
        self.advert_sequence += 1;
        let text = AdvertText {
            origin: self.settings.id.clone(),
            incarnation: self.settings.incarnation,
            sequence: self.advert_sequence,
            links: self.links.values().map(advert_of).collect(),
        };
        let bytes = letter::sign(labels::sign::ADVERT, &text, &self.settings.identity);
        if let Err(error) = self.adverts.take(&bytes, &self.settings.roster) {
            self.alarm("QKD-4001", "roster", &format!("this node's own advert is not accepted: {error}"));
        }
        self.outbox.act(Action::Advert(bytes));
    }

    pub(super) fn advert_heard(&mut self, bytes: &[u8]) {
        let before = self.adverts.nodes().count();
        match self.adverts.take(bytes, &self.settings.roster) {
            Ok(false) => {}
            Ok(true) => {
                if self.adverts.nodes().count() > before {
                    self.timers.set_by(Timer::Directory, self.now.moment + BURST_GAP);
                }
                // A neighbour may have said that its end of a link is in doubt.
                let links: Vec<LinkId> = self.links.keys().cloned().collect();
                links.iter().for_each(|link| self.start_block(link));
            }
            Err(error) => self.log(Event::Alarm(format!("QKD-4002 an advert is not accepted: {error}"))),
        }
    }

    pub(super) fn compare_adverts(&mut self) {
        self.timers.set(Timer::Digest, self.now.moment + DIGEST_PERIOD);
        let digest = self.adverts.digest();
        let links: Vec<LinkId> =
            self.links.values().filter(|link| link.in_session()).map(|link| link.roster.id.clone()).collect();
        for link in links {
            self.send_relay(&link, RelayMessage::Digest(digest.clone()));
            self.grant(&link);
        }
    }

    /// The neighbour says what it has: it gets what it lacks, and is asked for what it has more.
    pub(super) fn digest_heard(&mut self, id: &LinkId, digest: &[(NodeId, Incarnation, u64)]) {
        let digest = &digest[..digest.len().min(DIGEST_ENTRIES_MAX)];
        let (missing, behind) = self.adverts.missing_in(digest, ADVERTS_BYTES);
        let missing: Vec<Bytes> = missing.into_iter().map(|bytes| Bytes::from(bytes.to_vec())).collect();
        if !missing.is_empty() {
            self.send_relay(id, RelayMessage::Adverts(missing));
        }
        if behind {
            self.send_relay(id, RelayMessage::Digest(self.adverts.digest()));
        }
    }

    pub(super) fn adverts_heard(&mut self, adverts: &[Bytes]) {
        for bytes in adverts {
            self.advert_heard(bytes);
        }
    }

    /// Tells the directory which SAEs are here.
    pub(super) fn publish_saes(&mut self) {
        let text = SaesText {
            node: self.settings.id.clone(),
            incarnation: self.settings.incarnation,
            sequence: 1,
            saes: self.settings.saes.clone(),
        };
        let bytes = letter::sign(labels::sign::SAES, &text, &self.settings.identity);
        if let Err(error) = self.directory.take(&bytes, &self.settings.roster) {
            self.alarm("QKD-4003", "directory", &format!("this node's own SAE roster is not accepted: {error}"));
        }
        self.outbox.act(Action::PublishSaes(bytes));
    }

    /// Looks up the SAEs of the nodes whose adverts are here.
    pub(super) fn look_up_saes(&mut self) {
        let own = &self.settings.id;
        let nodes: Vec<NodeId> = self.adverts.nodes().filter(|node| *node != own).cloned().collect();
        let unknown: Vec<NodeId> = nodes.iter().filter(|node| !self.directory.knows(node)).cloned().collect();
        let period = if unknown.is_empty() { DIRECTORY_PERIOD } else { DIRECTORY_RETRY };
        for node in if unknown.is_empty() { nodes } else { unknown } {
            self.outbox.act(Action::FindSaes(node));
        }
        self.timers.set(Timer::Directory, self.now.moment + period);
    }

    pub(super) fn saes_found(&mut self, node: &NodeId, bytes: Option<&[u8]>) {
        let Some(bytes) = bytes else { return };
        match self.directory.take(bytes, &self.settings.roster) {
            Ok(true) => self.requests_that_wait_for_directory(),
            Ok(false) => {}
            Err(error) => self.log(Event::Alarm(format!("QKD-4004 SAE roster of {node} is not accepted: {error}"))),
        }
    }
}

fn advert_of(link: &Link) -> AdvertLink {
    let kib = link.pool.as_ref().map_or(0, |pool| pool.send().available() / 1024);
    let report = link.stats.report.as_ref();
    let rate = report.map_or(0.0, secret_rate_bps);
    let per_mille = report.and_then(|report| report.qber).map_or(0.0, |qber| (qber.ratio() * 1000.0).round());
    AdvertLink {
        link: link.roster.id.clone(),
        certificate: link.certificate,
        state: link.state(),
        level: u8::try_from(kib.max(1).ilog2().min(15)).unwrap_or(15),
        rate: u8::try_from((rate.max(1.0) as u64).ilog2().min(31)).unwrap_or(31),
        qber_per_mille: per_mille as u16,
    }
}
