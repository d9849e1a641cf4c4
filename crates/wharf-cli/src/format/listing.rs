//! Lists of objects: the default table, `--format`, `-q`.
//!
//! A row is an object of fields, and a table is a template over each row, so that the default table and one of
//! the user's are made the same way. Field names and headers are Docker's.

use std::io::{self, Write};

use serde_json::{Map, Value};
use tabwriter::TabWriter;
use wharf_template::{ExecError, Functions, Method, Options, ParseError, Template};

/// A field of a kind of object: its name in templates, its header in tables.
pub(crate) type Field = (&'static str, &'static str);

/// A kind of object that is listed.
pub(crate) struct Kind {
    /// All fields.
    pub(crate) fields: &'static [Field],
    /// The Go type errors name.
    pub(crate) go_type: &'static str,
    /// What is said of a template that does not parse.
    pub(crate) complaint: &'static str,
    /// What `--format raw` stands for, where Docker has it.
    pub(crate) raw: Option<&'static str>,
}

impl Kind {
    /// A template that does not fit the objects.
    fn mismatch(&self, problem: ExecError) -> ListingError {
        // Docker's own list of containers is the one that says it differently.
        let complaint = if self.complaint == "failed to parse template" {
            "failed to execute template"
        } else {
            self.complaint
        };
        ListingError::Execute { complaint, problem }
    }
}

/// A list that cannot be shown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListingError {
    /// The template does not parse.
    #[error("{complaint}: {problem}")]
    Parse {
        /// What is said of it: Docker says it differently of different lists.
        complaint: &'static str,
        /// What is wrong.
        problem: ParseError,
    },
    /// The template does not fit the objects.
    #[error("{complaint}: {problem}")]
    Execute {
        /// What is said of it: as above.
        complaint: &'static str,
        /// What is wrong.
        problem: ExecError,
    },
    /// The table cannot be laid out.
    #[error("cannot lay the table out")]
    Layout(#[from] io::Error),
}

/// One object: its fields, and the labels behind `{{.Label "x"}}`.
pub(crate) struct Row {
    fields: Map<String, Value>,
    labels: Map<String, Value>,
}

/// The key the labels are under while a template asks for single ones; no field has it.
const LABELS: &str = "\u{0}labels";

impl Row {
    /// Returns a row of texts in the order of the kind's fields.
    pub(crate) fn new<const N: usize>(fields: [(&'static str, String); N]) -> Self {
        let mut pairs = fields.to_vec();
        pairs.sort();
        let fields = pairs
            .into_iter()
            .map(|(name, value)| (name.to_owned(), Value::String(value)))
            .collect();
        Self {
            fields,
            labels: Map::new(),
        }
    }

    /// The same with a field that has no value, which is not the same as an empty one.
    pub(crate) fn without(mut self, field: &'static str) -> Self {
        self.fields.insert(field.to_owned(), Value::Null);
        self
    }

    /// The same with a field that is true or false.
    pub(crate) fn with_switch(mut self, field: &'static str, on: bool) -> Self {
        self.fields.insert(field.to_owned(), Value::Bool(on));
        self.fields.sort_keys();
        self
    }

    /// The row as a template sees it.
    pub(crate) fn into_value(self) -> Value {
        Value::Object(self.fields)
    }

    /// The same with labels.
    pub(crate) fn with_labels<'a>(
        mut self,
        labels: impl IntoIterator<Item = (&'a String, &'a String)>,
    ) -> Self {
        self.labels = labels
            .into_iter()
            .map(|(name, value)| (name.clone(), Value::String(value.clone())))
            .collect();
        self
    }
}

const LABEL: Method = Method {
    name: "Label",
    arguments: 1,
    call: label,
};
const LABEL_HEADER: Method = Method {
    name: "Label",
    arguments: 1,
    call: label_header,
};

fn label(root: &Value, arguments: &[&str]) -> Result<String, String> {
    let name = arguments.first().copied().unwrap_or_default();
    Ok(root
        .get(LABELS)
        .and_then(|labels| labels.get(name)?.as_str())
        .unwrap_or_default()
        .to_owned())
}

fn label_header(_: &Value, arguments: &[&str]) -> Result<String, String> {
    let name = arguments.first().copied().unwrap_or_default();
    Ok(name
        .rsplit('.')
        .next()
        .unwrap_or(name)
        .replace(['-', '_'], " "))
}

/// How a list is to be shown.
pub(crate) struct Shape {
    /// A template, perhaps of a table.
    template: String,
    table: bool,
    /// Whether the lines are documents, in which Go's encoder also escapes what HTML has a use for.
    documents: bool,
}

impl Shape {
    /// Reads `--format`; without it the list is a table of `default`, fields with tabs between.
    pub(crate) fn new(kind: &Kind, format: Option<&str>, default: &str) -> Self {
        let format = format.unwrap_or_default();
        let template = |text: &str| text.replace("\\t", "\t").replace("\\n", "\n");
        let shape = |template: String, table| Self {
            template,
            table,
            documents: matches!(format, "json" | "{{json .}}"),
        };
        match format {
            "" | "table" => shape(default.to_owned(), true),
            "json" => shape("{{json .}}".to_owned(), false),
            "raw" if kind.raw.is_some() => shape(kind.raw.unwrap_or_default().to_owned(), false),
            other => match other
                .strip_prefix("table")
                .filter(|rest| rest.starts_with([' ', '\t', '{']))
            {
                Some(rest) => shape(template(rest.trim_start()), true),
                None => shape(template(other), false),
            },
        }
    }

