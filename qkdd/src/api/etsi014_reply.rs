//! The answers of ETSI GS QKD 014 V1.1.1. In: what the node answered. Out: HTTP replies. Always: the
//! body of a 401 is empty, and text with keys is wiped once sent.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::header::{ALLOW, HeaderValue};
use qkd_proto::supply::message::{
    KEY_SIZE_DEFAULT, KEY_SIZE_MAX, KEY_SIZE_MIN, KEYS_PER_REQUEST_MAX, SuppliedKey, SupplyAnswer, SupplyRequest,
    SupplyStatus,
};
use serde::Serialize;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::etsi014::Problem;
use super::http::{self, Reply};

/// Characters of a container around the bits of one key.
const KEY_FRAME_CHARS: usize = 64;

/// Table 9, in its order.
#[derive(Serialize)]
#[expect(non_snake_case, reason = "the names of the standard")]
struct StatusBody<'a> {
    source_KME_ID: &'a str,
    target_KME_ID: &'a str,
    master_SAE_ID: &'a str,
    slave_SAE_ID: &'a str,
    key_size: u64,
    stored_key_count: u64,
    max_key_count: u64,
    max_key_per_request: usize,
    max_key_size: u64,
    min_key_size: u64,
    max_SAE_ID_count: usize,
}

/// The reply to a request that reached the node.
pub(super) fn answer(request: &SupplyRequest, answer: SupplyAnswer, additional_max: usize) -> Reply {
    match (request, answer) {
        (_, SupplyAnswer::Refused(refusal)) => problem(&refusal.into()),
        (SupplyRequest::Status { caller, slave }, SupplyAnswer::Status(status)) => {
            status_reply(&status, caller.as_str(), slave.as_str(), additional_max)
        }
        (SupplyRequest::EncKeys { number, .. }, SupplyAnswer::Keys(keys)) if keys.len() == *number as usize => {
            keys_reply(keys)
        }
        (SupplyRequest::DecKeys { ids, .. }, SupplyAnswer::Keys(keys)) if keys.len() == ids.len() => keys_reply(keys),
        _ => problem(&Problem::access_error()),
    }
}

fn status_reply(status: &SupplyStatus, caller: &str, slave: &str, additional_max: usize) -> Reply {
    let body = StatusBody {
        source_KME_ID: status.source.as_str(),
        target_KME_ID: status.target.as_str(),
        master_SAE_ID: caller,
        slave_SAE_ID: slave,
        key_size: KEY_SIZE_DEFAULT.0,
        stored_key_count: status.stored_key_count,
        max_key_count: status.max_key_count,
        max_key_per_request: KEYS_PER_REQUEST_MAX,
        max_key_size: KEY_SIZE_MAX.0,
        min_key_size: KEY_SIZE_MIN.0,
        max_SAE_ID_count: additional_max,
    };
    match serde_json::to_vec(&body) {
        Ok(body) => http::json(StatusCode::OK, body),
        Err(_) => problem(&Problem::access_error()),
    }
}

/// A key container, written into one buffer of the right size that is wiped after sending.
fn keys_reply(keys: Vec<SuppliedKey>) -> Reply {
    let size: usize = keys.iter().map(|key| key.key.len().div_ceil(3) * 4 + KEY_FRAME_CHARS + 36).sum();
    let mut text = Zeroizing::new(Vec::with_capacity(size + KEY_FRAME_CHARS));
    text.extend_from_slice(b"{\"keys\":[");
    for (i, key) in keys.into_iter().enumerate() {
        let comma = if i == 0 { "" } else { "," };
        text.extend_from_slice(format!("{comma}{{\"key_ID\":\"{}\",\"key\":\"", key.id).as_bytes());
        let start = text.len();
        text.resize(start + key.key.len().div_ceil(3) * 4, 0);
        if STANDARD.encode_slice(key.key.expose(), &mut text[start..]).is_err() {
            return problem(&Problem::access_error());
        }
        text.extend_from_slice(b"\"}");
    }
    text.extend_from_slice(b"]}");
    http::json(StatusCode::OK, Bytes::from_owner(text))
}

/// The reply to a request that is refused.
pub(super) fn problem(problem: &Problem) -> Reply {
    match problem {
        Problem::BadRequest(message, details) if details.is_empty() => error(StatusCode::BAD_REQUEST, message),
        Problem::BadRequest(message, details) => {
            let details: Vec<Value> = details.iter().map(|(name, value)| json!({ name: value })).collect();
            let body = json!({ "message": message, "details": details });
            http::json(StatusCode::BAD_REQUEST, body.to_string())
        }
        Problem::Unauthorised => http::empty(StatusCode::UNAUTHORIZED),
        Problem::NoSuchPath => {
            error(StatusCode::NOT_FOUND, "no such path: use /api/v1/keys/{SAE_ID}/status|enc_keys|dec_keys")
        }
        Problem::NoSuchMethod(allowed) => {
            let mut reply = error(StatusCode::METHOD_NOT_ALLOWED, &format!("no such method here: use {allowed}"));
            reply.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
            reply
        }
        Problem::Unavailable(message) => error(StatusCode::SERVICE_UNAVAILABLE, message),
    }
}

fn error(status: StatusCode, message: &str) -> Reply {
    http::json(status, json!({ "message": message }).to_string())
}
