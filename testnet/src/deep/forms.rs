//! The forms in which a key could lie about. In: keys. Out: where any of them occurs in some bytes. Always:
//! a search looks at every byte once, however many keys there are.

use std::collections::BTreeMap;

use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// Bytes by which a form is looked up.
const HEAD: usize = 8;
/// Bits of the filter that most places do not pass.
const FILTER_BITS: usize = 1 << 20;

/// One way to write down one key.
struct Form {
    key: usize,
    name: &'static str,
    bytes: Vec<u8>,
}

/// A find.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Find {
    /// Index of the key.
    pub(super) key: usize,
    /// In which form.
    pub(super) form: &'static str,
    /// Where.
    pub(super) at: usize,
}

/// Every form of some keys.
pub(super) struct Forms {
    forms: Vec<Form>,
    by_head: BTreeMap<[u8; HEAD], Vec<usize>>,
    filter: Vec<u64>,
}

impl Forms {
    /// Of these keys.
    pub(super) fn of(keys: &[Vec<u8>]) -> Self {
        let forms: Vec<Form> = keys.iter().enumerate().flat_map(|(key, bits)| forms_of(key, bits)).collect();
        let (mut by_head, mut filter) = (BTreeMap::<_, Vec<usize>>::new(), vec![0; FILTER_BITS / 64]);
        for (i, form) in forms.iter().enumerate() {
            let Some(head) = form.bytes.first_chunk::<HEAD>() else { continue };
            by_head.entry(*head).or_default().push(i);
            let bit = bit_of(head);
            filter[bit / 64] |= 1 << (bit % 64);
        }
        Self { forms, by_head, filter }
    }

    /// How many forms are looked for.
    pub(super) fn count(&self) -> usize {
        self.forms.len()
    }

    /// Every place where a form begins.
    pub(super) fn find(&self, bytes: &[u8]) -> Vec<Find> {
        let mut finds = Vec::new();
        for (at, window) in bytes.windows(HEAD).enumerate() {
            let Some(head) = window.first_chunk::<HEAD>() else { continue };
            let bit = bit_of(head);
            if self.filter[bit / 64] & (1 << (bit % 64)) == 0 {
                continue;
            }
            for &i in self.by_head.get(head).into_iter().flatten() {
                let Form { key, name, bytes: form } = &self.forms[i];
                if bytes[at..].starts_with(form) {
                    finds.push(Find { key: *key, form: name, at });
                }
            }
        }
        finds
    }

    /// The longest form, in bytes: pieces of a larger whole have to overlap by so much.
    pub(super) fn longest(&self) -> usize {
        self.forms.iter().map(|form| form.bytes.len()).max().unwrap_or(0)
    }
}

fn bit_of(head: &[u8; HEAD]) -> usize {
    let mixed = u64::from_le_bytes(*head).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 44) as usize % FILTER_BITS
}

fn forms_of(key: usize, bits: &[u8]) -> Vec<Form> {
    let hex: String = bits.iter().map(|byte| format!("{byte:02x}")).collect();
    let list = |between: &str| bits.iter().map(u8::to_string).collect::<Vec<_>>().join(between).into_bytes();
    let reversed: Vec<u8> = bits.iter().rev().copied().collect();
    let half = bits.len() / 2;
    let mut forms = vec![
        ("first half", bits[..half].to_vec()),
        ("second half", bits[half..].to_vec()),
        ("reversed", reversed),
        ("hex", hex.to_uppercase().into_bytes()),
        ("hex", hex.into_bytes()),
        ("decimal list", list(", ")),
        ("decimal list", list(",")),
        ("decimal list", list(" ")),
    ];
    for shift in 0..3 {
        forms.push(("base64", shifted(&STANDARD_NO_PAD, bits, shift)));
        forms.push(("base64url", shifted(&URL_SAFE_NO_PAD, bits, shift)));
    }
    forms.into_iter().map(|(name, bytes)| Form { key, name, bytes }).collect()
}

/// The characters that hold nothing but the key when `shift` other bytes stand before it.
fn shifted(engine: &impl base64::Engine, bits: &[u8], shift: usize) -> Vec<u8> {
    let text = engine.encode([&vec![0; shift], bits].concat()).into_bytes();
    let first = (shift * 8).div_ceil(6);
    let whole = (shift + bits.len()) * 8 / 6;
    text[first..whole].to_vec()
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;

    use super::*;

    #[test]
    fn every_form_is_found_anywhere() {
        let keys: Vec<Vec<u8>> = (0..9_u8).map(|k| qkd_proto::crypto::sha256(&[&[k]]).to_vec()).collect();
        let forms = Forms::of(&keys);
        assert_eq!(forms.count(), 9 * 14);
        let text = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02X}")).collect::<String>();
        let list = format!("{:?}", keys[4]);
        let told = [
            [b"x".as_slice(), &keys[1], b"y"].concat(),
            text(&keys[2]).into_bytes(),
            STANDARD_NO_PAD.encode([b"k".as_slice(), &keys[3], b"tail"].concat()).into_bytes(),
            URL_SAFE_NO_PAD.encode([b"ky".as_slice(), &keys[5]].concat()).into_bytes(),
            list.into_bytes(),
            keys[6].iter().rev().copied().collect(),
        ];
        for (bytes, key) in told.iter().zip([1, 2, 3, 5, 4, 6]) {
            let finds = forms.find(bytes);
            assert!(finds.iter().any(|find| find.key == key), "key {key}: {finds:?}");
            assert!(finds.iter().all(|find| find.key == key), "key {key}: {finds:?}");
        }
        assert_eq!(forms.find(&[7; 4096]), []);
    }
}