    /// Whether a field is shown, so that the engine need not count what nobody reads.
    pub(crate) fn shows(&self, field: &str) -> bool {
        self.template.contains(field) || self.template.contains("json .")
    }

    /// Shows the rows.
    pub(crate) fn show(&self, kind: &Kind, rows: Vec<Row>) -> Result<String, ListingError> {
        self.show_each(kind, rows)
    }

    /// Shows rows that are made one after the other: of a long list no two are in memory at once.
    pub(crate) fn show_each(
        &self,
        kind: &Kind,
        rows: impl IntoIterator<Item = Row>,
    ) -> Result<String, ListingError> {
        let mut lines = String::new();
        let template =
            Template::parse("", &self.template).map_err(|problem| ListingError::Parse {
                complaint: kind.complaint,
                problem,
            })?;
        if self.table {
            lines.push_str(&self.header(kind, &template)?);
            lines.push('\n');
        }
        let options = Options {
            root_type: Some(kind.go_type),
            methods: &[LABEL],
            ..Options::default()
        };
        let single_labels = self.template.contains(".Label ");
        for row in rows {
            let mut fields = row.fields;
            if single_labels {
                fields.insert(LABELS.to_owned(), Value::Object(row.labels));
            }
            let line = template.execute(&Value::Object(fields), &options);
            let line = line.map_err(|problem| kind.mismatch(problem))?;
            if self.documents {
                lines.push_str(
                    &line
                        .replace('&', "\\u0026")
                        .replace('<', "\\u003c")
                        .replace('>', "\\u003e"),
                );
            } else {
                lines.push_str(&line);
            }
            lines.push('\n');
        }
        if self.table {
            Ok(align(&lines)?)
        } else {
            Ok(lines)
        }
    }

    fn header(&self, kind: &Kind, template: &Template) -> Result<String, ListingError> {
        let headers: Map<String, Value> = kind
            .fields
            .iter()
            .map(|(name, header)| ((*name).to_owned(), Value::String((*header).to_owned())))
            .collect();
        let options = Options {
            root_type: Some(kind.go_type),
            methods: &[LABEL_HEADER],
            functions: Functions::Headers,
            ..Options::default()
        };
        template
            .execute(&Value::Object(headers), &options)
            .map_err(|problem| kind.mismatch(problem))
    }
}

/// Turns tabs into columns as Docker does: at least ten wide, three blanks between.
pub(crate) fn align(lines: &str) -> io::Result<String> {
    columns(lines, 10, 3)
}

/// Turns tabs into columns; the least width of a column counts its padding, as in Go and unlike in the crate.
pub(crate) fn columns(lines: &str, minimum: usize, padding: usize) -> io::Result<String> {
    let mut writer = TabWriter::new(Vec::new())
        .minwidth(minimum.saturating_sub(padding))
        .padding(padding);
    writer.write_all(lines.as_bytes())?;
    let bytes = writer
        .into_inner()
        .map_err(|error| io::Error::other(error.to_string()))?;
    String::from_utf8(bytes).map_err(io::Error::other)
}
