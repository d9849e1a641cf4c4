//! Platforms: `linux/amd64`, `linux/arm/v7`, as the API takes them.

use crate::environment;

/// Text that is no platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PlatformError {
    /// The operating system's name has letters that none has.
    #[error(
        "{0:?} is an invalid OS component of {1:?}: OSAndVersion specifier component must match \"^([A-Za-z0-9_-]+)(?:\\\\(([A-Za-z0-9_.-]*)\\\\))?$\": invalid argument"
    )]
    System(String, String),
    /// Another part has.
    #[error(
        "{0:?} is an invalid component of {1:?}: platform specifier component must match \"^[A-Za-z0-9_.-]+$\": invalid argument"
    )]
    Part(String, String),
    /// There are too many parts.
    #[error("{0:?}: cannot parse platform specifier: invalid argument")]
    Parts(String),
}

/// Reads platforms into the documents the API takes.
pub(crate) fn documents(texts: &[String]) -> Result<Vec<String>, PlatformError> {
    texts.iter().map(|text| document(text)).collect()
}

/// Reads a platform into the document the API takes.
pub(crate) fn document(text: &str) -> Result<String, PlatformError> {
    let parts: Vec<&str> = text.split('/').collect();
    if parts.len() > 3 {
        return Err(PlatformError::Parts(text.to_owned()));
    }
    for (at, part) in parts.iter().enumerate() {
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
        if at == 0 && (part.is_empty() || !part.bytes().all(letter)) {
            return Err(PlatformError::System((*part).to_owned(), text.to_owned()));
        }
        if part.is_empty() || !part.bytes().all(|byte| letter(byte) || byte == b'.') {
            return Err(PlatformError::Part((*part).to_owned(), text.to_owned()));
        }
    }
    let document = match parts[..] {
        [os @ ("linux" | "windows" | "freebsd" | "darwin")] => {
            serde_json::json!({ "architecture": own_architecture(), "os": os })
        }
        [architecture] => {
            serde_json::json!({ "architecture": normal(architecture), "os": std::env::consts::OS })
        }
        [os, architecture] => {
            serde_json::json!({ "architecture": normal(architecture), "os": os })
        }
        [os, architecture, variant] => {
            serde_json::json!({ "architecture": normal(architecture), "os": os, "variant": variant })
        }
        _ => return Err(PlatformError::Parts(text.to_owned())),
    };
    Ok(document.to_string())
}

/// The platform that is meant: the flag's, else the environment's, else the engine's own, which is empty.
pub(crate) fn chosen(flag: &str) -> String {
    if flag.is_empty() {
        environment::read(environment::DOCKER_DEFAULT_PLATFORM).unwrap_or_default()
    } else {
        flag.to_owned()
    }
}

/// The client's architecture by its name in Go.
pub(crate) fn own_architecture() -> &'static str {
    normal(std::env::consts::ARCH)
}

fn normal(architecture: &str) -> &str {
    match architecture {
        "x86_64" | "x86-64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_platform_has_one_to_three_parts() {
        assert_eq!(
            document("linux/arm/v7").as_deref(),
            Ok(r#"{"architecture":"arm","os":"linux","variant":"v7"}"#)
        );
        assert_eq!(
            document("linux/x86_64").as_deref(),
            Ok(r#"{"architecture":"amd64","os":"linux"}"#)
        );
        assert!(
            document("linux/").is_err() && document("a/b/c/d").is_err() && document("").is_err()
        );
        assert_eq!(
            document("li nux").expect_err("a blank").to_string(),
            r#""li nux" is an invalid OS component of "li nux": OSAndVersion specifier component must match "^([A-Za-z0-9_-]+)(?:\\(([A-Za-z0-9_.-]*)\\))?$": invalid argument"#
        );
    }
}
