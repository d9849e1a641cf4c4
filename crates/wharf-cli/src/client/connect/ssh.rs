//! Another machine's engine, by that machine's shell: the system's `ssh` runs a command there that
//! copies between its standard streams and the engine's socket.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdStream;
use std::process::{Command, Stdio};

use tokio::net::UnixStream;

use crate::client::ClientError;
use crate::settings::SshAddress;

/// The arguments of `ssh`, with the command that is run there: ours where that is installed, else Docker's.
pub(super) fn arguments(address: &SshAddress) -> Vec<String> {
    let mut words: Vec<String> = ["-o", "ConnectTimeout=30", "-T"].map(str::to_owned).into();
    if let Some(user) = &address.user {
        words.extend(["-l".to_owned(), user.clone()]);
    }
    if let Some(port) = address.port {
        words.extend(["-p".to_owned(), port.to_string()]);
    }
    words.extend(["--".to_owned(), address.host.clone()]);
    let host = match &address.socket {
        Some(path) => format!(" --host {}", quote(&format!("unix://{path}"))),
        None => String::new(),
    };
    words.push(format!(
        "if command -v wharf >/dev/null 2>&1; then exec wharf{host} system dial-stdio; else exec docker{host} system dial-stdio; fi"
    ));
    words
}

/// One word for the shell there.
fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// Starts `ssh`. It asks for passwords and complains on the terminal itself; it ends when the connection does.
pub(super) fn connect(address: &SshAddress) -> Result<UnixStream, ClientError> {
    let start = || -> io::Result<UnixStream> {
        let (ours, theirs) = StdStream::pair()?;
        let copy = theirs.try_clone()?;
        Command::new("ssh")
            .args(arguments(address))
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::from(OwnedFd::from(copy)))
            .spawn()?;
        ours.set_nonblocking(true)?;
        UnixStream::from_std(ours)
    };
    start().map_err(ClientError::Ssh)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Address, address};

    #[test]
    fn the_command_is_for_a_shell() {
        let words = |text: &str| match address::parse(text) {
            Ok(Address::Ssh(address)) => arguments(&address).join(" "),
            other => panic!("{other:?}"),
        };
        assert_eq!(
            words("ssh://me@there:22"),
            "-o ConnectTimeout=30 -T -l me -p 22 -- there if command -v wharf >/dev/null 2>&1; then exec wharf system dial-stdio; else exec docker system dial-stdio; fi"
        );
        assert!(
            words("ssh://x/a'b").contains("exec docker --host 'unix:///a'\\''b' system dial-stdio")
        );
    }
}
