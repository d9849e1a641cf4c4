//! Where a container's output goes, from its log options.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde_json::json;
use wharf_log::{
    Driver, Files, Format, Journald, Mode, Options, Plan, Remote, Rotation, Syslog, SyslogAddress,
};
use wharf_template::{Options as TemplateOptions, Template};
use wharf_wire as wire;

use crate::container::{Container, Definition, Places};
use crate::error::Error;
use crate::inner::Inner;
use crate::names;

/// The tag of drivers that always have one.
const TAG: &str = "{{.ID}}";

/// The files a container's log can be read from.
pub(crate) struct Readable {
    pub(crate) path: PathBuf,
    pub(crate) format: Format,
    pub(crate) rotation: Rotation,
}

/// Checks a container's log options, or those of the engine's settings, and gives unset ones their
/// defaults.
pub(crate) fn check(log: &mut wire::LogConfig) -> Result<(), Error> {
    if log.driver.is_empty() {
        "json-file".clone_into(&mut log.driver);
    }
    Rotation::write_defaults(&log.driver, &mut log.config);
    let refused = |error: wharf_log::OptionError| Error::invalid(error.to_string());
    wharf_log::check(&log.driver, &log.config).map_err(refused)?;
    if let Some(tag) = log.config.get("tag") {
        Template::parse("log-tag", tag)
            .map_err(|error| Error::invalid(format!("{FAILED}: {error}")))?;
    }
    Ok(())
}

const FAILED: &str = "failed to initialize logging driver";

impl Places {
    /// The files of a container's log; `None` when it keeps none.
    pub(crate) fn readable_log(&self, definition: &Definition) -> Result<Option<Readable>, Error> {
        let options = options(definition)?;
        let directory = self.container(definition.id);
        let (path, format) = match options.driver {
            Driver::JsonFile(_) => (self.log(definition.id), Format::Json),
            Driver::Local(_) => (directory.join("local-logs/container.log"), Format::Local),
            _ => (directory.join("container-cached.log"), Format::Local),
        };
        Ok(options.rotation().map(|rotation| Readable {
            path,
            format,
            rotation,
        }))
    }
}

impl Inner {
    /// Returns where a container's output goes.
    pub(crate) fn log_plan(&self, container: &Container) -> Result<Plan, Error> {
        let definition = &container.definition;
        let options = options(definition)?;
        let attributes = attributes(definition, &options);
        let tag = |default: &str| {
            let template = match options.tag.as_str() {
                "" => default,
                template => template,
            };
            self.expand_tag(container, template)
        };
        let remote = match &options.driver {
            Driver::Syslog {
                address,
                format,
                facility,
            } => Some(Remote::Syslog(Syslog {
                address: address.clone(),
                sockets: sockets(address)?,
                format: *format,
                facility: *facility,
                tag: tag(TAG)?,
                hostname: crate::host::hostname(),
            })),
            Driver::Journald => Some(Remote::Journald(Journald::new(fields(
                container,
                tag(TAG)?,
                &attributes,
            )))),
            _ => None,
        };
        let mut kept = BTreeMap::new();
        if matches!(options.driver, Driver::JsonFile(_)) {
            kept = attributes;
            let tag = tag("")?;
            if !tag.is_empty() {
                kept.insert("tag".to_owned(), tag);
            }
        }
        let kept = match kept.is_empty() {
            true => String::new(),
            false => serde_json::to_string(&kept).map_err(|e| Error::internal(FAILED, e))?,
        };
        let readable = self.places.readable_log(definition)?;
        Ok(Plan {
            files: readable.map(|readable| Files {
                path: readable.path,
                format: readable.format,
                max_size: readable.rotation.max_size,
                max_files: readable.rotation.max_files,
                attributes: kept,
            }),
            remote,
            buffer: match options.mode {
                Mode::Blocking => None,
                Mode::NonBlocking(bytes) => Some(bytes),
            },
        })
    }

