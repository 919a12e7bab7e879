//! Bytes for wires and disks: one version byte, then packed CBOR (RFC 8949): fields and variants by
//! number, an enum with content as an array. In: values or bytes
//! from anywhere. Out: bytes or checked values. Always: decoding is bounded, reads every byte, and
//! accepts one form only. The one file that names `serde_cbor`.

use serde::{Serialize, de::DeserializeOwned};

/// Why bytes were not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// More bytes than this kind may have.
    #[error("{size} bytes are over the limit of {limit}")]
    TooLong {
        /// What came.
        size: usize,
        /// What may come.
        limit: usize,
    },
    /// No byte at all, or a version that this build does not read.
    #[error("version {found:?} is not {expected}: upgrade the older side")]
    Version {
        /// First byte, if any.
        found: Option<u8>,
        /// What this build reads.
        expected: u8,
    },
    /// Not the CBOR form of the type.
    #[error("malformed: {0}")]
    Malformed(String),
}

/// Writes `value` behind its version byte.
pub fn encode<T: Serialize>(version: u8, value: &T) -> Vec<u8> {
    let mut bytes = vec![version];
    let mut serializer = serde_cbor::Serializer::new(&mut bytes).packed_format().legacy_enums();
    value.serialize(&mut serializer).expect("writing our own types to memory cannot fail");
    bytes
}

/// Reads one value of this version that fills `bytes`, at most `limit` of them.
///
/// # Errors
/// Too long, another version, or malformed.
pub fn decode<T: DeserializeOwned>(version: u8, bytes: &[u8], limit: usize) -> Result<T, CodecError> {
    if bytes.len() > limit {
        return Err(CodecError::TooLong { size: bytes.len(), limit });
    }
    let found = bytes.first().copied();
    if found != Some(version) {
        return Err(CodecError::Version { found, expected: version });
    }
    let mut deserializer = serde_cbor::Deserializer::from_slice(&bytes[1..]);
    deserializer = deserializer.disable_named_format().disable_standard_enums();
    let value = T::deserialize(&mut deserializer).map_err(malformed)?;
    deserializer.end().map_err(malformed)?;
    Ok(value)
}

/// Keeps the place and the kind of a CBOR error, never its bytes.
fn malformed(error: serde_cbor::Error) -> CodecError {
    CodecError::Malformed(error.to_string().chars().take(200).collect())
}

/// Bytes that serialise as one byte string.
pub type Bytes = serde_bytes::ByteBuf;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde::Deserialize;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Word {
        Ping(u64),
        Nested(Inner),
        Data { path: Vec<String>, body: Bytes },
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Inner {
        Unit,
        Pair(u8, u8),
    }

    #[test]
    fn every_form_of_enum_comes_back() {
        for word in [Word::Ping(7), Word::Nested(Inner::Unit), Word::Nested(Inner::Pair(1, 2))] {
            assert_eq!(decode(1, &encode(1, &word), 64), Ok(word));
        }
    }

    #[test]
    fn reads_what_it_wrote_and_nothing_longer() {
        let word = Word::Data { path: vec!["a-b".into()], body: Bytes::from(vec![1, 2]) };
        let bytes = encode(1, &word);
        assert_eq!(decode(1, &bytes, 64), Ok(word));
        assert!(matches!(decode::<Word>(1, &bytes, 4), Err(CodecError::TooLong { .. })));
        assert!(matches!(decode::<Word>(2, &bytes, 64), Err(CodecError::Version { .. })));
        let longer = [bytes.as_slice(), &[0]].concat();
        assert!(matches!(decode::<Word>(1, &longer, 64), Err(CodecError::Malformed(_))));
    }

    #[test]
    fn deep_nesting_is_an_error_not_a_crash() {
        let nested = [vec![1], vec![0x81; 60_000]].concat();
        assert!(decode::<Word>(1, &nested, 1 << 16).is_err());
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = decode::<Word>(1, &bytes, 256);
        }
    }
}
