//! Images between archives, engines and a registry.
//!
//! All peers load the same archive, pull the same image from the same registry, where it lies
//! compressed by gzip, and push to a registry that was never pushed to: so nobody mounts or skips a
//! layer. What the peers have written is on disk before the next one's turn.

mod archive;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use wharf_tests_system::{ForeignRegistry, Registry};

use crate::options::Options;
use crate::peers::travel::Move;
use crate::peers::{Peer, Peers, report, unique};
use crate::sample::{Samples, time};
use crate::table::{Figure, Row};

use archive::{Variant, Variants};

/// Most rounds: each moves some gigabytes.
const ROUNDS_MAX: usize = 5;

/// Pulls of what is there already, in a round.
const PRESENT: usize = 5;

/// The pause before each of them.
const APART: Duration = Duration::from_millis(30);

const LOAD: &str = "load";
const SAVE_LOADED: &str = "save, of what was loaded";
const PUSH_LOADED: &str = "push, of what was loaded";
const PULL: &str = "pull, cold";
const PRESENT_PULL: &str = "pull, all present";
const PUSH_PULLED: &str = "push, of what was pulled";
const SAVE_PULLED: &str = "save, of what was pulled";

/// The measures in the order of the table.
const MEASURES: [&str; 7] = [
    LOAD,
    SAVE_LOADED,
    PUSH_LOADED,
    PULL,
    PRESENT_PULL,
    PUSH_PULLED,
    SAVE_PULLED,
];

/// A registry that listens on loopback.
enum Server {
    Foreign(ForeignRegistry),
    Own(Registry),
}

impl Server {
    /// Starts one that is empty.
    fn start(own: bool) -> Self {
        if own {
            let mut registry = Registry::prepare();
            registry.launch(&[]);
            Self::Own(registry)
        } else {
            Self::Foreign(ForeignRegistry::open())
        }
    }

    fn image(&self, tag: usize) -> String {
        let address = match self {
            Self::Foreign(registry) => registry.address(),
            Self::Own(registry) => registry.address(),
        };
        format!("{address}/travel:{tag}")
    }
}

/// Everything, with Debian's registry.
pub(crate) fn travel(peers: &mut Peers, options: &Options) -> Result<Vec<Row>> {
    measure(peers, options, false)
}

/// The same with Wharf's registry.
pub(crate) fn travel_own(peers: &mut Peers, options: &Options) -> Result<Vec<Row>> {
    measure(peers, options, true)
}

fn measure(peers: &Peers, options: &Options, own: bool) -> Result<Vec<Row>> {
    let directory = Directory::make()?;
    let variants = Variants::prepare(&directory.0)?;
    let shared = Server::start(own);
    let peers: Vec<&Peer> = peers
        .list
        .iter()
        .filter(|peer| peer.moves_images())
        .collect();
    let rounds = options.runs.clamp(1, ROUNDS_MAX);
    let mut cargo = Vec::new();
    for round in 0..rounds {
        let loaded = variants.write(2 * round)?;
        let pulled = variants.write(2 * round + 1)?;
        let remote = shared.image(round);
        publish(&peers, &pulled, &remote)?;
        std::fs::remove_file(&pulled.archive)?;
        cargo.push((loaded, remote));
    }
    let mut trips: Vec<Trip> = peers
        .iter()
        .map(|peer| Trip {
            peer,
            own,
            directory: &directory.0,
            samples: MEASURES.map(|_| Samples::default()),
        })
        .collect();
    report("travel: all is prepared, the measurement begins");
    for (loaded, remote) in &cargo {
        for trip in &mut trips {
            trip.go(loaded, remote)?;
        }
    }
    report("travel: the measurement has ended");
    for trip in &trips {
        for (loaded, remote) in &cargo {
            trip.untimed(Move::Remove(&loaded.name))?;
            trip.untimed(Move::Remove(remote))?;
        }
    }
    let mut rows = Vec::new();
    for (index, measure) in MEASURES.iter().enumerate() {
        for trip in &trips {
            let samples = trip.samples[index].clone();
            if samples.len() > 0 {
                let server = if own { " (wharf's registry)" } else { "" };
                rows.push(Row {
                    measure: format!("{measure}{server}"),
                    peer: trip.peer.name.to_owned(),
                    figure: Figure::Time(samples),
                });
            }
        }
    }
    Ok(rows)
}

