//! The table of commands and groups.

use super::AnyCommand;
use super::{
    attach, commit, completion, contexts, cp, create, dial_stdio, diff, events, exec, export,
    history, image_inspect, image_prune, images, import, info, inspect, kill, load, login, logout,
    logs, manifest, pause, port, prune, ps, pull, push, rename, restart, rm, rmi, run, save,
    search, start, stats, stop, system_df, tag, top, update, version, volumes, wait,
};

/// Every command, in the order of their plain names.
pub(super) static COMMANDS: &[&dyn AnyCommand] = &[
    &attach::COMMAND,
    &commit::COMMAND,
    &completion::COMMAND,
    &contexts::change::CREATE,
    &contexts::transfer::EXPORT,
    &contexts::transfer::IMPORT,
    &contexts::inspect::COMMAND,
    &contexts::ls::COMMAND,
    &contexts::change::REMOVE,
    &contexts::pick::SHOW,
    &contexts::change::UPDATE,
    &contexts::pick::USE,
    &cp::COMMAND,
    &create::COMMAND,
    &dial_stdio::COMMAND,
    &diff::COMMAND,
    &events::COMMAND,
    &exec::COMMAND,
    &export::COMMAND,
    &history::COMMAND,
    &image_inspect::COMMAND,
    &image_prune::COMMAND,
    &images::COMMAND,
    &import::COMMAND,
    &info::COMMAND,
    &inspect::COMMAND,
    &inspect::CONTAINER,
    &kill::COMMAND,
    &load::COMMAND,
    &login::COMMAND,
    &logout::COMMAND,
    &logs::COMMAND,
    &manifest::annotate::COMMAND,
    &manifest::create::COMMAND,
    &manifest::inspect::COMMAND,
    &manifest::push::COMMAND,
    &manifest::rm::COMMAND,
    &pause::PAUSE,
    &port::COMMAND,
    &prune::CONTAINER,
    &prune::SYSTEM,
    &ps::COMMAND,
    &pull::COMMAND,
    &push::COMMAND,
    &rename::COMMAND,
    &restart::COMMAND,
    &rm::COMMAND,
    &rmi::COMMAND,
    &run::COMMAND,
    &save::COMMAND,
    &search::COMMAND,
    &start::COMMAND,
    &stats::COMMAND,
    &stop::COMMAND,
    &system_df::COMMAND,
    &tag::COMMAND,
    &top::COMMAND,
    &pause::UNPAUSE,
    &update::COMMAND,
    &version::COMMAND,
    &volumes::create::COMMAND,
    &volumes::INSPECT,
    &volumes::ls::COMMAND,
    &volumes::prune::COMMAND,
    &volumes::rm::COMMAND,
    &wait::COMMAND,
];

/// A group of commands.
pub(super) struct Group {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
}

/// Every group.
pub(super) static GROUPS: &[Group] = &[
    Group {
        name: "container",
        about: "Manage containers",
    },
    Group {
        name: "context",
        about: "Manage contexts",
    },
    Group {
        name: "image",
        about: "Manage images",
    },
    Group {
        name: "manifest",
        about: "Manage Docker image manifests and manifest lists",
    },
    Group {
        name: "system",
        about: "Manage Wharf",
    },
    Group {
        name: "volume",
        about: "Manage volumes",
    },
];

/// The commands the root's help shows first.
pub(super) const COMMON: [&str; 11] = [
    "run", "exec", "ps", "pull", "push", "images", "login", "logout", "search", "version", "info",
];

/// Whether a command is for programs only and left out of the lists.
pub(super) fn is_hidden(names: &[&str]) -> bool {
    names.contains(&"system dial-stdio")
}

/// Commands of Docker's; those that are not found are not served.
const DOCKERS: &str = " build builder buildx checkpoint commit compose completion config container context cp image \
    network node plugin prune secret service stack swarm system trust update volume ";

/// Finds a group.
pub(super) fn group(name: &str) -> Option<&'static Group> {
    GROUPS.iter().find(|group| group.name == name)
}

/// Finds a command, and the name it is shown by: an alias within a group is shown by the group's first name.
pub(super) fn find(name: &str) -> Option<(&'static dyn AnyCommand, &'static str)> {
    // Docker takes this one and shows it nowhere.
    let name = if name == "remove" { "rm" } else { name };
    COMMANDS.iter().find_map(|command| {
        let names = command.names();
        let found = names.iter().find(|known| **known == name)?;
        let shown = if found.contains(' ') {
            names.first()?
        } else {
            found
        };
        Some((*command, *shown))
    })
}

/// Whether Docker has such a command.
pub(super) fn is_dockers(name: &str) -> bool {
    name.split(' ')
        .next_back()
        .is_some_and(|word| DOCKERS.contains(&format!(" {word} ")))
}
