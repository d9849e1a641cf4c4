//! Sizes: `512m`, `1.5GiB`, powers of 1024; where a limit may be absent, `-1`.

pub use wharf_types::size::{SizeError, binary as parse};

/// Reads a size, or `-1` for no limit.
pub(crate) fn parse_or_unlimited(text: &str) -> Result<i64, SizeError> {
    if text == "-1" { Ok(-1) } else { parse(text) }
}
