//! The receiver's two emulated detectors: efficiency is in the arrivals already; dark clicks,
//! afterpulses, dead time, the own basis and misalignment are added here. In: photons in order.
//! Out: clicks (slot times 4, plus 2 for the test basis, plus the bit). Always: slots rise; after a
//! click the whole receiver is blind for its dead time; a double click gives a random bit.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use zeroize::Zeroize;

use super::coins::{Coins, limit, middle, upper};
use super::frame::{CLICKS_PER_CHUNK_MAX, PHOTONS_PER_FRAME};
use super::model::LinkModel;
use super::photon::{Basis, Photon, Photons};
use crate::kernel::arrivals;

/// Room for clicks beyond one a photon, before it grows.
const SPARE: usize = 1024;

/// Two detectors behind one basis choice.
pub(super) struct Detectors {
    coins: Coins,
    background: Background,
    key_basis: u64,
    flip: u64,
    dead_slots: u64,
    free_at: u64,
    afterpulse_mean: f64,
    afterpulse_delay: f64,
    /// Clicks to the next one that has an afterpulse.
    to_afterpulse: u64,
    words: Vec<u64>,
    clicks: Vec<u64>,
    count: usize,
}

impl Detectors {
    pub(super) fn new(model: &LinkModel, seed: [u8; 32]) -> Self {
        let mut coins = Coins::new(seed);
        let dead_slots = (model.dead_s * model.rate_hz).round() as u64;
        let afterpulse_mean = arrivals::mean_gap(model.p_ap);
        Self {
            background: Background::new(model.p_dark, &mut coins),
            key_basis: limit(model.pz_b),
            flip: limit(model.e_mis),
            dead_slots: if model.dead_s > 0.0 { dead_slots.max(1) } else { 0 },
            free_at: 0,
            afterpulse_mean,
            afterpulse_delay: (model.tau_ap_s * model.rate_hz).max(1e-9),
            to_afterpulse: coins.gap(afterpulse_mean),
            coins,
            words: Vec::new(),
            clicks: Vec::new(),
            count: 0,
        }
    }

    /// From here on misalignment flips bits with this probability.
    pub(super) fn misalign(&mut self, probability: f64) {
        self.flip = limit(probability);
    }

    /// The clicks of `photons` and of background, up to slot `end`.
    pub(super) fn sweep(&mut self, photons: &mut Photons, end: u64) -> &mut [u64] {
        let mut words = std::mem::take(&mut self.words);
        self.coins.fill(&mut words, photons.len());
        self.count = 0;
        let mut at = 0;
        loop {
            self.make_room(photons.len() - at);
            at = self.run(photons, &words, at);
            let Some((slot, photon)) = photons.take_from(at).next() else { break };
            self.background_until(slot, photons.len() - at);
            // An afterpulse may have come in between: then the plain run goes on.
            if self.background.next == slot {
                let dark = self.background.take(slot, &mut self.coins);
                self.click(slot, Some(photon), dark, words[at]);
                at += 1;
            }
        }
        self.background_until(end + 1, 0);
        self.words = words;
        &mut self.clicks[..self.count]
    }

    /// Photons from `at` on, as long as no background click lies before or beside them; gives the
    /// first photon left.
    fn run(&mut self, photons: &mut Photons, words: &[u64], at: usize) -> usize {
        let (key_basis, flip, dead) = (self.key_basis, self.flip, self.dead_slots + 1);
        let (mut free_at, mut count) = (self.free_at, self.count);
        let (mut to_afterpulse, mut background) = (self.to_afterpulse, self.background.next);
        let (mut done, out) = (at, self.clicks.as_mut_slice());
        for ((slot, photon), &word) in photons.take_from(at).zip(words.get(at..).unwrap_or_default()) {
            if slot >= background || count >= out.len() {
                break;
            }
            done += 1;
            // Without a branch: whether the receiver is live cannot be predicted.
            let live = slot >= free_at;
            let test = upper(word) >= key_basis;
            let seen = photon.measure(if test { Basis::Test } else { Basis::Key }, word & 1 == 1);
            let bit = seen != (middle(word) < flip);
            out[count] = slot << 2 | u64::from(test) << 1 | u64::from(bit);
            count = count.wrapping_add(usize::from(live));
            free_at = if live { slot.wrapping_add(dead) } else { free_at };
            to_afterpulse = to_afterpulse.wrapping_sub(u64::from(live));
            if to_afterpulse == 0 {
                to_afterpulse = self.coins.gap(self.afterpulse_mean);
                let delay = self.coins.gap(self.afterpulse_delay) - 1;
                self.background.add_afterpulse(free_at.saturating_add(delay));
                background = self.background.next;
            }
        }
        (self.free_at, self.count, self.to_afterpulse) = (free_at, count, to_afterpulse);
        done
    }

