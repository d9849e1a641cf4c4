//! Query strings: the pairs, percent-encoded, with Docker's reading of booleans and numbers.

use thiserror::Error;

/// A query that cannot be read.
#[derive(Debug, Error)]
pub enum QueryError {
    /// A `%` not followed by two hexadecimal digits, or text that is not UTF-8.
    #[error("invalid query string: {0}")]
    Malformed(String),
    /// A parameter that should be a number.
    #[error("invalid value for {name}: {value:?} is not a number")]
    NotANumber {
        /// The parameter.
        name: &'static str,
        /// Its value.
        value: String,
    },
    /// A parameter with a value outside its choice.
    #[error("invalid {name}: {value:?}")]
    InvalidValue {
        /// The parameter.
        name: &'static str,
        /// Its value.
        value: String,
    },
    /// Filters that cannot be read.
    #[error(transparent)]
    Filters(#[from] crate::FilterError),
}

/// A parsed query string; a name may occur several times.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Parses what follows the `?`.
    ///
    /// # Errors
    /// An escape is broken or the text is not UTF-8.
    pub fn parse(text: &str) -> Result<Self, QueryError> {
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(name, true)?, decode(value, true)?))
        });
        Ok(Self(pairs.collect::<Result<_, QueryError>>()?))
    }

    /// Returns the first value of a parameter.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(found, _)| found == name)
            .map(|(_, value)| value.as_str())
    }

    /// Returns the first value of a parameter, empty when it is missing.
    #[must_use]
    pub fn text(&self, name: &str) -> String {
        self.get(name).unwrap_or_default().to_owned()
    }

    /// Returns the first value of a parameter unless it is empty.
    #[must_use]
    pub fn non_empty(&self, name: &str) -> Option<String> {
        self.get(name)
            .filter(|value| !value.is_empty())
            .map(str::to_owned)
    }

    /// Returns all values of a parameter.
    #[must_use]
    pub fn all(&self, name: &str) -> Vec<String> {
        self.0
            .iter()
            .filter(|(found, _)| found == name)
            .map(|(_, value)| value.clone())
            .collect()
    }

    /// Returns whether a parameter is on: present and none of `0`, `no`, `false`, `none` and empty.
    #[must_use]
    pub fn flag(&self, name: &str) -> bool {
        self.flag_or(name, false)
    }

    /// Returns whether a parameter is on, `default` when it is missing.
    #[must_use]
    pub fn flag_or(&self, name: &str, default: bool) -> bool {
        let Some(value) = self.get(name) else {
            return default;
        };
        !matches!(
            value.trim().to_ascii_lowercase().as_str(),
            "" | "0" | "no" | "false" | "none"
        )
    }

    /// Returns a parameter that is a number; missing or empty is `None`.
    ///
    /// # Errors
    /// It is not a number of the type.
    pub fn number<T: std::str::FromStr>(
        &self,
        name: &'static str,
    ) -> Result<Option<T>, QueryError> {
        match self.get(name) {
            None | Some("") => Ok(None),
            Some(value) => value.parse().map(Some).map_err(|_| QueryError::NotANumber {
                name,
                value: value.to_owned(),
            }),
        }
    }
}

/// Writes a query string.
#[derive(Debug, Clone, Default)]
pub struct QueryWriter(String);

impl QueryWriter {
    /// Returns an empty query.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a parameter.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        if !self.0.is_empty() {
            self.0.push('&');
        }
        encode_into(name, &mut self.0);
        self.0.push('=');
        encode_into(value, &mut self.0);
        self
    }

    /// Adds a parameter unless its value is empty.
    #[must_use]
    pub fn text(self, name: &str, value: &str) -> Self {
        if value.is_empty() {
            self
        } else {
            self.with(name, value)
        }
    }

    /// Adds `name=1` when `on`.
    #[must_use]
    pub fn flag(self, name: &str, on: bool) -> Self {
        if on { self.with(name, "1") } else { self }
    }

    /// Adds a number when there is one.
    #[must_use]
    pub fn number(self, name: &str, value: Option<i64>) -> Self {
        match value {
            Some(value) => self.with(name, &value.to_string()),
            None => self,
        }
    }

    /// Adds the parameter once for each value.
    #[must_use]
    pub fn each(self, name: &str, values: &[String]) -> Self {
        values
            .iter()
            .fold(self, |query, value| query.with(name, value))
    }

    /// Adds filters, if there are any.
    #[must_use]
    pub fn filters(self, filters: &crate::Filters) -> Self {
        if filters.is_empty() {
            self
        } else {
            self.with("filters", &filters.to_json())
        }
    }

    /// Returns the query with its `?`, or nothing when it is empty.
    #[must_use]
    pub fn finish(self) -> String {
        if self.0.is_empty() {
            self.0
        } else {
            format!("?{}", self.0)
        }
    }
}

/// Escapes text for a query or for one segment of a path.
#[must_use]
pub fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    encode_into(text, &mut out);
    out
}

/// Undoes the escapes in a path, where `+` stands for itself.
///
/// # Errors
/// An escape is broken or the text is not UTF-8.
pub fn decode_path(text: &str) -> Result<String, QueryError> {
    decode(text, false)
}

fn encode_into(text: &str, out: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(DIGITS[usize::from(byte >> 4)]));
            out.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
    }
}

fn decode(text: &str, plus_is_blank: bool) -> Result<String, QueryError> {
    let malformed = || QueryError::Malformed(text.to_owned());
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => {
                let high = bytes.next().and_then(hex).ok_or_else(malformed)?;
                let low = bytes.next().and_then(hex).ok_or_else(malformed)?;
                high << 4 | low
            }
            b'+' if plus_is_blank => b' ',
            byte => byte,
        });
    }
    String::from_utf8(out).map_err(|_| malformed())
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(pairs in prop::collection::vec((".{1,8}", ".{0,12}"), 0..5)) {
            let written = pairs.iter().fold(QueryWriter::new(), |query, (name, value)| query.with(name, value)).finish();
            let read = Query::parse(written.strip_prefix('?').unwrap_or(&written)).expect("what we write parses");
            prop_assert_eq!(read, Query(pairs));
        }

        #[test]
        fn foreign_text_never_panics(text in ".{0,60}") {
            if let Ok(query) = Query::parse(&text) {
                prop_assert!(!query.flag("a") || query.get("a").is_some());
            }
        }
    }

    #[test]
    fn booleans_are_read_as_docker_reads_them() {
        for (text, expected) in [
            ("a=1", true),
            ("a=true", true),
            ("a=True", true),
            ("a=yes", true),
            ("a=0", false),
            ("a=", false),
            ("a", false),
            ("a=No", false),
            ("a=none", false),
            ("b=1", false),
        ] {
            assert_eq!(
                Query::parse(text).expect(text).flag("a"),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn broken_escapes_are_refused() {
        for text in ["a=%", "a=%4", "a=%zz", "a=%ff"] {
            assert!(
                matches!(Query::parse(text), Err(QueryError::Malformed(_))),
                "{text}"
            );
        }
    }

    #[test]
    fn a_number_must_be_one() {
        let query = Query::parse("t=5&u=x&v=").expect("parses");
        assert_eq!(query.number::<i64>("t").expect("a number"), Some(5));
        assert_eq!(query.number::<i64>("v").expect("empty"), None);
        let error = query.number::<i64>("u").expect_err("x is none").to_string();
        assert_eq!(error, r#"invalid value for u: "x" is not a number"#);
    }
}
