//! A key container of ETSI GS QKD 014 V1.1.1, clause 6.3. In: the body of a reply. Out: keys. Always:
//! each of the asked size, no id twice; no error quotes the body, since it holds keys.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use qkd_proto::secret::SecretBytes;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use zeroize::Zeroizing;

use super::keys::{ModuleKey, is_id};

/// Characters of a module's own words that are shown.
const MESSAGE_CHARS_MAX: usize = 200;
/// Bytes of a body that are no key, per key and at all: ids, names, extensions.
const FRAME_BYTES: usize = 512;

#[derive(Deserialize)]
struct Container {
    keys: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    #[serde(rename = "key_ID")]
    id: String,
    #[serde(deserialize_with = "wiped")]
    key: Zeroizing<String>,
}

fn wiped<'de, D: Deserializer<'de>>(from: D) -> Result<Zeroizing<String>, D::Error> {
    String::deserialize(from).map(Zeroizing::new)
}

/// Largest body of a reply with so many keys of `key_bytes`.
pub(super) fn body_bytes_max(number: usize, key_bytes: usize) -> usize {
    FRAME_BYTES + number * (FRAME_BYTES + key_bytes.div_ceil(3) * 4)
}

/// At least one and at most `number` keys of `key_bytes`.
pub(super) fn keys(body: &[u8], number: usize, key_bytes: usize) -> Result<Vec<ModuleKey>, String> {
    let container: Container = serde_json::from_slice(body).map_err(|_| "sent no key container".to_owned())?;
    if !(1..=number).contains(&container.keys.len()) {
        return Err(format!("sent {} keys where {number} were asked for", container.keys.len()));
    }
    let mut ids = BTreeSet::new();
    let mut keys = Vec::with_capacity(container.keys.len());
    for Item { id, key } in container.keys {
        if !is_id(&id) {
            return Err("sent a key id that is none".into());
        }
        let bits = STANDARD.decode(key.as_bytes()).map(SecretBytes::new);
        let bits = bits.map_err(|_| format!("sent key {id}, which is not base64"))?;
        if bits.len() != key_bytes {
            return Err(format!("sent key {id} of {} bits where {} were asked for", 8 * bits.len(), 8 * key_bytes));
        }
        if !ids.insert(id.to_ascii_lowercase()) {
            return Err(format!("sent key {id} twice"));
        }
        keys.push(ModuleKey { id, bits });
    }
    Ok(keys)
}

/// What a module says about a refusal, fit for a log.
pub(super) fn message(body: &[u8]) -> String {
    let value: Option<Value> = serde_json::from_slice(body).ok();
    let text = value.as_ref().and_then(|value| value.get("message")).and_then(Value::as_str);
    let shown: String = text.unwrap_or("no message").chars().take(MESSAGE_CHARS_MAX).collect();
    shown.escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(body: &str) -> String {
        keys(body.as_bytes(), 2, 3).err().expect(body)
    }

    #[test]
    fn a_container_is_read() {
        let body =
            r#"{"keys":[{"key_ID":"a","key":"AAEC","key_ID_extension":{}},{"key_ID":"b","key":"\/\/\/\/"}],"x":1}"#;
        let got = keys(body.as_bytes(), 2, 3).unwrap();
        assert_eq!((got[0].id.as_str(), got[0].bits.expose()), ("a", &[0, 1, 2][..]));
        assert_eq!((got[1].id.as_str(), got[1].bits.expose()), ("b", &[255; 3][..]));
    }

    #[test]
    fn what_is_no_container_is_refused_without_a_word_of_it() {
        for body in ["", "{", "[]", "{}", r#"{"keys":5}"#, r#"{"keys":[{"key_ID":"a"}]}"#, r#"{"keys":"c2VjcmV0"}"#] {
            assert_eq!(refused(body), "sent no key container");
        }
        let key = |id: &str, key: &str| format!(r#"{{"key_ID":"{id}","key":"{key}"}}"#);
        let of = |items: &[String]| refused(&format!(r#"{{"keys":[{}]}}"#, items.join(",")));
        assert!(of(&[]).contains("0 keys"));
        assert!(of(&[key("a", "AAEC"), key("b", "AAEC"), key("c", "AAEC")]).contains("3 keys"));
        assert!(of(&[key("a", "AAE=")]).contains("16 bits where 24"));
        assert!(of(&[key("a", "AA*C")]).contains("not base64"));
        assert!(of(&[key("a", "AAEC"), key("A", "AAEC")]).contains("twice"));
        assert!(of(&[key("a b", "AAEC")]).contains("is none"));
    }

    #[test]
    fn words_of_a_module_are_cut_and_harmless() {
        assert_eq!(message(br#"{"message":"a\u001b[31m\n"}"#), "a\\u{1b}[31m\\n");
        assert_eq!(message(b"<html>"), "no message");
        let long = format!(r#"{{"message":"{}"}}"#, "x".repeat(9000));
        assert_eq!(message(long.as_bytes()).len(), MESSAGE_CHARS_MAX);
    }
}
