//! Tests that drive the real thing; see `tests/`.
