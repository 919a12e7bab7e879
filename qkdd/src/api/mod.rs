//! How applications and operators reach the node. In: HTTP over mutual TLS, a Unix socket or loopback
//! TCP. Out: [`handle::Question`]s for the node. Always: every connection, body and queue is bounded,
//! and no secret is logged.

mod accept;
pub mod control_socket;
mod etsi014;
mod etsi014_reply;
pub mod handle;
mod http;
pub mod key_socket;
pub mod metrics;
mod sae;
mod tls;

pub use http::Limits;
