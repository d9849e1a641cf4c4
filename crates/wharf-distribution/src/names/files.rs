//! `/etc/hosts` and `/etc/resolv.conf`, read as leniently as every resolver does: a line that makes no
//! sense is passed over.

use std::collections::HashMap;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

/// Most bytes of either file that are read; lists of advertisers to block are long.
const FILE_MAX: u64 = 16 * 1024 * 1024;
/// Most servers that are asked, glibc's figure.
const SERVERS_MAX: usize = 3;
/// Most domains that a short name is searched in, glibc's old figure.
const SEARCH_MAX: usize = 6;
/// The port of DNS.
const DNS_PORT: u16 = 53;

/// The names in `/etc/hosts`.
#[derive(Debug, Default)]
pub(super) struct Hosts(HashMap<String, Vec<IpAddr>>);

/// What is used of `/etc/resolv.conf`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ResolvConf {
    pub(super) servers: Vec<SocketAddr>,
    pub(super) search: Vec<String>,
    pub(super) ndots: usize,
    pub(super) timeout: Duration,
    pub(super) attempts: u32,
}

/// Returns a file's text, as much of it as is sensible; one that is not there is empty.
pub(super) fn read(path: &Path) -> String {
    let mut bytes = Vec::new();
    match std::fs::File::open(path).and_then(|file| file.take(FILE_MAX).read_to_end(&mut bytes)) {
        Ok(_) => {}
        Err(error) => tracing::debug!(path = %path.display(), %error, "no names from this file"),
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

impl Hosts {
    pub(super) fn parse(text: &str) -> Self {
        let mut hosts: HashMap<String, Vec<IpAddr>> = HashMap::new();
        for mut words in lines(text) {
            let Some(address) = words.next().and_then(address) else {
                continue;
            };
            for name in words {
                let addresses = hosts.entry(key(name)).or_default();
                if !addresses.contains(&address) {
                    addresses.push(address);
                }
            }
        }
        Self(hosts)
    }

    pub(super) fn addresses(&self, host: &str) -> Vec<IpAddr> {
        self.0.get(&key(host)).cloned().unwrap_or_default()
    }
}

impl Default for ResolvConf {
    fn default() -> Self {
        Self {
            servers: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, DNS_PORT))],
            search: Vec::new(),
            ndots: 1,
            timeout: Duration::from_secs(5),
            attempts: 2,
        }
    }
}

impl ResolvConf {
    pub(super) fn parse(text: &str) -> Self {
        let mut conf = Self::default();
        let mut servers = Vec::new();
        for mut words in lines(text) {
            match words.next() {
                Some("nameserver") => servers.extend(words.next().and_then(address)),
                // The last of these lines counts.
                Some("domain") => conf.search = words.take(1).map(key).collect(),
                Some("search") => conf.search = words.take(SEARCH_MAX).map(key).collect(),
                Some("options") => words.for_each(|option| conf.option(option)),
                _ => {}
            }
        }
        servers.truncate(SERVERS_MAX);
        if !servers.is_empty() {
            conf.servers = servers
                .into_iter()
                .map(|address| SocketAddr::new(address, DNS_PORT))
                .collect();
        }
        conf
    }

    fn option(&mut self, option: &str) {
        let Some((name, value)) = option.split_once(':') else {
            return;
        };
        let Ok(value) = value.parse::<u32>() else {
            return;
        };
        match name {
            "ndots" => self.ndots = value.min(15) as usize,
            "timeout" => self.timeout = Duration::from_secs(u64::from(value.clamp(1, 30))),
            "attempts" => self.attempts = value.clamp(1, 5),
            _ => {}
        }
    }

    /// Returns the names to ask for, in order.
    pub(super) fn candidates(&self, host: &str) -> Vec<String> {
        if let Some(whole) = host.strip_suffix('.') {
            return vec![whole.to_owned()];
        }
        let mut names: Vec<String> = self
            .search
            .iter()
            .filter(|domain| !domain.is_empty())
            .map(|domain| format!("{host}.{domain}"))
            .collect();
        let dots = host.bytes().filter(|byte| *byte == b'.').count();
        let place = if dots >= self.ndots { 0 } else { names.len() };
        names.insert(place, host.to_owned());
        names
    }
}

fn lines(text: &str) -> impl Iterator<Item = impl Iterator<Item = &str>> {
    text.lines().map(|line| {
        let end = line.find(['#', ';']).unwrap_or(line.len());
        line[..end].split_ascii_whitespace()
    })
}

/// An address; the name of an interface behind a link-local one is left out.
fn address(word: &str) -> Option<IpAddr> {
    word.split('%').next()?.parse().ok()
}

fn key(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}
