//! Parameters of the requests, read from a query by the server and written to one by the client.
#![expect(
    missing_docs,
    reason = "members are the Engine API's own; its specification documents them"
)]

use crate::Filters;
use crate::query::{Query, QueryError, QueryWriter};

/// Parameters of `POST /containers/create`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CreateQuery {
    pub name: Option<String>,
    pub platform: String,
}

impl CreateQuery {
    /// Reads the parameters.
    #[must_use]
    pub fn read(query: &Query) -> Self {
        Self {
            name: query.non_empty("name"),
            platform: query.text("platform"),
        }
    }

    /// Writes the parameters.
    #[must_use]
    pub fn write(&self) -> String {
        QueryWriter::new()
            .text("name", self.name.as_deref().unwrap_or(""))
            .text("platform", &self.platform)
            .finish()
    }
}

/// Parameters of `GET /containers/json`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListQuery {
    pub all: bool,
    /// Newest containers shown, running or not; `None` and below 1 is no limit.
    pub limit: Option<i64>,
    pub size: bool,
    pub filters: Filters,
}

impl ListQuery {
    /// Reads the parameters.
    ///
    /// # Errors
    /// A value is not of its type.
    pub fn read(query: &Query) -> Result<Self, QueryError> {
        Ok(Self {
            all: query.flag("all"),
            limit: query.number("limit")?,
            size: query.flag("size"),
            filters: read_filters(query)?,
        })
    }

    /// Writes the parameters.
    #[must_use]
    pub fn write(&self) -> String {
        let query = QueryWriter::new()
            .flag("all", self.all)
            .number("limit", self.limit)
            .flag("size", self.size);
        query.filters(&self.filters).finish()
    }
}

/// Parameters of `GET /images/json`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageListQuery {
    pub all: bool,
    pub digests: bool,
    pub shared_size: bool,
    pub manifests: bool,
    pub filters: Filters,
}

impl ImageListQuery {
    /// Reads the parameters.
    ///
    /// # Errors
    /// The filters cannot be read.
    pub fn read(query: &Query) -> Result<Self, QueryError> {
        Ok(Self {
            all: query.flag("all"),
            digests: query.flag("digests"),
            shared_size: query.flag("shared-size"),
            manifests: query.flag("manifests"),
            filters: read_filters(query)?,
        })
    }

    /// Writes the parameters.
    #[must_use]
    pub fn write(&self) -> String {
        let query = QueryWriter::new()
            .flag("all", self.all)
            .flag("digests", self.digests);
        let query = query
            .flag("shared-size", self.shared_size)
            .flag("manifests", self.manifests);
        query.filters(&self.filters).finish()
    }
}

/// A point in time in a query: seconds of Unix time with an optional fraction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnixTime {
    pub seconds: i64,
    pub nanoseconds: u32,
}

impl UnixTime {
    fn read(query: &Query, name: &'static str) -> Result<Option<Self>, QueryError> {
        let Some(text) = query.non_empty(name) else {
            return Ok(None);
        };
        match Self::parse(&text) {
            Some(time) => Ok(Some(time)),
            None => Err(QueryError::InvalidValue { name, value: text }),
        }
    }

    /// Parses `seconds` or `seconds.fraction`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
        if fraction.len() > 9 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let nanoseconds = format!("{fraction:0<9}").parse().ok()?;
        Some(Self {
            seconds: seconds.parse().ok()?,
            nanoseconds,
        })
    }
}

impl std::fmt::Display for UnixTime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:09}", self.seconds, self.nanoseconds)
    }
}

fn time_text(time: Option<UnixTime>) -> String {
    time.map(|time| time.to_string()).unwrap_or_default()
}

/// How much of a log's end is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Tail {
    #[default]
    All,
    Lines(u64),
}

/// Parameters of `GET /containers/{id}/logs`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogsQuery {
    pub follow: bool,
    pub stdout: bool,
    pub stderr: bool,
    pub since: Option<UnixTime>,
    pub until: Option<UnixTime>,
    pub timestamps: bool,
    pub details: bool,
    pub tail: Tail,
}

impl LogsQuery {
    /// Reads the parameters. A tail that is no number is all lines, as Docker has it.
    ///
    /// # Errors
    /// A time cannot be read.
    pub fn read(query: &Query) -> Result<Self, QueryError> {
        Ok(Self {
            follow: query.flag("follow"),
            stdout: query.flag("stdout"),
            stderr: query.flag("stderr"),
            since: UnixTime::read(query, "since")?,
            until: UnixTime::read(query, "until")?,
            timestamps: query.flag("timestamps"),
            details: query.flag("details"),
            tail: query
                .get("tail")
                .and_then(|tail| tail.parse().ok())
                .map_or(Tail::All, Tail::Lines),
        })
    }

