//! Questions to the user.

use std::io::BufRead as _;

use crate::failure::Failure;
use crate::printer::Printer;

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
