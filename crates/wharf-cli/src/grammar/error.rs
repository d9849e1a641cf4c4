//! What can be wrong with a command line, and the text and exit code it ends with.

use super::{Arity, Invalid};

/// What is wrong with a command line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UsageProblem {
    /// A flag nobody knows.
    #[error("unknown flag: --{0}")]
    UnknownLong(String),
    /// A one-letter flag nobody knows.
    #[error("unknown shorthand flag: {letter:?} in -{group}")]
    UnknownShort {
        /// The letter.
        letter: char,
        /// The letters from there to the end of the argument.
        group: String,
    },
    /// A flag at the end of the line that needs a value.
    #[error("flag needs an argument: {0}")]
    NeedsValue(String),
    /// `--=x` and the like.
    #[error("bad flag syntax: {0}")]
    BadSyntax(String),
    /// A value that does not parse.
    #[error("invalid argument {value:?} for {flag:?} flag: {reason}")]
    InvalidValue {
        /// The flag, both forms.
        flag: String,
        /// The value as typed.
        value: String,
        /// What is wrong with it.
        reason: Invalid,
    },
    /// A flag of Docker's that Wharf does not serve.
    #[error("flag {0} is known from Docker, but wharf does not serve it yet")]
    Refused(String),
    /// The wrong number of positional arguments.
    #[error("{}", .0.demand())]
    Count(Arity),
}

/// A problem with the line of one command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageError {
    /// The problem.
    pub problem: UsageProblem,
    /// The program and the command as typed: `wharf container run`.
    pub command: String,
    /// The same with the placeholders that follow it.
    pub usage: String,
}

impl UsageError {
    /// The code the program ends with.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        if matches!(self.problem, UsageProblem::Count(_)) {
            1
        } else {
            125
        }
    }

    /// The whole text for standard error.
    #[must_use]
    pub fn text(&self) -> String {
        let Self {
            problem,
            command,
            usage,
        } = self;
        let program = command.split(' ').next().unwrap_or(command);
        let head = match problem {
            UsageProblem::Count(arity) => format!("{program}: '{command}' {}", arity.demand()),
            other => other.to_string(),
        };
        let verb = if matches!(problem, UsageProblem::Count(Arity::AtLeast(_))) {
            "See"
        } else {
            "Run"
        };
        format!("{head}\n\nUsage:  {usage}\n\n{verb} '{command} --help' for more information\n")
    }
}
