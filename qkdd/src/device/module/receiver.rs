//! The end that fetches the keys whose ids the other end announced.

use std::collections::VecDeque;
use std::time::Instant;

use qkd_proto::crypto::equal;
use qkd_proto::id::BlockId;
use qkd_proto::secret::SecretBytes;

use super::frame::{self, Announcement};
use super::keys::{BlockKey, End, ModuleKey, UsedIds};
use super::{Backoff, Broken, KmeClient, keys_per_block};
use crate::config::ModuleSettings;
use crate::device::{DeviceCommand, PhotonDevice, Way};

/// Frames that wait for their block, at most: an honest transmitter sends one a block.
const EARLY_MAX: usize = 4;

pub(in crate::device) struct ModuleReceiver {
    client: KmeClient,
    settings: ModuleSettings,
    backoff: Backoff,
    used: UsedIds,
    early: VecDeque<Vec<u8>>,
}

impl ModuleReceiver {
    pub(in crate::device) fn new(client: KmeClient, settings: ModuleSettings) -> Self {
        let backoff = Backoff::new(&settings);
        Self { client, settings, backoff, used: UsedIds::default(), early: VecDeque::new() }
    }

    fn exchange(&mut self, block: BlockId, secret: &SecretBytes, way: &Way) -> Result<BlockKey, Broken> {
        let deadline = Instant::now() + self.settings.wait;
        let announced = self.await_announcement(block, secret, deadline, way)?;
        let wanted = keys_per_block(self.settings.key_bits);
        if announced.ids.len() != wanted {
            let given = announced.ids.len();
            return Err(Broken::Failed(format!(
                "the neighbour's device announced {given} keys where {wanted} make a block: give both ends one key_size"
            )));
        }
        if let Some(id) = announced.ids.iter().find(|id| !self.used.note(id)) {
            return Err(Broken::Failed(format!("the neighbour's device announced key {id} a second time")));
        }
        if let Some(until) = self.backoff.until {
            self.wait(way, until)?;
        }
        let mut keys = Vec::with_capacity(wanted);
        for ids in announced.ids.chunks(self.settings.keys_per_request as usize) {
            keys.extend(self.fetch(ids, deadline, way)?);
        }
        let key = BlockKey::of(&keys);
        if !equal(&announced.digest, &key.digest(secret, &way.link, block, End::Transmitter)) {
            return Err(Broken::Failed("the modules' keys differ".into()));
        }
        let own = key.digest(secret, &way.link, block, End::Receiver);
        if way.send(frame::answer(secret, &way.link, block, &own)) {
            Ok(key)
        } else {
            Err(Broken::Failed("the link is down".into()))
        }
    }

    fn await_announcement(
        &mut self,
        block: BlockId,
        secret: &SecretBytes,
        deadline: Instant,
        way: &Way,
    ) -> Result<Announcement, Broken> {
        loop {
            // An older block's frame is of no use; a later one's waits.
            self.early.retain(|bytes| frame::open(bytes).is_some_and(|frame| frame.block >= block));
            // What does not open was sent in an earlier session: the due frame may still come.
            let announced = self.early.iter().find_map(|bytes| {
                frame::open(bytes).filter(|frame| frame.block == block)?.announcement(secret, &way.link)
            });
            if let Some(announced) = announced {
                return Ok(announced);
            }
            match way.next_frame(deadline).map_err(Broken::Told)? {
                Some(bytes) => self.keep(bytes),
                None => return Err(Broken::Failed("the neighbour's device announced no keys in time".into())),
            }
        }
    }

    fn fetch(&mut self, ids: &[String], deadline: Instant, way: &Way) -> Result<Vec<ModuleKey>, Broken> {
        loop {
            match way.runtime.block_on(self.client.fetch(ids)) {
                Ok(keys) => return Ok(keys),
                Err(error) if error.is_passing() && Instant::now() + self.settings.poll < deadline => {
                    self.wait(way, Instant::now() + self.settings.poll)?;
                }
                Err(error) => return Err(Broken::Failed(error.to_string())),
            }
        }
    }

    fn wait(&mut self, way: &Way, until: Instant) -> Result<(), Broken> {
        way.wait_until(until, |bytes| self.keep(bytes)).map_err(Broken::Told)
    }
}

impl PhotonDevice for ModuleReceiver {
    fn measure(&mut self, block: BlockId, secret: &SecretBytes, way: &Way) -> Option<DeviceCommand> {
        let outcome = self.exchange(block, secret, way);
        self.backoff.hand_over(outcome, block, way)
    }

    fn early(&mut self, bytes: Vec<u8>, _secret: Option<&SecretBytes>, _way: &Way) {
        self.keep(bytes);
    }

    fn close(&mut self) {
        self.early.clear();
    }
}

impl ModuleReceiver {
    fn keep(&mut self, bytes: Vec<u8>) {
        if self.early.len() >= EARLY_MAX {
            self.early.pop_front();
        }
        self.early.push_back(bytes);
    }
}
