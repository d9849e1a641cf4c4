//! `pull`: images from where they are kept.

use hyper::Method;
use wharf_types::Reference;
use wharf_wire::ImageCreateQuery;

use super::account::authorized;
use super::{Command, Context, content_trust};
use crate::failure::Failure;
use crate::grammar::{Arity, Flag, Grammar};
use crate::options::{flags, platform};
use crate::progress::Display;

#[derive(Debug, Default)]
pub(super) struct Arguments {
    all_tags: bool,
    no_content_trust: Option<bool>,
    platform: String,
    quiet: bool,
}

pub(super) static COMMAND: Command<Arguments> = Command {
    names: &["image pull", "pull"],
    about: "Download an image from a registry",
    usage: "[OPTIONS] NAME[:TAG|@DIGEST]",
    grammar: Grammar {
        flags: &[FLAGS],
        interspersed: true,
        arity: Arity::Exactly(1),
    },
    run,
};

const FLAGS: &[Flag<Arguments>] = &[
    flags::all_tags("Download all tagged images in the repository", |a, on| {
        a.all_tags = on;
    }),
    flags::content_trust("Skip image verification", |a, on| {
        a.no_content_trust = Some(on);
    }),
    flags::platform(|a, v| {
        v.clone_into(&mut a.platform);
        Ok(())
    }),
    flags::quiet(|a, on| a.quiet = on),
];

fn run(context: &Context, arguments: Arguments, words: Vec<String>) -> Result<u8, Failure> {
    let mut reference: Reference = words[0]
        .parse()
        .map_err(|error: wharf_types::ReferenceError| Failure::of(&error))?;
    let name_only = reference.tag().is_none() && reference.digest().is_none();
    if arguments.all_tags {
        if !name_only {
            return Err(Failure::message("tag can't be used with --all-tags/-a"));
        }
    } else if name_only {
        reference = reference.with_default_tag();
        if !arguments.quiet {
            context.printer.line("Using default tag: latest")?;
        }
    }
    // A digest needs no signature: it says itself what is meant.
    if reference.digest().is_none() {
        content_trust::refuse(arguments.no_content_trust).map_err(|error| Failure::of(&error))?;
    }
    let path = path(&reference, &platform::chosen(&arguments.platform));
    let client = context.client()?;
    context.block_on(async {
        let request = async |auth: String| client.call_as(Method::POST, &path, &auth).await;
        let reply = authorized(context, reference.domain(), "pull", request).await?;
        let display = if arguments.quiet {
            Display::silent()
        } else {
            Display::stdout()
        };
        display
            .follow(reply)
            .await
            .map_err(Failure::from)
            .map_err(about_plugins)?;
        context.printer.line(&reference.to_string())?;
        Ok(0)
    })
}

/// What is no image but a plugin is told of as such.
fn about_plugins(failure: Failure) -> Failure {
    match failure {
        Failure::Message { text, code } if text.contains("when fetching 'plugin'") => {
            Failure::with_code(format!("{text} - Use `docker plugin install`"), code)
        }
        other => other,
    }
}

/// The request that fetches an image; without tag and digest all of a repository's.
pub(super) fn path(reference: &Reference, platform: &str) -> String {
    let tag = match (reference.digest(), reference.tag()) {
        (Some(digest), _) => digest.to_string(),
        (None, tag) => tag.unwrap_or_default().to_owned(),
    };
    let query = ImageCreateQuery {
        from_image: format!("{}/{}", reference.domain(), reference.path()),
        tag,
        platform: platform.to_lowercase(),
        ..ImageCreateQuery::default()
    };
    format!("/images/create{}", query.write())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engine_is_told_the_whole_name() {
        let path = |text: &str| path(&text.parse().expect(text), "Linux/ARM64");
        assert_eq!(
            path("debian:12"),
            "/images/create?fromImage=docker.io%2Flibrary%2Fdebian&tag=12&platform=linux%2Farm64"
        );
        let digest = format!("sha256:{}", "0".repeat(64));
        assert_eq!(
            path(&format!("r:5000/a:1@{digest}")),
            format!(
                "/images/create?fromImage=r%3A5000%2Fa&tag={}&platform=linux%2Farm64",
                digest.replace(':', "%3A")
            )
        );
        assert_eq!(
            path("r:5000/a"),
            "/images/create?fromImage=r%3A5000%2Fa&platform=linux%2Farm64"
        );
    }
}
