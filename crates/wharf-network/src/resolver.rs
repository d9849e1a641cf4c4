//! The resolver files of a container: what `/etc/resolv.conf` and `/etc/hosts` say.
//!
//! The rules are Docker's for its default bridge: the host's own settings with loopback name
//! servers left out, because a container's loopback is not the host's; the file systemd-resolved
//! keeps its real servers in, where the host's file names only its stub; and a public server when
//! nothing is left.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr};

/// Used when the host names no server a container can reach, as Docker does.
const FALLBACK: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(8, 8, 8, 8)),
    IpAddr::V4(Ipv4Addr::new(8, 8, 4, 4)),
];

const HOST_FILE: &str = "/etc/resolv.conf";
const SYSTEMD_FILE: &str = "/run/systemd/resolve/resolv.conf";
const SYSTEMD_STUB: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 53));

/// A resolver configuration; its `Display` is the text of a `resolv.conf`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resolver {
    /// Name servers (`--dns`).
    pub nameservers: Vec<IpAddr>,
    /// Search domains (`--dns-search`); a single `.` means none.
    pub search: Vec<String>,
    /// Options (`--dns-option`).
    pub options: Vec<String>,
}

impl Resolver {
    /// Reads the text of a `resolv.conf`; lines it does not know are passed over, and of `search`
    /// and `options` the last line counts, as in resolv.conf(5).
    pub fn parse(text: &str) -> Self {
        let mut resolver = Self::default();
        for line in text.lines() {
            let line = line.split(['#', ';']).next().unwrap_or_default();
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                Some("nameserver") => resolver.nameservers.extend(words.next().and_then(server)),
                Some("search" | "domain") => resolver.search = words.map(str::to_owned).collect(),
                Some("options") => resolver.options = words.map(str::to_owned).collect(),
                _ => {}
            }
        }
        resolver
    }

    /// What the host itself uses. A host without `/etc/resolv.conf` has no settings.
    pub fn of_host() -> io::Result<Self> {
        let host = Self::parse(&read(HOST_FILE)?);
        if host.nameservers == [SYSTEMD_STUB] {
            let real = Self::parse(&read(SYSTEMD_FILE)?);
            if !real.nameservers.is_empty() {
                return Ok(real);
            }
        }
        Ok(host)
    }

    /// The same, where not knowing is no reason to stop.
    pub(crate) fn of_host_or_none() -> Self {
        Self::of_host().unwrap_or_else(|error| {
            tracing::warn!(%error, "the host's resolver settings cannot be read");
            Self::default()
        })
    }

    /// What a container on a host with these settings uses, given the options of its own.
    pub fn for_container(&self, own: &Self) -> Self {
        let nameservers = if own.nameservers.is_empty() {
            let reachable = self
                .nameservers
                .iter()
                .copied()
                .filter(|server| !server.is_loopback());
            let mut servers: Vec<IpAddr> = reachable.collect();
            // The sandbox has no IPv6 beyond its loopback.
            servers.retain(IpAddr::is_ipv4);
            if servers.is_empty() {
                FALLBACK.to_vec()
            } else {
                servers
            }
        } else {
            own.nameservers.clone()
        };
        let search = match own.search.as_slice() {
            [] => self.search.clone(),
            [none] if none == "." => Vec::new(),
            domains => domains.to_vec(),
        };
        let options = if own.options.is_empty() {
            &self.options
        } else {
            &own.options
        };
        Self {
            nameservers,
            search,
            options: options.clone(),
        }
    }
}

impl fmt::Display for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for server in &self.nameservers {
            writeln!(f, "nameserver {server}")?;
        }
        if !self.search.is_empty() {
            writeln!(f, "search {}", self.search.join(" "))?;
        }
        if !self.options.is_empty() {
            writeln!(f, "options {}", self.options.join(" "))?;
        }
        Ok(())
    }
}

/// An address as resolv.conf has it; a zone (`fe80::1%eth0`) means an interface of the host's,
/// which no container has.
fn server(word: &str) -> Option<IpAddr> {
    word.parse().ok()
}

fn read(path: &str) -> io::Result<String> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(error),
    }
}

/// The entries of a container's `/etc/hosts`; its `Display` is the file's text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostsFile {
    /// The container's own address and its names, host name first, when it has a network.
    pub own: Option<(IpAddr, Vec<String>)>,
    /// Further entries (`--add-host`), with `host-gateway` resolved already.
    pub extra: Vec<(IpAddr, String)>,
}

impl fmt::Display for HostsFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "127.0.0.1\tlocalhost\n\
             ::1\tlocalhost ip6-localhost ip6-loopback\n\
             fe00::\tip6-localnet\n\
             ff00::\tip6-mcastprefix\n\
             ff02::1\tip6-allnodes\n\
             ff02::2\tip6-allrouters\n",
        )?;
        for (address, name) in &self.extra {
            writeln!(f, "{address}\t{name}")?;
        }
        if let Some((address, names)) = &self.own {
            writeln!(f, "{address}\t{}", names.join(" "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(host: &str, own: Resolver, expected: &str) {
        assert_eq!(
            Resolver::parse(host).for_container(&own).to_string(),
            expected,
            "{host}"
        );
    }

    #[test]
    fn container_gets_the_hosts_settings_without_what_it_cannot_reach() {
        let none = Resolver::default;
        check(
            "nameserver 10.0.0.1\nsearch a.example b.example\noptions ndots:2 rotate\n",
            none(),
            "nameserver 10.0.0.1\nsearch a.example b.example\noptions ndots:2 rotate\n",
        );
        check(
            "# made by hand\nnameserver 127.0.0.1 # local\nnameserver 10.0.0.2 ; other\nnameserver ::1\n",
            none(),
            "nameserver 10.0.0.2\n",
        );
        check(
            "nameserver fe80::1%eth0\nnameserver fd00::1\nnameserver 127.0.0.53\n",
            none(),
            "nameserver 8.8.8.8\nnameserver 8.8.4.4\n",
        );
        check("", none(), "nameserver 8.8.8.8\nnameserver 8.8.4.4\n");
        check(
            "search old\ndomain new\nnameserver not-an-address\nnameserver\nnameserver 10.0.0.3",
            none(),
            "nameserver 10.0.0.3\nsearch new\n",
        );
    }

    #[test]
    fn options_of_the_container_replace_the_hosts() {
        let own = Resolver {
            nameservers: vec!["fd00::53".parse().unwrap(), "127.0.0.11".parse().unwrap()],
            search: vec![".".to_owned()],
            options: vec!["timeout:1".to_owned()],
        };
        check(
            "nameserver 10.0.0.1\nsearch a\noptions rotate\n",
            own,
            "nameserver fd00::53\nnameserver 127.0.0.11\noptions timeout:1\n",
        );
    }

    #[test]
    fn hosts_file_ends_with_the_container_itself() {
        let hosts = HostsFile {
            own: Some((
                "172.17.0.2".parse().unwrap(),
                vec!["web".into(), "alias".into()],
            )),
            extra: vec![("10.0.0.9".parse().unwrap(), "db".into())],
        };
        let text = hosts.to_string();
        assert!(
            text.starts_with("127.0.0.1\tlocalhost\n::1\tlocalhost"),
            "{text}"
        );
        assert!(
            text.ends_with("\n10.0.0.9\tdb\n172.17.0.2\tweb alias\n"),
            "{text}"
        );
    }
}
