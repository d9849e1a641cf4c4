//! What the network's operations cost: run as root, in a network namespace of its own.
//!
//! `cargo run --release -p wharf-network --example prices`

#![expect(clippy::print_stdout, reason = "a program whose output is a table")]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use wharf_network::{
    BridgeConfig, BridgeNetwork, Existing, HostPort, IsolatedPool, PortRequest, Protocol, Sandbox,
};

const RUNS: usize = 60;
/// How far apart starts are when they are not back to back.
const APART: Duration = Duration::from_millis(30);

fn main() -> Result<()> {
    wharf_sys::netlink::enter_new_network_namespace().context("this needs root")?;
    println!(
        "{:<44} {:>9} {:>9} {:>9}",
        "microseconds", "min", "p50", "p99"
    );
    for others in [0, 100, 300] {
        with_others(others)?;
    }
    Ok(())
}

fn with_others(count: usize) -> Result<()> {
    println!("-- beside {count} sandboxes");
    let dry = BridgeNetwork::open(
        BridgeConfig {
            pool: 0,
            ..config()
        },
        Existing::default(),
    )?;
    let others = (0..count)
        .map(|_| dry.take())
        .collect::<Result<Vec<_>, _>>()?;
    let in_use: Vec<Ipv4Addr> = others.iter().map(|sandbox| sandbox.address).collect();
    measure(
        "made at once",
        Duration::ZERO,
        || dry.take(),
        |sandbox| dry.release(sandbox.address),
    )?;
    measure(
        "made at once, 30 ms apart",
        APART,
        || dry.take(),
        |sandbox| {
            dry.release(sandbox.address);
        },
    )?;
    measure(
        "made at once and answered by the host",
        APART,
        || dry.take().map_err(anyhow::Error::from).and_then(heard),
        |address| dry.release(address),
    )?;
    drop(dry);

    let existing = Existing {
        addresses: &in_use,
        ..Existing::default()
    };
    let network = BridgeNetwork::open(config(), existing)?;
    std::thread::sleep(Duration::from_millis(500));
    measure(
        "taken from the pool, back to back",
        Duration::ZERO,
        || network.take(),
        |sandbox| {
            network.release(sandbox.address);
        },
    )?;
    measure(
        "taken from the pool, 3 ms apart",
        Duration::from_millis(3),
        || network.take(),
        |s| {
            network.release(s.address);
        },
    )?;
    measure(
        "taken from the pool, 30 ms apart",
        APART,
        || network.take(),
        |sandbox| {
            network.release(sandbox.address);
        },
    )?;
    let isolated = IsolatedPool::open(4)?;
    std::thread::sleep(Duration::from_millis(100));
    measure("isolated, 30 ms apart", APART, || isolated.take(), drop)?;
    publishing(&network)?;
    drop(others);
    std::thread::sleep(Duration::from_secs(1));
    Ok(())
}

fn config() -> BridgeConfig {
    BridgeConfig {
        address: Some(ipnet::Ipv4Net::new_assert(Ipv4Addr::new(10, 7, 0, 1), 16)),
        ..BridgeConfig::default()
    }
}

fn publishing(network: &BridgeNetwork) -> Result<()> {
    let sandbox = network.take()?;
    let request = PortRequest {
        protocol: Protocol::Tcp,
        host_address: Ipv4Addr::UNSPECIFIED,
        host_port: HostPort::Ephemeral,
        container_address: sandbox.address,
        container_port: 80,
    };
    let publish = || network.publish(&[request]);
    let mut failed = None;
    measure("publish", Duration::ZERO, publish, |ports| {
        failed = network.unpublish(&ports).err();
    })?;
    if let Some(error) = failed {
        return Err(error.into());
    }
    answer(&sandbox)?;
    network.release(sandbox.address);
    Ok(())
}

/// From the sandbox to the host and back: a port where nobody listens answers too.
fn heard(sandbox: Sandbox) -> Result<Ipv4Addr> {
    let refused = std::thread::scope(|scope| {
        let thread = scope.spawn(|| -> Result<std::io::ErrorKind> {
            move_into_link_name_space(sandbox.netns.as_fd(), Some(LinkNameSpaceType::Network))?;
            let nobody = SocketAddr::from((sandbox.gateway, 9));
            let answer = TcpStream::connect_timeout(&nobody, Duration::from_secs(5));
            Ok(answer.err().context("somebody listens")?.kind())
        });
        thread
            .join()
            .map_err(|_| anyhow!("the client's thread panicked"))?
    })?;
    match refused {
        std::io::ErrorKind::ConnectionRefused => Ok(sandbox.address),
        other => Err(anyhow!("the host answered with {other}")),
    }
}

/// From the host to a server in the sandbox and back.
fn answer(sandbox: &Sandbox) -> Result<()> {
    let listener = std::thread::scope(|scope| {
        let thread = scope.spawn(|| -> Result<TcpListener> {
            move_into_link_name_space(sandbox.netns.as_fd(), Some(LinkNameSpaceType::Network))?;
            Ok(TcpListener::bind((sandbox.address, 80))?)
        });
        thread
            .join()
            .map_err(|_| anyhow!("the server's thread panicked"))?
    })?;
    std::thread::spawn(move || -> std::io::Result<()> {
        loop {
            listener.accept()?.0.write_all(b"x")?;
        }
    });
    let address = SocketAddr::from((sandbox.address, 80));
    let ask = || -> std::io::Result<()> {
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
        stream.read_exact(&mut [0])
    };
    measure("a TCP connection to a container", Duration::ZERO, ask, drop)
}

fn measure<T, E: Into<anyhow::Error>>(
    what: &str,
    apart: Duration,
    mut operation: impl FnMut() -> Result<T, E>,
    mut undo: impl FnMut(T),
) -> Result<()> {
    let mut times = Vec::with_capacity(RUNS);
    for _ in 0..RUNS {
        let start = Instant::now();
        let done = operation().map_err(Into::into)?;
        times.push(start.elapsed().as_micros());
        undo(done);
        std::thread::sleep(apart);
    }
    times.sort_unstable();
    let (min, p50, p99) = (times[0], times[RUNS / 2], times[RUNS - 1]);
    println!("{what:<44} {min:>9} {p50:>9} {p99:>9}");
    Ok(())
}
