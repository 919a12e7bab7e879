//! Transport and swarm. In: the identity and the behaviours. Out: a swarm that does not listen yet.
//! Always: TCP, Noise and Yamux with bounded streams.

use std::time::Duration;

use libp2p::identity::Keypair;
use libp2p::{Swarm, SwarmBuilder, noise, tcp, yamux};

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

/// Builds the swarm.
pub(super) fn build(key: Keypair, peers: &Peers) -> Result<Swarm<Behaviour>, String> {
    let behaviour = Behaviour::new(&key, peers)?;
    let multiplexer = || {
        let mut config = yamux::Config::default();
        config.set_max_num_streams(STREAMS_MAX);
        config
    };
    let builder = SwarmBuilder::with_existing_identity(key)
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, multiplexer)
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
