//! Addresses of this machine alone.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io::{Error, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// An address that nobody listens on, for what takes no port 0. Of ports that the system gives to no one by itself (below
/// 32768, Linux's default): a connection would take it before it is used, or while who listens there is away.
///
/// # Errors
/// None of a thousand was free.
pub fn free_address() -> std::io::Result<SocketAddr> {
    let some = |_| {
        let dice = RandomState::new().build_hasher().finish();
        SocketAddr::from((Ipv4Addr::LOCALHOST, 10_000 + u16::try_from(dice % 20_000).unwrap_or_default()))
    };
    let mut free = (0..1000).map(some).filter(|address| TcpListener::bind(address).is_ok());
    free.next().ok_or_else(|| Error::new(ErrorKind::AddrInUse, "no port of loopback is free, of a thousand tried"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_free_address_is_none_that_the_system_lends() {
        for _ in 0..100 {
            let address = free_address().unwrap();
            assert!(address.ip().is_loopback() && (10_000..30_000).contains(&address.port()), "{address}");
        }
    }
}
