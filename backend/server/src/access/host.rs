//! Under which names browsers may ask for this server.
//!
//! A page of another site can make its own name point at our address (DNS rebinding); the browser then takes us for that
//! site. Its requests give themselves away by the name in `Host`.

use std::net::IpAddr;

use axum::http::header;
use axum::http::request::Parts;
use axum::http::uri::Authority;
use belljar_api::problem::Kind;

use crate::fault::Fault;

/// The names and addresses that are ours.
pub(crate) struct Hosts {
    names: Vec<String>,
    address: IpAddr,
}

impl Hosts {
    /// Those of a server that listens on `address`, and the names that were allowed beside.
    pub(crate) fn new(address: IpAddr, allowed: &[String]) -> Self {
        let names = allowed.iter().map(|name| name.to_ascii_lowercase()).chain(["localhost".to_owned()]);
        Self { names: names.collect(), address }
    }

    /// Refuses a request that asks for somebody else.
    pub(crate) fn check(&self, request: &Parts) -> Result<(), Fault> {
        let mut headers = request.headers.get_all(header::HOST).iter();
        let header = headers.next().and_then(|host| host.to_str().ok());
        // RFC 9112, 3.2: what stands between may have believed another one than we do.
        if headers.next().is_some() {
            return Err(Fault::new(Kind::Malformed, "a request has one line Host, and this one has several"));
        }
        // Where the request names its target whole, that counts, and not what Host says (3.2.2).
        let target = request.uri.authority().map(Authority::as_str).or(header).unwrap_or_default();
        let is_ours = target.parse::<Authority>().is_ok_and(|authority| self.is_ours(authority.host()));
        if is_ours {
            return Ok(());
        }
        let detail = format!("this server is not called {target:?}: if it should be, start it with --allowed-host and that name");
        Err(Fault::new(Kind::Refused, detail))
    }

    /// An address is never rebound: who names one has reached it. It is ours if we listen there, or everywhere.
    fn is_ours(&self, host: &str) -> bool {
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        match bare.parse::<IpAddr>() {
            Ok(address) => address.is_loopback() || self.address.is_unspecified() || address == self.address,
            Err(_) => self.names.iter().any(|name| name.eq_ignore_ascii_case(host)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_let_in(hosts: &Hosts, host: &str) -> bool {
        let request = axum::http::Request::builder().uri("/").header(header::HOST, host).body(()).expect("a request");
        hosts.check(&request.into_parts().0).is_ok()
    }

    #[test]
    fn only_our_own_names_are_answered() {
        let hosts = Hosts::new(IpAddr::from([192, 168, 1, 5]), &["NAS.local".into()]);
        for host in ["localhost", "localhost:7070", "127.0.0.1:7070", "[::1]:7070", "192.168.1.5:7070", "nas.local:7070", "LOCALHOST"] {
            assert!(is_let_in(&hosts, host), "{host}");
        }
        for host in ["evil.example", "localhost.evil.example", "192.168.1.6", "", "nas.local.evil.example", "a@localhost@b", "localhost/x"]
        {
            assert!(!is_let_in(&hosts, host), "{host}");
        }
    }

    #[test]
    fn a_request_of_two_minds_about_its_host_is_refused() {
        let hosts = Hosts::new(IpAddr::from([0, 0, 0, 0]), &[]);
        let twice = axum::http::Request::builder().header(header::HOST, "localhost").header(header::HOST, "evil.example");
        assert!(hosts.check(&twice.body(()).expect("a request").into_parts().0).is_err());
        for (target, is_fine) in [("http://evil.example/login", false), ("http://localhost/login", true)] {
            let whole = axum::http::Request::builder().uri(target).header(header::HOST, "localhost");
            assert_eq!(hosts.check(&whole.body(()).expect("a request").into_parts().0).is_ok(), is_fine, "{target}");
        }
    }

    #[test]
    fn who_listens_everywhere_answers_to_every_address_but_to_no_other_name() {
        let hosts = Hosts::new(IpAddr::from([0, 0, 0, 0]), &[]);
        assert!(is_let_in(&hosts, "10.1.2.3:7070"));
        assert!(!is_let_in(&hosts, "evil.example:7070"));
    }
}
