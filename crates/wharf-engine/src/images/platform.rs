//! Which platforms an image is for: its own, and with an index those of the images beside it.

use wharf_oci::image::{ImageConfig, Platform};
use wharf_types::Digest;
use wharf_wire as wire;

use super::{Found, Images};
use crate::error::Error;

impl Images {
    /// Returns the images of a name for some platforms, each OCI's document; for none of them the one
    /// the name means.
    pub(crate) fn for_platforms(
        &self,
        name: &str,
        platforms: &[String],
    ) -> Result<Vec<Digest>, Error> {
        let found = self.find(name)?;
        if platforms.is_empty() {
            return Ok(vec![found.id]);
        }
        let wanted = read_all(platforms)?;
        wanted
            .iter()
            .map(|platform| {
                let image = self.beside(&found, platform)?;
                image.ok_or_else(|| {
                    Error::not_found(format!(
                        "image with reference {name} was found but does not provide the specified platform ({})",
                        text(platform)
                    ))
                })
            })
            .collect()
    }

    /// Returns the image of a name for a platform, as people write it.
    pub(super) fn for_platform(
        &self,
        name: &str,
        found: &Found,
        platform: &str,
    ) -> Result<Digest, Error> {
        let wanted = parse(platform)?;
        if let Some(id) = self.beside(found, &as_wire(&wanted))? {
            return Ok(id);
        }
        let config = &self.image(&found.id)?.config;
        Err(Error::not_found(format!(
            "image with reference {name} was found but its platform ({}) does not match the specified platform ({})",
            text(&of(config)),
            text(&as_wire(&wanted))
        )))
    }

    /// Returns the image of a name for the first of some platforms.
    pub(super) fn first_for(&self, name: &str, platforms: &[String]) -> Result<Digest, Error> {
        let images = self.for_platforms(name, platforms)?;
        let missing = || Error::not_found(format!("No such image: {name}"));
        images.first().copied().ok_or_else(missing)
    }

    /// Refuses a part of what a name means: an image is removed whole, with all its platforms.
    pub(crate) fn is_whole(&self, name: &str, platforms: &[String]) -> Result<(), Error> {
        let asked = self.for_platforms(name, platforms)?;
        let mut all = self.members(&self.find(name)?)?;
        all.retain(|member| !asked.contains(member));
        if platforms.is_empty() || all.is_empty() {
            return Ok(());
        }
        Err(Error::not_implemented(format!(
            "{name} is for other platforms too: one platform of several cannot be removed by itself"
        )))
    }

    /// Returns an image, or the one beside it, that is for a platform.
    pub(super) fn beside(
        &self,
        found: &Found,
        platform: &wire::ImagePlatform,
    ) -> Result<Option<Digest>, Error> {
        if is_for(&self.image(&found.id)?.config, platform) {
            return Ok(Some(found.id));
        }
        for id in self.members(found)? {
            if is_for(&self.image(&id)?.config, platform) {
                return Ok(Some(id));
            }
        }
        Ok(None)
    }

    /// Returns the images of the index that a name means, as far as the store has them.
    pub(super) fn members(&self, found: &Found) -> Result<Vec<Digest>, Error> {
        let index = {
            let names = self.names();
            match &found.name {
                Some(name) => names.index_of(name),
                None => names.any_index_of(&found.id),
            }
        };
        let Some(index) = index else {
            return Ok(Vec::new());
        };
        let index = self.store.index(&index);
        let index = index.map_err(|error| Error::internal("cannot read the index", error))?;
        Ok(index
            .members
            .iter()
            .filter_map(|member| member.image)
            .collect())
    }
}

/// Returns a warning for containers of an image that is for another architecture than this machine's.
pub(crate) fn foreign(image: &wharf_store::Image) -> Option<String> {
    let config = &image.config;
    let own = own_architecture();
    let runs_here = config.architecture.is_empty() || config.architecture == own;
    (!runs_here).then(|| {
        format!(
            "The requested image's platform ({}) does not match the detected host platform (linux/{own}) and no \
             specific platform was requested",
            text(&of(config))
        )
    })
}

