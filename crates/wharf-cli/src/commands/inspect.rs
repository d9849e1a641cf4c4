//! `inspect`: everything about objects of any kind, as JSON or by a template.

use serde::Serialize;
use serde_json::Value;
use serde_json::ser::{PrettyFormatter, Serializer};
use wharf_template::{MissingKey, Options, Template};
use wharf_wire::query::{QueryWriter, encode};

use super::{Command, Context};
use crate::client::{Client, ClientError};
use crate::failure::{Failure, chain};
use crate::grammar::{Arity, Flag, Grammar};
use crate::options::flags;

#[derive(Debug, Default)]
pub(super) struct Arguments {
    format: Option<String>,
    size: bool,
    kind: Option<String>,
    /// Of an image, as the API takes it.
    pub(super) platform: Option<String>,
}

type F = Flag<Arguments>;

pub(super) static FORMAT: &[F] = &[flags::format_of_one::<Arguments>(|a, v| {
    a.format = Some(v.to_owned());
    Ok(())
})
.short('f')];

static SIZE: &[F] =
    &[F::switch("size", "Display total file sizes", |a, on| a.size = on).short('s')];

pub(super) static COMMAND: Command<Arguments> = Command {
    names: &["inspect"],
    about: "Return low-level information on Docker objects",
    usage: "[OPTIONS] NAME|ID [NAME|ID...]",
    grammar: Grammar {
        flags: &[
            FORMAT,
            SIZE,
            &[F::value(
                "type",
                "string",
                "Only inspect objects of the given type",
                |a, v| {
                    a.kind = Some(v.to_owned());
                    Ok(())
                },
            )],
        ],
        interspersed: true,
        arity: Arity::AtLeast(1),
    },
    run: |context, arguments, names| {
        let kinds: &[Kind] = match arguments.kind.as_deref() {
            None | Some("") => &[Kind::Container, Kind::Image, Kind::Network, Kind::Volume],
            Some("container") => &[Kind::Container],
            Some("image") => &[Kind::Image],
            Some("network") => &[Kind::Network],
            Some("volume") => &[Kind::Volume],
            Some("config") => &[Kind::Other("configs")],
            Some("node") => &[Kind::Other("nodes")],
            Some("plugin") => &[Kind::Plugin],
            Some("secret") => &[Kind::Other("secrets")],
            Some("service") => &[Kind::Other("services")],
            Some("task") => &[Kind::Other("tasks")],
            Some(other) => {
                return Err(Failure::message(format!(
                    "unknown type: {other:?}: must be one of \"config\", \"container\", \"image\", \"network\", \"node\", \"plugin\", \"secret\", \"service\", \"task\", \"volume\""
                )));
            }
        };
        inspect(context, &arguments, kinds, &names)
    },
};

pub(super) static CONTAINER: Command<Arguments> = Command {
    names: &["container inspect"],
    about: "Display detailed information on one or more containers",
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    grammar: Grammar {
        flags: &[FORMAT, SIZE],
        interspersed: true,
        arity: Arity::AtLeast(1),
    },
    run: |context, arguments, names| inspect(context, &arguments, &[Kind::Container], &names),
};

/// A kind of object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Container,
    Image,
    Network,
    Volume,
    Plugin,
    /// Of a swarm: the name of the kind in addresses.
    Other(&'static str),
}

impl Kind {
    fn path(self, name: &str, arguments: &Arguments) -> String {
        let name = encode(name);
        match self {
            Self::Container if arguments.size => format!("/containers/{name}/json?size=1"),
            Self::Container => format!("/containers/{name}/json"),
            Self::Image => {
                let platform = arguments.platform.as_deref().unwrap_or_default();
                let query = QueryWriter::new().text("platform", platform).finish();
                format!("/images/{name}/json{query}")
            }
            Self::Network => format!("/networks/{name}"),
            Self::Volume => format!("/volumes/{name}"),
            Self::Plugin => format!("/plugins/{name}/json"),
            Self::Other(kind) => format!("/{kind}/{name}"),
        }
    }
}

/// Members that are maps with the user's keys: one of those missing is no mistake in the template.
const MAPS: [&str; 11] = [
    "Labels",
    "Networks",
    "Ports",
    "PortBindings",
    "ExposedPorts",
    "Volumes",
    "Annotations",
    "Sysctls",
    "Tmpfs",
    "Options",
    "Data",
];

