//! `-v`: binds and volumes in the short form.

use std::path::Path;

/// A volume that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum VolumeError {
    /// Nothing at all.
    #[error("invalid empty volume spec")]
    Empty,
    /// Two colons side by side, or one at an end.
    #[error("invalid spec: {0}: empty section between colons")]
    EmptySection(String),
    /// `./x` where there is no current directory.
    #[error("cannot make {0} absolute: the current directory is gone")]
    NoCurrentDirectory(String),
}

/// What `-v` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Volume {
    /// `/path`: a volume without a name.
    Anonymous(String),
    /// `source:target[:mode]` as the engine takes it.
    Bind(String),
}

/// Reads a volume; a source that begins with a dot is made absolute from `here`.
pub(crate) fn parse(text: &str, here: Option<&Path>) -> Result<Volume, VolumeError> {
    if text.is_empty() {
        return Err(VolumeError::Empty);
    }
    let parts: Vec<&str> = text.split(':').collect();
    if parts.len() > 1 && parts.iter().any(|part| part.is_empty()) {
        return Err(VolumeError::EmptySection(text.to_owned()));
    }
    match parts[..] {
        [path] => Ok(Volume::Anonymous(path.to_owned())),
        // How many parts there may be is the engine's to say.
        [source, ..] => {
            if !source.starts_with('.') {
                return Ok(Volume::Bind(text.to_owned()));
            }
            let here = here.ok_or_else(|| VolumeError::NoCurrentDirectory(source.to_owned()))?;
            Ok(Volume::Bind(format!(
                "{}{}",
                absolute(source, here),
                &text[source.len()..]
            )))
        }
        [] => Err(VolumeError::Empty),
    }
}

/// Makes a path absolute by its words alone, as Go's `filepath.Abs` does: links are not followed.
pub(crate) fn absolute(path: &str, here: &Path) -> String {
    let joined = here.join(path);
    let mut clean: Vec<&str> = Vec::new();
    let text = joined.to_string_lossy();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                clean.pop();
            }
            other => clean.push(other),
        }
    }
    format!("/{}", clean.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bind(text: &str) -> Result<Volume, VolumeError> {
        Ok(Volume::Bind(text.to_owned()))
    }

    #[test]
    fn sources_with_a_dot_become_absolute() {
        let here = Some(Path::new("/home/me"));
        assert_eq!(parse("/a:/b", here), bind("/a:/b"));
        assert_eq!(parse("name:/b:ro", here), bind("name:/b:ro"));
        assert_eq!(parse(".:/b", here), bind("/home/me:/b"));
        assert_eq!(parse("./x/../y:/b:ro,z", here), bind("/home/me/y:/b:ro,z"));
        assert_eq!(parse("../../../x:/b", here), bind("/x:/b"));
        assert_eq!(parse("/b", here), Ok(Volume::Anonymous("/b".to_owned())));
    }

    #[test]
    fn empty_sections_are_refused() {
        let error = |text: &str| parse(text, None).expect_err(text).to_string();
        assert_eq!(error(""), "invalid empty volume spec");
        assert_eq!(
            error(":/b"),
            "invalid spec: :/b: empty section between colons"
        );
        assert_eq!(
            error("/a::ro"),
            "invalid spec: /a::ro: empty section between colons"
        );
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "[a./:é]{0,16}") {
            let answer = parse(&text, Some(Path::new("/h")));
            proptest::prop_assert!(answer.is_err() || !text.is_empty());
        }
    }
}
