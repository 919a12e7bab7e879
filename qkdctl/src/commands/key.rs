//! Keys from any KME. Bits are hidden unless asked for.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use qkd_proto::control::reply::SCHEMA;
use qkd_proto::crypto::sha256;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use crate::cli::{KmeArgs, ShowArgs};
use crate::client::from_json;
use crate::exit::{Exit, Failure};
use crate::kme_client::KmeClient;
use crate::output::{Output, print, table};

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

pub(crate) async fn status(kme: &KmeArgs, slave: &str, output: Output) -> Result<Exit, Failure> {
    let body = KmeClient::new(kme)?.ask(slave, "status", None).await?;
    let fields: Map<String, Value> = from_json(&body)?;
    let rows = fields
        .iter()
        .map(|(name, value)| vec![name.clone(), value.as_str().map_or_else(|| value.to_string(), str::to_owned)]);
    let text = table(&["FIELD", "VALUE"], rows);
    print(output, &json!({"schema": SCHEMA, "status": fields}), &text);
    Ok(Exit::Done)
}

pub(crate) async fn get(
    kme: &KmeArgs,
    show: &ShowArgs,
    slave: &str,
    number: u32,
    size: Option<u64>,
    output: Output,
) -> Result<Exit, Failure> {
    let mut request = json!({ "number": number });
    if let Some(size) = size {
        request["size"] = size.into();
    }
    let body = KmeClient::new(kme)?.ask(slave, "enc_keys", Some(&request)).await?;
    present(&body, show, output)
}

pub(crate) async fn fetch(
    kme: &KmeArgs,
    show: &ShowArgs,
    master: &str,
    ids: &[String],
    output: Output,
) -> Result<Exit, Failure> {
    let ids: Vec<Value> = ids.iter().map(|id| json!({ "key_ID": id })).collect();
    let body = KmeClient::new(kme)?.ask(master, "dec_keys", Some(&json!({ "key_IDs": ids }))).await?;
    present(&body, show, output)
}

/// Ids and SHA-256 (hex) of the keys in a key container; the bits are wiped.
///
/// # Errors
/// If it is no key container.
pub fn digests(container: &[u8]) -> Result<Vec<(String, String)>, Failure> {
    let container: Container = from_json(container)?;
    container.keys.into_iter().map(|item| Ok((item.id.clone(), digest(&item)?.1))).collect()
}

/// Size in bits and SHA-256 of a key.
fn digest(item: &Item) -> Result<(usize, String), Failure> {
    let bits = STANDARD.decode(item.key.as_bytes()).map(Zeroizing::new);
    let bits = bits.map_err(|_| Failure::Refused(format!("key {} is not base64", item.id)))?;
    Ok((bits.len() * 8, sha256(&[&bits]).iter().map(|byte| format!("{byte:02x}")).collect()))
}

fn present(body: &[u8], show: &ShowArgs, output: Output) -> Result<Exit, Failure> {
    let container: Container = from_json(body)?;
    let mut entries = Vec::new();
    let mut rows = Vec::new();
    for item in &container.keys {
        let (size, digest) = digest(item)?;
        let mut entry = json!({ "key_id": item.id, "size_bits": size, "sha256": digest });
        if show.reveal {
            entry["key"] = item.key.as_str().into();
        }
        entries.push(entry);
        let shown = if show.reveal { item.key.to_string() } else { format!("sha256:{digest}") };
        rows.push(vec![item.id.clone(), size.to_string(), shown]);
    }
    if let Some(path) = &show.out {
        write_keys(path, &container.keys)?;
    }
    let text = table(&["KEY_ID", "BITS", if show.reveal { "KEY" } else { "DIGEST (bits hidden)" }], rows);
    print(output, &json!({"schema": SCHEMA, "keys": entries}), &text);
    Ok(Exit::Done)
}

fn write_keys(path: &Path, keys: &[Item]) -> Result<(), Failure> {
    let refused = |error: std::io::Error| {
        Failure::Refused(format!("keys are delivered but {} cannot be written: {error}", path.display()))
    };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(refused)?;
    keys.iter().try_for_each(|item| writeln!(file, "{}", item.key.as_str())).map_err(refused)
}
