//! The types against documents of the real programs.
#![expect(
    clippy::unwrap_used,
    reason = "a test stops at the first thing that is not as it expects"
)]

mod golden;
mod zero;
