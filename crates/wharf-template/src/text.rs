//! Text that may not grow beyond a bound.

use std::fmt;

/// The bound was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full;

/// A string with an upper bound on its length, so that no template can exhaust memory.
#[derive(Debug)]
pub(crate) struct Text {
    text: String,
    limit: usize,
}

impl Text {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            text: String::new(),
            limit,
        }
    }

    pub(crate) fn push(&mut self, text: &str) -> Result<(), Full> {
        if self.text.len() + text.len() > self.limit {
            return Err(Full);
        }
        self.text.push_str(text);
        Ok(())
    }

    pub(crate) fn push_char(&mut self, character: char) -> Result<(), Full> {
        self.push(character.encode_utf8(&mut [0; 4]))
    }

    pub(crate) fn repeat(&mut self, character: char, count: usize) -> Result<(), Full> {
        if count > self.limit {
            return Err(Full);
        }
        for _ in 0..count {
            self.push_char(character)?;
        }
        Ok(())
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    pub(crate) fn into_string(self) -> String {
        self.text
    }
}

impl fmt::Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text).map_err(|Full| fmt::Error)
    }
}
