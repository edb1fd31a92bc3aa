//! Where a request goes, and whether it may: host names and addresses, and the connection that proves the answer.
//!
//! A registry may lead elsewhere: to where its blobs lie, to where tokens are given out. It must not lead *here*: to loopback,
//! where services trust whoever comes, or to link-local addresses, where clouds keep secrets for their machines. What counts is the
//! address that is connected to, looked up once and used at once: a name that means something else a moment later (DNS
//! rebinding) does not help.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::net::TcpStream;
use url::{Host, Url};

use super::error::Cause;
use super::limits::{ADDRESSES_MAX, CONNECT_LIMIT, RESOLVE_LIMIT};
use crate::config::brief;

/// Head start of each address before the next one is tried beside it.
const STAGGER: Duration = Duration::from_millis(250);

/// How a server is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    Https,
    /// On loopback only.
    Http,
}

/// A server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Endpoint {
    pub(super) scheme: Scheme,
    pub(super) host: Host<String>,
    pub(super) port: u16,
}

/// Who said that a server should be talked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NamedBy {
    /// The person who pulls.
    Person,
    /// A registry's answer.
    Answer,
    /// The answer of a registry on loopback, about where tokens are: it is one of this machine's services itself.
    OwnMachine,
}

impl Endpoint {
    pub(super) fn of(url: &Url) -> Option<Self> {
        let scheme = match url.scheme() {
            "https" => Scheme::Https,
            "http" => Scheme::Http,
            _ => return None,
        };
        Some(Self { scheme, host: url.host()?.to_owned(), port: url.port_or_known_default()? })
    }

    /// Whether it is this machine by its very name, whatever a name service says.
    pub(super) fn is_loopback(&self) -> bool {
        match &self.host {
            Host::Domain(name) => is_localhost(name),
            Host::Ipv4(address) => address.is_loopback(),
            Host::Ipv6(address) => address.to_canonical().is_loopback(),
        }
    }
}

/// Host and port, as in a URL.
impl fmt::Display for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.host, self.port)
    }
}

fn is_localhost(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    name == "localhost" || name.ends_with(".localhost")
}

/// What an address is, where a registry must not lead to it.
pub(super) fn refused(address: IpAddr) -> Option<&'static str> {
    let address = match address {
        // `::127.0.0.1` is nobody's, but some kernels and tools took it for the address in it.
        IpAddr::V6(v6) => match v6.segments() {
            [0, 0, 0, 0, 0, 0, high, low] if v6 != Ipv6Addr::LOCALHOST => {
                IpAddr::V4(Ipv4Addr::from_bits((u32::from(high) << 16) | u32::from(low)))
            }
            _ => v6.to_canonical(),
        },
        v4 => v4,
    };
    let link_local = match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    // All of 0.0.0.0/8 means this host (RFC 1122, 3.2.1.3).
    let unspecified = matches!(address, IpAddr::V4(v4) if v4.octets()[0] == 0 || v4.is_broadcast());
    if address.is_loopback() {
        Some("an address of this machine")
    } else if address.is_unspecified() || unspecified {
        Some("an address that is nobody's")
    } else if link_local {
        Some("a link-local address")
    } else if address.is_multicast() {
        Some("an address of many")
    } else {
        None
    }
}

/// Whether a registry may lead to this host, as far as its name alone tells. For where a proxy looks the name up.
pub(super) fn check_name(endpoint: &Endpoint, by: NamedBy) -> Result<(), Cause> {
    let addresses = match &endpoint.host {
        Host::Domain(name) if is_localhost(name) => IpAddr::from(Ipv4Addr::LOCALHOST),
        Host::Domain(_) => return Ok(()),
        Host::Ipv4(address) => (*address).into(),
        Host::Ipv6(address) => (*address).into(),
    };
    check(endpoint, addresses, by)
}

fn check(endpoint: &Endpoint, address: IpAddr, by: NamedBy) -> Result<(), Cause> {
    let refused = match by {
        NamedBy::Person => None,
        NamedBy::Answer => refused(address),
        NamedBy::OwnMachine => refused(address).filter(|_| !address.to_canonical().is_loopback()),
    };
    refused.map_or(Ok(()), |problem| Err(Cause::Led { to: brief(&endpoint.to_string()), problem: problem.to_owned() }))
}

