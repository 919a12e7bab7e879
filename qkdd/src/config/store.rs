//! How state is kept. In: the `[store]` table. Out: [`StoreSettings`]. Always: without the table, the safe choices.

use crate::store::options::{AnchorDir, Profile};

use super::StoreSettings;
use super::read::Reader;
use super::section::Section;

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
    StoreSettings { anchor_dir, profile, strict }
}
