//! How values are shown: sizes, durations, tables and templates, as Docker shows them.

pub(crate) mod ago;
pub(crate) mod json;
pub(crate) mod listing;
pub(crate) mod ports;
pub(crate) mod text;
pub(crate) mod units;

#[cfg(test)]
mod tests;
