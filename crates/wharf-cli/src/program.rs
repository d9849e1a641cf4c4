//! The name the program goes by: it is `wharf`, and `docker` where a link of that name points at it.

/// The name the program was called by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// `wharf`.
    Wharf,
    /// `docker`: scripts look for Docker's sentences.
    Docker,
}

impl Program {
    /// The name in help and errors.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Wharf => "wharf",
            Self::Docker => "docker",
        }
    }

    /// The engine's name as a title and in a sentence.
    pub(crate) fn daemon(self) -> (&'static str, &'static str) {
        match self {
            Self::Wharf => ("Wharf daemon", "wharf daemon"),
            Self::Docker => ("Docker daemon", "docker daemon"),
        }
    }
}
