//! The streams of one process: its outputs to the log and to clients, clients' input to it.
//!
//! The outputs are read as fast as the slowest client takes them: when a client's socket is full,
//! nothing is read until it has taken what it was given, and the process waits on its pipe, as it
//! would in a shell's pipeline. A client that has gone (its socket is hung up or broken) is
//! dropped at once and holds up nothing. Per client at most one read of output is kept.
//!
//! Once the process has ended ([`Streams::drain`]) clients hold up nothing any more: what is left
//! in the pipes is read to the end, for the log, and kept for the clients. When a grandchild holds
//! a pipe open, the caller bounds the wait.

use std::io;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::SendFlags;
use rustix::termios::Winsize;

use crate::detach::DetachKeys;
use crate::log::{LogWriter, Stream};
use crate::poll::{EventFlags, Interest, Poll, Token};
use crate::protocol;

/// Bytes read at a time.
const CHUNK: usize = 32 * 1024;
/// Output kept for a client after the process has ended; more than pipes hold.
const PENDING_MAX: usize = 2 << 20;

/// The streams of one process.
#[derive(Debug)]
pub(crate) struct Streams {
    /// Number of the process in tokens.
    process: u32,
    outputs: Vec<Output>,
    input: Option<Input>,
    /// The terminal's master, also the one output and the input.
    terminal: bool,
    /// Whether the first client's end of input ends the process's.
    once: bool,
    clients: Vec<Client>,
    next_client: u32,
    pub(crate) log: Option<LogWriter>,
    draining: bool,
    /// Descriptors to take out of the poll before they are closed: epoll knows open files, not
    /// descriptors, and somebody else may hold the same file (a terminal's other direction, the
    /// engine's copy of a client's connection), which then would be reported for ever.
    retired: Vec<(OwnedFd, Interest)>,
}

#[derive(Debug)]
struct Output {
    fd: OwnedFd,
    index: u8,
    interest: Interest,
}

#[derive(Debug)]
struct Input {
    fd: OwnedFd,
    pending: Vec<u8>,
    /// Close once `pending` is written.
    ends: bool,
    interest: Interest,
}

#[derive(Debug)]
struct Client {
    number: u32,
    socket: OwnedFd,
    stdin: bool,
    stdout: bool,
    stderr: bool,
    keys: DetachKeys,
    pending: Vec<u8>,
    interest: Interest,
}

/// The shim's ends of a process's streams.
#[derive(Debug)]
pub(crate) enum Ends {
    /// A terminal's master.
    Terminal(OwnedFd),
    /// Pipes: input (unless it is `/dev/null`), standard output, standard error.
    Pipes(Option<OwnedFd>, OwnedFd, OwnedFd),
    /// Nothing is connected.
    None,
}

/// What became of a client's input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClientEvent {
    /// Nothing to tell.
    Quiet,
    /// The client left by its detach keys.
    Detached,
}

impl Streams {
    pub(crate) fn new(
        process: u32,
        ends: Ends,
        once: bool,
        log: Option<LogWriter>,
    ) -> io::Result<Self> {
        let mut streams = Self {
            process,
            outputs: Vec::new(),
            input: None,
            terminal: false,
            once,
            clients: Vec::new(),
            next_client: 0,
            log,
            draining: false,
            retired: Vec::new(),
        };
        match ends {
            Ends::None => {}
            Ends::Terminal(master) => {
                streams.terminal = true;
                // One open file for both directions, so that it may be registered for each.
                let input = master.try_clone()?;
                streams.add_output(master, 0)?;
                streams.input = Some(Input::new(input)?);
            }
            Ends::Pipes(stdin, stdout, stderr) => {
                streams.add_output(stdout, 0)?;
                streams.add_output(stderr, 1)?;
                streams.input = stdin.map(Input::new).transpose()?;
            }
        }
        Ok(streams)
    }

    fn add_output(&mut self, fd: OwnedFd, index: u8) -> io::Result<()> {
        rustix::io::ioctl_fionbio(&fd, true)?;
        self.outputs.push(Output {
            fd,
            index,
            interest: Interest::default(),
        });
        Ok(())
    }

