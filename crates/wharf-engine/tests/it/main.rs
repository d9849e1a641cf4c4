//! Engines on the real kernel: root, and a busybox to run.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on fails"
)]

mod life;
mod rig;
mod streams;
