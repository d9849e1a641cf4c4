//! What fuzz targets reach of this crate: readers of foreign text that nobody else calls directly.

/// Reads challenges.
pub fn challenges(text: &str) {
    for challenge in crate::challenge::parse([text]) {
        drop(challenge.parameter("realm").and_then(crate::address::parse));
    }
}

/// Reads a `Link`, and follows it.
pub fn link(text: &str) {
    let base = http::Uri::from_static("https://registry.test/v2/app/tags/list");
    if let Some(target) = crate::link::next(text) {
        drop(crate::address::join(&base, &target));
    }
    if let Some((origin, uri)) = crate::address::join(&base, text) {
        assert_eq!(crate::address::origin(&uri), Some(origin));
    }
}

/// Reads a `hosts.toml`.
pub fn hosts_toml(text: &str) {
    drop(crate::hosts::parse_hosts_toml(text));
}

/// Reads a registry's refusal, whose text must not harm a terminal.
pub fn refusal(body: &[u8]) {
    let refusal = crate::Refusal::read(http::StatusCode::BAD_REQUEST, &[], body);
    let text = refusal.to_string();
    assert!(
        !text.chars().any(|c| c.is_control() && c != '\n'),
        "{text:?}"
    );
}

/// Reads an answer of a name server.
pub fn name_reply(bytes: &[u8]) {
    crate::names::fuzz(bytes);
}
