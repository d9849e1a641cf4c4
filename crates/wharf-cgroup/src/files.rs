//! Reading and writing the small files of the kernel's file system.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::group::CgroupError;

pub(crate) fn read(path: &Path) -> Result<String, CgroupError> {
    fs::read_to_string(path).map_err(|source| CgroupError::read(path, source))
}

/// Reads a file of one number; `max`, and v1's nearly 2^63, are no limit.
pub(crate) fn read_limit(path: &Path) -> Result<Option<u64>, CgroupError> {
    limit_of(path, &read(path)?)
}

/// The limit in a file's text.
pub(crate) fn limit_of(path: &Path, text: &str) -> Result<Option<u64>, CgroupError> {
    /// v1 counts in pages: the greatest limit is the greatest multiple of any page size.
    const NO_LIMIT: u64 = 0x7fff_ffff_ffff_0000;
    match text.trim_end() {
        "max" => Ok(None),
        number => match number.parse() {
            Ok(NO_LIMIT..) => Ok(None),
            Ok(limit) => Ok(Some(limit)),
            Err(_) => Err(CgroupError::parse(path, number)),
        },
    }
}

pub(crate) fn read_number(path: &Path) -> Result<u64, CgroupError> {
    let text = read(path)?;
    let number = text.trim_end();
    number.parse().map_err(|_| CgroupError::parse(path, number))
}

/// The number after `key` in a file of such lines.
pub(crate) fn read_value(path: &Path, key: &str) -> Result<Option<u64>, CgroupError> {
    let text = read(path)?;
    value_of(&text, key)
        .map(|number| number.parse().map_err(|_| CgroupError::parse(path, number)))
        .transpose()
}

pub(crate) fn value_of<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(' '))
}

/// Writes `value` in one write, as these files want it.
pub(crate) fn write(path: &Path, value: &str) -> io::Result<()> {
    Writer::default().write(path, value)
}

/// Writes values one after the other, keeping the last file open: lists such as that of devices
/// are many values for one file.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    last: Option<(PathBuf, File)>,
}

impl Writer {
    pub(crate) fn write(&mut self, path: &Path, value: &str) -> io::Result<()> {
        let file = match &mut self.last {
            Some((open, file)) if open == path => file,
            last => {
                let file = File::options().write(true).open(path)?;
                &mut last.insert((path.to_owned(), file)).1
            }
        };
        file.write_all(value.as_bytes())
    }
}
