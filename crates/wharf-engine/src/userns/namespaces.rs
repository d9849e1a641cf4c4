//! The namespaces of a container with a mapping, made by its shim before the launch: the engine has
//! many threads, and none of them can make a user namespace.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use wharf_shim::Shim;
use wharf_shim::protocol::{Answer, Request, UserNamespace};

use super::Mapping;
use crate::error::Error;
use crate::start::UnexpectedAnswer;

/// A user namespace for a container, as far as the engine needs it.
#[derive(Debug)]
pub(crate) struct Namespaces {
    network: OwnedFd,
    mounts: OwnedFd,
}

impl Namespaces {
    /// Has a shim make them for the container that it will launch. One that shares namespaces of another
    /// container joins that one's, `lent`.
    pub(crate) async fn make(
        shim: &Shim,
        mapping: &Mapping,
        lent: Option<PathBuf>,
    ) -> Result<Self, Error> {
        let request = Request::MakeUserNamespace(UserNamespace {
            uids: mapping.uids.clone(),
            gids: mapping.gids.clone(),
            network: true,
            root_in_mounts: mapping.root_in_mounts(),
            joined: lent,
        });
        let failed = |error| Error::internal("cannot make a user namespace", error);
        match shim.request(request, Vec::new()).await.map_err(failed)? {
            Answer::Keepers(keepers) => {
                let open = |pid: i32, kind: &str| {
                    let file = File::open(format!("/proc/{pid}/ns/{kind}"));
                    file.map(OwnedFd::from)
                        .map_err(|error| Error::internal("cannot open a user namespace", error))
                };
                Ok(Self {
                    network: open(keepers.container, "net")?,
                    mounts: open(keepers.mounts, "user")?,
                })
            }
            _ => Err(Error::internal(
                "cannot make a user namespace",
                UnexpectedAnswer,
            )),
        }
    }

    /// A new network namespace that belongs to the user namespace.
    pub(crate) fn network(&self) -> BorrowedFd<'_> {
        self.network.as_fd()
    }

    /// The same, when nothing else is needed.
    pub(crate) fn into_mounts(self) -> OwnedFd {
        self.mounts
    }

    /// The user namespace whose mapping mounts get.
    pub(crate) fn mounts(&self) -> BorrowedFd<'_> {
        self.mounts.as_fd()
    }
}