    fn expand_tag(&self, container: &Container, template: &str) -> Result<String, Error> {
        if template.is_empty() {
            return Ok(String::new());
        }
        let failed = |error: &dyn std::fmt::Display| Error::invalid(format!("{FAILED}: {error}"));
        let parsed = Template::parse("log-tag", template).map_err(|error| failed(&error))?;
        let options = TemplateOptions {
            root_type: Some("*logger.Info"),
            ..TemplateOptions::default()
        };
        let info = self.tag_info(container);
        let text = parsed.execute(&info, &options);
        text.map_err(|error| failed(&error))
    }

    /// What a tag's template can name: the fields and methods of Docker's `logger.Info`.
    fn tag_info(&self, container: &Container) -> serde_json::Value {
        let definition = &container.definition;
        let name = container.status().name.to_string();
        let image = definition.image.to_string();
        let (path, arguments) = match definition.command.split_first() {
            Some((path, arguments)) => (path.as_str(), arguments),
            None => Default::default(),
        };
        json!({
            "Config": definition.host.log_config.config,
            "ContainerID": definition.id.to_string(),
            "ContainerName": format!("/{name}"),
            "ContainerEntrypoint": path,
            "ContainerArgs": arguments,
            "ContainerImageID": image,
            "ContainerImageName": definition.image_name,
            "ContainerCreated": definition.created.to_string(),
            "ContainerEnv": definition.config.env,
            "ContainerLabels": definition.config.labels.clone().unwrap_or_default(),
            "LogPath": self.places.log(definition.id),
            "DaemonName": "docker",
            "ID": definition.id.short(),
            "FullID": definition.id.to_string(),
            "Name": name,
            "ImageID": image.get(..12).unwrap_or(&image),
            "ImageFullID": image,
            "ImageName": definition.image_name,
            "Command": definition.command.join(" "),
            "Hostname": crate::host::hostname(),
        })
    }
}

fn options(definition: &Definition) -> Result<Options, Error> {
    let log = &definition.host.log_config;
    Options::read(&log.driver, &log.config).map_err(|error| Error::invalid(error.to_string()))
}

/// Where the host of a syslog daemon is. Its name is looked up each time the container starts.
fn sockets(address: &SyslogAddress) -> Result<Vec<SocketAddr>, Error> {
    let Some((protocol, host)) = address.host() else {
        return Ok(Vec::new());
    };
    let found = names::look_up(&host.name);
    let found = found.map_err(|error| {
        Error::invalid(format!(
            "{FAILED}: dial {protocol}: lookup {}: {error}",
            host.name
        ))
    })?;
    Ok(found
        .into_iter()
        .map(|ip| SocketAddr::new(ip, host.port))
        .collect())
}

/// The labels and variables to keep with each entry.
fn attributes(definition: &Definition, options: &Options) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let labels = definition.config.labels.clone().unwrap_or_default();
    for (key, value) in labels {
        if options.keeps_label(&key) {
            found.insert(key, value);
        }
    }
    for variable in definition.config.env.iter().flatten() {
        if let Some((key, value)) = variable.split_once('=')
            && options.keeps_variable(key)
        {
            found.insert(key.to_owned(), value.to_owned());
        }
    }
    found
}

/// What the journal is told with each entry.
fn fields(
    container: &Container,
    tag: String,
    attributes: &BTreeMap<String, String>,
) -> Vec<(String, String)> {
    let definition = &container.definition;
    let own = [
        ("CONTAINER_ID", definition.id.short()),
        ("CONTAINER_ID_FULL", definition.id.to_string()),
        ("CONTAINER_NAME", container.status().name.to_string()),
        ("CONTAINER_TAG", tag.clone()),
        ("IMAGE_NAME", definition.image_name.clone()),
        ("SYSLOG_IDENTIFIER", tag),
    ];
    let mut fields: Vec<_> = own.map(|(name, value)| (name.to_owned(), value)).into();
    for (key, value) in attributes {
        let name = Journald::field_name(key);
        if !name.is_empty() {
            fields.push((name, value.clone()));
        }
    }
    fields
}
