//! Names of hosts to addresses, without glibc: `/etc/hosts`, then the servers of `/etc/resolv.conf`.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::error::LookupError;

/// Looks names up.
#[derive(Debug)]
pub(crate) struct Names {
    hosts_file: PathBuf,
    resolv_conf: PathBuf,
}

impl Names {
    pub(crate) fn new(hosts_file: &Path, resolv_conf: &Path) -> Self {
        Self {
            hosts_file: hosts_file.to_owned(),
            resolv_conf: resolv_conf.to_owned(),
        }
    }

    /// Returns the addresses that `/etc/hosts` has for a name.
    pub(crate) async fn written(&self, host: &str) -> Vec<IpAddr> {
        let _ = (host, &self.hosts_file);
        todo!()
    }

    /// Returns the addresses of a name.
    pub(crate) async fn look_up(&self, host: &str) -> Result<Vec<IpAddr>, LookupError> {
        let _ = (host, &self.resolv_conf);
        todo!()
    }
}