    /// Connects a client. It gets what comes from now on.
    pub(crate) fn add_client(
        &mut self,
        socket: OwnedFd,
        wants: protocol::Client,
    ) -> io::Result<()> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        let keys = if self.terminal {
            wants.detach_keys
        } else {
            Vec::new()
        };
        self.clients.push(Client {
            number: self.next_client,
            socket,
            stdin: wants.stdin,
            stdout: wants.stdout,
            stderr: wants.stderr,
            keys: DetachKeys::new(keys),
            pending: Vec::new(),
            interest: Interest::default(),
        });
        self.next_client += 1;
        Ok(())
    }

    /// Tells the poll what is waited for, after anything has changed.
    pub(crate) fn register(&mut self, poll: &Poll) -> io::Result<()> {
        let process = self.process;
        for (fd, mut interest) in self.retired.drain(..) {
            poll.set(&fd, Token::Input(process), &mut interest, None)?;
        }
        let stalled = self.stalled();
        for output in &mut self.outputs {
            let wanted = (!stalled).then_some(EventFlags::IN);
            let token = Token::Output(process, output.index);
            poll.set(&output.fd, token, &mut output.interest, wanted)?;
        }
        let input_waits = match &mut self.input {
            None => false,
            Some(input) => {
                let wanted = (!input.pending.is_empty()).then_some(EventFlags::OUT);
                poll.set(
                    &input.fd,
                    Token::Input(process),
                    &mut input.interest,
                    wanted,
                )?;
                !input.pending.is_empty()
            }
        };
        for client in &mut self.clients {
            let mut wanted = EventFlags::empty();
            wanted.set(EventFlags::IN, client.stdin && !input_waits);
            wanted.set(EventFlags::OUT, !client.pending.is_empty());
            let token = Token::Client(process, client.number);
            poll.set(&client.socket, token, &mut client.interest, Some(wanted))?;
        }
        Ok(())
    }

    fn stalled(&self) -> bool {
        let bound = if self.draining { PENDING_MAX } else { 0 };
        self.clients.iter().any(|c| c.pending.len() > bound)
    }

    /// Reads one piece of an output that is readable.
    pub(crate) fn read_output(&mut self, index: u8, buffer: &mut Vec<u8>) {
        let Some(at) = self.outputs.iter().position(|o| o.index == index) else {
            return;
        };
        buffer.resize(CHUNK, 0);
        match rustix::io::read(&self.outputs[at].fd, buffer.as_mut_slice()) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            // A terminal's master gives EIO when its last user has gone.
            Ok(0) | Err(_) => {
                let output = self.outputs.remove(at);
                self.retired.push((output.fd, output.interest));
            }
            Ok(count) => self.distribute(index, &buffer[..count]),
        }
    }

    fn distribute(&mut self, index: u8, bytes: &[u8]) {
        let stream = match index {
            0 => Stream::Stdout,
            _ => Stream::Stderr,
        };
        if let Some(log) = &mut self.log {
            log.push(stream, bytes);
        }
        let framed = !self.terminal;
        let gone = self.clients.extract_if(.., |client| {
            let wanted = match stream {
                Stream::Stdout => client.stdout,
                Stream::Stderr => client.stderr,
            };
            wanted && !client.push(stream, bytes, framed)
        });
        self.retired.extend(gone.map(Client::retire));
    }

    /// Writes what is pending for the process.
    pub(crate) fn write_input(&mut self) {
        if let Some(input) = &mut self.input
            && !input.write()
        {
            self.drop_input();
        }
    }

    /// Handles what the poll says about a client.
    pub(crate) fn client_event(
        &mut self,
        number: u32,
        flags: EventFlags,
        buffer: &mut Vec<u8>,
    ) -> ClientEvent {
        let Some(at) = self.clients.iter().position(|c| c.number == number) else {
            return ClientEvent::Quiet;
        };
        let mut event = ClientEvent::Quiet;
        let mut keep = true;
        if flags.contains(EventFlags::IN) && self.clients[at].stdin {
            (keep, event) = self.read_client(at, buffer);
        }
        let client = &mut self.clients[at];
        if keep && flags.contains(EventFlags::OUT) {
            keep = client.flush();
        }
        // Hung up in both directions; what it had sent before is still to be read.
        let gone = flags.intersects(EventFlags::ERR | EventFlags::HUP);
        if gone && !(client.stdin && flags.contains(EventFlags::IN)) {
            keep = false;
        }
        if !keep {
            let client = self.clients.remove(at);
            if client.stdin && event == ClientEvent::Quiet {
                self.end_input();
            }
            self.retired.push(client.retire());
        }
        event
    }

    /// Reads a client's input; returns whether the client stays.
    fn read_client(&mut self, at: usize, buffer: &mut Vec<u8>) -> (bool, ClientEvent) {
        buffer.resize(CHUNK, 0);
        let client = &mut self.clients[at];
        match rustix::io::read(&client.socket, buffer.as_mut_slice()) {
            Err(Errno::AGAIN | Errno::INTR) => (true, ClientEvent::Quiet),
            Err(_) => (false, ClientEvent::Quiet),
            Ok(0) => {
                client.stdin = false;
                self.end_input();
                (true, ClientEvent::Quiet)
            }
            Ok(count) => {
                let filtered = client.keys.filter(&buffer[..count]);
                if let Some(input) = &mut self.input {
                    input.pending.extend_from_slice(&filtered.forward);
                }
                self.write_input();
                if filtered.detach {
                    (false, ClientEvent::Detached)
                } else {
                    (true, ClientEvent::Quiet)
                }
            }
        }
    }

    /// A client's input has ended. A terminal has no end of input that could be passed on.
    fn end_input(&mut self) {
        if !self.once || self.terminal {
            return;
        }
        if let Some(input) = &mut self.input {
            input.ends = true;
        }
        self.write_input();
    }

    /// Sets the terminal's size; false without a terminal.
    pub(crate) fn resize(&self, height: u16, width: u16) -> Result<bool, Errno> {
        let size = Winsize {
            ws_row: height,
            ws_col: width,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        match &self.input {
            Some(input) if self.terminal => {
                rustix::termios::tcsetwinsize(&input.fd, size).map(|()| true)
            }
            _ => Ok(false),
        }
    }

    /// The process has ended: its outputs are read without regard to clients from now on.
    pub(crate) fn drain(&mut self) {
        self.draining = true;
        self.drop_input();
    }

    fn drop_input(&mut self) {
        if let Some(input) = self.input.take() {
            self.retired.push((input.fd, input.interest));
        }
    }

    /// Whether all outputs are at their end.
    pub(crate) fn is_drained(&self) -> bool {
        self.outputs.is_empty()
    }

    /// Reads what is in the pipes at this moment and gives them up; ends the log.
    pub(crate) fn finish(&mut self, buffer: &mut Vec<u8>) {
        // A bound, because a grandchild may write without end.
        const READS_MAX: usize = PENDING_MAX / CHUNK;
        for _ in 0..READS_MAX {
            let open: Vec<u8> = self.outputs.iter().map(|output| output.index).collect();
            if open.is_empty() {
                break;
            }
            for index in open {
                self.read_output(index, buffer);
            }
        }
        let left = self
            .outputs
            .drain(..)
            .map(|output| (output.fd, output.interest));
        self.retired.extend(left);
        if let Some(log) = &mut self.log {
            log.finish();
        }
    }

    /// Closes the connections of clients that have everything; returns whether any is left.
    pub(crate) fn close_clients(&mut self) -> bool {
        let served = self
            .clients
            .extract_if(.., |client| client.pending.is_empty());
        self.retired.extend(served.map(Client::retire));
        for client in &mut self.clients {
            client.stdin = false;
        }
        !self.clients.is_empty()
    }
}

