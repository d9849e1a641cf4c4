//! Wharf beside its peers: `cargo run -p wharf-benches --profile ci -- [OPTIONS]`.
//!
//! All peers that are installed run the same root file system on the same machine in the same
//! minutes: each round of a measurement gives every peer its turn, so that a slow spell of the
//! machine falls on all of them. What a client takes is counted in, from before its exec to after
//! its exit, because that is what a user waits for.

#![forbid(unsafe_code)]

mod memory;
mod options;
mod peers;
mod sample;
mod scenarios;
mod table;
mod travel;

use anyhow::Result;

use crate::options::Options;
use crate::peers::Peers;

#[expect(clippy::print_stdout, reason = "the table is what the program is for")]
fn main() -> Result<()> {
    let options = Options::parse(std::env::args().skip(1))?;
    let mut peers = Peers::start(&options)?;
    let mut rows = Vec::new();
    for scenario in scenarios::ALL {
        if options.wants(scenario.name) {
            rows.extend((scenario.measure)(&mut peers, &options)?);
        }
    }
    print!("{}", table::render(&rows));
    Ok(())
}
