//! What a registry says when it refuses: the `errors` list of an answer's body.
//!
//! Source: OCI distribution specification 1.1, "Error Codes"; the irregular bodies (`details`, plain
//! text) as Docker's client reads them. The texts are a stranger's: they are bounded, and no control
//! character of theirs reaches a terminal.

use std::fmt;

use http::StatusCode;
use serde::Deserialize;

use crate::challenge::Challenge;

/// Most bytes of a refusal's body that are read.
pub(crate) const BODY_MAX: usize = 64 * 1024;
/// Most entries kept.
const ENTRIES_MAX: usize = 8;
/// Most characters of a code or a message that are kept.
const TEXT_MAX: usize = 1024;

/// A registry's refusal, in its own words made harmless.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    status: StatusCode,
    entries: Vec<Entry>,
}

/// One entry of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    code: String,
    message: String,
}

#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    errors: Option<Vec<BodyEntry>>,
    #[serde(default)]
    details: Option<String>,
}

#[derive(Deserialize)]
struct BodyEntry {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: Option<String>,
}

impl Refusal {
    /// Reads an answer's body, or its challenges when those say more.
    pub(crate) fn read(status: StatusCode, challenges: &[Challenge], body: &[u8]) -> Self {
        let mut entries = entries(status, body);
        if let Some(entry) = from_challenges(challenges)
            && entries.iter().all(|other| other.code != entry.code)
        {
            entries.insert(0, entry);
        }
        if entries.is_empty()
            && let Some((code, message)) = spoken(status)
        {
            entries.push(Entry {
                code: code.to_owned(),
                message: message.to_owned(),
            });
        }
        Self { status, entries }
    }

    /// Makes a refusal with one entry.
    pub(crate) fn of(status: StatusCode, code: &str, message: &str) -> Self {
        Self {
            status,
            entries: vec![Entry {
                code: harmless(code),
                message: harmless(message),
            }],
        }
    }

    /// Returns the status of the answer.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status.as_u16()
    }

    /// Returns the status with its meaning, `401 Unauthorized`.
    pub(crate) fn shown_status(&self) -> String {
        self.status.to_string()
    }

    /// Returns the first code, `MANIFEST_UNKNOWN` for instance, or nothing when the registry gave none.
    #[must_use]
    pub fn code(&self) -> &str {
        self.entries.first().map_or("", |entry| entry.code.as_str())
    }

    /// Forgets all entries but the first.
    pub(crate) fn keep_first(&mut self) {
        self.entries.truncate(1);
    }

    /// Returns whether one of the entries has this code.
    #[must_use]
    pub fn has(&self, code: &str) -> bool {
        self.entries.iter().any(|entry| entry.code == code)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.entries.as_slice() {
            [] => write!(f, "received unexpected HTTP status: {}", self.status),
            [entry] => entry.fmt(f),
            entries => {
                f.write_str("errors:")?;
                entries.iter().try_for_each(|entry| write!(f, "\n{entry}"))
            }
        }
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = self.code.to_lowercase().replace('_', " ");
        match (code.is_empty(), self.message.is_empty()) {
            (true, _) => f.write_str(&self.message),
            (false, true) => f.write_str(&code),
            (false, false) => write!(f, "{code}: {}", self.message),
        }
    }
}

fn entries(status: StatusCode, body: &[u8]) -> Vec<Entry> {
    let Ok(body) = serde_json::from_slice::<Body>(body) else {
        return Vec::new();
    };
    if let Some(details) = body.details.filter(|details| !details.is_empty()) {
        let code = spoken(status).map_or("UNKNOWN", |(code, _)| code);
        return vec![Entry {
            code: code.to_owned(),
            message: harmless(&details),
        }];
    }
    body.errors
        .unwrap_or_default()
        .into_iter()
        .take(ENTRIES_MAX)
        .map(|entry| {
            let code = harmless(&entry.code);
            let message = entry.message.filter(|message| !message.is_empty());
            // Go prints the code in the place of a message that is missing.
            let message = message.map_or_else(
                || code.to_lowercase().replace('_', " "),
                |message| harmless(&message),
            );
            Entry { code, message }
        })
        .collect()
}

