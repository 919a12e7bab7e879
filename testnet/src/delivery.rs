//! Two SAEs get one key. In: a rendered folder and their names. Out: the SHA-256 at each end. Always:
//! through ETSI GS QKD 014 with real certificates, and bits are wiped once hashed.

use std::path::Path;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use qkd_proto::control::reply::KeyReply;
use qkdctl::kme_client::{KmeClient, Unanswered};
use qkdctl::net::Net;
use serde_json::{Value, json};

use crate::cluster;
use crate::error::Failed;
use crate::progress::Progress;

/// Pause before the same request again.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// A key: its id and SHA-256 (hex).
    Delivered(String, String),
    /// The KME said no: HTTP status and its words.
    Refused(u16, String),
    /// The request did not leave.
    NotSent(String),
    /// The answer was lost.
    Unknown(String),
}

impl Outcome {
    /// True if the same request may succeed later.
    pub(crate) fn is_passing(&self) -> bool {
        matches!(self, Self::Refused(503, _) | Self::NotSent(_) | Self::Unknown(_))
    }

    /// In words.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Delivered(id, _) => format!("key {id}"),
            Self::Refused(status, message) => format!("{status}: {message}"),
            Self::NotSent(text) | Self::Unknown(text) => text.clone(),
        }
    }
}

/// An SAE at its node.
pub(crate) struct Sae {
    /// Its name.
    pub(crate) id: String,
    client: KmeClient,
}

impl Sae {
    /// With its certificate from the rendered folder.
    pub(crate) fn open(net_dir: &Path, id: &str) -> Result<Self, Failed> {
        Ok(Self { id: id.to_owned(), client: KmeClient::of_net(net_dir, id)? })
    }

    /// Asks for a new key to share with `slave`.
    pub(crate) async fn get(&self, slave: &str) -> Outcome {
        self.ask(slave, "enc_keys", &json!({ "number": 1 })).await
    }

    /// Fetches a key that `master` got.
    pub(crate) async fn fetch(&self, master: &str, key_id: &str) -> Outcome {
        self.ask(master, "dec_keys", &json!({ "key_IDs": [{ "key_ID": key_id }] })).await
    }

    /// Asks for a new key and keeps its bits, for a search of places that must not hold them.
    pub(crate) async fn get_bits(&self, slave: &str) -> (Outcome, Vec<u8>) {
        let (outcome, body) = self.answer(slave, "enc_keys", &json!({ "number": 1 })).await;
        let bits = serde_json::from_slice::<Value>(&body).ok();
        let bits = bits.as_ref().and_then(|body| body["keys"][0]["key"].as_str());
        (outcome, bits.and_then(|bits| STANDARD.decode(bits).ok()).unwrap_or_default())
    }

    async fn ask(&self, other: &str, method: &str, body: &Value) -> Outcome {
        self.answer(other, method, body).await.0
    }

    async fn answer(&self, other: &str, method: &str, body: &Value) -> (Outcome, Vec<u8>) {
        let answered = self.client.exchange(other, method, Some(body)).await;
        let (status, body) = match answered {
            Ok(answer) => answer,
            Err(Unanswered::NotSent(failure)) => return (Outcome::NotSent(failure.to_string()), Vec::new()),
            Err(Unanswered::Unknown(failure)) => return (Outcome::Unknown(failure.to_string()), Vec::new()),
        };
        if status != 200 {
            let message: Option<Value> = serde_json::from_slice(&body).ok();
            let message = message.as_ref().and_then(|body| body.get("message")).and_then(Value::as_str);
            return (Outcome::Refused(status, message.unwrap_or("no message").to_owned()), Vec::new());
        }
        let key = qkdctl::digests(&body).ok().and_then(|keys| keys.into_iter().next());
        let none = || Outcome::Unknown("no key in the container".into());
        (key.map_or_else(none, |(id, sum)| Outcome::Delivered(id, sum)), body.to_vec())
    }
}

/// One key at both ends.
#[derive(Debug, Clone)]
pub(crate) struct Delivery {
    /// Its id.
    pub(crate) key_id: String,
    /// SHA-256 of what the initiator got.
    pub(crate) initiator_sha256: String,
    /// SHA-256 of what the target got.
    pub(crate) target_sha256: String,
    /// Time of the two requests that succeeded.
    pub(crate) latency: Duration,
}

impl Delivery {
    /// Whether both ends hold the same bits.
    pub(crate) fn is_equal(&self) -> bool {
        self.initiator_sha256 == self.target_sha256
    }
}

/// Gets one key at both ends; asks again on what passes, until the deadline.
pub(crate) async fn deliver(initiator: &Sae, target: &Sae, deadline: Instant) -> Result<Delivery, Failed> {
    let (key_id, initiator_sha256, got) = until(deadline, &initiator.id, || initiator.get(&target.id)).await?;
    let (_, target_sha256, fetched) = until(deadline, &target.id, || target.fetch(&initiator.id, &key_id)).await?;
    Ok(Delivery { key_id, initiator_sha256, target_sha256, latency: got + fetched })
}

async fn until<F: Future<Output = Outcome>>(
    deadline: Instant,
    sae: &str,
    mut ask: impl FnMut() -> F,
) -> Result<(String, String, Duration), Failed> {
    let mut progress = Progress::new();
    loop {
        let asked = Instant::now();
        let outcome = ask().await;
        match outcome {
            Outcome::Delivered(id, sum) => return Ok((id, sum, asked.elapsed())),
            passing if passing.is_passing() && Instant::now() < deadline => {
                progress.tell(|| format!("{sae} waits for key: {}", passing.text()));
                tokio::time::sleep(RETRY_PAUSE).await;
            }
            refused => return Err(Failed::new(format!("{sae} got no key: {}", refused.text()))),
        }
    }
}

/// What the origin's node tells of the key: routes, cost, mask.
pub(crate) async fn bill(net: &Net, initiator: &str, key_id: &str) -> Result<KeyReply, Failed> {
    let home = net.saes.iter().find(|sae| sae.id == initiator).map(|sae| &sae.node);
    let node = net.nodes.iter().find(|node| Some(&node.name) == home);
    let node = node.ok_or_else(|| Failed::new(format!("SAE {initiator} has no node in net.json: render anew")))?;
    cluster::key(&node.control_socket, key_id).await
}
