//! Running programs to their end, or to a deadline.

use std::io::{Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// How long a command may take.
const DEADLINE: Duration = Duration::from_secs(45);

/// The two command lines that drive an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    /// Our own.
    Wharf,
    /// Docker's.
    Docker,
}

impl Client {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Wharf, Self::Docker];
}

/// What a command did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// The exit code; 128 + n for a signal, as a shell has it.
    pub code: i32,
    /// All of standard output.
    pub stdout: String,
    /// All of standard error.
    pub stderr: String,
    line: String,
}

impl Ran {
    /// Asserts success and returns standard output without the newline at its end.
    ///
    /// # Panics
    /// Panics with everything the command said when it failed.
    #[track_caller]
    #[must_use]
    pub fn out(&self) -> &str {
        self.succeeded();
        self.stdout.trim_end_matches('\n')
    }

    /// Asserts success.
    ///
    /// # Panics
    /// As [`Self::out`].
    #[track_caller]
    pub fn succeeded(&self) {
        self.exited(0);
    }

    /// Asserts an exit code.
    ///
    /// # Panics
    /// Panics with everything the command said when it is another.
    #[track_caller]
    pub fn exited(&self, code: i32) -> &Self {
        assert_eq!(
            self.code, code,
            "{}\n--- stdout\n{}\n--- stderr\n{}",
            self.line, self.stdout, self.stderr
        );
        self
    }

    /// Asserts that standard error holds a text.
    ///
    /// # Panics
    /// Panics with everything the command said when it does not.
    #[track_caller]
    pub fn says(&self, text: &str) -> &Self {
        self.holds("stderr", &self.stderr, text)
    }

    /// Asserts that either stream holds a text: what fails after the streams were taken over is
    /// told on standard output.
    ///
    /// # Panics
    /// As [`Self::says`].
    #[track_caller]
    pub fn tells(&self, text: &str) -> &Self {
        self.holds(
            "the output",
            &format!("{}{}", self.stdout, self.stderr),
            text,
        )
    }

    #[track_caller]
    fn holds(&self, place: &str, said: &str, text: &str) -> &Self {
        assert!(
            said.contains(text),
            "{}\nexpected in {place}: {text}\n--- stdout\n{}\n--- stderr\n{}",
            self.line,
            self.stdout,
            self.stderr
        );
        self
    }
}

/// Runs a command to its end, with `input` on its standard input.
///
/// # Panics
/// Panics when it cannot be started or outlives 45 seconds (it is killed then).
pub fn run(mut command: Command, input: &[u8]) -> Ran {
    let line = format!("{command:?}");
    let stdin = if input.is_empty() {
        Stdio::null()
    } else {
        Stdio::piped()
    };
    command
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command
        .spawn()
        .unwrap_or_else(|error| panic!("{line}: {error}"));
    let stdout = reader(child.stdout.take());
    let stderr = reader(child.stderr.take());
    let writer = child.stdin.take().map(|mut stdin| {
        let input = input.to_vec();
        // A command that does not read all of its input is the test's business, not ours.
        std::thread::spawn(move || stdin.write_all(&input).is_ok())
    });
    let status = wait(&mut child, DEADLINE);
    let timed_out = status.is_none();
    let status = status.unwrap_or_else(|| {
        child.kill().expect("the child was not reaped yet");
        child.wait().expect("the child was not reaped yet")
    });
    let stdout = stdout.join().expect("reading cannot panic");
    let stderr = stderr.join().expect("reading cannot panic");
    if let Some(writer) = writer {
        writer.join().expect("writing cannot panic");
    }
    assert!(
        !timed_out,
        "{line}: not done in {DEADLINE:?}\n{stdout}\n{stderr}"
    );
    Ran {
        code: code(status),
        stdout,
        stderr,
        line,
    }
}

fn reader(pipe: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            pipe.read_to_end(&mut bytes).expect("a pipe can be read");
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// Waits for a child's end, but no longer than `limit`.
///
/// # Panics
/// Panics when the kernel refuses to wait.
pub fn wait(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let pid = Pid::from_child(child);
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).expect("the child was not reaped yet");
    let limit = Timespec::try_from(limit).expect("the limit is small");
    loop {
        match poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&limit)) {
            Ok(0) => return None,
            Ok(_) => return Some(child.wait().expect("the child was not reaped yet")),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => panic!("poll: {error}"),
        }
    }
}

fn code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt as _;
    status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}
