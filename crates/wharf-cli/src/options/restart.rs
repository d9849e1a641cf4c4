//! Restart policies: `no`, `always`, `on-failure:3`, `unless-stopped`.

use wharf_wire::RestartPolicy;

/// A policy that cannot be read. Which names exist is the engine's to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RestartError {
    /// The count is no number.
    #[error("invalid restart policy format: maximum retry count must be an integer")]
    Count,
    /// `:3`.
    #[error("invalid restart policy format: no policy provided before colon")]
    NoName,
}

/// Reads a policy; empty text is `no`.
pub(crate) fn parse(text: &str) -> Result<RestartPolicy, RestartError> {
    let (name, count) = match text.split_once(':') {
        Some((name, count)) => (name, count),
        None => (text, ""),
    };
    if name.is_empty() && text.contains(':') {
        return Err(RestartError::NoName);
    }
    let maximum_retry_count = if count.is_empty() {
        0
    } else {
        count.parse().map_err(|_| RestartError::Count)?
    };
    let name = if name.is_empty() { "no" } else { name };
    Ok(RestartPolicy {
        name: name.to_owned(),
        maximum_retry_count,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_may_count() {
        let policy = |name: &str, maximum_retry_count| RestartPolicy {
            name: name.to_owned(),
            maximum_retry_count,
        };
        assert_eq!(parse(""), Ok(policy("no", 0)));
        assert_eq!(parse("always"), Ok(policy("always", 0)));
        assert_eq!(parse("on-failure:3"), Ok(policy("on-failure", 3)));
        assert_eq!(parse("on-failure:"), Ok(policy("on-failure", 0)));
        assert_eq!(parse("on-failure:x"), Err(RestartError::Count));
        assert_eq!(parse(":3"), Err(RestartError::NoName));
    }
}
