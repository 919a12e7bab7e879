//! How state is kept. In: the `[store]` table. Out: [`StoreSettings`]. Always: without the table, the safe choices.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::store::options::{AnchorDir, Profile};

use super::StoreSettings;
use super::read::Reader;
use super::section::Section;
use super::unit::Unit;

/// How long a key waits to be fetched, unless told: a day.
const LIFETIME: Duration = Duration::from_secs(86_400);
/// Seconds that may be told: a minute to ten years.
const LIFETIME_S: RangeInclusive<f64> = 60.0..=315_360_000.0;

/// Reads what is about the state; the source of the master key stands in the same table.
pub(super) fn read(reader: &Reader<'_>, store: &Section<'_>) -> StoreSettings {
    let anchor_dir = match store.text("anchor_dir") {
        None => AnchorDir::Usual,
        Some("none") => AnchorDir::Nowhere,
        Some(path) => AnchorDir::At(reader.path(path)),
    };
    let profile = match store.text("profile") {
        None | Some("durable") => Profile::Durable,
        Some("ephemeral") => Profile::Ephemeral,
        Some(other) => {
            store.fault("profile", format!("= {other:?} is unknown: use durable or ephemeral"));
            Profile::Durable
        }
    };
    let strict = store.flag("strict").unwrap_or(false);
    let key_lifetime = match store.text("key_lifetime") {
        Some("none") => None,
        _ => Some(store.quantity("key_lifetime", Unit::Time, LIFETIME_S).map_or(LIFETIME, Duration::from_secs_f64)),
    };
    StoreSettings { anchor_dir, profile, strict, key_lifetime }
}