    /// Writes the parameters.
    #[must_use]
    pub fn write(&self) -> String {
        let tail = match self.tail {
            Tail::All => "all".to_owned(),
            Tail::Lines(count) => count.to_string(),
        };
        let query = QueryWriter::new()
            .flag("follow", self.follow)
            .flag("stdout", self.stdout);
        let query = query
            .flag("stderr", self.stderr)
            .text("since", &time_text(self.since));
        let query = query
            .text("until", &time_text(self.until))
            .flag("timestamps", self.timestamps);
        query
            .flag("details", self.details)
            .text("tail", &tail)
            .finish()
    }
}

/// Parameters of `POST /containers/{id}/attach`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AttachQuery {
    pub detach_keys: String,
    pub logs: bool,
    pub stream: bool,
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
}

impl AttachQuery {
    /// Reads the parameters.
    #[must_use]
    pub fn read(query: &Query) -> Self {
        Self {
            detach_keys: query.text("detachKeys"),
            logs: query.flag("logs"),
            stream: query.flag("stream"),
            stdin: query.flag("stdin"),
            stdout: query.flag("stdout"),
            stderr: query.flag("stderr"),
        }
    }

    /// Writes the parameters.
    #[must_use]
    pub fn write(&self) -> String {
        let query = QueryWriter::new()
            .text("detachKeys", &self.detach_keys)
            .flag("logs", self.logs);
        let query = query.flag("stderr", self.stderr).flag("stdin", self.stdin);
        query
            .flag("stdout", self.stdout)
            .flag("stream", self.stream)
            .finish()
    }
}

/// Parameters of `GET /events`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventsQuery {
    pub since: Option<UnixTime>,
    pub until: Option<UnixTime>,
    pub filters: Filters,
}

impl EventsQuery {
    /// Reads the parameters.
    ///
    /// # Errors
    /// A time or the filters cannot be read.
    pub fn read(query: &Query) -> Result<Self, QueryError> {
        Ok(Self {
            since: UnixTime::read(query, "since")?,
            until: UnixTime::read(query, "until")?,
            filters: read_filters(query)?,
        })
    }

    /// Writes the parameters.
    #[must_use]
    pub fn write(&self) -> String {
        let query = QueryWriter::new()
            .text("since", &time_text(self.since))
            .text("until", &time_text(self.until));
        query.filters(&self.filters).finish()
    }
}

/// Parameters of `POST /containers/{id}/stop` and `/restart`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StopQuery {
    pub signal: String,
    /// Seconds to wait before killing; below 0: for ever; `None`: the container's own.
    pub timeout: Option<i64>,
}

impl StopQuery {
    /// Reads the parameters.
    ///
    /// # Errors
    /// The timeout is not a number.
    pub fn read(query: &Query) -> Result<Self, QueryError> {
        Ok(Self {
            signal: query.text("signal"),
            timeout: query.number("t")?,
        })
    }

    /// Writes the parameters.
    #[must_use]
    pub fn write(&self) -> String {
        QueryWriter::new()
            .text("signal", &self.signal)
            .number("t", self.timeout)
            .finish()
    }
}

/// Parameters of `DELETE /containers/{id}`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RemoveQuery {
    pub force: bool,
    pub volumes: bool,
    pub link: bool,
}

impl RemoveQuery {
    /// Reads the parameters.
    #[must_use]
    pub fn read(query: &Query) -> Self {
        Self {
            force: query.flag("force"),
            volumes: query.flag("v"),
            link: query.flag("link"),
        }
    }

    /// Writes the parameters.
    #[must_use]
    pub fn write(&self) -> String {
        QueryWriter::new()
            .flag("force", self.force)
            .flag("v", self.volumes)
            .flag("link", self.link)
            .finish()
    }
}

/// What is waited for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WaitCondition {
    /// The container does not run, now or later.
    #[default]
    NotRunning,
    /// The container ends the next time.
    NextExit,
    /// The container is gone.
    Removed,
}

impl WaitCondition {
    /// Reads the parameter `condition`.
    ///
    /// # Errors
    /// It is none of the three.
    pub fn read(query: &Query) -> Result<Self, QueryError> {
        match query.get("condition").unwrap_or_default() {
            "" | "not-running" => Ok(Self::NotRunning),
            "next-exit" => Ok(Self::NextExit),
            "removed" => Ok(Self::Removed),
            other => Err(QueryError::InvalidValue {
                name: "condition",
                value: other.to_owned(),
            }),
        }
    }

    /// Writes the parameter.
    #[must_use]
    pub fn write(self) -> String {
        QueryWriter::new().with("condition", self.as_str()).finish()
    }

    /// Returns the parameter's text.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotRunning => "not-running",
            Self::NextExit => "next-exit",
            Self::Removed => "removed",
        }
    }
}

/// Parameters of the resize requests: a terminal's size.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ResizeQuery {
    pub height: u16,
    pub width: u16,
}

impl ResizeQuery {
    /// Reads the parameters.
    ///
    /// # Errors
    /// One is missing or no number of 16 bits.
    pub fn read(query: &Query) -> Result<Self, QueryError> {
        let missing = |name| QueryError::NotANumber {
            name,
            value: String::new(),
        };
        Ok(Self {
            height: query.number("h")?.ok_or_else(|| missing("h"))?,
            width: query.number("w")?.ok_or_else(|| missing("w"))?,
        })
    }

