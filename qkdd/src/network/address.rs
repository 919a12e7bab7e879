//! Addresses: `host:port` to what libp2p dials. In: text from the roster or the configuration. Out:
//! multiaddresses without names. Always: bounded in number and time.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use tokio::net::lookup_host;
use tokio::time::timeout;

/// Longest wait for the system's resolver.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);
/// Most addresses used of one name.
const ADDRESSES_MAX: usize = 4;

/// Resolves `host:port`, at most four addresses.
pub(super) async fn resolve(address: &str) -> io::Result<Vec<SocketAddr>> {
    let found = timeout(LOOKUP_TIMEOUT, lookup_host(address)).await??;
    Ok(found.take(ADDRESSES_MAX).collect())
}

/// The TCP multiaddress of a socket address.
pub(super) fn tcp(address: &SocketAddr) -> Multiaddr {
    Multiaddr::from(address.ip()).with(Protocol::Tcp(address.port()))
}

/// The socket address of a TCP multiaddress.
pub(super) fn socket(address: &Multiaddr) -> Option<SocketAddr> {
    let mut parts = address.iter();
    match (parts.next()?, parts.next()?) {
        (Protocol::Ip4(ip), Protocol::Tcp(port)) => Some((ip, port).into()),
        (Protocol::Ip6(ip), Protocol::Tcp(port)) => Some((ip, port).into()),
        _ => None,
    }
}
