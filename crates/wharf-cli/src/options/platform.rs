//! Platforms: `linux/amd64`, `linux/arm/v7`, as the API takes them.

use crate::grammar::Invalid;

/// Reads a platform into the document the API takes.
pub(crate) fn parse(text: &str) -> Result<String, Invalid> {
    let parts: Vec<&str> = text.split('/').collect();
    let plain = |part: &&str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
    };
    if let Some(part) = parts.iter().find(|part| !plain(part)) {
        return Err(Invalid(format!(
            "invalid platform: {part:?} is an invalid component of {text:?}: platform specifier component must match \"^[A-Za-z0-9_.-]+$\": invalid argument"
        )));
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
        _ => {
            return Err(Invalid(format!(
                "invalid platform: {text:?}: cannot parse platform specifier: invalid argument"
            )));
        }
    };
    Ok(document.to_string())
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
            parse("linux/arm/v7").as_deref(),
            Ok(r#"{"architecture":"arm","os":"linux","variant":"v7"}"#)
        );
        assert_eq!(
            parse("linux/x86_64").as_deref(),
            Ok(r#"{"architecture":"amd64","os":"linux"}"#)
        );
        assert!(parse("linux/").is_err() && parse("a/b/c/d").is_err() && parse("").is_err());
    }
}
