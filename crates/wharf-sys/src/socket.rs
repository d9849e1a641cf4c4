//! Sockets, where rustix has no word for what is asked of them.

use std::io;
use std::os::fd::AsFd;

use rustix::ioctl::{Getter, Opcode, ioctl};

/// `SIOCOUTQ`, which is `TIOCOUTQ`.
const UNREAD: Opcode = 0x5411;

/// Returns whether the other end of a connected unix stream socket has read everything that was sent to it.
///
/// The kernel counts the memory that sent data takes, which is none once it has been read.
///
/// # Errors
/// What ioctl(2) says, for descriptors that are no sockets.
pub fn is_all_read(socket: impl AsFd) -> io::Result<bool> {
    // SAFETY: SIOCOUTQ writes one int for every kind of socket, and `Getter` has room for one.
    let unread = unsafe { ioctl(socket, Getter::<UNREAD, i32>::new())? };
    Ok(unread == 0)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn what_was_sent_is_unread_until_it_is_read() {
        let (mut near, mut far) = UnixStream::pair().expect("a pair");
        assert!(is_all_read(&near).expect("a socket"));
        near.write_all(b"head").expect("writes");
        assert!(!is_all_read(&near).expect("a socket"));
        far.read_exact(&mut [0; 2]).expect("reads");
        assert!(!is_all_read(&near).expect("a socket"));
        far.read_exact(&mut [0; 2]).expect("reads");
        assert!(is_all_read(&near).expect("a socket"));
    }

    #[test]
    fn a_file_is_no_socket() {
        assert!(is_all_read(std::fs::File::open("/dev/zero").expect("opens")).is_err());
    }
}
