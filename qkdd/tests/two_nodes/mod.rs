//! A network of two nodes, `a` and `b`, and one link, for tests that start or configure `a`.

use qkd_proto::crypto::IdentityKey;
use qkd_proto::secret::SecretBytes;
use qkd_proto::topology::{Member, Roster, RosterLink};

fn key(seed: u8) -> IdentityKey {
    IdentityKey::from_seed(&SecretBytes::new(vec![seed; 32]))
}

/// The roster, signed; the identity key of `a` has the seed 1 in every byte.
pub(crate) fn roster() -> Vec<u8> {
    let member = |name: &str, seed| Member {
        id: name.parse().expect("a name"),
        key: key(seed).public(),
        address: "127.0.0.1:1".into(),
    };
    let link = RosterLink {
        id: "a-b".parse().expect("a name"),
        transmitter: "a".parse().expect("a name"),
        receiver: "b".parse().expect("a name"),
    };
    let nodes = vec![member("a", 1), member("b", 2)];
    Roster { network: "t".into(), sequence: 1, nodes, links: vec![link] }.sign(&key(9))
}

/// The operator's public key in hex.
pub(crate) fn network_key() -> String {
    key(9).public().0.iter().map(|byte| format!("{byte:02x}")).collect()
}
