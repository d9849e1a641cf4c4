//! The streams of one process: its outputs to the log and to clients, clients' input to it.
//!
//! The outputs are read as fast as the slowest client takes them: when a client's socket is full,
//! nothing is read until it has taken what it was given, and the process waits on its pipe, as it
//! would in a shell's pipeline (and with Docker, after a megabyte). A client that has gone (its socket
//! is hung up or broken) is dropped at once and holds up nothing. Per client at most one read of
//! output is kept. The log is waited for in the same way, where it is sent and may be waited for.
//!
//! A client may be held back while its engine writes what the log has to the client's connection: the
//! outputs are not read meanwhile, and the client goes on where the log ended, to the byte.
//!
//! Once the process has ended ([`Streams::drain`]) clients hold up nothing any more: what is left
//! in the pipes is read to the end, for the log, and kept for the clients. When a grandchild holds
//! a pipe open, the caller bounds the wait.

use std::io::{self, IoSlice};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendFlags};
use rustix::termios::Winsize;
use wharf_log::{LogWriter, Stream};

use crate::detach::DetachKeys;
use crate::poll::{EventFlags, Interest, Poll, Token};
use crate::protocol;

/// Bytes read at a time, while there are no more than that.
const CHUNK: usize = 16 * 1024;
/// Bytes read at a time in a burst: all a pipe holds.
const BURST: usize = 64 * 1024;
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
    /// What is waited for at the service the log is sent to, and which connection to it that is.
    log_interest: (u64, Interest),
    /// Bytes read at a time.
    reading: usize,
    /// More came at once than is usual, since this was asked the last time.
    burst: bool,
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
    /// The engine that lets it wait.
    held: Option<u32>,
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
            log_interest: Default::default(),
            reading: CHUNK,
            burst: false,
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

    /// Connects a client for an engine. It gets what comes from now on; if it is to be held, from
    /// where the log ends. Returns its number.
    pub(crate) fn add_client(
        &mut self,
        socket: OwnedFd,
        wants: protocol::Client,
        engine: Option<u32>,
    ) -> io::Result<u32> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        let keys = if self.terminal {
            wants.detach_keys
        } else {
            Vec::new()
        };
        let mut client = Client {
            number: self.next_client,
            socket,
            stdin: wants.stdin,
            stdout: wants.stdout,
            stderr: wants.stderr,
            keys: DetachKeys::new(keys),
            pending: Vec::new(),
            held: engine.filter(|_| wants.held),
            interest: Interest::default(),
        };
        if let (Some(log), true) = (&self.log, wants.held) {
            for stream in [Stream::Stdout, Stream::Stderr] {
                let begun = log.begun(stream);
                if client.wants(stream) && !begun.is_empty() {
                    client.push(stream, begun, !self.terminal);
                }
            }
        }
        self.clients.push(client);
        self.next_client += 1;
        Ok(self.next_client - 1)
    }

    /// Lets a client have its output.
    pub(crate) fn release_client(&mut self, number: u32) {
        if let Some(client) = self.clients.iter_mut().find(|c| c.number == number) {
            client.held = None;
        }
    }

    /// Drops the clients an engine lets wait that has gone.
    pub(crate) fn drop_held(&mut self, engine: u32) {
        let orphans = self.clients.extract_if(.., |c| c.held == Some(engine));
        self.retired.extend(orphans.map(Client::retire));
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
            let sends = !client.pending.is_empty() && client.held.is_none();
            wanted.set(EventFlags::OUT, sends);
            let token = Token::Client(process, client.number);
            poll.set(&client.socket, token, &mut client.interest, Some(wanted))?;
        }
        self.register_log(poll)
    }

    fn register_log(&mut self, poll: &Poll) -> io::Result<()> {
        let Some(log) = &self.log else {
            return Ok(());
        };
        let Some((connection, socket)) = log.socket() else {
            return Ok(());
        };
        if self.log_interest.0 != connection {
            // The one before was closed, and so is out of the poll.
            self.log_interest = (connection, Interest::default());
        }
        let direction = match log.listens() {
            true => EventFlags::IN,
            false => EventFlags::OUT,
        };
        let wanted = (!log.is_flushed()).then_some(direction);
        let token = Token::Log(self.process);
        poll.set(socket, token, &mut self.log_interest.1, wanted)
    }

    /// Sends what the log's service has not taken yet.
    pub(crate) fn send_log(&mut self) {
        if let Some(log) = &mut self.log {
            log.flush();
        }
    }

    fn stalled(&self) -> bool {
        if self.draining {
            return self.clients.iter().any(|c| c.pending.len() > PENDING_MAX);
        }
        let holds_up = |client: &Client| client.held.is_some() || !client.pending.is_empty();
        self.log.as_ref().is_some_and(LogWriter::holds_up) || self.clients.iter().any(holds_up)
    }

    /// Reads one piece of an output that is readable.
    pub(crate) fn read_output(&mut self, index: u8, buffer: &mut Vec<u8>) {
        let Some(at) = self.outputs.iter().position(|o| o.index == index) else {
            return;
        };
        buffer.clear();
        buffer.reserve_exact(self.reading);
        let read = rustix::io::read(&self.outputs[at].fd, rustix::buffer::spare_capacity(buffer));
        match read {
            Err(Errno::AGAIN | Errno::INTR) => {}
            // A terminal's master gives EIO when its last user has gone.
            Ok(0) | Err(_) => {
                let output = self.outputs.remove(at);
                self.retired.push((output.fd, output.interest));
            }
            Ok(count) => {
                self.distribute(index, buffer);
                self.adapt(count, buffer);
            }
        }
    }

    /// Reads more at a time while there is more, and gives the room back afterwards.
    fn adapt(&mut self, count: usize, buffer: &mut Vec<u8>) {
        if count >= self.reading {
            self.reading = BURST;
            self.burst = true;
        } else if self.reading > CHUNK && count < CHUNK {
            self.reading = CHUNK;
            *buffer = Vec::new();
            if let Some(log) = &mut self.log {
                log.shrink();
            }
        }
    }

    /// Whether there was a burst of output since this was asked the last time.
    pub(crate) fn take_burst(&mut self) -> bool {
        std::mem::take(&mut self.burst)
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
            client.wants(stream) && !client.push(stream, bytes, framed)
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

    /// Whether all outputs are at their end, and the log has them.
    pub(crate) fn is_drained(&self) -> bool {
        self.outputs.is_empty() && self.log.as_ref().is_none_or(LogWriter::is_flushed)
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
        let served = self.clients.extract_if(.., |client| {
            client.pending.is_empty() && client.held.is_none()
        });
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

    fn wants(&self, stream: Stream) -> bool {
        match stream {
            Stream::Stdout => self.stdout,
            Stream::Stderr => self.stderr,
        }
    }

    /// Gives output to the client; false when it has gone.
    fn push(&mut self, stream: Stream, bytes: &[u8], framed: bool) -> bool {
        let length = u32::try_from(bytes.len()).expect("one read is below 4 GiB");
        let header = stream.header(length);
        let header = if framed { header.as_slice() } else { &[] };
        let mut sent = 0;
        if self.pending.is_empty() && self.held.is_none() {
            sent = match self.send(header, bytes) {
                Ok(sent) => sent,
                Err(Errno::AGAIN | Errno::INTR) => 0,
                Err(_) => return false,
            };
        }
        self.pending
            .extend_from_slice(header.get(sent..).unwrap_or_default());
        let sent = sent.saturating_sub(header.len());
        self.pending
            .extend_from_slice(bytes.get(sent..).unwrap_or_default());
        self.flush()
    }

    /// Sends without copying what the socket takes at once.
    fn send(&self, header: &[u8], bytes: &[u8]) -> Result<usize, Errno> {
        let parts = [IoSlice::new(header), IoSlice::new(bytes)];
        let mut ancillary = SendAncillaryBuffer::default();
        rustix::net::sendmsg(&self.socket, &parts, &mut ancillary, SendFlags::NOSIGNAL)
    }

    /// Sends what is pending; false when the client has gone.
    fn flush(&mut self) -> bool {
        if self.held.is_some() {
            return true;
        }
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
