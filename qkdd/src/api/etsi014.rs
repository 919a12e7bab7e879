//! The requests of ETSI GS QKD 014 V1.1.1. In: method, URI, body and the caller. Out: what to ask the
//! node, or the standard's refusal. Always: one path segment is percent-decoded exactly once, absent
//! and `null` are the same, and unknown fields are ignored.

use hyper::{Method, Uri};
use qkd_proto::id::{KeyId, SaeId};
use qkd_proto::quantity::BitCount;
use qkd_proto::supply::message::{KEY_SIZE_MAX, KEY_SIZE_MIN, KEYS_PER_REQUEST_MAX, Refusal, SupplyRequest};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::key_socket::KeySocketOptions;

/// Most refused extensions that are named.
const DETAILS_MAX: usize = 16;
/// Most characters of a name that is repeated to its sender.
const ECHO_CHARS_MAX: usize = 64;

/// Why a request does not reach the node, or comes back without keys.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Problem {
    /// 400, with names and values for `details`.
    BadRequest(String, Vec<(String, String)>),
    /// 401, without a body.
    Unauthorised,
    /// 404, outside the standard.
    NoSuchPath,
    /// 405, outside the standard, with what is allowed.
    NoSuchMethod(&'static str),
    /// 503.
    Unavailable(String),
}

impl Problem {
    pub(super) fn bad(message: impl Into<String>) -> Self {
        Self::BadRequest(message.into(), Vec::new())
    }

    /// The message of ETSI 014 for a fault of the server.
    pub(super) fn access_error() -> Self {
        Self::Unavailable("key data access error".into())
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::BadRequest(message) => Self::bad(message),
            Refusal::Unauthorised => Self::Unauthorised,
            Refusal::Unavailable(message) => Self::Unavailable(message),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
struct KeyRequest {
    number: Option<u64>,
    size: Option<u64>,
    #[serde(rename = "additional_slave_SAE_IDs")]
    additional: Option<Vec<String>>,
    extension_mandatory: Option<Vec<Map<String, Value>>>,
}

#[derive(Debug, Deserialize)]
struct KeyIds {
    #[serde(rename = "key_IDs")]
    ids: Vec<KeyIdItem>,
}

#[derive(Debug, Deserialize)]
struct KeyIdItem {
    #[serde(rename = "key_ID")]
    id: String,
}

/// What a request asks of the node.
pub(super) fn parse(
    method: &Method,
    uri: &Uri,
    body: &[u8],
    caller: &SaeId,
    options: &KeySocketOptions,
) -> Result<SupplyRequest, Problem> {
    let path = uri.path().strip_prefix("/api/v1/keys/").ok_or(Problem::NoSuchPath)?;
    let (segment, name) = path.split_once('/').ok_or(Problem::NoSuchPath)?;
    let caller = caller.clone();
    match name {
        "status" => {
            only_get(method)?;
            let slave = slave_id(segment)?;
            Ok(SupplyRequest::Status { caller, slave })
        }
        "enc_keys" => {
            let asked = if is_post(method)? { key_request(uri, body)? } else { key_request_of_query(uri)? };
            enc_keys(caller, slave_id(segment)?, asked, options)
        }
        "dec_keys" => {
            let ids = if is_post(method)? { key_ids(uri, body)? } else { key_ids_of_query(uri)? };
            let master = decode(segment).and_then(|text| text.parse().ok()).ok_or_else(Refusal::not_found)?;
            Ok(SupplyRequest::DecKeys { caller, master, ids: check_ids(&ids)? })
        }
        _ => Err(Problem::NoSuchPath),
    }
}

fn only_get(method: &Method) -> Result<(), Problem> {
    if *method == Method::GET { Ok(()) } else { Err(Problem::NoSuchMethod("GET")) }
}

fn is_post(method: &Method) -> Result<bool, Problem> {
    match *method {
        Method::GET => Ok(false),
        Method::POST => Ok(true),
        _ => Err(Problem::NoSuchMethod("GET, POST")),
    }
}

fn slave_id(segment: &str) -> Result<SaeId, Problem> {
    let id = decode(segment).and_then(|text| text.parse().ok());
    id.ok_or_else(|| Problem::bad("slave_SAE_ID is not known"))
}

fn enc_keys(
    caller: SaeId,
    slave: SaeId,
    asked: KeyRequest,
    options: &KeySocketOptions,
) -> Result<SupplyRequest, Problem> {
    check_extensions(&asked.extension_mandatory.unwrap_or_default())?;
    let number = asked.number.unwrap_or(1);
    let number = u32::try_from(number).ok().filter(|&n| n >= 1 && n as usize <= KEYS_PER_REQUEST_MAX);
    let number = number.ok_or_else(|| Problem::bad(format!("number shall be 1 to {KEYS_PER_REQUEST_MAX}")))?;
    let size = asked.size.map(check_size).transpose()?;
    if slave == caller && !options.self_pair {
        return Err(Problem::bad("slave_SAE_ID shall not be the calling SAE"));
    }
    let additional = additional_saes(&asked.additional.unwrap_or_default(), &caller, &slave, options)?;
    Ok(SupplyRequest::EncKeys { caller, slave, number, size, additional })
}

fn check_size(size: u64) -> Result<BitCount, Problem> {
    if !size.is_multiple_of(8) {
        return Err(Problem::bad("size shall be a multiple of 8"));
    }
    if !(KEY_SIZE_MIN.0..=KEY_SIZE_MAX.0).contains(&size) {
        return Err(Problem::bad(format!("size shall be {} to {} bits", KEY_SIZE_MIN.0, KEY_SIZE_MAX.0)));
    }
    Ok(BitCount(size))
}

fn check_extensions(mandatory: &[Map<String, Value>]) -> Result<(), Problem> {
    let names = mandatory.iter().flat_map(Map::keys).take(DETAILS_MAX);
    let details: Vec<_> = names
        .map(|name| {
            let name: String = name.chars().take(ECHO_CHARS_MAX).collect();
            ("extension_mandatory_unsupported".to_owned(), format!("{name} is not supported"))
        })
        .collect();
    if details.is_empty() {
        return Ok(());
    }
    Err(Problem::BadRequest("not all extension_mandatory parameters are supported".into(), details))
}

fn additional_saes(
    names: &[String],
    caller: &SaeId,
    slave: &SaeId,
    options: &KeySocketOptions,
) -> Result<Vec<SaeId>, Problem> {
    let limit = options.additional_saes_max;
    if names.len() > limit {
        return Err(Problem::bad(format!("additional_slave_SAE_IDs shall have at most {limit} entries")));
    }
    let mut ids: Vec<SaeId> = Vec::with_capacity(names.len());
    for name in names {
        let id = name.parse().map_err(|_| Problem::bad("an entry of additional_slave_SAE_IDs is not known"))?;
        if ids.contains(&id) || id == *caller || id == *slave {
            return Err(Problem::bad("additional_slave_SAE_IDs shall name each SAE once and not the caller or slave"));
        }
        ids.push(id);
    }
    Ok(ids)
}

fn check_ids(texts: &[String]) -> Result<Vec<KeyId>, Problem> {
    if texts.is_empty() || texts.len() > KEYS_PER_REQUEST_MAX {
        return Err(Problem::bad(format!("key_IDs shall have 1 to {KEYS_PER_REQUEST_MAX} entries")));
    }
    let ids: Result<Vec<KeyId>, _> = texts.iter().map(|text| text.parse()).collect();
    let ids = ids.map_err(|_| Problem::bad("key_ID shall be a UUID of 36 characters"))?;
    let distinct: std::collections::BTreeSet<_> = ids.iter().collect();
    if distinct.len() < ids.len() {
        return Err(Problem::bad("key_IDs shall name each key once"));
    }
    Ok(ids)
}

fn key_request(uri: &Uri, body: &[u8]) -> Result<KeyRequest, Problem> {
    body_decides(uri, body)?;
    if body.trim_ascii().is_empty() { Ok(KeyRequest::default()) } else { from_json(body) }
}

fn key_ids(uri: &Uri, body: &[u8]) -> Result<Vec<String>, Problem> {
    body_decides(uri, body)?;
    let body: &[u8] = if body.trim_ascii().is_empty() { b"{}" } else { body };
    from_json::<KeyIds>(body).map(|ids| ids.ids.into_iter().map(|item| item.id).collect())
}

/// Refuses a POST whose parameters stand in the query alone: to ignore them would answer another question.
fn body_decides(uri: &Uri, body: &[u8]) -> Result<(), Problem> {
    if uri.query().is_some_and(|query| !query.is_empty()) && body.trim_ascii().is_empty() {
        return Err(Problem::bad("a POST request shall give its parameters in the body, not in the query"));
    }
    Ok(())
}

fn from_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(Problem::bad("request body is not a JSON object"));
    }
    serde_json::from_slice(body).map_err(|error| {
        let text: String = error.to_string().chars().take(200).collect();
        Problem::bad(format!("request body is not in the form of ETSI GS QKD 014: {text}"))
    })
}

