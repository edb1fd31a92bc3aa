//! The way through a proxy, as the environment says it: `HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`, in capitals or not.
//!
//! Plain HTTP is spoken on loopback only, and loopback never goes through a proxy. So `HTTP_PROXY` has nothing to say here, and every
//! way through a proxy is a tunnel (`CONNECT`): it sees where to, and nothing of what.

use std::net::IpAddr;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use url::{Host, Url};

use super::address::{Endpoint, Scheme};
use super::error::Cause;
use super::limits::{HEAD_LIMIT, PROXY_HEAD_BYTES_MAX};
use super::wire::Io;

/// Which proxy leads where.
#[derive(Debug, Clone, Default)]
pub struct Proxies {
    proxy: Option<Result<Proxy, String>>,
    without: Vec<Without>,
}

#[derive(Clone)]
pub(super) struct Proxy {
    pub(super) endpoint: Endpoint,
    /// Of `Proxy-Authorization`; never shown.
    login: Option<String>,
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Proxy").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

/// One entry of `NO_PROXY`.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Without {
    Everything,
    /// A name and all below it, on one port or on all.
    Name(String, Option<u16>),
    Addresses {
        network: IpAddr,
        bits: u8,
    },
}

impl Proxies {
    /// As the environment says.
    pub fn from_environment() -> Self {
        Self::from_variables(|name| std::env::var(name).ok())
    }

    /// As `variable` says, which is given names in capitals and in small letters.
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Self {
        let either = |name: &str| variable(name).or_else(|| variable(&name.to_ascii_lowercase())).filter(|value| !value.trim().is_empty());
        let proxy = either("HTTPS_PROXY").or_else(|| either("ALL_PROXY")).map(|text| parse_proxy(text.trim()));
        let without = either("NO_PROXY").unwrap_or_default();
        Self { proxy, without: without.split([',', ' ']).filter_map(parse_without).collect() }
    }

    /// The proxy that leads to `endpoint`, if one shall. An error where the environment names one that cannot be used: to go without
    /// would show the person's address to whom it should not be shown.
    pub(super) fn to(&self, endpoint: &Endpoint) -> Result<Option<&Proxy>, Cause> {
        if endpoint.is_loopback() || self.without.iter().any(|without| without.covers(endpoint)) {
            return Ok(None);
        }
        match &self.proxy {
            None => Ok(None),
            Some(Ok(proxy)) => Ok(Some(proxy)),
            Some(Err(problem)) => {
                Err(Cause::Proxy { proxy: "of HTTPS_PROXY".to_owned(), host: endpoint.to_string(), problem: problem.clone() })
            }
        }
    }
}

fn parse_proxy(text: &str) -> Result<Proxy, String> {
    let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let url = Url::parse(&whole).map_err(|_| "its address cannot be one".to_owned())?;
    let endpoint = Endpoint::of(&url).ok_or_else(|| format!("Belljar speaks to proxies by http and https, not by {}", url.scheme()))?;
    let decoded = |part: &str| percent_decoded(part);
    let login = url.password().map(|password| format!("{}:{}", decoded(url.username()), decoded(password)));
    Ok(Proxy { endpoint, login: login.map(|login| BASE64_STANDARD.encode(login)) })
}

