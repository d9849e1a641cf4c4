//! Which platforms an image is for. Every image here is for one, the engine's own.

use wharf_store::Image;
use wharf_wire as wire;

use super::Images;
use crate::error::Error;

impl Images {
    /// Refuses platforms that an image is not for. Each is OCI's document; none means any.
    pub(crate) fn provides(&self, name: &str, platforms: &[String]) -> Result<(), Error> {
        if platforms.is_empty() {
            return Ok(());
        }
        let image = self.image(&self.find(name)?.id)?;
        let wanted = platforms
            .iter()
            .map(|text| read(text))
            .collect::<Result<Vec<_>, _>>()?;
        match wanted.iter().find(|platform| !is_for(&image, platform)) {
            None => Ok(()),
            Some(platform) => Err(Error::not_found(format!(
                "image with reference {name} was found but does not provide the specified platform ({})",
                text(platform)
            ))),
        }
    }
}

/// Refuses platforms of which none is the engine's own.
pub(crate) fn any_is_own(platforms: &[String]) -> Result<(), Error> {
    let wanted = platforms
        .iter()
        .map(|text| read(text))
        .collect::<Result<Vec<_>, _>>()?;
    let is_own = |platform: &wire::ImagePlatform| {
        platform.os == "linux" && platform.architecture == own_architecture()
    };
    match wanted.first() {
        Some(first) if !wanted.iter().any(is_own) => Err(Error::not_found(format!(
            "no image for the platform {} can be loaded: this engine runs linux/{}",
            text(first),
            own_architecture()
        ))),
        _ => Ok(()),
    }
}

/// This program's architecture in Go's words.
fn own_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn read(document: &str) -> Result<wire::ImagePlatform, Error> {
    let platform: wire::ImagePlatform = serde_json::from_str(document)
        .map_err(|error| Error::invalid(format!("failed to parse platform: {error}")))?;
    if platform.os.is_empty() || platform.architecture.is_empty() {
        return Err(Error::invalid(
            "failed to parse platform: both os and architecture are needed",
        ));
    }
    Ok(platform)
}

/// An image that does not say a variant is for all, and the other way round.
fn is_for(image: &Image, platform: &wire::ImagePlatform) -> bool {
    let config = &image.config;
    let variant = config.variant.as_deref().unwrap_or_default();
    config.os == platform.os
        && config.architecture == platform.architecture
        && (variant.is_empty() || platform.variant.is_empty() || variant == platform.variant)
}

fn text(platform: &wire::ImagePlatform) -> String {
    let parts = [&platform.os, &platform.architecture, &platform.variant];
    let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts
        .iter()
        .map(|part| part.as_str())
        .collect::<Vec<_>>()
        .join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_own_platform_is_loaded() {
        let own = format!(
            r#"{{"os":"linux","architecture":"{}"}}"#,
            own_architecture()
        );
        let foreign = r#"{"os":"linux","architecture":"s390x"}"#.to_owned();
        assert!(any_is_own(&[]).is_ok());
        assert!(any_is_own(&[foreign.clone(), own]).is_ok());
        let error = any_is_own(&[foreign]).expect_err("foreign").to_string();
        assert!(error.contains("linux/s390x"), "{error}");
        for malformed in ["linux/amd64", "{}", r#"{"os":"linux"}"#] {
            let error = any_is_own(&[malformed.to_owned()]).expect_err(malformed);
            assert_eq!(error.kind(), crate::ErrorKind::Invalid);
        }
    }
}