/// A platform as the API has it.
pub(super) fn as_wire(platform: &Platform) -> wire::ImagePlatform {
    wire::ImagePlatform {
        os: platform.os.clone(),
        architecture: platform.architecture.clone(),
        variant: platform.variant.clone().unwrap_or_default(),
        ..wire::ImagePlatform::default()
    }
}

/// What an image says it is for.
fn of(config: &ImageConfig) -> wire::ImagePlatform {
    wire::ImagePlatform {
        os: config.os.clone(),
        architecture: config.architecture.clone(),
        variant: config.variant.clone().unwrap_or_default(),
        ..wire::ImagePlatform::default()
    }
}

/// Reads platforms, each OCI's document.
pub(super) fn read_all(platforms: &[String]) -> Result<Vec<wire::ImagePlatform>, Error> {
    platforms.iter().map(|text| read(text)).collect()
}

/// Reads a platform as people write it, `os/architecture/variant`; a part that is missing is the
/// engine's own, and so is everything when the text is empty.
pub(super) fn parse(text: &str) -> Result<Platform, Error> {
    let own = |architecture: &str, variant: Option<&str>| Platform {
        os: "linux".to_owned(),
        architecture: match architecture {
            "x86_64" | "x86-64" => "amd64",
            "aarch64" => "arm64",
            "armhf" | "armel" => "arm",
            "i386" => "386",
            other => other,
        }
        .to_owned(),
        variant: variant.map(str::to_owned),
        ..Platform::default()
    };
    let lower = text.to_ascii_lowercase();
    let parts: Vec<&str> = lower.split('/').collect();
    let word = |part: &&str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
    };
    match parts[..] {
        [""] | ["linux"] => Ok(own(own_architecture(), None)),
        _ if !parts.iter().all(word) => Err(Error::invalid(format!(
            "{text:?}: cannot parse platform specifier: invalid argument"
        ))),
        [architecture] => Ok(own(architecture, None)),
        ["linux", architecture] => Ok(own(architecture, None)),
        ["linux", architecture, variant] => Ok(own(architecture, Some(variant))),
        [_, _, _, _, ..] => Err(Error::invalid(format!(
            "{text:?}: cannot parse platform specifier: invalid argument"
        ))),
        [os, ..] => Err(Error::invalid(format!(
            "operating system {os:?} is not supported: this engine runs linux"
        ))),
        [] => Err(Error::invalid("an empty platform")),
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
pub(super) fn is_for(config: &ImageConfig, platform: &wire::ImagePlatform) -> bool {
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
    fn platforms_are_documents_with_both_parts() {
        let own = format!(
            r#"{{"os":"linux","architecture":"{}"}}"#,
            own_architecture()
        );
        assert_eq!(
            text(&read(&own).expect("own")),
            format!("linux/{}", own_architecture())
        );
        for malformed in ["linux/amd64", "{}", r#"{"os":"linux"}"#] {
            let error = read(malformed).expect_err(malformed);
            assert_eq!(error.kind(), crate::ErrorKind::Invalid);
        }
    }

    #[test]
    fn people_write_platforms_in_parts() {
        let check = |text: &str, architecture: &str, variant: Option<&str>| {
            let platform = parse(text).expect(text);
            assert_eq!(
                (
                    platform.os.as_str(),
                    platform.architecture.as_str(),
                    platform.variant.as_deref()
                ),
                ("linux", architecture, variant),
                "{text}"
            );
        };
        check("", own_architecture(), None);
        check("linux", own_architecture(), None);
        check("arm64", "arm64", None);
        check("Linux/x86_64", "amd64", None);
        check("linux/arm/v7", "arm", Some("v7"));
        for refused in [
            "windows/amd64",
            "linux/",
            "/",
            "linux/arm/v7/x",
            "linux/a b",
        ] {
            assert!(parse(refused).is_err(), "{refused}");
        }
    }
}
