//! An engine that does nothing and says what a test wants said, to see what clients make of it.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};

/// What was asked: method, path without the version, headers in small letters, body.
#[derive(Debug, Clone)]
pub struct Asked {
    /// `POST /images/create?fromImage=…`.
    pub line: String,
    /// `x-registry-auth: …`, one a line.
    pub headers: String,
    /// The body.
    pub body: String,
}

impl Asked {
    /// Returns a header's value; its name is in small letters.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

/// What is answered: status and body. A body of several pieces is sent as it would be while work goes on.
pub type Said = (u16, Vec<String>);

/// Such an engine, on threads that end with the process.
#[derive(Debug)]
pub struct FakeEngine {
    asked: Receiver<Asked>,
}

impl FakeEngine {
    /// Listens on a socket; `answer` makes the answers.
    ///
    /// # Panics
    /// Panics when the socket cannot be made.
    #[must_use]
    pub fn listen(socket: &Path, answer: fn(&Asked) -> Said) -> Self {
        let listener = UnixListener::bind(socket).expect("a socket");
        let (sender, asked) = channel();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let sender = sender.clone();
                std::thread::spawn(move || serve(stream, answer, &sender));
            }
        });
        Self { asked }
    }

    /// Returns what was asked since the last time, pings left out.
    #[must_use]
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.try_iter().collect()
    }
}

/// Answers requests on a connection until the client leaves.
fn serve(stream: UnixStream, answer: fn(&Asked) -> Said, sender: &Sender<Asked>) -> Option<()> {
    let mut writer = stream.try_clone().ok()?;
    let mut reader = BufReader::new(stream);
    loop {
        let asked = read(&mut reader)?;
        if asked.line.contains("/_ping") {
            let head = "HTTP/1.1 200 OK\r\nApi-Version: 1.47\r\nOstype: linux\r\nContent-Length: 0\r\n\r\n";
            writer.write_all(head.as_bytes()).ok()?;
            continue;
        }
        let (status, pieces) = answer(&asked);
        sender.send(asked).ok()?;
        let head = format!(
            "HTTP/1.1 {status} Said\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        );
        writer.write_all(head.as_bytes()).ok()?;
        for piece in &pieces {
            let chunk = format!("{:x}\r\n{piece}\r\n", piece.len());
            writer.write_all(chunk.as_bytes()).ok()?;
        }
        writer.write_all(b"0\r\n\r\n").ok()?;
    }
}

fn read(reader: &mut BufReader<UnixStream>) -> Option<Asked> {
    let mut line = String::new();
    reader
        .read_line(&mut line)
        .ok()
        .filter(|&length| length > 0)?;
    let mut words = line.split(' ');
    let (method, path) = (words.next()?, words.next()?);
    // `/v1.47/auth`, but `/_ping` has no version.
    let unversioned = path
        .strip_prefix("/v1.")
        .and_then(|rest| rest.split_once('/'))
        .map_or(path.to_owned(), |(_, rest)| format!("/{rest}"));
    let line = format!("{method} {unversioned}");
    let mut headers = String::new();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let header = header.trim_end();
        if header.is_empty() {
            break;
        }
        let (name, value) = header.split_once(':')?;
        headers.push_str(&format!("{}: {}\n", name.to_lowercase(), value.trim()));
    }
    let mut asked = Asked {
        line,
        headers,
        body: String::new(),
    };
    let length = asked
        .header("content-length")
        .and_then(|text| text.parse().ok());
    if let Some(length) = length {
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        asked.body = String::from_utf8_lossy(&body).into_owned();
    }
    Some(asked)
}
