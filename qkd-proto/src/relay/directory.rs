//! Which SAE is at which node. In: signed SAE rosters of members. Out: the node of an SAE. Always: a
//! node speaks for its own SAEs; two nodes that claim the same SAE make it unknown.

use std::collections::BTreeMap;

use super::letter::{self, LetterError};
use super::message::SaesText;
use crate::id::{NodeId, SaeId};
use crate::labels;
use crate::topology::Roster;

/// Largest SAE roster, in bytes: some 200 SAEs with the longest names, 1,000 with usual ones.
pub const SAES_BYTES_MAX: usize = 16 << 10;

/// The newest SAE roster of every node.
#[derive(Default)]
pub struct Directory {
    rosters: BTreeMap<NodeId, SaesText>,
}

impl Directory {
    /// Takes a roster; true if it was news.
    ///
    /// # Errors
    /// If it is malformed or not by the node that it speaks for.
    pub fn take(&mut self, bytes: &[u8], roster: &Roster) -> Result<bool, LetterError> {
        let text: SaesText = open(bytes, roster)?;
        let known = self.rosters.get(&text.node).map(|known| (known.incarnation, known.sequence));
        let news = known.is_none_or(|known| (text.incarnation, text.sequence) > known);
        if news {
            self.rosters.insert(text.node.clone(), text);
        }
        Ok(news)
    }

    /// Where `sae` is enrolled; none if nowhere, or at two nodes.
    pub fn node_of(&self, sae: &SaeId) -> Option<&NodeId> {
        let mut nodes = self.rosters.values().filter(|roster| roster.saes.contains(sae));
        let node = nodes.next()?;
        nodes.next().is_none().then_some(&node.node)
    }

    /// True if a node other than `node` claims `sae`.
    pub fn is_claimed_by_another(&self, sae: &SaeId, node: &NodeId) -> bool {
        self.rosters.values().any(|roster| roster.node != *node && roster.saes.contains(sae))
    }

    /// True if `node`'s roster is here.
    pub fn knows(&self, node: &NodeId) -> bool {
        self.rosters.contains_key(node)
    }
}

/// Reads a node's SAE roster.
///
/// # Errors
/// If it is malformed or not by the node that it speaks for.
pub fn open(bytes: &[u8], roster: &Roster) -> Result<SaesText, LetterError> {
    letter::open(labels::sign::SAES, bytes, SAES_BYTES_MAX, roster, |text: &SaesText| &text.node)
}
