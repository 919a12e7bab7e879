//! Names and numbers that identify things. In: text or bytes from files and peers. Out: checked
//! values. Always: a value of these types has passed its check.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Longest name of a node or an SAE, in characters.
pub const NAME_CHARS_MAX: usize = 64;

/// Longest name of a link, in characters: two node names, a dash and a suffix.
pub const LINK_NAME_CHARS_MAX: usize = 140;

/// A name that breaks the rules of its kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {text:?} is not a valid name: use 1 to {limit} of A-Z a-z 0-9 . _ @ -, not \".\" or \"..\"")]
pub struct NameError {
    kind: &'static str,
    text: String,
    limit: usize,
}

fn check_name(kind: &'static str, text: &str, limit: usize) -> Result<Arc<str>, NameError> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '@' | '-');
    if text.is_empty() || text.len() > limit || !text.chars().all(legal) || text == "." || text == ".." {
        let text = text.chars().take(limit + 1).collect();
        return Err(NameError { kind, text, limit });
    }
    Ok(text.into())
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $limit:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                check_name($kind, text, $limit).map(Self)
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.as_ref().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// A node of the network (ITU-T Y.3800 "QKD node"; at the application edge its KME ID).
    NodeId, "node", NAME_CHARS_MAX
);
name!(
    /// An application that consumes keys (ETSI GS QKD 014 "SAE").
    SaeId, "SAE", NAME_CHARS_MAX
);
name!(
    /// A link between two neighbours (ITU-T Y.3800 "QKD link"), named `a-b` after its ends.
    LinkId, "link", LINK_NAME_CHARS_MAX
);

macro_rules! token {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(#[serde(with = "serde_bytes")] pub [u8; 16]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0[..4].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
    };
}

token!(
    /// One pool of secret bits of one link; a bootstrap makes a new one.
    PoolId
);
token!(
    /// One data directory. Files that carry another one are foreign.
    DataDirId
);
token!(
    /// One run of a daemon process.
    BootId
);
token!(
    /// A fresh number that proves that an answer is to this question.
    Nonce
);
token!(
    /// One carriage of end-to-end bits from an origin to a target.
    TransferId
);
token!(
    /// One end-to-end session between an origin and a target.
    SessionId
);

/// The name under which an application asks for a key (ETSI `key_ID`): a UUID.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyId(#[serde(with = "serde_bytes")] [u8; 16]);

impl KeyId {
    /// Shapes sixteen pseudo-random bytes as a version 4 UUID (RFC 9562, 5.4).
    pub fn from_random(mut bytes: [u8; 16]) -> Self {
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        Self(bytes)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, byte) in self.0.iter().enumerate() {
            let dash = if matches!(i, 4 | 6 | 8 | 10) { "-" } else { "" };
            write!(f, "{dash}{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is not a UUID in its 36-character form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a UUID of 36 characters")]
pub struct KeyIdError;

impl FromStr for KeyId {
    type Err = KeyIdError;

    fn from_str(text: &str) -> Result<Self, KeyIdError> {
        let raw = text.as_bytes();
        if raw.len() != 36 || [8, 13, 18, 23].iter().any(|&i| raw[i] != b'-') {
            return Err(KeyIdError);
        }
        let mut digits = raw.iter().filter(|&&c| c != b'-');
        let mut nibble = || {
            let digit = digits.next().and_then(|&c| (c as char).to_digit(16)).ok_or(KeyIdError)?;
            u8::try_from(digit).map_err(|_| KeyIdError)
        };
        let mut bytes = [0; 16];
        for byte in &mut bytes {
            *byte = nibble()? << 4 | nibble()?;
        }
        Ok(Self(bytes))
    }
}

/// The run number of a node: it rises by one at every start of its data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Incarnation(pub u64);

/// A block of a link: pulses that are distilled together. Rises within a link session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BlockId(pub u64);

/// A group of records that becomes durable together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommitId(pub u64);

/// How often a node's store became durable, over all its runs: it only rises, so a lower one than a neighbour
/// remembers tells of a store that was put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StoreSequence(pub u64);

/// A question that an application or an operator waits on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_refuse_what_could_leave_a_directory() {
        for bad in ["", ".", "..", "a/b", "a b", "ä", &"x".repeat(65)] {
            assert!(bad.parse::<NodeId>().is_err(), "{bad:?}");
        }
        assert_eq!("sae-1@alice.net".parse::<SaeId>().map(String::from), Ok("sae-1@alice.net".into()));
    }

    #[test]
    fn key_id_prints_and_parses_the_same_uuid() {
        let id = KeyId::from_random([0xff; 16]);
        assert_eq!(id.to_string(), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!("ffffffff-ffff-4fff-bfff-fffffffffffg".parse::<KeyId>(), Err(KeyIdError));
        assert_eq!("é".repeat(18).parse::<KeyId>(), Err(KeyIdError));
    }
}
