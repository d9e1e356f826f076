//! Which address a listener may have. Called by everything that listens.

use std::net::{IpAddr, SocketAddr, TcpListener, ToSocketAddrs};

use crate::{RpcError, Transport};

impl Transport {
    /// Listens on `host:port`; port 0 takes any free one.
    ///
    /// Where peers have nothing to prove only loopback addresses may be listened on, unless everybody is welcome
    /// ([`Security::admits_other_hosts`](crate::Security::admits_other_hosts)).
    pub fn bind(&self, host: &str, port: u16) -> Result<TcpListener, RpcError> {
        let addr = host_port(plain(host), port);
        let addresses = self.addresses(host, port)?;
        TcpListener::bind(addresses.as_slice()).map_err(|source| RpcError::Listen { addr, source })
    }

    /// As [`Transport::bind`], but where `port` is taken, the next ports are tried, `retries` of them
    /// (`spark.port.maxRetries`).
    pub fn bind_one_of(&self, host: &str, port: u16, retries: u32) -> Result<TcpListener, RpcError> {
        let retries = if port == 0 { 0 } else { retries };
        let mut offset = 0;
        loop {
            // Past the last port it goes on behind the privileged ones.
            let candidate = match u32::from(port) + offset {
                next if next <= u32::from(u16::MAX) => next as u16,
                next => 1024 + ((next - 65_536) % 64_512) as u16,
            };
            match self.bind(host, candidate) {
                Err(RpcError::Listen { source, .. }) if taken(&source) && offset < retries => offset += 1,
                Err(RpcError::Listen { addr, source }) if taken(&source) && offset > 0 => {
                    let text = format!("{source}, nor on the {offset} ports before it (spark.port.maxRetries)");
                    return Err(RpcError::Listen { addr, source: std::io::Error::new(source.kind(), text) });
                }
                other => return other,
            }
        }
    }

    /// What `host:port` stands for, if it may be listened on.
    fn addresses(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, RpcError> {
        let resolved = (plain(host), port).to_socket_addrs();
        let resolved = resolved.map_err(|source| RpcError::Listen { addr: host_port(plain(host), port), source })?;
        let addresses: Vec<SocketAddr> = resolved.collect();
        if !self.security().admits_other_hosts() && !addresses.iter().all(|addr| is_loopback(addr.ip())) {
            return Err(RpcError::InsecureBind { host: host.to_owned() });
        }
        Ok(addresses)
    }
}

fn taken(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::AddrInUse
}

/// A host without the brackets that an IPv6 address may have.
fn plain(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// `host:port`, with brackets around an IPv6 address.
pub fn host_port(host: &str, port: u16) -> String {
    if host.contains(':') && !host.starts_with('[') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Secret, Security};

    fn bind(host: &str, port: u16) -> Result<TcpListener, RpcError> {
        Transport::default().bind(host, port)
    }

    #[test]
    fn without_a_secret_only_loopback_is_bound() {
        assert!(bind("127.0.0.1", 0).is_ok());
        assert!(bind("localhost", 0).is_ok());
        let e = bind("0.0.0.0", 0).unwrap_err();
        assert!(matches!(&e, RpcError::InsecureBind { host } if host == "0.0.0.0"));
        assert!(
            e.to_string().contains("spark.authenticate.secret") && e.to_string().contains("spark.authenticate=false")
        );
        assert!(bind("::", 0).is_err());
    }

    #[test]
    fn a_secret_or_an_explicit_word_opens_every_address() {
        assert!(Transport::new(Secret::from_bytes("k")).addresses("0.0.0.0", 0).is_ok());
        assert!(Transport::new(Security::open()).addresses("0.0.0.0", 0).is_ok());
    }

    #[test]
    fn where_a_port_is_taken_the_next_ones_are_tried() {
        let taken = bind("127.0.0.1", 0).unwrap();
        let port = taken.local_addr().unwrap().port();
        let next = Transport::default().bind_one_of("127.0.0.1", port, 50).unwrap();
        assert_ne!(next.local_addr().unwrap().port(), port);
        let e = Transport::default().bind_one_of("127.0.0.1", port, 0).unwrap_err();
        assert!(e.to_string().contains(&port.to_string()), "{e}");
    }

    #[test]
    fn a_taken_port_is_an_error_that_names_the_address() {
        let taken = bind("127.0.0.1", 0).unwrap();
        let addr = taken.local_addr().unwrap();
        let e = bind("127.0.0.1", addr.port()).unwrap_err();
        assert!(e.to_string().contains(&addr.to_string()), "{e}");
    }
}