/// Has the registry hold an image compressed by gzip.
fn publish(peers: &[&Peer], variant: &Variant, remote: &str) -> Result<()> {
    let (archive, name) = (variant.archive.as_path(), variant.name.as_str());
    if let Some(command) = peers
        .iter()
        .find_map(|peer| peer.move_command(Move::PushArchive(archive, remote)))
    {
        return time(command).map(drop);
    }
    let peer = peers.first().context("no peer moves images")?;
    for what in [
        Move::Load(archive),
        Move::Tag(name, remote),
        Move::Push(remote),
        Move::Remove(remote),
        Move::Remove(name),
    ] {
        if let Some(command) = peer.move_command(what) {
            time(command)?;
        }
    }
    Ok(())
}

/// What one peer does, and how long it took.
struct Trip<'a> {
    peer: &'a Peer,
    own: bool,
    directory: &'a Path,
    samples: [Samples; MEASURES.len()],
}

impl Trip<'_> {
    /// One round.
    fn go(&mut self, loaded: &Variant, remote: &str) -> Result<()> {
        self.sample(LOAD, Move::Load(&loaded.archive))?;
        self.save(SAVE_LOADED, &loaded.name)?;
        self.push(loaded)?;
        self.sample(PULL, Move::Pull(remote))?;
        for _ in 0..PRESENT {
            std::thread::sleep(APART);
            self.sample(PRESENT_PULL, Move::Pull(remote))?;
        }
        self.push_again(remote)?;
        self.save(SAVE_PULLED, remote)?;
        Ok(self.peer.forget()?)
    }

    fn save(&mut self, measure: &str, name: &str) -> Result<()> {
        let to = self.directory.join("saved.tar");
        self.sample(measure, Move::Save(name, &to))?;
        if to.exists() {
            std::fs::remove_file(to)?;
        }
        Ok(())
    }

    fn push(&mut self, loaded: &Variant) -> Result<()> {
        let server = Server::start(self.own);
        let remote = server.image(1);
        self.sample(PUSH_LOADED, Move::PushArchive(&loaded.archive, &remote))?;
        self.untimed(Move::Tag(&loaded.name, &remote))?;
        self.sample(PUSH_LOADED, Move::Push(&remote))?;
        self.untimed(Move::Remove(&remote))
    }

    fn push_again(&mut self, pulled: &str) -> Result<()> {
        let server = Server::start(self.own);
        let remote = server.image(1);
        self.untimed(Move::Tag(pulled, &remote))?;
        self.sample(PUSH_PULLED, Move::Push(&remote))?;
        self.untimed(Move::Remove(&remote))
    }

    /// Takes a sample if the peer can do that.
    fn sample(&mut self, measure: &str, what: Move<'_>) -> Result<()> {
        if let Some(command) = self.peer.move_command(what) {
            rustix::fs::sync();
            let start = Instant::now();
            time(command)?;
            let index = MEASURES.iter().position(|known| *known == measure);
            self.samples[index.context("an unknown measure")?].push(start.elapsed());
        }
        Ok(())
    }

    fn untimed(&self, what: Move<'_>) -> Result<()> {
        match self.peer.move_command(what) {
            Some(command) => time(command).map(drop),
            None => Ok(()),
        }
    }
}

/// A directory that goes with the value.
struct Directory(PathBuf);

impl Directory {
    fn make() -> Result<Self> {
        let path = std::env::temp_dir().join(unique("wt-travel"));
        std::fs::create_dir(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}