/// Shows objects of the given kinds.
pub(super) fn inspect(
    context: &Context,
    arguments: &Arguments,
    kinds: &[Kind],
    names: &[String],
) -> Result<u8, Failure> {
    let format = Shown::parse(arguments.format.as_deref())?;
    let client = context.client()?;
    let (objects, missing) = context.block_on(async {
        let (mut objects, mut missing) = (Vec::new(), Vec::new());
        for name in names {
            match find(&client, kinds, name, arguments).await {
                Ok(object) => objects.push(object),
                Err(FindError::Nowhere(name)) => {
                    missing.push(format!("Error: No such object: {name}"));
                }
                Err(FindError::Client(error @ ClientError::Engine { .. })) => {
                    missing.push(chain(&error));
                }
                Err(FindError::Client(error)) => return Err(error.into()),
            }
        }
        Ok((objects, missing))
    })?;
    let typed = arguments.kind.as_deref().filter(|kind| !kind.is_empty());
    if let Some(kind) = typed.filter(|kind| arguments.size && *kind != "container") {
        context
            .printer
            .note(&format!("WARNING: --size ignored for {kind}"));
    }
    shown(context, &format, objects, &missing)
}

/// How objects are shown.
pub(super) enum Shown {
    Pretty,
    Json,
    Template(Template),
}

impl Shown {
    /// Reads `--format`.
    pub(super) fn parse(format: Option<&str>) -> Result<Self, Failure> {
        match format {
            None | Some("") => Ok(Self::Pretty),
            Some("json") => Ok(Self::Json),
            Some(text) => Template::parse("", text)
                .map(Self::Template)
                .map_err(|error| {
                    Failure::with_code(format!("template parsing error: {error}"), 64)
                }),
        }
    }
}

/// Shows the objects that were found, and says which were not.
pub(super) fn shown(
    context: &Context,
    format: &Shown,
    objects: Vec<Value>,
    missing: &[String],
) -> Result<u8, Failure> {
    let text = match format {
        Shown::Json => Value::Array(objects).to_string() + "\n",
        Shown::Pretty => pretty(&objects)?,
        Shown::Template(template) => {
            let (text, failure) = by_template(template, &objects);
            if let Some(failure) = failure {
                context.printer.data(text.as_bytes())?;
                return Err(failure);
            }
            text
        }
    };
    context.printer.data(text.as_bytes())?;
    if missing.is_empty() {
        Ok(0)
    } else {
        Err(Failure::message(missing.join("\n")))
    }
}

enum FindError {
    Nowhere(String),
    Client(ClientError),
}

async fn find(
    client: &Client,
    kinds: &[Kind],
    name: &str,
    arguments: &Arguments,
) -> Result<Value, FindError> {
    for kind in kinds {
        match client.get(&kind.path(name, arguments)).await {
            Ok(object) => return Ok(object),
            // A kind the engine does not serve has no objects; a name that one kind refuses may be another's.
            Err(ClientError::Engine { status, .. })
                if kinds.len() > 1 && matches!(status.as_u16(), 400 | 404 | 501) => {}
            Err(error) => return Err(FindError::Client(error)),
        }
    }
    Err(FindError::Nowhere(name.to_owned()))
}

/// A list indented by four, as Docker's.
pub(super) fn pretty(objects: &[Value]) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    objects
        .serialize(&mut Serializer::with_formatter(
            &mut bytes,
            PrettyFormatter::with_indent(b"    "),
        ))
        .map_err(|error| Failure::of(&error))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned() + "\n")
}

/// The objects by a template, up to the first that it does not fit. Docker's, too, prints an empty line where there
/// is nothing to show.
fn by_template(template: &Template, objects: &[Value]) -> (String, Option<Failure>) {
    let mut text = String::new();
    let mut failure = None;
    for object in objects {
        let strict = Options {
            missing_key: MissingKey::Error,
            ..Options::default()
        };
        let shown = template.execute(object, &strict).or_else(|error| {
            let in_map = MAPS
                .iter()
                .any(|map| error.location.contains(&format!(".{map}.")));
            if in_map {
                template.execute(object, &Options::default())
            } else {
                Err(error)
            }
        });
        match shown {
            Ok(shown) => {
                text.push_str(&shown);
                text.push('\n');
            }
            Err(error) => {
                failure = Some(Failure::message(format!("template parsing error: {error}")));
                break;
            }
        }
    }
    if text.is_empty() {
        text.push('\n');
    }
    (text, failure)
}
