//! The grammar of command lines: flags as Docker's users type them.
//!
//! Docker's commands are parsed by Go's pflag, and its rules and wording are part of the interface: `-it`
//! joined, `--rm=false`, a repeated flag's last value wins, flags end at the image for `run`, and
//! `invalid argument "x" for "-m, --memory" flag: …` is what scripts look for. A command is a table of flags whose
//! entries write into the command's own argument type, so that a value is checked where it stands on the line
//! and only the asked command's table is ever looked at: nothing is built at start-up.
//!
//! A flag of Docker's that Wharf does not serve is in the table too, marked as refused: it is not shown in the
//! help, and its use is an error that names it.

mod arity;
mod demand;
mod error;
mod help;

pub use arity::Arity;
pub use demand::{Demand, Needs};
pub use error::{UsageError, UsageProblem};
pub use help::{HelpEntry, flag_usages};

use std::fmt;

/// Why a flag's value is no good, as it is shown after `invalid argument "…" for "…" flag:`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid(pub String);

impl<E: std::error::Error> From<E> for Invalid {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Writes a value into the arguments of type `A`.
pub type Store<A> = fn(&mut A, &str) -> Result<(), Invalid>;

/// What a flag does to the arguments of type `A`.
pub enum Action<A: 'static> {
    /// Takes no value, or `=true` / `=false`.
    Switch(fn(&mut A, bool)),
    /// Takes a value.
    Value(Store<A>),
    /// Docker has it, Wharf does not serve it.
    Refuse,
}

/// One flag of a command.
pub struct Flag<A: 'static> {
    long: &'static str,
    short: Option<char>,
    /// The word that stands for the value in the help.
    kind: &'static str,
    about: &'static str,
    /// The default as the help shows it, quotes included; empty when none is shown.
    default: &'static str,
    hidden: bool,
    needs: Needs,
    action: Action<A>,
}

impl<A> Flag<A> {
    /// A flag without a value.
    pub const fn switch(long: &'static str, about: &'static str, set: fn(&mut A, bool)) -> Self {
        Self {
            long,
            short: None,
            kind: "",
            about,
            default: "",
            hidden: false,
            needs: Needs::Nothing,
            action: Action::Switch(set),
        }
    }

    /// A flag with a value, shown as `kind` in the help.
    pub const fn value(
        long: &'static str,
        kind: &'static str,
        about: &'static str,
        set: Store<A>,
    ) -> Self {
        Self {
            long,
            short: None,
            kind,
            about,
            default: "",
            hidden: false,
            needs: Needs::Nothing,
            action: Action::Value(set),
        }
    }

    /// A flag of Docker's that is refused by name.
    pub const fn refused(long: &'static str) -> Self {
        Self {
            long,
            short: None,
            kind: "",
            about: "",
            default: "",
            hidden: true,
            needs: Needs::Nothing,
            action: Action::Refuse,
        }
    }

    /// The same with a one-letter form.
    pub const fn short(mut self, short: char) -> Self {
        self.short = Some(short);
        self
    }

    /// The same with a default shown in the help.
    pub const fn default(mut self, default: &'static str) -> Self {
        self.default = default;
        self
    }

    /// The same, left out of the help.
    pub const fn hidden(mut self) -> Self {
        self.hidden = true;
        self
    }

    /// The same for engines of this API version, 1.x, and later ones.
    pub const fn since(mut self, minor: u32) -> Self {
        self.needs = Needs::Api(minor);
        self
    }

    /// The same for engines that run on Windows.
    pub const fn windows(mut self) -> Self {
        self.needs = Needs::Windows;
        self
    }

    /// The same for engines with experimental features.
    pub const fn experimental(mut self) -> Self {
        self.needs = Needs::Experimental;
        self
    }

    /// The long form: `--memory`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("--{}", self.long)
    }

    /// `-m, --memory` or `--rm`.
    fn display(&self) -> String {
        match self.short {
            Some(short) => format!("-{short}, --{}", self.long),
            None => format!("--{}", self.long),
        }
    }
}

/// What a line may hold.
pub struct Grammar<A: 'static> {
    /// Tables of flags; commands that share flags share tables.
    pub flags: &'static [&'static [Flag<A>]],
    /// Whether flags may follow the first positional argument.
    pub interspersed: bool,
    /// How many positional arguments there may be.
    pub arity: Arity,
}

/// What was typed.
#[derive(Debug)]
pub enum Line<A> {
    /// `--help`.
    Help,
    /// The flags' values, and the positional arguments.
    Arguments(A, Vec<String>),
}

impl<A: Default> Grammar<A> {
    /// Reads the arguments that follow the command's name.
    pub fn parse(&self, arguments: &[String]) -> Result<Line<A>, UsageProblem> {
        self.parse_noting(arguments, &mut Vec::new())
    }

