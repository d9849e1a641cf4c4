//! Questions to the user.

use std::io::BufRead as _;

use crate::failure::{Failure, errno_text};
use crate::printer::Printer;
use crate::streams::signals::Signals;
use crate::streams::stdio::Input;
use crate::terminal::Modes;

/// The longest answer.
const LONGEST: usize = 64 << 10;

/// Asks whether to go on: `y` is yes, everything else no.
pub(crate) fn confirm(printer: Printer, question: &str) -> Result<bool, Failure> {
    printer.data(format!("{question} [y/N] ").as_bytes())?;
    let mut answer = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut answer)
        .map_err(|error| Failure::message(format!("cannot read the answer: {error}")))?;
    Ok(matches!(answer.trim(), "y" | "Y"))
}

/// Questions one after the other. A signal ends them, with the terminal as it was before.
pub(crate) struct Questions {
    input: Input,
    signals: Signals,
    /// What was typed after the last answer.
    ahead: Vec<u8>,
}

impl Questions {
    /// Nothing has been asked yet.
    pub(crate) fn new() -> Result<Self, Failure> {
        let input = Input::new().map_err(|error| unreadable(&error))?;
        let signals = Signals::ending()
            .map_err(|error| Failure::message(format!("cannot catch signals: {error}")))?;
        Ok(Self {
            input,
            signals,
            ahead: Vec::new(),
        })
    }

    /// Asks for a line; blanks around it are no part of it.
    pub(crate) async fn ask(
        &mut self,
        printer: Printer,
        question: &str,
    ) -> Result<String, Failure> {
        printer.data(question.as_bytes())?;
        loop {
            if let Some(end) = self.ahead.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.ahead.drain(..=end).collect();
                return Ok(text(&line));
            }
            if self.ahead.len() > LONGEST {
                return Err(Failure::message("the answer is too long"));
            }
            let mut piece = [0; 4096];
            let length = tokio::select! {
                biased;
                signal = self.signals.next() => {
                    printer.line("")?;
                    return Err(Failure::Silent(
                        u8::try_from(128 + signal.as_raw()).unwrap_or(1),
                    ));
                }
                read = self.input.read(&mut piece) => read.map_err(|error| unreadable(&error))?,
            };
            if length == 0 {
                return Ok(text(&std::mem::take(&mut self.ahead)));
            }
            self.ahead.extend_from_slice(&piece[..length]);
        }
    }

    /// The same without showing what is typed.
    pub(crate) async fn ask_secretly(
        &mut self,
        printer: Printer,
        question: &str,
    ) -> Result<String, Failure> {
        let modes = Modes::silent(rustix::stdio::stdin())
            .map_err(|error| Failure::message(errno_text(&error)))?;
        let answer = self.ask(printer, question).await?;
        drop(modes);
        printer.line("")?;
        Ok(answer)
    }
}

fn text(line: &[u8]) -> String {
    String::from_utf8_lossy(line).trim().to_owned()
}

fn unreadable(error: &std::io::Error) -> Failure {
    Failure::message(format!("read standard input: {}", errno_text(error)))
}