    /// Writes the parameters.
    #[must_use]
    pub fn write(&self) -> String {
        QueryWriter::new()
            .with("h", &self.height.to_string())
            .with("w", &self.width.to_string())
            .finish()
    }
}

/// Parameters of `POST /images/create`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageCreateQuery {
    pub from_image: String,
    pub from_src: String,
    pub repo: String,
    pub tag: String,
    pub message: String,
    pub changes: Vec<String>,
    pub platform: String,
}

impl ImageCreateQuery {
    /// Reads the parameters.
    #[must_use]
    pub fn read(query: &Query) -> Self {
        Self {
            from_image: query.text("fromImage"),
            from_src: query.text("fromSrc"),
            repo: query.text("repo"),
            tag: query.text("tag"),
            message: query.text("message"),
            changes: query.all("changes"),
            platform: query.text("platform"),
        }
    }

    /// Writes the parameters.
    #[must_use]
    pub fn write(&self) -> String {
        let query = QueryWriter::new()
            .text("fromImage", &self.from_image)
            .text("fromSrc", &self.from_src);
        let query = query
            .text("repo", &self.repo)
            .text("tag", &self.tag)
            .text("message", &self.message);
        query
            .each("changes", &self.changes)
            .text("platform", &self.platform)
            .finish()
    }
}

/// Parameters of `DELETE /images/{name}`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ImageRemoveQuery {
    pub force: bool,
    pub no_prune: bool,
}

impl ImageRemoveQuery {
    /// Reads the parameters.
    #[must_use]
    pub fn read(query: &Query) -> Self {
        Self {
            force: query.flag("force"),
            no_prune: query.flag("noprune"),
        }
    }

    /// Writes the parameters.
    #[must_use]
    pub fn write(&self) -> String {
        QueryWriter::new()
            .flag("force", self.force)
            .flag("noprune", self.no_prune)
            .finish()
    }
}

pub(crate) fn read_filters(query: &Query) -> Result<Filters, QueryError> {
    Ok(Filters::parse(query.get("filters").unwrap_or_default())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reread(written: &str) -> Query {
        Query::parse(written.strip_prefix('?').unwrap_or(written)).expect("what we write parses")
    }

    #[test]
    fn what_the_client_writes_the_server_reads() {
        let mut filters = Filters::default();
        filters.add("label", "a=b");
        let time = UnixTime {
            seconds: 1_795_262_477,
            nanoseconds: 5,
        };

        let list = ListQuery {
            all: true,
            limit: Some(-1),
            size: true,
            filters: filters.clone(),
        };
        assert_eq!(ListQuery::read(&reread(&list.write())).expect("list"), list);
        let logs = LogsQuery {
            follow: true,
            stdout: true,
            stderr: false,
            since: Some(time),
            until: None,
            timestamps: true,
            details: false,
            tail: Tail::Lines(7),
        };
        assert_eq!(LogsQuery::read(&reread(&logs.write())).expect("logs"), logs);
        let events = EventsQuery {
            since: None,
            until: Some(time),
            filters,
        };
        assert_eq!(
            EventsQuery::read(&reread(&events.write())).expect("events"),
            events
        );
        let attach = AttachQuery {
            stream: true,
            stdin: true,
            detach_keys: "ctrl-p,q".into(),
            ..Default::default()
        };
        assert_eq!(AttachQuery::read(&reread(&attach.write())), attach);
        let create = ImageCreateQuery {
            from_src: "-".into(),
            repo: "x".into(),
            tag: "1".into(),
            changes: vec!["CMD [\"sh\"]".into(), "ENV a=b&c".into()],
            ..Default::default()
        };
        assert_eq!(ImageCreateQuery::read(&reread(&create.write())), create);
        let resize = ResizeQuery {
            height: 24,
            width: 80,
        };
        assert_eq!(
            ResizeQuery::read(&reread(&resize.write())).expect("resize"),
            resize
        );
    }

    #[test]
    fn times_are_seconds_with_a_fraction() {
        for (text, expected) in [
            ("5", Some((5, 0))),
            ("5.5", Some((5, 500_000_000))),
            ("5.000000001", Some((5, 1))),
            ("-3", Some((-3, 0))),
            ("5.0000000001", None),
            ("5.x", None),
            ("x", None),
            ("", None),
        ] {
            let expected = expected.map(|(seconds, nanoseconds)| UnixTime {
                seconds,
                nanoseconds,
            });
            assert_eq!(UnixTime::parse(text), expected, "{text}");
        }
    }

    #[test]
    fn an_unknown_condition_is_refused() {
        let query = Query::parse("condition=sunday").expect("parses");
        let error = WaitCondition::read(&query)
            .expect_err("no such condition")
            .to_string();
        assert_eq!(error, r#"invalid condition: "sunday""#);
    }
}
