//! The command line.

use anyhow::{Result, bail};

const USAGE: &str = "\
usage: wharf-benches [--runs N] [--containers N] [--peers a,b] [--scenarios a,b]
  --runs N        samples of each measurement (default 100; of travel at most 5)
  --containers N  containers that run beside it in the crowded measurements (default 200)
  --peers         of wharf, wharf-runtime, docker, podman, runc, crun, skopeo (default: all installed)
  --scenarios     of run, sequence, lifecycle, crowded, restart, listing, execs, travel,
                  travel-own (default: all)";

/// What to measure.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) runs: usize,
    pub(crate) containers: usize,
    peers: Option<Vec<String>>,
    scenarios: Option<Vec<String>>,
}

impl Options {
    pub(crate) fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self> {
        let mut options = Self {
            runs: 100,
            containers: 200,
            peers: None,
            scenarios: None,
        };
        let list = |value: &str| Some(value.split(',').map(str::to_owned).collect());
        while let Some(name) = arguments.next() {
            let Some(value) = arguments.next() else {
                bail!("{USAGE}")
            };
            match name.as_str() {
                "--runs" => options.runs = value.parse()?,
                "--containers" => options.containers = value.parse()?,
                "--peers" => options.peers = list(&value),
                "--scenarios" => options.scenarios = list(&value),
                _ => bail!("{USAGE}"),
            }
        }
        Ok(options)
    }

    pub(crate) fn wants(&self, scenario: &str) -> bool {
        self.scenarios
            .as_ref()
            .is_none_or(|names| names.iter().any(|name| name == scenario))
    }

    pub(crate) fn wants_peer(&self, peer: &str) -> bool {
        self.peers
            .as_ref()
            .is_none_or(|names| names.iter().any(|name| name == peer))
    }
}