fn key_request_of_query(uri: &Uri) -> Result<KeyRequest, Problem> {
    let number = query_value(uri, "number")?.map(|text| whole("number", &text)).transpose()?;
    let size = query_value(uri, "size")?.map(|text| whole("size", &text)).transpose()?;
    Ok(KeyRequest { number, size, ..KeyRequest::default() })
}

fn key_ids_of_query(uri: &Uri) -> Result<Vec<String>, Problem> {
    let id = query_value(uri, "key_ID")?.ok_or_else(|| Problem::bad("key_ID is missing"))?;
    Ok(vec![id])
}

fn whole(name: &str, text: &str) -> Result<u64, Problem> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = digits.then(|| text.parse().ok()).flatten();
    number.ok_or_else(|| Problem::bad(format!("{name} shall be a whole number")))
}

/// The value of a query parameter; twice is a bad request.
fn query_value(uri: &Uri, name: &str) -> Result<Option<String>, Problem> {
    let mut found = None;
    for pair in uri.query().unwrap_or_default().split('&') {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        if decode(key).as_deref() != Some(name) {
            continue;
        }
        let value = decode(value).ok_or_else(|| Problem::bad(format!("{name} is not valid percent-encoding")))?;
        if found.replace(value).is_some() {
            return Err(Problem::bad(format!("{name} shall be given once")));
        }
    }
    Ok(found)
}

/// Percent-decodes once; none if that does not give UTF-8.
fn decode(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let high = (bytes.next()? as char).to_digit(16)?;
        let low = (bytes.next()? as char).to_digit(16)?;
        out.push(u8::try_from(high << 4 | low).ok()?);
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_segment_is_decoded_once() {
        assert_eq!(decode("sae%2Dbob").as_deref(), Some("sae-bob"));
        assert_eq!(decode("a%252Fb").as_deref(), Some("a%2Fb"));
        assert_eq!(decode("%2"), None);
        assert_eq!(decode("%+1"), None);
        assert_eq!(decode("%ff"), None);
    }
}