/// RFC 6750, section 3.1: why a bearer token was refused.
fn from_challenges(challenges: &[Challenge]) -> Option<Entry> {
    challenges
        .iter()
        .filter(|challenge| challenge.is("bearer"))
        .find_map(|challenge| {
            let (code, message) = match challenge.parameter("error")? {
                "invalid_token" => ("UNAUTHORIZED", "authentication required"),
                "insufficient_scope" => ("DENIED", "requested access to the resource is denied"),
                _ => return None,
            };
            let message = challenge
                .parameter("error_description")
                .filter(|text| !text.is_empty())
                .unwrap_or(message);
            Some(Entry {
                code: code.to_owned(),
                message: harmless(message),
            })
        })
}

/// What a status says by itself, in the words of Docker's client.
fn spoken(status: StatusCode) -> Option<(&'static str, &'static str)> {
    match status {
        StatusCode::UNAUTHORIZED => Some(("UNAUTHORIZED", "authentication required")),
        StatusCode::FORBIDDEN => Some(("DENIED", "requested access to the resource is denied")),
        StatusCode::TOO_MANY_REQUESTS => Some(("TOOMANYREQUESTS", "too many requests")),
        _ => None,
    }
}

/// Returns the text without control characters, and not longer than it should be.
pub(crate) fn harmless(text: &str) -> String {
    let mut safe: String = text
        .chars()
        .take(TEXT_MAX)
        .map(|c| if is_harmful(c) { '\u{fffd}' } else { c })
        .collect();
    if text.chars().nth(TEXT_MAX).is_some() {
        safe.push('…');
    }
    safe
}

/// Control characters, and those that turn the direction of the text around them (CVE-2021-42574).
fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(status: u16, challenge: &str, body: &str, expected: &str) {
        let challenges = crate::challenge::parse([challenge]);
        let status = StatusCode::from_u16(status).expect("status");
        let refusal = Refusal::read(status, &challenges, body.as_bytes());
        assert_eq!(refusal.to_string(), expected);
    }

    #[test]
    fn the_texts_are_those_of_dockers_client() {
        check(
            404,
            "",
            r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{"Tag":"x"}}]}"#,
            "manifest unknown: manifest unknown",
        );
        check(
            401,
            r#"Bearer realm="https://a/t",error="insufficient_scope""#,
            r#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}"#,
            "errors:\ndenied: requested access to the resource is denied\nunauthorized: authentication required",
        );
        check(
            401,
            "",
            r#"{"details":"incorrect username or password"}"#,
            "unauthorized: incorrect username or password",
        );
        check(429, "", "slow down", "toomanyrequests: too many requests");
        check(
            403,
            "",
            "",
            "denied: requested access to the resource is denied",
        );
        check(
            500,
            "",
            "<html>",
            "received unexpected HTTP status: 500 Internal Server Error",
        );
        check(
            404,
            "",
            r#"{"errors":[{"code":"NAME_UNKNOWN"}]}"#,
            "name unknown: name unknown",
        );
    }

    #[test]
    fn a_strangers_text_is_bounded_and_harmless() {
        let body = format!(
            r#"{{"errors":[{{"code":"X","message":"\u001b[31m\u202e{}"}}]}}"#,
            "a".repeat(5000)
        );
        let text = Refusal::read(StatusCode::BAD_REQUEST, &[], body.as_bytes()).to_string();
        assert!(text.chars().count() < 1100);
        assert!(!text.contains(is_harmful), "{text:?}");
    }

    #[test]
    fn only_some_entries_are_kept() {
        let entry = r#"{"code":"A","message":"b"}"#;
        let body = format!(r#"{{"errors":[{}]}}"#, vec![entry; 1000].join(","));
        let refusal = Refusal::read(StatusCode::BAD_REQUEST, &[], body.as_bytes());
        assert_eq!(refusal.entries.len(), ENTRIES_MAX);
    }
}
