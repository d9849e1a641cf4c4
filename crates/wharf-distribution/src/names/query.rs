//! Asking name servers: over UDP, and over TCP for what does not fit a datagram.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ring::rand::{SecureRandom, SystemRandom};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, UdpSocket};
use tokio::time::timeout;

use super::files::ResolvConf;
use super::message::{self, Kind, Reply};
use crate::error::LookupError;

/// Longest datagram; none longer than 512 is asked for.
const DATAGRAM_MAX: usize = 4096;

/// Addresses, and how long they hold.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) addresses: Vec<IpAddr>,
    pub(super) time_to_live: Duration,
}

/// Asks for a name, and where it is a short one for it in the domains that are searched.
pub(super) async fn look_up(host: &str, conf: &ResolvConf) -> Result<Found, LookupError> {
    let mut fault = LookupError::NoSuchHost;
    for name in conf.candidates(host) {
        match both(&name, conf).await {
            Ok(found) => return Ok(found),
            // What one name's servers cannot tell is worse news than that another does not exist.
            Err(LookupError::NoSuchHost) => {}
            Err(other) => fault = other,
        }
    }
    Err(fault)
}

/// Asks for both kinds of addresses at the same time; IPv4 comes first.
async fn both(name: &str, conf: &ResolvConf) -> Result<Found, LookupError> {
    let (four, six) = tokio::join!(one(name, Kind::A, conf), one(name, Kind::Aaaa, conf));
    let mut addresses = Vec::new();
    let mut least = u32::MAX;
    let mut fault = None;
    for result in [four, six] {
        match result {
            Ok((found, time)) if !found.is_empty() => {
                addresses.extend(found);
                least = least.min(time);
            }
            Ok(_) => {}
            Err(error) => fault = fault.or(Some(error)),
        }
    }
    if addresses.is_empty() {
        return Err(fault.unwrap_or(LookupError::NoSuchHost));
    }
    Ok(Found {
        addresses,
        time_to_live: Duration::from_secs(u64::from(least)),
    })
}

async fn one(name: &str, kind: Kind, conf: &ResolvConf) -> Result<(Vec<IpAddr>, u32), LookupError> {
    let mut fault = LookupError::Misbehaving;
    for _ in 0..conf.attempts {
        for server in &conf.servers {
            match timeout(conf.timeout, ask(*server, name, kind)).await {
                Ok(Ok(Reply::Found(addresses, time))) => return Ok((addresses, time)),
                Ok(Ok(Reply::NoSuchName)) => return Err(LookupError::NoSuchHost),
                Ok(Ok(Reply::Failed | Reply::Truncated) | Err(_)) => {
                    fault = LookupError::Misbehaving;
                }
                Err(_) => fault = LookupError::Timeout,
            }
        }
    }
    Err(fault)
}

async fn ask(server: SocketAddr, name: &str, kind: Kind) -> io::Result<Reply> {
    let mut id = [0; 2];
    SystemRandom::new()
        .fill(&mut id)
        .map_err(|_| io::Error::other("no random numbers"))?;
    let Some(question) = message::question(u16::from_be_bytes(id), name, kind) else {
        return Ok(Reply::NoSuchName);
    };
    match over_udp(server, &question).await? {
        Reply::Truncated => over_tcp(server, &question).await,
        reply => Ok(reply),
    }
}

async fn over_udp(server: SocketAddr, question: &[u8]) -> io::Result<Reply> {
    let any: SocketAddr = if server.is_ipv4() {
        ([0; 4], 0).into()
    } else {
        ([0_u16; 8], 0).into()
    };
    let socket = UdpSocket::bind(any).await?;
    // Connected: the kernel drops what others send.
    socket.connect(server).await?;
    socket.send(question).await?;
    let mut buffer = [0; DATAGRAM_MAX];
    loop {
        let length = socket.recv(&mut buffer).await?;
        // What does not answer this question is a late answer or a forger's guess.
        if let Some(reply) = message::reply(question, &buffer[..length]) {
            return Ok(reply);
        }
    }
}

async fn over_tcp(server: SocketAddr, question: &[u8]) -> io::Result<Reply> {
    let socket = if server.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    let mut stream = socket.connect(server).await?;
    let length = u16::try_from(question.len()).map_err(io::Error::other)?;
    stream.write_all(&length.to_be_bytes()).await?;
    stream.write_all(question).await?;
    let length = stream.read_u16().await?;
    let mut answer = vec![0; usize::from(length)];
    stream.read_exact(&mut answer).await?;
    message::reply(question, &answer).ok_or_else(|| io::ErrorKind::InvalidData.into())
}
