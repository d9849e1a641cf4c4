//! Extended header records: `LENGTH KEY=VALUE\n`.

use super::{NAME_MAX, TarError, Time};

const XATTR: &[u8] = b"SCHILY.xattr.";

/// The records that mean something to us.
#[derive(Debug, Clone, Default)]
pub(super) struct Records {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    pub(super) mtime: Option<Time>,
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) sparse: SparseRecords,
}

/// What the three pax forms of GNU's sparse files put into records.
#[derive(Debug, Clone, Default)]
pub(super) struct SparseRecords {
    pub(super) major: Option<u64>,
    pub(super) name: Option<Vec<u8>>,
    pub(super) real_size: Option<u64>,
    /// Offsets and lengths by turns: `GNU.sparse.map`, or `offset` and `numbytes` repeated.
    pub(super) numbers: Vec<u64>,
    pub(super) used: bool,
}

impl Records {
    /// Adds the records of one extended header.
    pub(super) fn read(&mut self, mut bytes: &[u8]) -> Result<(), TarError> {
        // Some writers pad the data with NULs within its size.
        while bytes.first().is_some_and(|byte| *byte != 0) {
            let space = position(bytes, b' ').ok_or(TarError::Extended)?;
            let length: usize = parse(&bytes[..space])?;
            if length <= space + 1 || length > bytes.len() || bytes[length - 1] != b'\n' {
                return Err(TarError::Extended);
            }
            let record = &bytes[space + 1..length - 1];
            let equals = position(record, b'=').ok_or(TarError::Extended)?;
            self.record(&record[..equals], &record[equals + 1..])?;
            bytes = &bytes[length..];
        }
        Ok(())
    }

    fn record(&mut self, key: &[u8], value: &[u8]) -> Result<(), TarError> {
        if let Some(name) = key.strip_prefix(XATTR) {
            self.xattrs.retain(|(known, _)| known != name);
            self.xattrs.push((name.to_vec(), value.to_vec()));
            return Ok(());
        }
        if let Some(key) = key.strip_prefix(b"GNU.sparse.") {
            return self.sparse.record(key, value);
        }
        match key {
            b"path" => self.path = optional(value, name)?,
            b"linkpath" => self.link = optional(value, name)?,
            b"size" => self.size = optional(value, parse)?,
            b"uid" => self.uid = optional(value, parse)?,
            b"gid" => self.gid = optional(value, parse)?,
            b"mtime" => self.mtime = optional(value, time)?,
            _ => {}
        }
        Ok(())
    }
}

impl SparseRecords {
    fn record(&mut self, key: &[u8], value: &[u8]) -> Result<(), TarError> {
        self.used = true;
        match key {
            b"major" => self.major = Some(parse(value)?),
            b"name" => self.name = Some(name(value)?),
            b"realsize" | b"size" => self.real_size = Some(parse(value)?),
            b"offset" | b"numbytes" => self.numbers.push(parse(value)?),
            b"map" => {
                self.numbers = value
                    .split(|byte| *byte == b',')
                    .map(parse)
                    .collect::<Result<_, _>>()?;
            }
            _ => {}
        }
        Ok(())
    }
}

/// An empty value takes a record back.
fn optional<T>(
    value: &[u8],
    read: impl FnOnce(&[u8]) -> Result<T, TarError>,
) -> Result<Option<T>, TarError> {
    if value.is_empty() {
        return Ok(None);
    }
    read(value).map(Some)
}

fn name(value: &[u8]) -> Result<Vec<u8>, TarError> {
    if value.len() > NAME_MAX {
        return Err(TarError::TooLong("a name"));
    }
    Ok(value.to_vec())
}

/// A decimal number.
pub(super) fn parse<T: std::str::FromStr>(digits: &[u8]) -> Result<T, TarError> {
    // `FromStr` takes a leading plus, which no writer writes.
    if !digits.first().is_some_and(u8::is_ascii_digit) {
        return Err(TarError::Extended);
    }
    std::str::from_utf8(digits)
        .ok()
        .and_then(|digits| digits.parse().ok())
        .ok_or(TarError::Extended)
}

/// Seconds with any number of decimals, of which nine count.
fn time(value: &[u8]) -> Result<Time, TarError> {
    let (negative, value) = match value.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, value),
    };
    let dot = position(value, b'.').unwrap_or(value.len());
    let seconds: i64 = parse(&value[..dot])?;
    let mut nanoseconds = 0_u32;
    let decimals = value.get(dot + 1..).unwrap_or_default();
    if !decimals.iter().all(u8::is_ascii_digit) {
        return Err(TarError::Extended);
    }
    for at in 0..9 {
        let digit = decimals.get(at).map_or(0, |digit| u32::from(digit - b'0'));
        nanoseconds = nanoseconds * 10 + digit;
    }
    Ok(match (negative, nanoseconds) {
        (false, _) => Time {
            seconds,
            nanoseconds,
        },
        (true, 0) => Time {
            seconds: -seconds,
            nanoseconds,
        },
        (true, _) => Time {
            seconds: -seconds - 1,
            nanoseconds: 1_000_000_000 - nanoseconds,
        },
    })
}

fn position(bytes: &[u8], wanted: u8) -> Option<usize> {
    bytes.iter().position(|byte| *byte == wanted)
}
