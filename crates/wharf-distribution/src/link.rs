//! `Link`: where the next page of a list is.
//!
//! Grammar: RFC 8288, section 3, as far as lists of a registry need it.

/// Longest header that is read.
const HEADER_MAX: usize = 16 * 1024;

/// Returns the target of the first link whose relation is `next`.
pub(crate) fn next(header: &str) -> Option<String> {
    if header.len() > HEADER_MAX {
        return None;
    }
    let mut rest = header;
    loop {
        let start = rest.find('<')?;
        let (target, after) = rest[start + 1..].split_once('>')?;
        let (parameters, following) = parameters(after);
        if parameters
            .iter()
            .any(|(name, value)| name == "rel" && relations(value).any(|one| one == "next"))
        {
            return Some(target.trim().to_owned());
        }
        rest = following;
    }
}

fn relations(value: &str) -> impl Iterator<Item = String> {
    value.split_ascii_whitespace().map(str::to_ascii_lowercase)
}

/// Reads `; name=value` up to the comma that ends the link, and returns what follows it.
fn parameters(text: &str) -> (Vec<(String, String)>, &str) {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while let Some(after) = rest.strip_prefix(';') {
        let after = after.trim_start();
        let end = after.find(['=', ';', ',']).unwrap_or(after.len());
        let name = after[..end].trim().to_ascii_lowercase();
        rest = &after[end..];
        let Some(value) = rest.strip_prefix('=') else {
            continue;
        };
        let value = value.trim_start();
        let (value, after) = match value.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => value.split_at(value.find([';', ',']).unwrap_or(value.len())),
        };
        found.push((name, value.trim().to_owned()));
        rest = after.trim_start();
    }
    (found, rest.split_once(',').map_or("", |(_, rest)| rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_found() {
        for (header, expected) in [
            (
                r#"</v2/a/tags/list?n=2&last=b>; rel="next""#,
                Some("/v2/a/tags/list?n=2&last=b"),
            ),
            ("<x>; rel=next", Some("x")),
            (
                r#"<p>; rel="prev", <n>; title="a, <b>"; REL="first NEXT""#,
                Some("n"),
            ),
            (r#"<p>; rel="prev""#, None),
            ("<p>", None),
            ("", None),
            ("<p", None),
            ("; rel=next", None),
        ] {
            assert_eq!(next(header).as_deref(), expected, "{header}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_not(text in ".{0,100}", tail in "[<>;,=\" a-z]{0,60}") {
            drop(next(&text));
            drop(next(&tail));
        }

        #[test]
        fn what_is_written_is_read_back(target in "[!-;=?-~]{1,40}") {
            let header = format!("<{target}>; rel=\"next\"");
            proptest::prop_assert_eq!(next(&header), Some(target));
        }
    }
}
