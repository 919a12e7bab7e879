//! Transport and swarm. In: the identity and the behaviours. Out: a swarm that does not listen yet.
//! Always: TCP, Noise and Yamux with bounded streams.

use std::time::Duration;

use libp2p::core::transport::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::{Swarm, SwarmBuilder, Transport, noise, tcp, yamux};
use rustix::net::sockopt;
use tracing::debug;

use super::behaviour::Behaviour;
use super::peers::Peers;

/// Streams of one connection, at most.
const STREAMS_MAX: usize = 64;
/// Inbound streams of one connection that still negotiate, at most.
const NEGOTIATING_MAX: usize = 32;
/// Longest wait for a connection to be set up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection without streams closes after this.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);

/// Sent data that stays unacknowledged for so many milliseconds ends the connection: closing
/// waits for what the socket still holds, and until then no new connection is dialled.
const UNACKNOWLEDGED_MS_MAX: u32 = 8000;

/// Builds the swarm.
pub(super) fn build(key: Keypair, peers: &Peers) -> Result<Swarm<Behaviour>, String> {
    let behaviour = Behaviour::new(&key, peers)?;
    let mut multiplexer = yamux::Config::default();
    multiplexer.set_max_num_streams(STREAMS_MAX);
    let security = noise::Config::new(&key).map_err(|error| error.to_string())?;
    let transport = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true))
        .map(|stream, _| {
            if let Err(error) = sockopt::set_tcp_user_timeout(&stream.0, UNACKNOWLEDGED_MS_MAX) {
                debug!(%error, "TCP_USER_TIMEOUT not set");
            }
            stream
        })
        .upgrade(Version::V1Lazy)
        .authenticate(security)
        .multiplex(multiplexer);
    let builder = SwarmBuilder::with_existing_identity(key)
        .with_tokio()
        .with_other_transport(|_| transport)
        .map_err(|error| error.to_string())?
        .with_behaviour(|_| behaviour)
        .map_err(|error| error.to_string())?;
    let swarm = builder
        .with_swarm_config(|config| {
            config.with_idle_connection_timeout(IDLE_TIMEOUT).with_max_negotiating_inbound_streams(NEGOTIATING_MAX)
        })
        .with_connection_timeout(CONNECT_TIMEOUT);
    Ok(swarm.build())
}
