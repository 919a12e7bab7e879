//! The end that takes new keys and announces their ids.

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

pub(in crate::device) struct ModuleTransmitter {
    client: KmeClient,
    settings: ModuleSettings,
    backoff: Backoff,
    used: UsedIds,
    /// Keys that no block has had yet.
    stock: VecDeque<ModuleKey>,
}

impl ModuleTransmitter {
    pub(in crate::device) fn new(client: KmeClient, settings: ModuleSettings) -> Self {
        let backoff = Backoff::new(&settings);
        Self { client, settings, backoff, used: UsedIds::default(), stock: VecDeque::new() }
    }

    fn exchange(&mut self, block: BlockId, secret: &SecretBytes, way: &Way) -> Result<BlockKey, Broken> {
        let deadline = Instant::now() + self.settings.wait;
        if let Some(until) = self.backoff.until {
            wait(way, until)?;
        }
        let wanted = keys_per_block(self.settings.key_bits);
        self.fill(wanted, deadline, way)?;
        // From here on the keys are this block's, whatever becomes of it.
        let keys: Vec<ModuleKey> = self.stock.drain(..wanted).collect();
        let key = BlockKey::of(&keys);
        let digest = key.digest(secret, &way.link, block, End::Transmitter);
        let announced = Announcement { digest, ids: keys.into_iter().map(|key| key.id).collect() };
        if !way.send(frame::announce(secret, &way.link, block, &announced)) {
            return Err(Broken::Failed("the link is down".into()));
        }
        let expected = key.digest(secret, &way.link, block, End::Receiver);
        let told = await_digest(block, secret, deadline, way)?;
        if equal(&told, &expected) { Ok(key) } else { Err(Broken::Failed("the modules' keys differ".into())) }
    }

    /// Takes keys until `wanted` are in stock.
    fn fill(&mut self, wanted: usize, deadline: Instant, way: &Way) -> Result<(), Broken> {
        while self.stock.len() < wanted {
            let number = (wanted - self.stock.len()).min(self.settings.keys_per_request as usize);
            match way.runtime.block_on(self.client.take(number)) {
                Ok(keys) => self.keep(keys)?,
                Err(error) if error.is_passing() && Instant::now() + self.settings.poll < deadline => {
                    wait(way, Instant::now() + self.settings.poll)?;
                }
                Err(error) => {
                    let stock = self.stock.len();
                    return Err(Broken::Failed(format!("{error} ({stock} of {wanted} keys are there)")));
                }
            }
        }
        Ok(())
    }

    /// Takes keys into stock, unless the module repeats itself.
    fn keep(&mut self, keys: Vec<ModuleKey>) -> Result<(), Broken> {
        for key in keys {
            if !self.used.note(&key.id) {
                return Err(Broken::Failed(format!("the module gave key {} a second time", key.id)));
            }
            self.stock.push_back(key);
        }
        Ok(())
    }
}

/// Waits; what the neighbour's device sends meanwhile belongs to no block.
fn wait(way: &Way, until: Instant) -> Result<(), Broken> {
    way.wait_until(until, |_| {}).map_err(Broken::Told)
}

fn await_digest(block: BlockId, secret: &SecretBytes, deadline: Instant, way: &Way) -> Result<[u8; 32], Broken> {
    while let Some(bytes) = way.next_frame(deadline).map_err(Broken::Told)? {
        let frame = frame::open(&bytes).filter(|frame| frame.block == block);
        if let Some(digest) = frame.and_then(|frame| frame.digest(secret, &way.link)) {
            return Ok(digest);
        }
    }
    Err(Broken::Failed("the neighbour's device did not confirm the keys in time".into()))
}

impl PhotonDevice for ModuleTransmitter {
    fn measure(&mut self, block: BlockId, secret: &SecretBytes, way: &Way) -> Option<DeviceCommand> {
        let outcome = self.exchange(block, secret, way);
        self.backoff.hand_over(outcome, block, way)
    }

    fn close(&mut self) {
        self.stock.clear();
    }
}
