//! Searching bytes quickly.

/// Returns where the first byte is for which `wanted` holds. Looks at a block of bytes at a time, which
/// the compiler makes vector instructions of as long as `wanted` is comparisons.
pub(crate) fn find(bytes: &[u8], wanted: impl Fn(u8) -> bool) -> Option<usize> {
    const BLOCK: usize = 32;
    let mut start = 0;
    for block in bytes.chunks_exact(BLOCK) {
        if block.iter().fold(false, |any, byte| any | wanted(*byte)) {
            break;
        }
        start += BLOCK;
    }
    let at = bytes[start..].iter().position(|byte| wanted(*byte))?;
    Some(start + at)
}

/// Returns where the first line feed is.
pub(crate) fn line_feed(bytes: &[u8]) -> Option<usize> {
    find(bytes, |byte| byte == b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn finds_what_a_plain_search_finds(bytes in proptest::collection::vec(0u8..40, 0..200)) {
            let plain = bytes.iter().position(|byte| *byte == b'\n');
            proptest::prop_assert_eq!(line_feed(&bytes), plain);
        }
    }
}
