//! Where a port listens, or is asked: `HOST:PORT`, by address or by name.

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

/// A host and a port. A name is looked up when it is used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostPort {
    host: String,
    port: u16,
}

impl HostPort {
    /// The name, in lower case, if it is no address.
    pub fn name(&self) -> Option<&str> {
        self.host.parse::<IpAddr>().is_err().then_some(&self.host)
    }

    /// Whether only this machine reaches it.
    pub fn is_local(&self) -> bool {
        self.resolve().is_ok_and(|found| found.iter().all(|at| at.ip().is_loopback()))
    }

    /// Whether not both can be listened on: one port, of one address or of all.
    pub fn clashes_with(&self, other: &Self) -> bool {
        // Port 0 is another one each time; a name that is not found is told when it is listened on.
        let addresses = |at: &Self| at.resolve().unwrap_or_default();
        let clash = |one: IpAddr, other: IpAddr| one == other || one.is_unspecified() || other.is_unspecified();
        self.port != 0
            && self.port == other.port
            && addresses(self).iter().any(|one| addresses(other).iter().any(|other| clash(one.ip(), other.ip())))
    }

    /// All its addresses, those of IPv4 first: that is what `127.0.0.1` in every example means. Never none.
    pub fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        // An IPv4 address in the form of IPv6 is the same place.
        let canonical = |at: SocketAddr| SocketAddr::new(at.ip().to_canonical(), at.port());
        let mut found: Vec<_> = (self.host.as_str(), self.port).to_socket_addrs()?.map(canonical).collect();
        found.sort_by_key(SocketAddr::is_ipv6);
        found.dedup();
        match found.is_empty() {
            true => Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address")),
            false => Ok(found),
        }
    }
}

impl From<SocketAddr> for HostPort {
    fn from(address: SocketAddr) -> Self {
        Self { host: address.ip().to_string(), port: address.port() }
    }
}

impl FromStr for HostPort {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(address.into());
        }
        let is_name = |host: &str| {
            let is_usual = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            !host.is_empty() && host.len() <= 253 && host.chars().all(is_usual)
        };
        let parts = text.rsplit_once(':').filter(|(host, _)| is_name(host));
        let parts = parts.and_then(|(host, port)| Some((host, port.parse().ok()?)));
        let (host, port) = parts.ok_or_else(|| {
            format!("{text:?} is no HOST:PORT; allowed: such as 127.0.0.1:8080, localhost:8080, [::1]:8080")
        })?;
        Ok(Self { host: host.to_ascii_lowercase(), port })
    }
}

impl TryFrom<String> for HostPort {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<HostPort> for String {
    fn from(at: HostPort) -> Self {
        at.to_string()
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_addresses_or_names_and_each_has_a_port() {
        for good in ["127.0.0.1:8080", "[::1]:8080", "localhost:0", "arus-0.arus.svc.cluster.local:9091", "[::]:1"] {
            assert_eq!(good.parse::<HostPort>().expect(good).to_string(), good);
        }
        for bad in ["", "8080", ":8080", "localhost", "localhost:", "localhost:65536", "::1:80", "http://a:1", "a b:1"]
        {
            assert!(bad.parse::<HostPort>().expect_err(bad).contains("allowed: such as 127.0.0.1:8080"));
        }
        let named: HostPort = "LocalHost:80".parse().expect("a name");
        assert_eq!(named.name(), Some("localhost"));
        assert!(named.resolve().expect("every machine has it").iter().all(|at| at.ip().is_loopback()));
        let clash = |one: &str, other: &str| {
            let [one, other] = [one, other].map(|at| at.parse::<HostPort>().expect(at));
            one.clashes_with(&other)
        };
        for other in ["127.0.0.1:80", "localhost:80", "0.0.0.0:80", "[::ffff:127.0.0.1]:80"] {
            assert!(clash("127.0.0.1:80", other) && clash(other, "127.0.0.1:80"), "{other}");
        }
        for other in ["127.0.0.1:81", "127.0.0.2:80", "no-such-host.invalid:80"] {
            assert!(!clash("127.0.0.1:80", other), "{other}");
        }
        assert!(!clash("127.0.0.1:0", "127.0.0.1:0"), "any free port, twice");
        assert_eq!("[::1]:80".parse::<HostPort>().expect("an address").name(), None);
    }
}
