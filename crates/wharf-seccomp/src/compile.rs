//! From the OCI document to a program.

use wharf_oci::runtime::Seccomp;

use crate::{Arch, Program};

/// Why a document is not a filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// An action that is none.
    #[error("seccomp: unknown action {0:?}")]
    UnknownAction(String),
}

/// Compiles `document` for `arch`. Calls whose names are not known are left out, as runc does.
pub fn compile(document: &Seccomp, arch: Arch) -> Result<Program, CompileError> {
    let _ = (document, arch);
    todo!()
}
