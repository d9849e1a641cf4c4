//! The command line: arguments as typed, a client of the Engine API, Docker's tables and texts.
//!
//! A command is one file below `commands`: its flags as a table ([`grammar`]), what it asks the engine ([`client`]), what
//! it shows ([`format`], [`printer`]). It never goes around the API. How it fails is a [`failure::Failure`], which
//! [`run`] alone turns into text and exit code.

#![forbid(unsafe_code)]

mod client;
mod commands;
mod environment;
mod failure;
mod format;
pub mod grammar;
mod launch;
mod manual;
pub mod options;
mod printer;
mod program;
mod progress;
mod prompt;
mod settings;
mod streams;
mod terminal;

use std::ffi::OsString;

pub use manual::{Page, manual};
pub use program::Program;

use failure::Failure;

/// Runs one command line, without the program's name, and returns the code to exit with.
#[must_use]
pub fn run(program: Program, arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let mut words = Vec::new();
    for argument in arguments {
        match argument.into_string() {
            Ok(word) => words.push(word),
            Err(argument) => {
                printer::say(&format!(
                    "{}: argument {argument:?} is not UTF-8, and the engine's API knows no other text\n",
                    program.name()
                ));
                return 125;
            }
        }
    }
    match commands::dispatch(program, &words) {
        Ok(code) | Err(Failure::Silent(code)) => code,
        Err(Failure::Usage(error)) => {
            printer::say(&error.text());
            error.exit_code()
        }
        Err(Failure::Message { text, code }) => {
            printer::say(&format!("{text}\n"));
            code
        }
    }
}
