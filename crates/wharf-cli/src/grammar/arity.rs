//! How many positional arguments a command takes.

use super::UsageProblem;

/// The number of positional arguments a command takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arity {
    /// None at all.
    None,
    /// So many.
    Exactly(usize),
    /// So many or more.
    AtLeast(usize),
    /// So many or fewer.
    AtMost(usize),
    /// From the first number to the second.
    Between(usize, usize),
}

impl Arity {
    /// Refuses a line with too few or too many positional arguments.
    pub(super) fn check(self, count: usize) -> Result<(), UsageProblem> {
        let fits = match self {
            Self::None => count == 0,
            Self::Exactly(exactly) => count == exactly,
            Self::AtLeast(least) => count >= least,
            Self::AtMost(most) => count <= most,
            Self::Between(least, most) => (least..=most).contains(&count),
        };
        if fits {
            Ok(())
        } else {
            Err(UsageProblem::Count(self))
        }
    }

    /// `requires 2 arguments`, as it follows the command's name.
    pub(super) fn demand(self) -> String {
        let plural = |count: usize| if count == 1 { "argument" } else { "arguments" };
        match self {
            Self::None => "accepts no arguments".to_owned(),
            Self::Exactly(count) => format!("requires {count} {}", plural(count)),
            Self::AtLeast(count) => format!("requires at least {count} {}", plural(count)),
            Self::AtMost(count) => format!("requires at most {count} {}", plural(count)),
            Self::Between(least, most) => format!(
                "requires at least {least} and at most {most} {}",
                plural(most)
            ),
        }
    }
}
