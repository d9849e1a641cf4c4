//! Go's `text/template` with Docker's functions, over JSON values.
//!
//! `--format` is a language people have scripts in, so what counts is that a template prints here
//! what it prints there: values as Go's `fmt` prints them, maps in key order, and errors in Go's
//! words with Go's positions. The tests hold a table of outputs of the real thing.
//!
//! A template is written by a user but may be run over data from anywhere, so an execution is
//! bounded: nesting, steps and output each have a limit ([`Limits`]) and none of them can panic.
//!
//! What differs from Go, knowingly: values are JSON, so a struct is a map (`{{.State}}` prints
//! `map[…]` in key order), there are no complex numbers, no functions as values (`call` always
//! fails), and strings are UTF-8 (a slice through a character yields U+FFFD).
//!
//! ```
//! let template = wharf_template::Template::parse("", "{{.Name | upper}} {{join .Args \"+\"}}").unwrap();
//! let data = serde_json::json!({ "Name": "web", "Args": ["a", "b"] });
//! let text = template.execute(&data, &wharf_template::Options::default()).unwrap();
//! assert_eq!(text, "WEB a+b");
//! ```

#![forbid(unsafe_code)]

mod call;
mod compare;
mod escape;
mod exec;
mod format;
mod functions;
mod item;
mod lexer;
mod node;
mod parser;
mod quote;
mod text;

use std::collections::BTreeMap;

use serde_json::Value;

/// A template that does not parse, in Go's words (`template: NAME:LINE: …`).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("template: {name}:{line}: {message}")]
pub struct ParseError {
    /// The name the template was parsed under.
    pub name: String,
    /// The line, from 1, at which parsing stopped.
    pub line: usize,
    /// What was wrong, without the position.
    pub message: String,
}

/// A template that fails on its data, in Go's words
/// (`template: NAME:LINE:COLUMN: executing "NAME" at <NODE>: …`).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("template: {location}{message}")]
pub struct ExecError {
    /// Where it failed, ready to be followed by the message.
    pub location: String,
    /// What failed, without the position.
    pub message: String,
}

/// What a field that a map does not have evaluates to: Go's `missingkey` option.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MissingKey {
    /// Prints `<no value>`.
    #[default]
    NoValue,
    /// Fails with `map has no entry for key "X"`.
    Error,
}

/// Which of the two sets of Docker's functions a template calls.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Functions {
    /// The functions proper.
    #[default]
    Values,
    /// For a table's header line: `json`, `title`, `lower`, `upper` and `truncate` return their
    /// argument unchanged, so that the header keeps its spelling.
    Headers,
}

/// What a [`Method`] does: the root object and the arguments in, text or a reason out.
pub type MethodCall = fn(&Value, &[&str]) -> Result<String, String>;

/// A method of the root object, such as `Label` in `{{.Label "com.example.owner"}}`.
#[derive(Debug, Clone, Copy)]
pub struct Method {
    /// The name after the dot.
    pub name: &'static str,
    /// How many string arguments it takes.
    pub arguments: usize,
    /// The method itself.
    pub call: MethodCall,
}

/// Bounds of one execution.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of output, and of any string made on the way.
    pub output: usize,
    /// Nodes evaluated.
    pub steps: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            output: 64 << 20,
            steps: 20_000_000,
        }
    }
}

/// How to execute a template.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options<'a> {
    /// What a missing map key means.
    pub missing_key: MissingKey,
    /// The Go type to name when the root object lacks a field: with it the root behaves like a
    /// struct (`can't evaluate field X in type *formatter.ContainerContext`).
    pub root_type: Option<&'a str>,
    /// Methods of the root object.
    pub methods: &'a [Method],
    /// The set of Docker's functions.
    pub functions: Functions,
    /// The bounds.
    pub limits: Limits,
}

/// A parsed template, with the templates it defines.
#[derive(Debug)]
pub struct Template {
    name: String,
    text: String,
    trees: BTreeMap<String, node::List>,
}

impl Template {
    /// Parses `text`; `name` appears in errors (Docker's is empty).
    ///
    /// # Errors
    /// Returns what Go's parser would say.
    pub fn parse(name: &str, text: &str) -> Result<Self, ParseError> {
        let trees = parser::parse(name, text)?;
        Ok(Self {
            name: name.to_owned(),
            text: text.to_owned(),
            trees,
        })
    }

    /// Executes the template over `data`.
    ///
    /// # Errors
    /// Returns what Go's executor would say, or that a limit was reached.
    pub fn execute(&self, data: &Value, options: &Options<'_>) -> Result<String, ExecError> {
        exec::execute(self, data, options)
    }

    /// Returns the fields of the root object that the template names, such as `Size` in
    /// `{{.Names}} {{$.Size}}`: the table code asks the engine only for what is printed.
    ///
    /// A field named where the dot is something else counts too: too many are reported rather than
    /// too few.
    #[must_use]
    pub fn fields(&self) -> std::collections::BTreeSet<&str> {
        let mut fields = std::collections::BTreeSet::new();
        for tree in self.trees.values() {
            tree.fields(&mut fields);
        }
        fields
    }
}
