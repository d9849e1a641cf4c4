//! Pulls a blob from this machine and prints what that costs: `cargo run --release --example throughput`.
//!
//! The server is a process of its own, so that the figures are the client's alone.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use wharf_distribution::{Client, Credentials, Settings};
use wharf_types::Digest;

const LENGTH: usize = 200 * 1024 * 1024;
const ROUNDS: usize = 5;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    if std::env::args().nth(1).as_deref() == Some("serve") {
        return serve();
    }
    let mut server = Command::new(std::env::current_exe()?)
        .arg("serve")
        .stdout(Stdio::piped())
        .spawn()?;
    let mut address = String::new();
    let said = server.stdout.take().ok_or("no output")?;
    BufReader::new(said).read_line(&mut address)?;
    let result = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(pull(address.trim()));
    server.kill()?;
    server.wait()?;
    result
}

async fn pull(address: &str) -> Result<(), Box<dyn std::error::Error>> {
    let client = Client::new(Settings::default())?;
    let repository = client.repository(&format!("{address}/app").parse()?, Credentials::None);
    let digest = Digest::of(&vec![0; LENGTH]);
    for hashed in [false, true] {
        for _ in 0..ROUNDS {
            let (began, cpu) = (Instant::now(), processor_time());
            let mut stream = repository.blob(&digest, Some(LENGTH as u64), 0).await?;
            let (mut pieces, mut bytes) = (0_u32, 0);
            if hashed {
                let mut stream = stream.verified();
                while let Some(piece) = stream.next().await? {
                    (pieces, bytes) = (pieces + 1, bytes + piece.len());
                }
            } else {
                while let Some(piece) = stream.next().await? {
                    (pieces, bytes) = (pieces + 1, bytes + piece.len());
                }
            }
            let (wall, cpu) = (began.elapsed(), processor_time() - cpu);
            report(hashed, bytes, pieces, wall, cpu);
        }
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "an example's figures")]
fn report(hashed: bool, bytes: usize, pieces: u32, wall: Duration, cpu: Duration) {
    let how = if hashed { "hashed" } else { "plain " };
    let rate = bytes as f64 / 1e6 / wall.as_secs_f64();
    println!("{how} {rate:7.0} MB/s, {cpu:.0?} of processor time, {pieces} pieces");
}

fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

#[expect(
    clippy::print_stdout,
    reason = "tells the other process where it listens"
)]
fn serve() -> Result<(), Box<dyn std::error::Error>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    let body = vec![0; LENGTH];
    for stream in listener.incoming() {
        // A client that goes away is no reason to end.
        drop(answer(stream?, &body));
    }
    Ok(())
}

fn answer(mut stream: TcpStream, body: &[u8]) -> std::io::Result<()> {
    let mut first = [0];
    stream.peek(&mut first)?;
    if first[0] == 0x16 {
        return stream.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\n");
    }
    let mut head = [0; 4096];
    while stream.read(&mut head)? > 0 {
        write!(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
            body.len()
        )?;
        stream.write_all(body)?;
    }
    Ok(())
}
