//! Files of a log: how large they grow and how many there are.

use wharf_types::size;

use super::{Driver, Given, JSON, LOCAL, OptionError, known};

/// When files are rotated.
///
/// `json-file`: 100 MB a file and 5 files, unless a size is given; with a size and no number one file,
/// as Docker has it. `local` and the cache: 20 MiB and 5 files, compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotation {
    /// Bytes of one file.
    pub max_size: Option<u64>,
    /// Files, the one that is written to among them.
    pub max_files: u32,
    /// Whether those that are full are compressed.
    pub compress: bool,
}

impl Rotation {
    const JSON_SIZE: u64 = 100_000_000;
    const LOCAL: Self = Self {
        max_size: Some(20 << 20),
        max_files: 5,
        compress: true,
    };

    /// Writes into options what goes without saying, so that people see what they have.
    pub fn write_defaults(driver: &str, options: &mut Given) {
        if driver != "json-file" || options.contains_key("max-size") {
            return;
        }
        options.insert("max-size".to_owned(), "100m".to_owned());
        options
            .entry("max-file".to_owned())
            .or_insert_with(|| "5".to_owned());
    }
}

pub(super) fn cache(options: &Given) -> Result<Option<Rotation>, OptionError> {
    let wrong = |option: &'static str| {
        move |value: &str| OptionError::Cache {
            option,
            value: value.to_owned(),
        }
    };
    let given = |option: &'static str| options.get(option).map(String::as_str);
    let truth = |option: &'static str| {
        let read = |text: &str| parse_bool(text).ok_or_else(|| wrong(option)(text));
        given(option).map(read).transpose()
    };
    let mut rotation = Rotation::LOCAL;
    if let Some(text) = given("cache-max-size") {
        let bytes = size::decimal(text).ok().filter(|bytes| *bytes > 0);
        let bytes = bytes.ok_or_else(|| wrong("cache-max-size")(text))?;
        rotation.max_size = Some(bytes.unsigned_abs());
    }
    if let Some(text) = given("cache-max-file") {
        let files = text.parse().ok().filter(|files| *files > 0);
        rotation.max_files = files.ok_or_else(|| wrong("cache-max-file")(text))?;
    }
    rotation.compress = truth("cache-compress")?.unwrap_or(true) && rotation.max_files > 1;
    let disabled = truth("cache-disabled")?.unwrap_or(false);
    Ok((!disabled).then_some(rotation))
}

pub(super) fn json_file(options: &Given) -> Result<Driver, OptionError> {
    known(options, &JSON, "json-file")?;
    let given = max_size(options)?;
    let files = max_files(options)?;
    let max_size = given.unwrap_or(Some(Rotation::JSON_SIZE));
    let max_files = files.unwrap_or(if given.is_some() { 1 } else { 5 });
    let compress = compress(options)?.unwrap_or(false);
    if compress && (max_files == 1 || max_size.is_none()) {
        return Err(OptionError::Compress);
    }
    Ok(Driver::JsonFile(Rotation {
        max_size,
        max_files,
        compress,
    }))
}

pub(super) fn local(options: &Given) -> Result<Driver, OptionError> {
    known(options, &LOCAL, "local")?;
    let default = Rotation::LOCAL;
    let max_files = max_files(options)?.unwrap_or(default.max_files);
    let compress = compress(options)?.unwrap_or(default.compress);
    if compress && max_files == 1 {
        return Err(OptionError::CompressLocal);
    }
    Ok(Driver::Local(Rotation {
        max_size: max_size(options)?.unwrap_or(default.max_size),
        max_files,
        compress,
    }))
}

/// The size that was given, if one was; `-1` is none.
fn max_size(options: &Given) -> Result<Option<Option<u64>>, OptionError> {
    match options.get("max-size").map(String::as_str) {
        None => Ok(None),
        Some("-1") => Ok(Some(None)),
        Some(text) => match size::decimal(text)? {
            ..=0 => Err(OptionError::NoSize),
            bytes => Ok(Some(Some(bytes.unsigned_abs()))),
        },
    }
}

fn max_files(options: &Given) -> Result<Option<u32>, OptionError> {
    let Some(text) = options.get("max-file") else {
        return Ok(None);
    };
    match text.parse::<i64>() {
        Err(_) => Err(OptionError::Number(text.clone())),
        Ok(..=0) => Err(OptionError::NoFile),
        Ok(files) => Ok(Some(u32::try_from(files).unwrap_or(u32::MAX))),
    }
}

fn compress(options: &Given) -> Result<Option<bool>, OptionError> {
    let Some(text) = options.get("compress") else {
        return Ok(None);
    };
    let read = parse_bool(text).ok_or_else(|| OptionError::Bool(text.clone()))?;
    Ok(Some(read))
}

/// Reads a truth value as Go's `strconv.ParseBool` does.
fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}