    fn make_room(&mut self, photons: usize) {
        let needed = self.count + photons + 1;
        if self.clicks.len() < needed {
            self.clicks.resize(needed + SPARE, 0);
        }
    }

    /// Background clicks in slots below `limit`, with room kept for `photons`.
    fn background_until(&mut self, limit: u64, photons: usize) {
        while self.background.next < limit {
            let slot = self.background.next;
            let dark = self.background.take(slot, &mut self.coins);
            if self.count < CLICKS_PER_CHUNK_MAX - PHOTONS_PER_FRAME {
                self.make_room(photons + 1);
                let word = self.coins.word();
                self.click(slot, None, dark, word);
            }
        }
    }

    fn click(&mut self, slot: u64, photon: Option<Photon>, mut clicks: [bool; 2], word: u64) {
        if slot < self.free_at {
            return;
        }
        let basis = if upper(word) < self.key_basis { Basis::Key } else { Basis::Test };
        if let Some(photon) = photon {
            let seen = photon.measure(basis, word & 1 == 1);
            clicks[usize::from(seen != (middle(word) < self.flip))] = true;
        }
        let bit = match clicks {
            [true, true] => word >> 1 & 1 == 1,
            [_, one] => one,
        };
        self.clicks[self.count] = slot << 2 | u64::from(basis == Basis::Test) << 1 | u64::from(bit);
        self.count += 1;
        self.free_at = slot + self.dead_slots + 1;
        self.to_afterpulse -= 1;
        if self.to_afterpulse == 0 {
            self.to_afterpulse = self.coins.gap(self.afterpulse_mean);
            let delay = self.coins.gap(self.afterpulse_delay) - 1;
            self.background.add_afterpulse(self.free_at.saturating_add(delay));
        }
    }
}

impl Drop for Detectors {
    fn drop(&mut self) {
        self.words.zeroize();
        self.clicks.zeroize();
    }
}

/// Clicks without a photon, in order of slots (which count from 1).
struct Background {
    dark_mean: f64,
    dark: [u64; 2],
    afterpulses: BinaryHeap<Reverse<u64>>,
    /// The next slot with a background click.
    next: u64,
}

impl Background {
    fn new(p_dark: f64, coins: &mut Coins) -> Self {
        let dark_mean = arrivals::mean_gap(p_dark);
        let dark = [0; 2].map(|_: u8| coins.gap(dark_mean));
        Self { dark_mean, dark, afterpulses: BinaryHeap::new(), next: dark[0].min(dark[1]) }
    }

    fn add_afterpulse(&mut self, slot: u64) {
        self.afterpulses.push(Reverse(slot));
        self.next = self.next.min(slot);
    }

    /// Which detectors click in `slot`, the next one; on to the clicks after it.
    fn take(&mut self, slot: u64, coins: &mut Coins) -> [bool; 2] {
        let mut clicks = [false; 2];
        for (next, click) in self.dark.iter_mut().zip(&mut clicks) {
            if *next == slot {
                *click = true;
                *next = next.saturating_add(coins.gap(self.dark_mean));
            }
        }
        while self.afterpulses.peek().is_some_and(|next| next.0 == slot) {
            self.afterpulses.pop();
            clicks[usize::from(coins.word() & 1 == 1)] = true;
        }
        let afterpulse = self.afterpulses.peek().map_or(u64::MAX, |slot| slot.0);
        self.next = self.dark[0].min(self.dark[1]).min(afterpulse);
        clicks
    }
}
