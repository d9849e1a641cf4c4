//! Handing the listener of a notifying system call filter to whoever answers it
//! (`config-linux.md`, "The Container Process State").

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use serde::Serialize;
use wharf_oci::runtime::{Seccomp, State};

use crate::error::ProcessError;
use crate::process::{setup, step};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ContainerProcessState<'a> {
    oci_version: &'a str,
    fds: [&'a str; 1],
    pid: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a str>,
    state: &'a State,
}

/// Sends the listener and the state to the socket the configuration names.
pub(crate) fn hand_over(
    listener: BorrowedFd<'_>,
    filter: Option<&Seccomp>,
    state: State,
) -> Result<(), ProcessError> {
    let refused = |text: &str| ProcessError::Refused(text.to_owned());
    let filter = filter.ok_or_else(|| refused("a filter notifies, but none is configured"))?;
    let path = filter.listener_path.as_deref();
    let path = path.ok_or_else(|| refused("linux.seccomp notifies, but has no listenerPath"))?;
    let document = ContainerProcessState {
        oci_version: &state.oci_version,
        fds: ["seccompFd"],
        pid: state.pid,
        metadata: filter.listener_metadata.as_deref(),
        state: &state,
    };
    let text = serde_json::to_vec(&document).map_err(|error| refused(&error.to_string()))?;
    let socket = setup(
        "connect to linux.seccomp.listenerPath",
        UnixStream::connect(path),
    )?;
    let fds = [listener];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&fds));
    rustix::net::sendmsg(
        &socket,
        &[IoSlice::new(&text)],
        &mut control,
        SendFlags::NOSIGNAL,
    )
    .map_err(step("hand over the listener"))?;
    Ok(())
}