/// Connects to it, if it may be connected to.
pub(super) async fn dial(endpoint: &Endpoint, by: NamedBy) -> Result<TcpStream, Cause> {
    let addresses = resolve(endpoint).await?;
    // One bad address is enough: a name that has a good one beside it was made to be tried again.
    addresses.iter().try_for_each(|address| check(endpoint, address.ip(), by))?;
    let stream = race(&addresses).await.map_err(|source| Cause::Connect { host: brief(&endpoint.to_string()), source })?;
    // Requests are small, and wait for their answers.
    let _ignored = stream.set_nodelay(true);
    Ok(stream)
}

async fn resolve(endpoint: &Endpoint) -> Result<Vec<SocketAddr>, Cause> {
    let port = endpoint.port;
    let name = match &endpoint.host {
        // Without a look at /etc/hosts: an empty image has none, and whatever it says, this name is this machine (RFC 6761).
        Host::Domain(name) if is_localhost(name) => {
            return Ok(vec![(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()]);
        }
        Host::Domain(name) => name.as_str(),
        Host::Ipv4(address) => return Ok(vec![(*address, port).into()]),
        Host::Ipv6(address) => return Ok(vec![(*address, port).into()]),
    };
    let failed = |source| Cause::Resolve { host: brief(name), source };
    let looked_up = tokio::time::timeout(RESOLVE_LIMIT, tokio::net::lookup_host((name, port))).await;
    let addresses: Vec<SocketAddr> =
        looked_up.map_err(|_| failed(io::ErrorKind::TimedOut.into()))?.map_err(failed)?.take(ADDRESSES_MAX).collect();
    if addresses.is_empty() { Err(failed(io::ErrorKind::NotFound.into())) } else { Ok(addresses) }
}

/// The first of them that accepts. Each has a head start before the next, so that a path that leads nowhere (IPv6 at many homes)
/// costs a moment and not a timeout (RFC 8305).
async fn race(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let tries = addresses.iter().zip(0..).map(async |(address, rank)| {
        tokio::time::sleep(STAGGER * rank).await;
        match tokio::time::timeout(CONNECT_LIMIT, TcpStream::connect(*address)).await {
            Ok(connected) => connected,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    });
    let mut tries: FuturesUnordered<_> = tries.collect();
    let mut failed = io::Error::from(io::ErrorKind::NotFound);
    while let Some(tried) = tries.next().await {
        match tried {
            Ok(stream) => return Ok(stream),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_does_not_lead_to_this_machine_by_any_way_of_writing_it() {
        for host in [
            "127.0.0.1",
            "127.1",
            "0x7f000001",
            "2130706433",
            "0",
            "0.0.0.0",
            "0.1.2.3",
            "169.254.169.254",
            "224.0.0.1",
            "255.255.255.255",
            "[::1]",
            "[::]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[::127.0.0.1]",
            "[fe80::1]",
            "[ff02::1]",
            "[::ffff:169.254.169.254]",
            "localhost",
            "LOCALHOST",
            "localhost.",
            "a.localhost",
        ] {
            let url = Url::parse(&format!("https://{host}/")).expect(host);
            let endpoint = Endpoint::of(&url).expect(host);
            assert!(check_name(&endpoint, NamedBy::Answer).is_err(), "{host}");
            assert!(check_name(&endpoint, NamedBy::Person).is_ok(), "{host}");
        }
        for host in ["192.168.1.2", "10.0.0.1", "registry.example", "[2001:db8::1]", "notlocalhost", "localhost.example"] {
            let endpoint = Endpoint::of(&Url::parse(&format!("https://{host}/")).expect(host)).expect(host);
            assert!(check_name(&endpoint, NamedBy::Answer).is_ok(), "{host}");
        }
    }

    #[test]
    fn tokens_of_a_registry_on_this_machine_may_be_on_this_machine_but_not_link_local() {
        for (host, allowed) in [("127.0.0.1", true), ("localhost", true), ("[::1]", true), ("169.254.169.254", false), ("0.0.0.0", false)] {
            let endpoint = Endpoint::of(&Url::parse(&format!("http://{host}:5001/")).expect(host)).expect(host);
            assert_eq!(check_name(&endpoint, NamedBy::OwnMachine).is_ok(), allowed, "{host}");
        }
    }
}