/// `%40` as `@`, and so on: how a URL holds a login.
fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) if *first == b'%' => {
                bytes.push(byte);
                rest = &after[2..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn parse_without(text: &str) -> Option<Without> {
    let text = text.trim().to_ascii_lowercase();
    if text.is_empty() {
        return None;
    }
    if text == "*" {
        return Some(Without::Everything);
    }
    if let Some((network, bits)) = text.split_once('/') {
        let (network, bits) = (network.parse().ok()?, bits.parse().ok()?);
        return Some(Without::Addresses { network, bits });
    }
    if let Ok(network) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
        return Some(Without::Addresses { network, bits: if network.is_ipv4() { 32 } else { 128 } });
    }
    let (name, port) = match text.rsplit_once(':') {
        Some((name, port)) => (name, Some(port.parse().ok()?)),
        None => (text.as_str(), None),
    };
    Some(Without::Name(name.trim_start_matches("*.").trim_start_matches('.').to_owned(), port))
}

impl Without {
    fn covers(&self, endpoint: &Endpoint) -> bool {
        match (self, &endpoint.host) {
            (Self::Everything, _) => true,
            (Self::Name(name, port), host) => {
                let host = host.to_string();
                let below = host.strip_suffix(name.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
                below && port.is_none_or(|port| port == endpoint.port)
            }
            (Self::Addresses { network: IpAddr::V4(network), bits }, Host::Ipv4(host)) => {
                let kept = u32::MAX.checked_shl(32_u32.saturating_sub((*bits).into())).unwrap_or(0);
                network.to_bits() & kept == host.to_bits() & kept
            }
            (Self::Addresses { network: IpAddr::V6(network), bits }, Host::Ipv6(host)) => {
                let kept = u128::MAX.checked_shl(128_u32.saturating_sub((*bits).into())).unwrap_or(0);
                network.to_bits() & kept == host.to_bits() & kept
            }
            _ => false,
        }
    }
}

/// Asks the proxy at the other end of `stream` for a way to `endpoint`. What is read and written afterwards is the server's.
pub(super) async fn tunnel(mut stream: Box<dyn Io>, proxy: &Proxy, endpoint: &Endpoint) -> Result<Box<dyn Io>, Cause> {
    let failed = |problem: String| Cause::Proxy { proxy: proxy.endpoint.to_string(), host: endpoint.to_string(), problem };
    let login = proxy.login.as_ref().map_or_else(String::new, |login| format!("Proxy-Authorization: Basic {login}\r\n"));
    let request = format!("CONNECT {endpoint} HTTP/1.1\r\nHost: {endpoint}\r\n{login}\r\n");
    let answer = async {
        stream.write_all(request.as_bytes()).await?;
        let mut head = Vec::new();
        // Byte by byte: what comes after the head is not the proxy's.
        while !head.ends_with(b"\r\n\r\n") && head.len() < PROXY_HEAD_BYTES_MAX {
            head.push(stream.read_u8().await?);
        }
        Ok::<_, std::io::Error>(head)
    };
    let answer = tokio::time::timeout(HEAD_LIMIT, answer).await.map_err(|_| failed("it does not answer".to_owned()))?;
    let head = answer.map_err(|error| failed(error.to_string()))?;
    let status = head.strip_prefix(b"HTTP/1.").and_then(|rest| rest.get(2..5)).map(String::from_utf8_lossy);
    match status.as_deref() {
        Some("200") => Ok(stream),
        Some("407") => Err(failed("it wants another login".to_owned())),
        Some(status) if status.bytes().all(|byte| byte.is_ascii_digit()) => Err(failed(format!("it answered {status}"))),
        _ => Err(failed("its answer is not HTTP".to_owned())),
    }
}

/// Whether a proxy itself is spoken to by TLS.
pub(super) fn needs_tls(proxy: &Proxy) -> bool {
    proxy.endpoint.scheme == Scheme::Https
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(variables: &[(&str, &str)]) -> Proxies {
        let variables: Vec<(String, String)> = variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        Proxies::from_variables(move |name| variables.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone()))
    }

    fn endpoint(url: &str) -> Endpoint {
        Endpoint::of(&Url::parse(url).expect(url)).expect(url)
    }

    #[test]
    fn the_environment_says_which_hosts_go_through_a_proxy() {
        let set = proxies(&[
            ("https_proxy", "proxy.example:3128"),
            ("NO_PROXY", "own.example, .below.example,10.0.0.0/8,[2001:db8::1],other.example:8443"),
        ]);
        for (url, through) in [
            ("https://registry.example", true),
            ("https://own.example", false),
            ("https://a.own.example", false),
            ("https://notown.example", true),
            ("https://a.below.example", false),
            ("https://10.1.2.3", false),
            ("https://11.1.2.3", true),
            ("https://[2001:db8::1]", false),
            ("https://[2001:db8::2]", true),
            ("https://other.example:8443", false),
            ("https://other.example", true),
            ("https://127.0.0.1:5000", false),
            ("https://localhost", false),
        ] {
            assert_eq!(set.to(&endpoint(url)).expect(url).is_some(), through, "{url}");
        }
        let all = proxies(&[("HTTPS_PROXY", "http://proxy.example"), ("no_proxy", "*")]);
        assert!(all.to(&endpoint("https://registry.example")).expect("it is read").is_none());
        assert!(proxies(&[]).to(&endpoint("https://registry.example")).expect("it is read").is_none());
    }

    #[test]
    fn a_proxy_that_cannot_be_used_is_no_reason_to_go_without() {
        let socks = proxies(&[("ALL_PROXY", "socks5://proxy.example:1080")]);
        let refused = socks.to(&endpoint("https://registry.example")).expect_err("it cannot be used");
        assert!(refused.to_string().contains("socks5"), "{refused}");
    }

    #[test]
    fn the_login_of_a_proxy_is_not_shown() {
        let set = proxies(&[("HTTPS_PROXY", "http://user:p%40ss@proxy.example:3128")]);
        assert!(!format!("{set:?}").contains("p@ss") && !format!("{set:?}").contains(&BASE64_STANDARD.encode("user:p@ss")), "{set:?}");
        let proxy = set.to(&endpoint("https://registry.example")).expect("it is read").expect("it is set");
        assert_eq!(proxy.login, Some(BASE64_STANDARD.encode("user:p@ss")));
    }
}
