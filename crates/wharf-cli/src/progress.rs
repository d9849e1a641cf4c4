//! Progress of pulls and loads: on a terminal each step has a line that is rewritten, elsewhere each change is a line.

use std::collections::HashMap;
use std::io;

use wharf_wire::{Progress, ProgressDetail};

use crate::client::{ClientError, Reply};
use crate::format::units;

/// Width of a bar.
const BAR: i64 = 50;
/// Columns a terminal must have for bars.
const WIDE: u16 = 110;

/// Work that failed, or whose progress cannot be shown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProgressError {
    /// The engine cannot be heard.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The work failed, in the engine's words.
    #[error("{0}")]
    Work(String),
    /// Nobody reads.
    #[error("write to standard output")]
    Output(#[from] io::Error),
}

/// Where progress is shown.
pub(crate) struct Display {
    write: fn(&str) -> io::Result<()>,
    terminal: bool,
    bars: bool,
    /// The lines of the steps that have one, counted from the first.
    lines: HashMap<String, usize>,
}

impl Display {
    /// On standard output.
    pub(crate) fn stdout() -> Self {
        let columns = crate::terminal::size().map_or(0, |(_, columns)| columns);
        let terminal = crate::terminal::output_is_terminal();
        Self {
            write: |text| crate::printer::Printer.data(text.as_bytes()),
            terminal,
            bars: columns > WIDE,
            lines: HashMap::new(),
        }
    }

    /// On standard error.
    pub(crate) fn stderr() -> Self {
        let write = |text: &str| {
            crate::printer::say(text);
            Ok(())
        };
        let columns = crate::terminal::size().map_or(0, |(_, columns)| columns);
        Self {
            write,
            terminal: crate::terminal::error_is_terminal(),
            bars: columns > WIDE,
            lines: HashMap::new(),
        }
    }

    /// Nowhere: only failure is told, by whoever follows.
    pub(crate) fn silent() -> Self {
        Self {
            write: |_| Ok(()),
            terminal: false,
            bars: false,
            lines: HashMap::new(),
        }
    }

    /// Shows an answer's progress to its end.
    pub(crate) async fn follow(mut self, mut reply: Reply<'_>) -> Result<(), ProgressError> {
        let mut pending = Vec::new();
        while let Some(piece) = reply.piece().await? {
            pending.extend_from_slice(&piece);
            let mut documents =
                serde_json::Deserializer::from_slice(&pending).into_iter::<Progress>();
            let mut done = 0;
            loop {
                match documents.next() {
                    Some(Ok(progress)) => self.show(&progress)?,
                    Some(Err(error)) if !error.is_eof() => {
                        return Err(ClientError::Decode(error).into());
                    }
                    _ => break,
                }
                done = documents.byte_offset();
            }
            pending.drain(..done);
        }
        Ok(())
    }

    fn show(&mut self, progress: &Progress) -> Result<(), ProgressError> {
        if let Some(detail) = &progress.error_detail {
            return Err(ProgressError::Work(detail.message.clone()));
        }
        if !progress.error.is_empty() {
            return Err(ProgressError::Work(progress.error.clone()));
        }
        if !progress.stream.is_empty() {
            return Ok((self.write)(&progress.stream)?);
        }
        let detail = progress
            .progress_detail
            .as_ref()
            .filter(|detail| detail.current > 0 || detail.total > 0);
        let text = self.line(progress, detail);
        if !self.terminal {
            // A bar's every step would be a line: only changes of state are.
            if detail.is_none() && !progress.status.is_empty() {
                (self.write)(&format!("{text}\n"))?;
            }
            return Ok(());
        }
        if progress.id.is_empty() {
            self.lines.clear();
            return Ok((self.write)(&format!("{text}\n"))?);
        }
        let count = self.lines.len();
        match self.lines.get(&progress.id) {
            Some(line) => {
                let up = count - line;
                Ok((self.write)(&format!(
                    "\x1b[{up}A\x1b[2K\r{text}\x1b[{up}B\r"
                ))?)
            }
            None => {
                self.lines.insert(progress.id.clone(), count);
                Ok((self.write)(&format!("{text}\n"))?)
            }
        }
    }

    fn line(&self, progress: &Progress, detail: Option<&ProgressDetail>) -> String {
        let mut text = if progress.id.is_empty() {
            String::new()
        } else {
            format!("{}: ", progress.id)
        };
        text.push_str(&progress.status);
        if let Some(detail) = detail.filter(|_| self.terminal) {
            text.push(' ');
            text.push_str(&bar(detail, self.bars));
        }
        text
    }
}

/// `[=====>      ]  1.2MB/4.5MB`.
fn bar(detail: &ProgressDetail, wide: bool) -> String {
    let current = units::sum(detail.current);
    if detail.total <= 0 {
        return format!("{current:>8}");
    }
    let numbers = format!("{current:>8}/{}", units::sum(detail.total));
    if !wide {
        return numbers;
    }
    let done = (i128::from(detail.current.min(detail.total)) * i128::from(BAR)
        / i128::from(detail.total))
    .max(0);
    let done = usize::try_from(done).unwrap_or(0);
    let width = usize::try_from(BAR).unwrap_or(50);
    let head = if done < width { ">" } else { "" };
    format!(
        "[{}{head}{}] {numbers}",
        "=".repeat(done),
        " ".repeat(width.saturating_sub(done + 1))
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_have_fifty_columns() {
        let detail = |current, total| ProgressDetail {
            current,
            total,
            ..ProgressDetail::default()
        };
        assert_eq!(bar(&detail(1_200_000, 4_500_000), false), "   1.2MB/4.5MB");
        assert_eq!(
            bar(&detail(25, 50), true),
            "[=========================>                        ]      25B/50B"
        );
        assert_eq!(
            bar(&detail(9, 3), true),
            format!("[{}]       9B/3B", "=".repeat(50))
        );
        assert_eq!(bar(&detail(9, 0), true), "      9B");
    }
}
