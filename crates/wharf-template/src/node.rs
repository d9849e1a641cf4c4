//! The syntax tree, and how Go shows its nodes in errors.

use std::collections::BTreeSet;
use std::fmt::{self, Display, Formatter};

/// A sequence of nodes.
#[derive(Debug, Default)]
pub(crate) struct List(pub(crate) Vec<Node>);

/// An element of a template.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) pos: usize,
    pub(crate) kind: NodeKind,
}

#[derive(Debug)]
pub(crate) enum NodeKind {
    Text(String),
    Action(Pipe),
    Branch(Branch),
    Break,
    Continue,
    Template { name: String, pipe: Option<Pipe> },
}

/// `if`, `with` or `range`.
#[derive(Debug)]
pub(crate) struct Branch {
    pub(crate) keyword: BranchKeyword,
    pub(crate) pipe: Pipe,
    pub(crate) list: List,
    pub(crate) otherwise: Option<List>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BranchKeyword {
    If,
    Range,
    With,
}

impl BranchKeyword {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::If => "if",
            Self::Range => "range",
            Self::With => "with",
        }
    }
}

/// A pipeline, with the variables it declares or assigns.
#[derive(Debug)]
pub(crate) struct Pipe {
    pub(crate) pos: usize,
    pub(crate) assigns: bool,
    pub(crate) variables: Vec<String>,
    pub(crate) commands: Vec<Command>,
}

/// One stage of a pipeline: an operand and its arguments.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) pos: usize,
    pub(crate) operands: Vec<Operand>,
}

/// A term with its place.
#[derive(Debug)]
pub(crate) struct Operand {
    pub(crate) pos: usize,
    pub(crate) kind: OperandKind,
}

#[derive(Debug)]
pub(crate) enum OperandKind {
    Bool(bool),
    Dot,
    Nil,
    Number(Number),
    String {
        quoted: String,
        text: String,
    },
    Field(Vec<String>),
    Variable {
        name: String,
        fields: Vec<String>,
    },
    Chain {
        term: Box<Operand>,
        fields: Vec<String>,
    },
    Function(String),
    Pipe(Pipe),
}

/// A numeric constant: what it is as an integer, if it is one, and what it is by itself.
#[derive(Debug)]
pub(crate) struct Number {
    pub(crate) text: String,
    pub(crate) int: Option<i64>,
    pub(crate) ideal: Ideal,
}

/// The type a constant takes where nothing asks for one.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ideal {
    Int(i64),
    Float(f64),
    /// An integer that only fits an unsigned 64-bit one.
    Overflow,
}

impl List {
    /// Says whether there is nothing but blanks in it.
    pub(crate) fn is_blank(&self) -> bool {
        self.0.iter().all(|node| match &node.kind {
            NodeKind::Text(text) => text.trim().is_empty(),
            _ => false,
        })
    }

    pub(crate) fn fields<'a>(&'a self, found: &mut BTreeSet<&'a str>) {
        for node in &self.0 {
            match &node.kind {
                NodeKind::Text(_) | NodeKind::Break | NodeKind::Continue => {}
                NodeKind::Action(pipe) => pipe.fields(found),
                NodeKind::Branch(branch) => {
                    branch.pipe.fields(found);
                    branch.list.fields(found);
                    if let Some(otherwise) = &branch.otherwise {
                        otherwise.fields(found);
                    }
                }
                NodeKind::Template { pipe, .. } => {
                    if let Some(pipe) = pipe {
                        pipe.fields(found);
                    }
                }
            }
        }
    }
}

impl Pipe {
    fn fields<'a>(&'a self, found: &mut BTreeSet<&'a str>) {
        for operand in self.commands.iter().flat_map(|command| &command.operands) {
            operand.fields(found);
        }
    }
}

impl Operand {
    fn fields<'a>(&'a self, found: &mut BTreeSet<&'a str>) {
        match &self.kind {
            OperandKind::Field(fields) | OperandKind::Variable { fields, .. } => {
                found.extend(fields.first().map(String::as_str));
            }
            OperandKind::Chain { term, fields } => {
                found.extend(fields.first().map(String::as_str));
                term.fields(found);
            }
            OperandKind::Pipe(pipe) => pipe.fields(found),
            _ => {}
        }
    }
}

impl Display for List {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|node| node.fmt(f))
    }
}

impl Display for Node {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.kind {
            NodeKind::Text(text) => f.write_str(text),
            NodeKind::Action(pipe) => write!(f, "{{{{{pipe}}}}}"),
            NodeKind::Branch(branch) => branch.fmt(f),
            NodeKind::Break => f.write_str("{{break}}"),
            NodeKind::Continue => f.write_str("{{continue}}"),
            NodeKind::Template { name, pipe } => {
                write!(f, "{{{{template {}", crate::quote::quote(name))?;
                if let Some(pipe) = pipe {
                    write!(f, " {pipe}")?;
                }
                f.write_str("}}")
            }
        }
    }
}

impl Display for Branch {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{{{{{} {}}}}}{}",
            self.keyword.name(),
            self.pipe,
            self.list
        )?;
        if let Some(otherwise) = &self.otherwise {
            write!(f, "{{{{else}}}}{otherwise}")?;
        }
        f.write_str("{{end}}")
    }
}

impl Display for Pipe {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if !self.variables.is_empty() {
            let sign = if self.assigns { "=" } else { ":=" };
            write!(f, "{} {sign} ", self.variables.join(", "))?;
        }
        for (index, command) in self.commands.iter().enumerate() {
            if index > 0 {
                f.write_str(" | ")?;
            }
            command.fmt(f)?;
        }
        Ok(())
    }
}

impl Display for Command {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (index, operand) in self.operands.iter().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            operand.nested(f)?;
        }
        Ok(())
    }
}

impl Operand {
    /// Writes the operand as a part of a larger expression: a pipeline needs its parentheses.
    fn nested(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.kind {
            OperandKind::Pipe(pipe) => write!(f, "({pipe})"),
            _ => self.fmt(f),
        }
    }
}

impl Display for Operand {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.kind {
            OperandKind::Bool(value) => value.fmt(f),
            OperandKind::Dot => f.write_str("."),
            OperandKind::Nil => f.write_str("nil"),
            OperandKind::Number(number) => f.write_str(&number.text),
            OperandKind::String { quoted, .. } => f.write_str(quoted),
            OperandKind::Function(name) => f.write_str(name),
            OperandKind::Field(fields) => dotted(fields, f),
            OperandKind::Variable { name, fields } => {
                f.write_str(name)?;
                dotted(fields, f)
            }
            OperandKind::Chain { term, fields } => {
                term.nested(f)?;
                dotted(fields, f)
            }
            OperandKind::Pipe(pipe) => pipe.fmt(f),
        }
    }
}

fn dotted(fields: &[String], f: &mut Formatter<'_>) -> fmt::Result {
    fields.iter().try_for_each(|field| write!(f, ".{field}"))
}
