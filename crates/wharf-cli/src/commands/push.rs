//! `push`: images to where they are kept.

use hyper::Method;
use serde::Deserialize;
use serde_json::Value;
use wharf_types::Reference;
use wharf_wire::{ImageDescriptor, ImagePushQuery};

use super::account::authorized;
use super::{Command, Context, content_trust};
use crate::client::Client;
use crate::failure::Failure;
use crate::grammar::{Arity, Flag, Grammar};
use crate::options::{flags, platform};
use crate::printer::remark;
use crate::progress::Display;

#[derive(Debug, Default)]
pub(super) struct Arguments {
    all_tags: bool,
    no_content_trust: Option<bool>,
    platform: String,
    quiet: bool,
}

type F = Flag<Arguments>;

pub(super) static COMMAND: Command<Arguments> = Command {
    names: &["image push", "push"],
    about: "Upload an image to a registry",
    usage: "[OPTIONS] NAME[:TAG]",
    grammar: Grammar {
        flags: &[FLAGS],
        interspersed: true,
        arity: Arity::Exactly(1),
    },
    run,
};

const FLAGS: &[F] = &[
    flags::all_tags("Push all tags of an image to the repository", |a, on| {
        a.all_tags = on;
    }),
    flags::content_trust("Skip image signing", |a, on| {
        a.no_content_trust = Some(on);
    }),
    F::value(
        "platform",
        "string",
        "Push a platform-specific manifest as a single-platform image to the registry.\nImage index won't be pushed, meaning that other manifests, including attestations won't be preserved.\n'os[/arch[/variant]]': Explicit platform (eg. linux/amd64)",
        |a, v| {
            v.clone_into(&mut a.platform);
            Ok(())
        },
    )
    .since(46),
    flags::quiet(|a, on| a.quiet = on),
];

const ONE_PLATFORM: &str = "Using --platform pushes only the specified platform manifest of a multi-platform image index.\n\
    Other components, like attestations, will not be included.\n\
    To push the complete multi-platform image, remove the --platform flag.\n";

const CONTENT_MISSING: &str = "You're trying to push a manifest list/index which \n\
    \t\t\t\treferences multiple platform specific manifests, but not all of them are available locally\n\
    \t\t\t\tor available to the remote repository.\n\n\
    \t\t\t\tMake sure you have all the referenced content and try again.\n\n\
    \t\t\t\tYou can also push only a single platform specific manifest directly by specifying the platform you want to push with the --platform flag.";

fn run(context: &Context, arguments: Arguments, words: Vec<String>) -> Result<u8, Failure> {
    let client = context.client()?;
    context.block_on(push(context, &client, &arguments, &words[0]))
}

async fn push(
    context: &Context,
    client: &Client,
    arguments: &Arguments,
    name: &str,
) -> Result<u8, Failure> {
    let terminal = crate::terminal::output_is_terminal();
    let mut query = ImagePushQuery::default();
    if !arguments.platform.is_empty() {
        // An engine that knows no platforms is found out before anything is said of them.
        client.settle().await?;
        query.platform = platform::document(&arguments.platform).map_err(|error| {
            Failure::message(format!("Invalid platform {}{error}", arguments.platform))
        })?;
        context
            .printer
            .data(remark(ONE_PLATFORM, terminal).as_bytes())?;
    }
    let reference = reference(context, arguments, name)?;
    query.tag = reference.tag().unwrap_or_default().to_owned();
    let path = format!(
        "/images/{}/{}/push{}",
        reference.domain(),
        reference.path(),
        query.write()
    );
    let request = async |auth: String| client.call_as(Method::POST, &path, &auth).await;
    let reply = authorized(context, reference.domain(), "push", request).await?;
    let display = if arguments.quiet {
        Display::silent()
    } else {
        Display::stdout()
    };
    let mut remarks = Vec::new();
    let pushed = display
        .follow_noting(reply, |aux| remarks.extend(worth_a_remark(&aux)))
        .await;
    if pushed.is_ok() && arguments.quiet {
        context.printer.line(&reference.to_string())?;
    }
    for text in remarks {
        context.printer.data(remark(&text, terminal).as_bytes())?;
    }
    pushed?;
    Ok(0)
}

/// What is pushed: a tag, or without one all of them.
fn reference(context: &Context, arguments: &Arguments, name: &str) -> Result<Reference, Failure> {
    let mut reference: Reference = name
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
    if reference.digest().is_some() {
        return Err(Failure::message("cannot push a digest reference"));
    }
    content_trust::refuse(arguments.no_content_trust).map_err(|error| Failure::of(&error))?;
    Ok(reference)
}

/// What the engine tells beside the progress of a push.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Told {
    manifest_pushed_instead_of_index: bool,
    original_index: ImageDescriptor,
    selected_manifest: ImageDescriptor,
    content_missing: bool,
}

/// What of it the user should know at the end. Of what is meant for others we understand nothing.
fn worth_a_remark(aux: &Value) -> Option<String> {
    let told = Told::deserialize(aux).ok()?;
    if told.manifest_pushed_instead_of_index {
        return Some(format!(
            "Not all multiplatform-content is present and only the available single-platform image was pushed\n\x1b[31m{}\x1b[0m -> \x1b[32m{}\x1b[0m",
            told.original_index.digest, told.selected_manifest.digest
        ));
    }
    told.content_missing.then(|| CONTENT_MISSING.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remarks_are_made_of_what_the_engine_tells() {
        let remark = |text: &str| worth_a_remark(&serde_json::from_str(text).expect("JSON"));
        assert_eq!(
            remark(r#"{"Tag":"1","Digest":"sha256:0","Size":527}"#),
            None
        );
        assert_eq!(remark("[]"), None);
        assert_eq!(
            remark(
                r#"{"manifestPushedInsteadOfIndex":true,"originalIndex":{"mediaType":"m","digest":"sha256:a","size":1},"selectedManifest":{"mediaType":"m","digest":"sha256:b","size":1}}"#
            )
            .expect("a remark"),
            "Not all multiplatform-content is present and only the available single-platform image was pushed\n\x1b[31msha256:a\x1b[0m -> \x1b[32msha256:b\x1b[0m"
        );
        assert!(
            remark(r#"{"contentMissing":true,"desc":{}}"#)
                .is_some_and(|text| text.starts_with("You're trying"))
        );
    }
}
