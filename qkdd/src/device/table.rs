//! A link at its published rate, without optics: both ends derive a block's bits from the secret of
//! their link session, and wait as long as the rate says.

use std::time::{Duration, Instant};

use qkd_proto::id::{BlockId, LinkId};
use qkd_proto::node::input::Input;
use qkd_proto::node::settings::TABLE_BLOCK_BITS;
use qkd_proto::optics::table;
use qkd_proto::secret::SecretBytes;

use super::{DeviceCommand, PhotonDevice, Way};

pub(super) struct RateTable {
    link: LinkId,
    block_time: Duration,
}

impl RateTable {
    pub(super) fn new(link: LinkId, block_time: Duration) -> Self {
        Self { link, block_time }
    }
}

impl PhotonDevice for RateTable {
    fn measure(&mut self, block: BlockId, secret: &SecretBytes, way: &Way) -> Option<DeviceCommand> {
        let end = Instant::now() + self.block_time;
        if let Err(told) = way.wait_until(end, |_| {}) {
            return told;
        }
        let bits = table::block_bits(secret, &self.link, block, TABLE_BLOCK_BITS);
        way.tell(Input::DeviceKey(way.link.clone(), block, bits));
        None
    }
}
