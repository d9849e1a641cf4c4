//! `/etc/subuid` and `/etc/subgid`: who may use which ids for user namespaces.
//!
//! A line is `owner:first:count`, the owner a name or a number. Blank lines and those that begin with
//! `#` are passed over, as shadow-utils does.

use std::str::FromStr;

use super::pool::Range;

/// The entries of a file, in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SubIds(Vec<Entry>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    owner: String,
    first: u32,
    count: u32,
}

/// A line that is no entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} is not owner:first:count with ids from 1 to 4294967294: {text:?}")]
pub struct ParseError {
    line: usize,
    text: String,
}

impl FromStr for SubIds {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let mut entries = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let entry = read(line).ok_or_else(|| ParseError {
                line: at + 1,
                text: line.to_owned(),
            })?;
            entries.push(entry);
        }
        Ok(Self(entries))
    }
}

fn read(line: &str) -> Option<Entry> {
    let mut fields = line.split(':');
    let (owner, first, count) = (fields.next()?, fields.next()?, fields.next()?);
    if owner.is_empty() || fields.next().is_some() {
        return None;
    }
    let (first, count) = (number(first)?, number(count)?);
    // The last number is no id, and the first is nobody's to give away.
    first
        .checked_add(count)
        .filter(|_| first > 0 && count > 0)?;
    Some(Entry {
        owner: owner.to_owned(),
        first,
        count,
    })
}

/// Decimal digits alone: no sign, no blank.
fn number(text: &str) -> Option<u32> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

impl SubIds {
    /// The ranges of an owner, by name or by number, in the file's order.
    pub(super) fn of(&self, name: &str, id: Option<u32>) -> impl Iterator<Item = Range> {
        let id = id.map(|id| id.to_string());
        let owned = move |entry: &&Entry| entry.owner == name || Some(&entry.owner) == id.as_ref();
        self.0.iter().filter(owned).map(Entry::range)
    }

    /// All ranges.
    pub(super) fn all(&self) -> impl Iterator<Item = Range> {
        self.0.iter().map(Entry::range)
    }
}

impl Entry {
    fn range(&self) -> Range {
        Range::new(self.first, self.count)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(text: &str, name: &str, id: Option<u32>) -> Vec<(u64, u64)> {
        let entries: SubIds = text.parse().expect("entries");
        entries
            .of(name, id)
            .map(|range| (range.first, range.end))
            .collect()
    }

    #[test]
    fn entries_are_found_by_name_and_number_in_order() {
        let text = "# comment\n\nalice:300000:10\nbob:100000:65536\n1000:200000:5\nalice:100:1\n";
        assert_eq!(
            of(text, "alice", Some(1000)),
            [(300_000, 300_010), (200_000, 200_005), (100, 101)]
        );
        assert_eq!(of(text, "bob", None), [(100_000, 165_536)]);
        assert_eq!(of(text, "carol", Some(7)), []);
    }

    #[test]
    fn what_is_no_entry_is_told_by_its_line() {
        for line in [
            "alice",
            "alice:1",
            ":1:1",
            "alice:1:1:1",
            "alice:-1:5",
            "alice:+1:5",
            "alice:1:0",
            "alice:0:5",
            "alice:x:5",
            "alice: 1:5",
            "alice:4294967295:1",
            "alice:4294967290:65536",
            "alice:99999999999:1",
        ] {
            let error = format!("ok:1:1\n{line}\n")
                .parse::<SubIds>()
                .expect_err(line);
            assert_eq!(
                error,
                ParseError {
                    line: 2,
                    text: line.to_owned()
                }
            );
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "([a-z0-9:#\n -]{0,40})") {
            drop(text.parse::<SubIds>());
        }

        #[test]
        fn what_is_written_is_read(
            entries in prop::collection::vec(("[a-z][a-z0-9_-]{0,8}", 1_u32.., 1_u32..1_000_000), 0..8)
        ) {
            let entries: Vec<_> = entries
                .into_iter()
                .filter(|(_, first, count)| first.checked_add(*count).is_some())
                .collect();
            let text: String = entries.iter().map(|(owner, first, count)| format!("{owner}:{first}:{count}\n")).collect();
            let read: SubIds = text.parse().expect("entries");
            let back: Vec<_> = read.0.into_iter().map(|e| (e.owner, e.first, e.count)).collect();
            prop_assert_eq!(back, entries);
        }
    }
}
