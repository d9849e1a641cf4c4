//! What can go wrong, by operation.
//!
//! The texts of [`ProcessError`] are those of runc, because engines and their users read them:
//! Docker maps them to the exit codes 126 and 127.

use std::io;
use std::path::PathBuf;

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::process::PlanError;

/// A configuration that cannot be carried out as it stands.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpecError {
    /// A member that the operation needs is missing.
    #[error("{0} is missing in the configuration")]
    Missing(&'static str),
    /// A member has a value that means nothing.
    #[error("invalid {member} {value:?}: {reason}")]
    Invalid {
        /// Member of the configuration.
        member: &'static str,
        /// Its value.
        value: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A member that Wharf does not carry out.
    #[error("{0} is not supported")]
    Unsupported(&'static str),
}

/// Why the child could not become the container's process; made in the child, carried to the
/// parent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ProcessError {
    /// The program is nowhere in `PATH`.
    #[error("exec: {program:?}: executable file not found in $PATH")]
    NotFoundInPath {
        /// The program as asked for.
        program: String,
    },
    /// The program, given as a path, does not exist.
    #[error("exec: {program:?}: stat {program}: no such file or directory")]
    NotFound {
        /// The program as asked for.
        program: String,
    },
    /// The program exists but cannot be executed.
    #[error("exec: {program:?}: {}", errno_text(*.errno))]
    NotExecutable {
        /// The program as asked for.
        program: String,
        /// `EACCES`, `ENOEXEC`, `EISDIR`…
        errno: i32,
    },
    /// The kernel would not execute what was found: a foreign format, a missing interpreter.
    #[error("exec {program}: {}", errno_text(*.errno))]
    Exec {
        /// The file.
        program: String,
        /// `ENOEXEC`, `ENOENT`…
        errno: i32,
    },
    /// The working directory cannot be entered.
    #[error("chdir to cwd ({cwd:?}) set in config.json failed: {}", errno_text(*.errno))]
    Cwd {
        /// The directory.
        cwd: PathBuf,
        /// Why.
        errno: i32,
    },
    /// The working directory turned out to lie outside of the container (CVE-2024-21626).
    #[error(
        "current working directory is outside of container mount namespace root -- possible container breakout detected"
    )]
    CwdOutside,
    /// A mount failed.
    #[error("error mounting {source_path:?} to rootfs at {destination:?}: {what}: {}", errno_text(*.errno))]
    Mount {
        /// What is mounted.
        source_path: String,
        /// Where.
        destination: PathBuf,
        /// The step.
        what: String,
        /// Why.
        errno: i32,
    },
    /// A hook failed.
    #[error("error running {point} hook: {reason}")]
    Hook {
        /// Which kind of hook.
        point: String,
        /// What it did.
        reason: String,
    },
    /// Another step failed.
    #[error("{step}: {}", errno_text(*.errno))]
    Setup {
        /// The step.
        step: String,
        /// Why.
        errno: i32,
    },
    /// The configuration asks for something that is refused.
    #[error("{0}")]
    Refused(String),
    /// The child ended without a word.
    #[error("the container's process ended before it was set up ({0})")]
    Died(String),
}

impl ProcessError {
    /// The exit code that a shell and Docker give to this failure: 127 not found, 126 not
    /// executable, 125 anything else; a missing working directory counts as not found, as in Docker.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NotFoundInPath { .. } | Self::NotFound { .. } => 127,
            Self::Exec { errno, .. } if *errno == Errno::NOENT.raw_os_error() => 127,
            Self::NotExecutable { .. } | Self::Exec { .. } => 126,
            Self::Cwd { errno, .. } if *errno == Errno::NOENT.raw_os_error() => 127,
            Self::Cwd { .. } => 126,
            _ => 125,
        }
    }
}

/// A step of the caller's side that failed.
#[derive(Debug, thiserror::Error)]
#[error("{step}")]
pub struct IoError {
    /// The step.
    pub step: String,
    /// Why.
    #[source]
    pub source: io::Error,
}

/// Why `create` failed. Nothing is left behind.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CreateError {
    /// The configuration.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The plan of the limits.
    #[error("cannot carry out linux.resources")]
    Limits(#[source] wharf_cgroup::PlanError),
    /// The container's cgroup.
    #[error("cannot make the container's cgroup")]
    Cgroup(#[source] wharf_cgroup::CgroupError),
    /// The system call filter.
    #[error("cannot compile linux.seccomp")]
    Seccomp(#[source] wharf_seccomp::CompileError),
    /// Something the caller's side of the start needs.
    #[error(transparent)]
    Io(#[from] IoError),
    /// The child.
    #[error(transparent)]
    Process(#[from] ProcessError),
}

impl From<PlanError> for CreateError {
    fn from(error: PlanError) -> Self {
        match error {
            PlanError::Spec(error) => Self::Spec(error),
            PlanError::Seccomp(error) => Self::Seccomp(error),
        }
    }
}

impl From<PlanError> for ExecError {
    fn from(error: PlanError) -> Self {
        match error {
            PlanError::Spec(error) => Self::Spec(error),
            PlanError::Seccomp(error) => Self::Seccomp(error),
        }
    }
}

/// Why `start` failed. The process is gone.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The process.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// The connection to the process.
    #[error("cannot start the container's process")]
    Io(#[source] io::Error),
}

/// Why a process could not join a container.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExecError {
    /// The process's configuration.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The system call filter.
    #[error("cannot compile linux.seccomp")]
    Seccomp(#[source] wharf_seccomp::CompileError),
    /// The container's cgroup.
    #[error("cannot join the container's cgroup")]
    Cgroup(#[source] wharf_cgroup::CgroupError),
    /// Something the caller's side needs.
    #[error(transparent)]
    Io(#[from] IoError),
    /// The child.
    #[error(transparent)]
    Process(#[from] ProcessError),
}

/// The kernel's words for an error number as runc and Docker print them: lower case, no number.
pub(crate) fn errno_text(errno: i32) -> String {
    let text = io::Error::from_raw_os_error(errno).to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_lowercase().chain(chars).collect(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_read_as_runc_words_them() {
        let not_found = ProcessError::NotFoundInPath {
            program: "foo".into(),
        };
        assert_eq!(
            not_found.to_string(),
            r#"exec: "foo": executable file not found in $PATH"#
        );
        assert_eq!(not_found.exit_code(), 127);
        let denied = ProcessError::NotExecutable {
            program: "/etc/passwd".into(),
            errno: 13,
        };
        assert_eq!(
            denied.to_string(),
            r#"exec: "/etc/passwd": permission denied"#
        );
        assert_eq!(denied.exit_code(), 126);
        let cwd = ProcessError::Cwd {
            cwd: "/x".into(),
            errno: 2,
        };
        assert_eq!(
            cwd.to_string(),
            r#"chdir to cwd ("/x") set in config.json failed: no such file or directory"#
        );
    }
}
