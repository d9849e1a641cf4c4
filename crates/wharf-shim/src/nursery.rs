//! Where shims come from: one process of an engine that is a shim already but for its connection, and
//! copies itself when asked.
//!
//! A program of this size takes two milliseconds to execute and to look around; a copy of a process that has
//! done so takes a quarter of one, and shares its memory. The copies are the engine's own children
//! (`CLONE_PARENT`), not the nursery's. The nursery ends with its engine.
//!
//! On the connection, one byte with the new shim's socket goes there, one byte with its pidfd comes
//! back.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use wharf_sys::process::{CloneOptions, Cloned};

/// Copies this process for every socket that comes; returns it in the copy, and `None` when the engine
/// has gone.
pub(crate) fn serve(engine: OwnedFd) -> io::Result<Option<OwnedFd>> {
    while let Some(socket) = receive(engine.as_fd())? {
        let options = CloneOptions {
            sibling: true,
            ..CloneOptions::default()
        };
        match wharf_sys::process::clone_process(&options)? {
            Cloned::Child => return Ok(Some(socket)),
            Cloned::Parent { pidfd, .. } => send(engine.as_fd(), pidfd.as_fd())?,
        }
    }
    Ok(None)
}

/// Asks a nursery for a shim that gets `socket`; its pidfd.
pub(crate) fn ask(nursery: BorrowedFd<'_>, socket: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    send(nursery, socket)?;
    receive(nursery)?.ok_or(io::ErrorKind::UnexpectedEof.into())
}

fn send(connection: BorrowedFd<'_>, descriptor: BorrowedFd<'_>) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let descriptors = [descriptor];
    ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
    let byte = [IoSlice::new(b"+")];
    loop {
        match rustix::net::sendmsg(connection, &byte, &mut ancillary, SendFlags::NOSIGNAL) {
            Err(Errno::INTR) => {}
            result => return Ok(result.map(drop)?),
        }
    }
}

/// Waits for a descriptor; `None` at the connection's end.
fn receive(connection: BorrowedFd<'_>) -> io::Result<Option<OwnedFd>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let received = loop {
        let into = &mut [IoSliceMut::new(&mut byte)];
        let flags = RecvFlags::CMSG_CLOEXEC;
        match rustix::net::recvmsg(connection, into, &mut ancillary, flags) {
            Err(Errno::INTR) => {}
            result => break result?,
        }
    };
    if received.bytes == 0 {
        return Ok(None);
    }
    let descriptor = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    descriptor
        .map(Some)
        .ok_or(io::ErrorKind::InvalidData.into())
}
