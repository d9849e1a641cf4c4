//! Why a container did not start, as its user is told.

use wharf_shim::protocol::Failure;

use crate::error::{Error, ErrorKind};

/// Why a launch failed, and the exit code that stands for.
#[derive(Debug)]
pub(super) struct LaunchError {
    pub(super) error: Error,
    pub(super) exit_code: i32,
}

impl LaunchError {
    /// What the runtime says, in the words Docker puts around it: clients look for them.
    pub(super) fn refused(failure: &Failure) -> Self {
        let text = &failure.message;
        let message = if failure.before_runtime {
            format!("failed to create task for container: {text}")
        } else {
            format!(
                "failed to create task for container: failed to create shim task: OCI runtime create failed: \
                 unable to start container process: {text}: unknown"
            )
        };
        let kind = match failure.exit_code {
            126 | 127 => ErrorKind::Invalid,
            _ => ErrorKind::Internal,
        };
        // Docker keeps 128 for what is neither.
        let exit_code = match failure.exit_code {
            code @ (126 | 127) => i32::from(code),
            _ => 128,
        };
        Self {
            error: Error::new(kind, message),
            exit_code,
        }
    }
}

impl From<Error> for LaunchError {
    fn from(error: Error) -> Self {
        Self {
            error,
            exit_code: 128,
        }
    }
}

impl std::fmt::Display for LaunchError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.error.fmt(f)
    }
}