impl Input {
    fn new(fd: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&fd, true)?;
        Ok(Self {
            fd,
            pending: Vec::new(),
            ends: false,
            interest: Interest::default(),
        })
    }

    /// Writes what is pending; false when the input is at its end or nobody reads it.
    fn write(&mut self) -> bool {
        let mut written = 0;
        let open = loop {
            if written == self.pending.len() {
                break !self.ends;
            }
            match rustix::io::write(&self.fd, &self.pending[written..]) {
                Ok(count) => written += count,
                Err(Errno::AGAIN) => break true,
                Err(Errno::INTR) => {}
                Err(_) => break false,
            }
        };
        self.pending.drain(..written);
        if self.pending.is_empty() {
            self.pending = Vec::new();
        }
        open
    }
}

impl Client {
    fn retire(self) -> (OwnedFd, Interest) {
        (self.socket, self.interest)
    }

    /// Gives output to the client; false when it has gone.
    fn push(&mut self, stream: Stream, bytes: &[u8], framed: bool) -> bool {
        if framed {
            let length = u32::try_from(bytes.len()).expect("one read is below 4 GiB");
            self.pending.extend_from_slice(&stream.header(length));
        }
        self.pending.extend_from_slice(bytes);
        self.flush()
    }

    /// Sends what is pending; false when the client has gone.
    fn flush(&mut self) -> bool {
        let mut sent = 0;
        let alive = loop {
            if sent == self.pending.len() {
                break true;
            }
            let part = &self.pending[sent..];
            match rustix::net::send(&self.socket, part, SendFlags::NOSIGNAL) {
                Ok(count) => sent += count,
                Err(Errno::AGAIN) => break true,
                Err(Errno::INTR) => {}
                Err(_) => break false,
            }
        };
        self.pending.drain(..sent);
        if self.pending.is_empty() && self.pending.capacity() > CHUNK * 2 {
            self.pending = Vec::new();
        }
        alive
    }
}
