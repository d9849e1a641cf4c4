//! Flags that several commands have: one row each, and where its value goes is the command's to say.

use crate::grammar::{Flag, Store};

/// What `--format` is, for every list.
const FORMAT: &str = "Format output using a custom template: 'table': Print output in table format with column headers (default) 'table TEMPLATE': Print output in table format using the given Go template 'json': Print in JSON format 'TEMPLATE': Print output using the given Go template.";

/// What `--format` is for one document.
const FORMAT_OF_ONE: &str = "Format output using a custom template: 'json': Print in JSON format 'TEMPLATE': Print output using the given Go template.";

/// `--detach-keys`: how a container is left without ending it.
pub(crate) const fn detach_keys<A>(set: Store<A>) -> Flag<A> {
    Flag::value(
        "detach-keys",
        "string",
        "Override the key sequence for detaching a container",
        set,
    )
}

/// `--sig-proxy`: whether signals go on to the process.
pub(crate) const fn signal_proxy<A>(about: &'static str, set: fn(&mut A, bool)) -> Flag<A> {
    Flag::switch("sig-proxy", about, set).default("true")
}

/// `--filter` of lists.
pub(crate) const fn filter<A>(set: Store<A>) -> Flag<A> {
    Flag::value(
        "filter",
        "filter",
        "Filter output based on conditions provided",
        set,
    )
    .short('f')
}

/// `--format` of lists.
pub(crate) const fn format<A>(set: Store<A>) -> Flag<A> {
    Flag::value("format", "string", FORMAT, set)
}

/// `--format` of one document.
pub(crate) const fn format_of_one<A>(set: Store<A>) -> Flag<A> {
    Flag::value("format", "string", FORMAT_OF_ONE, set)
}

/// `--no-trunc` of lists.
pub(crate) const fn no_trunc<A>(set: fn(&mut A, bool)) -> Flag<A> {
    Flag::switch("no-trunc", "Don't truncate output", set)
}

/// `--all-tags` of pull and push, which say it in their own words.
pub(crate) const fn all_tags<A>(about: &'static str, set: fn(&mut A, bool)) -> Flag<A> {
    Flag::switch("all-tags", about, set).short('a')
}

/// `--quiet` of what shows progress.
pub(crate) const fn quiet<A>(set: fn(&mut A, bool)) -> Flag<A> {
    Flag::switch("quiet", "Suppress verbose output", set).short('q')
}

/// `--disable-content-trust`, which is true unless the environment says otherwise.
pub(crate) const fn content_trust<A>(about: &'static str, set: fn(&mut A, bool)) -> Flag<A> {
    Flag::switch("disable-content-trust", about, set).default("true")
}

/// `--platform` of what makes or fetches an image.
pub(crate) const fn platform<A>(set: Store<A>) -> Flag<A> {
    Flag::value(
        "platform",
        "string",
        "Set platform if server is multi-platform capable",
        set,
    )
    .since(32)
}