    /// The same; what the flags that were typed ask of the engine is added to `demands`.
    pub fn parse_noting(
        &self,
        arguments: &[String],
        demands: &mut Vec<Demand>,
    ) -> Result<Line<A>, UsageProblem> {
        let mut values = A::default();
        let mut positional = Vec::new();
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            if argument == "--" {
                positional.extend(rest.by_ref().cloned());
            } else if let Some(long) = argument.strip_prefix("--") {
                if self.long(&mut values, long, &mut rest, demands)? {
                    return Ok(Line::Help);
                }
            } else if let Some(shorts) = argument
                .strip_prefix('-')
                .filter(|shorts| !shorts.is_empty())
            {
                if self.shorts(&mut values, shorts, &mut rest, demands)? {
                    return Ok(Line::Help);
                }
            } else {
                positional.push(argument.clone());
                if !self.interspersed {
                    positional.extend(rest.by_ref().cloned());
                }
            }
        }
        self.arity.check(positional.len())?;
        Ok(Line::Arguments(values, positional))
    }

    /// Reads `name` or `name=value`; true when help was asked.
    fn long<'a>(
        &self,
        values: &mut A,
        text: &str,
        rest: &mut impl Iterator<Item = &'a String>,
        demands: &mut Vec<Demand>,
    ) -> Result<bool, UsageProblem> {
        let (name, attached) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        if name.is_empty() || name.starts_with('-') {
            return Err(UsageProblem::BadSyntax(format!("--{text}")));
        }
        let Some(flag) = self
            .flags
            .iter()
            .copied()
            .flatten()
            .find(|flag| flag.long == name)
        else {
            return if name == "help" {
                Ok(true)
            } else {
                Err(UsageProblem::UnknownLong(name.to_owned()))
            };
        };
        flag.needs.note(flag.long, demands);
        match flag.action {
            Action::Refuse => Err(UsageProblem::Refused(format!("--{name}"))),
            Action::Switch(set) => set_switch(flag, set, values, attached).map(|()| false),
            Action::Value(store) => {
                let value = match attached {
                    Some(value) => value,
                    None => rest
                        .next()
                        .ok_or_else(|| UsageProblem::NeedsValue(format!("--{name}")))?,
                };
                set_value(flag, store, values, value).map(|()| false)
            }
        }
    }

    /// Reads a group of one-letter flags, the last of which may have a value; true when help was asked.
    fn shorts<'a>(
        &self,
        values: &mut A,
        group: &str,
        rest: &mut impl Iterator<Item = &'a String>,
        demands: &mut Vec<Demand>,
    ) -> Result<bool, UsageProblem> {
        let mut letters = group.chars();
        loop {
            let here = letters.as_str();
            let Some(letter) = letters.next() else {
                return Ok(false);
            };
            let Some(flag) = self
                .flags
                .iter()
                .copied()
                .flatten()
                .find(|flag| flag.short == Some(letter))
            else {
                if letter == 'h' {
                    return Ok(true);
                }
                return Err(UsageProblem::UnknownShort {
                    letter,
                    group: here.to_owned(),
                });
            };
            let attached = letters
                .as_str()
                .strip_prefix('=')
                .filter(|_| here.len() > 2);
            flag.needs.note(flag.long, demands);
            match flag.action {
                Action::Refuse => {
                    return Err(UsageProblem::Refused(format!("-{letter}, --{}", flag.long)));
                }
                Action::Switch(set) => {
                    set_switch(flag, set, values, attached)?;
                    if attached.is_some() {
                        return Ok(false);
                    }
                }
                Action::Value(store) => {
                    let joined = Some(letters.as_str()).filter(|joined| !joined.is_empty());
                    let value = match attached.or(joined) {
                        Some(value) => value,
                        None => rest.next().ok_or_else(|| {
                            UsageProblem::NeedsValue(format!("'{letter}' in -{here}"))
                        })?,
                    };
                    return set_value(flag, store, values, value).map(|()| false);
                }
            }
        }
    }
}

fn set_switch<A>(
    flag: &Flag<A>,
    set: fn(&mut A, bool),
    values: &mut A,
    attached: Option<&str>,
) -> Result<(), UsageProblem> {
    let on = match attached {
        None => true,
        Some(text) => parse_bool(text).map_err(|reason| invalid(flag, text, reason))?,
    };
    set(values, on);
    Ok(())
}

fn set_value<A>(
    flag: &Flag<A>,
    store: Store<A>,
    values: &mut A,
    text: &str,
) -> Result<(), UsageProblem> {
    store(values, text).map_err(|reason| invalid(flag, text, reason))
}

fn invalid<A>(flag: &Flag<A>, value: &str, reason: Invalid) -> UsageProblem {
    UsageProblem::InvalidValue {
        flag: flag.display(),
        value: value.to_owned(),
        reason,
    }
}

/// Reads a truth value as Go's `strconv.ParseBool` does.
pub fn parse_bool(text: &str) -> Result<bool, Invalid> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(Invalid(format!(
            "strconv.ParseBool: parsing {text:?}: invalid syntax"
        ))),
    }
}

/// Reads a whole number as Go's `strconv.ParseInt` does, with its words for what is wrong.
pub fn parse_int(text: &str) -> Result<i64, Invalid> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (radix, digits) = match digits.get(..2) {
        Some("0x" | "0X") => (16, &digits[2..]),
        Some("0b" | "0B") => (2, &digits[2..]),
        Some("0o" | "0O") => (8, &digits[2..]),
        Some(_) if digits.starts_with('0') => (8, &digits[1..]),
        _ => (10, digits),
    };
    let syntax = || {
        Invalid(format!(
            "strconv.ParseInt: parsing {text:?}: invalid syntax"
        ))
    };
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(radix)) {
        return Err(syntax());
    }
    let sign = if text.starts_with('-') { "-" } else { "" };
    i64::from_str_radix(&format!("{sign}{digits}"), radix).map_err(|_| {
        Invalid(format!(
            "strconv.ParseInt: parsing {text:?}: value out of range"
        ))
    })
}

#[cfg(test)]
mod tests;
