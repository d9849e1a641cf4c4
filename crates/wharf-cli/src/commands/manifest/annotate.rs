//! `manifest annotate`: what platform an image of a list is for.

use wharf_wire::ImagePlatform;

use super::document::is_known;
use super::store::StoreError;
use super::{reference, store};
use crate::commands::{Command, Context};
use crate::failure::Failure;
use crate::grammar::{Arity, Flag, Grammar};
use crate::options::csv;

#[derive(Debug, Default)]
pub(crate) struct Arguments {
    platform: ImagePlatform,
}

type F = Flag<Arguments>;

pub(crate) static COMMAND: Command<Arguments> = Command {
    names: &["manifest annotate"],
    about: "Add additional information to a local image manifest",
    usage: "[OPTIONS] MANIFEST_LIST MANIFEST",
    grammar: Grammar {
        flags: &[FLAGS],
        interspersed: true,
        arity: Arity::Exactly(2),
    },
    run,
};

const FLAGS: &[F] = &[
    F::value("arch", "string", "Set architecture", |a, v| {
        v.clone_into(&mut a.platform.architecture);
        Ok(())
    }),
    F::value("os", "string", "Set operating system", |a, v| {
        v.clone_into(&mut a.platform.os);
        Ok(())
    }),
    F::value(
        "os-features",
        "strings",
        "Set operating system feature",
        |a, v| {
            a.platform.os_features.extend(csv::record(v)?);
            Ok(())
        },
    ),
    F::value(
        "os-version",
        "string",
        "Set operating system version",
        |a, v| {
            v.clone_into(&mut a.platform.os_version);
            Ok(())
        },
    ),
    F::value("variant", "string", "Set architecture variant", |a, v| {
        v.clone_into(&mut a.platform.variant);
        Ok(())
    }),
];

fn run(context: &Context, arguments: Arguments, words: Vec<String>) -> Result<u8, Failure> {
    let named = |what: &str, text: &str| {
        reference(text).map_err(|error| {
            Failure::message(format!(
                "annotate: error parsing name for {what} {text}: {error}"
            ))
        })
    };
    let list = named("manifest list", &words[0])?;
    let name = named("manifest", &words[1])?;
    let store = store(context);
    let mut image = store.get(&list, &name).map_err(|error| match error {
        StoreError::Unknown(_) => Failure::message(format!(
            "manifest for image {} does not exist in {}",
            words[1], words[0]
        )),
        error => Failure::of(&error),
    })?;
    let wanted = arguments.platform;
    let platform = image.descriptor.platform.get_or_insert_default();
    annotate(platform, &wanted);
    if !is_known(platform) {
        return Err(Failure::message(format!(
            "manifest entry for image has unsupported os/arch combination: {}/{}",
            wanted.os, wanted.architecture
        )));
    }
    store
        .save(&list, &name, &image)
        .map_err(|error| Failure::of(&error))?;
    Ok(0)
}

/// Changes what is said, and adds features.
fn annotate(platform: &mut ImagePlatform, wanted: &ImagePlatform) {
    for (member, value) in [
        (&mut platform.os, &wanted.os),
        (&mut platform.architecture, &wanted.architecture),
        (&mut platform.variant, &wanted.variant),
        (&mut platform.os_version, &wanted.os_version),
    ] {
        if !value.is_empty() {
            member.clone_from(value);
        }
    }
    for feature in &wanted.os_features {
        if !platform.os_features.contains(feature) {
            platform.os_features.push(feature.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_stays() {
        let mut platform = ImagePlatform {
            architecture: "amd64".to_owned(),
            os: "linux".to_owned(),
            os_features: vec!["a".to_owned()],
            ..ImagePlatform::default()
        };
        let wanted = ImagePlatform {
            architecture: "arm64".to_owned(),
            variant: "v8".to_owned(),
            os_features: vec!["b".to_owned(), "a".to_owned(), "b".to_owned()],
            ..ImagePlatform::default()
        };
        annotate(&mut platform, &wanted);
        assert_eq!(
            (
                platform.os.as_str(),
                platform.architecture.as_str(),
                platform.variant.as_str()
            ),
            ("linux", "arm64", "v8")
        );
        assert_eq!(platform.os_features, ["a", "b"]);
        assert!(is_known(&platform));
        platform.os = "plan9".to_owned();
        assert!(!is_known(&platform));
    }
}
