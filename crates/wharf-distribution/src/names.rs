//! Names of hosts to addresses, without glibc: `/etc/hosts`, then the servers of `/etc/resolv.conf`.
//!
//! glibc's resolver would load whatever `nsswitch.conf` names into this static program. What is lost
//! with it are the other sources of that file (mDNS, NIS, systemd's own); systemd-resolved answers at
//! its address in `resolv.conf`. Rules of `resolv.conf`: resolv.conf(5).

mod files;
mod message;
mod query;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::address::ip_of;
use crate::error::LookupError;
use crate::insecure::is_local_name;
use files::{Hosts, ResolvConf};

/// How long the two files are not read again.
const FILES_FRESH: Duration = Duration::from_secs(5);
/// How long an answer is kept at most, whatever its own time to live.
const KEPT_MAX: Duration = Duration::from_secs(60);
/// Most answers kept.
const KEPT_COUNT: usize = 256;

/// Looks names up.
#[derive(Debug)]
pub(crate) struct Names {
    hosts_file: PathBuf,
    resolv_conf: PathBuf,
    files: Mutex<Option<(Instant, Arc<Files>)>>,
    kept: Mutex<HashMap<String, (Instant, Vec<IpAddr>)>>,
}

#[derive(Debug, Default)]
struct Files {
    hosts: Hosts,
    resolv_conf: ResolvConf,
}

impl Names {
    pub(crate) fn new(hosts_file: &Path, resolv_conf: &Path) -> Self {
        Self {
            hosts_file: hosts_file.to_owned(),
            resolv_conf: resolv_conf.to_owned(),
            files: Mutex::default(),
            kept: Mutex::default(),
        }
    }

    /// Returns the addresses that `/etc/hosts` has for a name.
    pub(crate) async fn written(&self, host: &str) -> Vec<IpAddr> {
        self.files().await.hosts.addresses(host)
    }

    /// Returns the addresses of a host: of one that is an address itself, without brackets.
    pub(crate) async fn look_up(&self, host: &str) -> Result<Vec<IpAddr>, LookupError> {
        if let Some(address) = ip_of(host) {
            return Ok(vec![address]);
        }
        let files = self.files().await;
        let written = files.hosts.addresses(host);
        if !written.is_empty() {
            return Ok(written);
        }
        // RFC 6761, section 6.3: never asked of a server.
        if is_local_name(host) {
            return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        let now = Instant::now();
        if let Some((until, addresses)) = lock(&self.kept).get(host)
            && *until > now
        {
            return Ok(addresses.clone());
        }
        let found = query::look_up(host, &files.resolv_conf).await?;
        let mut kept = lock(&self.kept);
        if kept.len() >= KEPT_COUNT {
            kept.retain(|_, (until, _)| *until > now);
        }
        if kept.len() < KEPT_COUNT {
            let until = now + found.time_to_live.min(KEPT_MAX);
            kept.insert(host.to_owned(), (until, found.addresses.clone()));
        }
        Ok(found.addresses)
    }

    async fn files(&self) -> Arc<Files> {
        let now = Instant::now();
        if let Some((read, files)) = &*lock(&self.files)
            && now.duration_since(*read) < FILES_FRESH
        {
            return Arc::clone(files);
        }
        let (hosts, resolv_conf) = (self.hosts_file.clone(), self.resolv_conf.clone());
        let read = tokio::task::spawn_blocking(move || Files {
            hosts: Hosts::parse(&files::read(&hosts)),
            resolv_conf: ResolvConf::parse(&files::read(&resolv_conf)),
        });
        // The task does not panic; a runtime that ends meanwhile needs no names.
        let files = Arc::new(read.await.unwrap_or_default());
        *lock(&self.files) = Some((now, Arc::clone(&files)));
        files
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads any bytes as the answer to a question, and again with its head made to fit.
#[cfg(feature = "fuzzing")]
pub(crate) fn fuzz(bytes: &[u8]) {
    let question = message::question(7, "registry.test", message::Kind::A).expect("a name");
    drop(message::reply(&question, bytes));
    let mut answer = question.clone();
    answer[2] = 0x80;
    answer[6..8].copy_from_slice(&[0, 200]);
    answer.extend(bytes);
    drop(message::reply(&question, &answer));
}

#[cfg(test)]
mod tests;
