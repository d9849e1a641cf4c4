//! The third part of `-v source:target:mode`, and the mode of `--volumes-from`.

use crate::error::Error;
use crate::security::refuse_labels;

/// A mode, read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct VolumeMode {
    pub(super) read_only: bool,
    /// `rslave` and the like; empty when nothing is said.
    pub(super) propagation: String,
    /// Whether an empty volume stays empty.
    pub(super) no_copy: bool,
}

/// Words of which a mode may have one each.
const GROUPS: [&[&str]; 5] = [
    &["rw", "ro"],
    &["z", "Z"],
    &[
        "private", "rprivate", "shared", "rshared", "slave", "rslave",
    ],
    &["nocopy"],
    // Meant for a machine between two file systems; nothing here.
    &["consistent", "cached", "delegated"],
];

impl VolumeMode {
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        let invalid = || Error::invalid(format!("invalid mode: {text}"));
        let mut mode = Self::default();
        if text.is_empty() {
            return Ok(mode);
        }
        let mut seen = [false; GROUPS.len()];
        for word in text.split(',') {
            let group = GROUPS.iter().position(|group| group.contains(&word));
            let group = group.ok_or_else(invalid)?;
            if std::mem::replace(&mut seen[group], true) {
                return Err(invalid());
            }
            match word {
                "ro" => mode.read_only = true,
                "nocopy" => mode.no_copy = true,
                "z" | "Z" => refuse_labels(word)?,
                word if group == 2 => word.clone_into(&mut mode.propagation),
                _ => {}
            }
        }
        Ok(mode)
    }
}

/// Reads `container[:mode]`; returns the container and whether its volumes are read-only here.
pub(crate) fn volumes_from(text: &str) -> Result<(&str, bool), Error> {
    if text.is_empty() {
        return Err(Error::invalid(
            "volumes-from specification cannot be an empty string",
        ));
    }
    let (name, text) = text.split_once(':').unwrap_or((text, ""));
    let mode = VolumeMode::parse(text)?;
    if mode.no_copy || !mode.propagation.is_empty() {
        return Err(Error::invalid(format!("invalid mode: {text}")));
    }
    Ok((name, mode.read_only))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_has_one_word_of_each_kind() {
        let mode = VolumeMode::parse("ro,rslave,nocopy,z").expect("a mode");
        assert_eq!(
            mode,
            VolumeMode {
                read_only: true,
                propagation: "rslave".to_owned(),
                no_copy: true
            }
        );
        for text in ["nope", "ro,rw", "z,Z", "ro,", ",", "private,slave"] {
            let error = VolumeMode::parse(text).expect_err(text);
            assert_eq!(error.to_string(), format!("invalid mode: {text}"));
        }
    }

    #[test]
    fn volumes_come_from_a_container() {
        let read = |text| volumes_from(text).map_err(|error| error.to_string());
        assert_eq!(read("box"), Ok(("box", false)));
        assert_eq!(read("box:ro"), Ok(("box", true)));
        assert_eq!(read("box:bogus"), Err("invalid mode: bogus".to_owned()));
        assert_eq!(read("box:nocopy"), Err("invalid mode: nocopy".to_owned()));
        assert!(read("").is_err());
    }
}
