//! Walks the tree over the data.

use std::fmt::Display;

use serde_json::Value;

use crate::item::{Datum, Item, sorted};
use crate::node::{
    Branch, BranchKeyword, Command, Ideal, List, Node, NodeKind, Number, Operand, OperandKind, Pipe,
};
use crate::text::{Full, Text};
use crate::{ExecError, MissingKey, Options, Template, format};

/// How deep lists may be walked within lists, through templates that call templates. Go allows
/// 100,000 calls, on stacks that grow.
const MAX_DEPTH: usize = 250;

/// Executes `template` over `data`.
pub(crate) fn execute(template: &Template, data: &Value, options: &Options<'_>) -> Result<String> {
    let dot = Item::found(data).unboxed();
    let mut state = State {
        template,
        options,
        root: data,
        tree: &template.name,
        at: None,
        variables: vec![("$", dot.clone())],
        depth: 0,
        steps: 0,
        output: Text::new(options.limits.output),
    };
    if let Some(list) = template.trees.get(&template.name) {
        state.walk_list(&dot, list)?;
    }
    Ok(state.output.into_string())
}

/// Where execution goes after a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    Next,
    Break,
    Continue,
}

pub(crate) type Result<T> = std::result::Result<T, ExecError>;

/// One execution.
pub(crate) struct State<'a> {
    template: &'a Template,
    pub(crate) options: &'a Options<'a>,
    root: &'a Value,
    /// The name of the template that runs, for errors.
    tree: &'a str,
    /// The node that errors are reported at.
    at: Option<(usize, &'a dyn Display)>,
    variables: Vec<(&'a str, Item<'a>)>,
    depth: usize,
    steps: usize,
    output: Text,
}

impl<'a> State<'a> {
    /// An error at the current node.
    pub(crate) fn error<T>(&self, message: impl Into<String>) -> Result<T> {
        let name = &self.template.name;
        let location = match self.at {
            None => format!("{name}: "),
            Some((pos, node)) => {
                let before = &self.template.text[..pos];
                let line = 1 + before.matches('\n').count();
                let column = before.rfind('\n').map_or(pos, |newline| pos - newline - 1);
                let tree = crate::quote::quote(self.tree);
                format!("{name}:{line}:{column}: executing {tree} at <{node}>: ")
            }
        };
        Err(ExecError {
            location,
            message: message.into(),
        })
    }

    fn full<T>(&self, Full: Full) -> Result<T> {
        self.error(format!(
            "output exceeds {} bytes",
            self.options.limits.output
        ))
    }

    /// Moves to a node, which costs a step.
    pub(crate) fn visit(&mut self, pos: usize, node: &'a dyn Display) -> Result<()> {
        self.at = Some((pos, node));
        self.step()
    }

    fn step(&mut self) -> Result<()> {
        self.steps += 1;
        if self.steps > self.options.limits.steps {
            return self.error(format!("exceeded {} steps", self.options.limits.steps));
        }
        Ok(())
    }

    fn walk_list(&mut self, dot: &Item<'a>, list: &'a List) -> Result<Flow> {
        if self.depth == MAX_DEPTH {
            return self.error(format!("exceeded maximum template depth ({MAX_DEPTH})"));
        }
        self.depth += 1;
        let mut flow = Flow::Next;
        for node in &list.0 {
            flow = self.walk(dot, node)?;
            if flow != Flow::Next {
                break;
            }
        }
        self.depth -= 1;
        Ok(flow)
    }

    fn walk(&mut self, dot: &Item<'a>, node: &'a Node) -> Result<Flow> {
        self.visit(node.pos, node)?;
        match &node.kind {
            NodeKind::Text(text) => self.output.push(text).or_else(|full| self.full(full))?,
            NodeKind::Action(pipe) => {
                let value = self.pipeline(dot, pipe)?;
                if pipe.variables.is_empty() {
                    self.visit(node.pos, node)?;
                    self.print(&value)?;
                }
            }
            NodeKind::Break => return Ok(Flow::Break),
            NodeKind::Continue => return Ok(Flow::Continue),
            NodeKind::Template { name, pipe } => self.call_template(dot, name, pipe.as_ref())?,
            NodeKind::Branch(branch) => {
                let mark = self.variables.len();
                let flow = match branch.keyword {
                    BranchKeyword::Range => self.range(dot, branch).map(|()| Flow::Next),
                    BranchKeyword::If | BranchKeyword::With => self.branch(dot, branch),
                }?;
                self.variables.truncate(mark);
                return Ok(flow);
            }
        }
        Ok(Flow::Next)
    }

    fn print(&mut self, value: &Item<'a>) -> Result<()> {
        let printed = match &value.datum {
            Datum::Missing => self.output.push("<no value>"),
            datum => format::print_value(&mut self.output, datum),
        };
        printed.or_else(|full| self.full(full))
    }

    fn branch(&mut self, dot: &Item<'a>, branch: &'a Branch) -> Result<Flow> {
        let value = self.pipeline(dot, &branch.pipe)?;
        if !value.datum.is_true() {
            return match &branch.otherwise {
                Some(list) => self.walk_list(dot, list),
                None => Ok(Flow::Next),
            };
        }
        match branch.keyword {
            BranchKeyword::With => self.walk_list(&value, &branch.list),
            _ => self.walk_list(dot, &branch.list),
        }
    }

    fn range(&mut self, dot: &Item<'a>, branch: &'a Branch) -> Result<()> {
        let value = self.pipeline(dot, &branch.pipe)?;
        let text = |key: &str| Item::text(key.to_owned());
        let count = |index: usize| Item::bare(Datum::Int(i64::try_from(index).unwrap_or(i64::MAX)));
        let mut any = false;
        match &value.datum {
            Datum::List(list) => {
                for (index, element) in list.iter().enumerate() {
                    any = true;
                    if self.iterate(branch, count(index), Item::found(element))? == Flow::Break {
                        break;
                    }
                }
            }
            Datum::Strings(list) => {
                for (index, element) in list.iter().enumerate() {
                    any = true;
                    if self.iterate(branch, count(index), text(element))? == Flow::Break {
                        break;
                    }
                }
            }
            Datum::Map(map) => {
                for (key, element) in sorted(map) {
                    any = true;
                    if self.iterate(branch, text(key), Item::found(element))? == Flow::Break {
                        break;
                    }
                }
            }
            Datum::Int(end) => {
                for index in 0..*end {
                    any = true;
                    let number = Item::bare(Datum::Int(index));
                    if self.iterate(branch, number.clone(), number)? == Flow::Break {
                        break;
                    }
                }
            }
            Datum::Missing => {}
            other => {
                let shown = self.shown(other)?;
                return self.error(format!("range can't iterate over {shown}"));
            }
        }
        match &branch.otherwise {
            Some(list) if !any => self.walk_list(dot, list).map(drop),
            _ => Ok(()),
        }
    }

    fn iterate(&mut self, branch: &'a Branch, key: Item<'a>, element: Item<'a>) -> Result<Flow> {
        // An empty body visits nothing.
        self.step()?;
        let mark = self.variables.len();
        let pipe = &branch.pipe;
        match pipe.variables.as_slice() {
            [] => {}
            [only] => self.bind(pipe, 1, only, element.clone())?,
            [first, second, ..] => {
                self.bind(pipe, 1, second, element.clone())?;
                self.bind(pipe, 2, first, key)?;
            }
        }
        let flow = self.walk_list(&element, &branch.list)?;
        self.variables.truncate(mark);
        Ok(flow)
    }

    /// Gives a range's variable its value for an iteration: its own, `from_top`, or an outer one.
    fn bind(&mut self, pipe: &Pipe, from_top: usize, name: &str, value: Item<'a>) -> Result<()> {
        if pipe.assigns {
            return self.assign(name, value);
        }
        let index = self.variables.len() - from_top;
        self.variables[index].1 = value;
        Ok(())
    }

    /// Changes a variable. The parser lets an assignment to an unknown one pass, as Go's does.
    fn assign(&mut self, name: &str, value: Item<'a>) -> Result<()> {
        match self
            .variables
            .iter_mut()
            .rev()
            .find(|(known, _)| *known == name)
        {
            Some((_, present)) => *present = value,
            None => return self.error(format!("undefined variable: {name}")),
        }
        Ok(())
    }

    fn call_template(
        &mut self,
        dot: &Item<'a>,
        name: &'a str,
        pipe: Option<&'a Pipe>,
    ) -> Result<()> {
        let template: &'a Template = self.template;
        let Some((name, list)) = template.trees.get_key_value(name) else {
            return self.error(format!(
                "template {} not defined",
                crate::quote::quote(name)
            ));
        };
        let value = match pipe {
            Some(pipe) => self.pipeline(dot, pipe)?,
            None => Item::MISSING,
        };
        let variables = std::mem::replace(&mut self.variables, vec![("$", value.clone())]);
        let tree = std::mem::replace(&mut self.tree, name);
        self.walk_list(&value, list)?;
        self.tree = tree;
        self.variables = variables;
        Ok(())
    }

    pub(crate) fn pipeline(&mut self, dot: &Item<'a>, pipe: &'a Pipe) -> Result<Item<'a>> {
        self.visit(pipe.pos, pipe)?;
        let mut value = None;
        for command in &pipe.commands {
            value = Some(self.command(dot, command, value)?.unboxed());
        }
        let value = value.unwrap_or(Item::MISSING);
        for name in &pipe.variables {
            if pipe.assigns {
                self.assign(name, value.clone())?;
            } else {
                self.variables.push((name, value.clone()));
            }
        }
        Ok(value)
    }

    /// Evaluates a stage of a pipeline; `last` is what the stage before it made.
    fn command(
        &mut self,
        dot: &Item<'a>,
        command: &'a Command,
        last: Option<Item<'a>>,
    ) -> Result<Item<'a>> {
        let Some((first, arguments)) = command.operands.split_first() else {
            return self.error("empty command");
        };
        self.visit(first.pos, first)?;
        match &first.kind {
            OperandKind::Function(name) => {
                let place = (command.pos, command as &dyn Display);
                self.call(dot, name, place, arguments, last)
            }
            OperandKind::Field(_) | OperandKind::Chain { .. } => {
                self.fields_of(dot, first, arguments, last)
            }
            OperandKind::Variable { fields, .. } if !fields.is_empty() => {
                self.fields_of(dot, first, arguments, last)
            }
            _ if !arguments.is_empty() || last.is_some() => {
                self.error(format!("can't give argument to non-function {first}"))
            }
            OperandKind::Nil => self.error("nil is not a command"),
            _ => self.term(dot, first),
        }
    }

    /// Evaluates an operand that takes no arguments.
    pub(crate) fn term(&mut self, dot: &Item<'a>, operand: &'a Operand) -> Result<Item<'a>> {
        self.visit(operand.pos, operand)?;
        match &operand.kind {
            OperandKind::Bool(value) => Ok(Item::bare(Datum::Bool(*value))),
            OperandKind::Dot => Ok(dot.clone()),
            OperandKind::Nil => Ok(Item::MISSING),
            OperandKind::Number(number) => self.constant(number),
            OperandKind::String { text, .. } => Ok(Item::bare(Datum::Text(text.into()))),
            OperandKind::Variable { name, fields } if fields.is_empty() => self.variable(name),
            OperandKind::Field(_) | OperandKind::Variable { .. } | OperandKind::Chain { .. } => {
                self.fields_of(dot, operand, &[], None)
            }
            OperandKind::Function(name) => {
                self.call(dot, name, (operand.pos, operand as &dyn Display), &[], None)
            }
            OperandKind::Pipe(pipe) => self.pipeline(dot, pipe),
        }
    }

    fn constant(&self, number: &Number) -> Result<Item<'a>> {
        match number.ideal {
            Ideal::Int(value) => Ok(Item::bare(Datum::Int(value))),
            Ideal::Float(value) => Ok(Item::bare(Datum::Float(value))),
            Ideal::Overflow => self.error(format!("{} overflows int", number.text)),
        }
    }

    fn variable(&self, name: &str) -> Result<Item<'a>> {
        match self
            .variables
            .iter()
            .rev()
            .find(|(known, _)| *known == name)
        {
            Some((_, value)) => Ok(value.clone()),
            None => self.error(format!("undefined variable: {name}")),
        }
    }

    /// Evaluates `.A.B`, `$x.A.B` or `(…).A.B`; a method at the end takes the arguments.
    fn fields_of(
        &mut self,
        dot: &Item<'a>,
        operand: &'a Operand,
        arguments: &'a [Operand],
        last: Option<Item<'a>>,
    ) -> Result<Item<'a>> {
        let (mut receiver, fields) = match &operand.kind {
            OperandKind::Field(fields) => (dot.clone(), fields),
            OperandKind::Variable { name, fields } => (self.variable(name)?, fields),
            OperandKind::Chain { term, fields } => {
                if matches!(term.kind, OperandKind::Nil) {
                    return self.error(format!("indirection through explicit nil in {operand}"));
                }
                (self.term(dot, term)?, fields)
            }
            _ => return self.term(dot, operand),
        };
        let Some((final_field, path)) = fields.split_last() else {
            return Ok(receiver);
        };
        for field in path {
            receiver = match self.method(&receiver, field) {
                Some(index) => self.call_method(dot, index, operand, &[], None)?,
                None => self.field(&receiver, field, false)?,
            };
        }
        match self.method(&receiver, final_field) {
            Some(index) => self.call_method(dot, index, operand, arguments, last),
            None => self.field(
                &receiver,
                final_field,
                !arguments.is_empty() || last.is_some(),
            ),
        }
    }

    fn is_root(&self, receiver: &Item<'a>) -> bool {
        match (&receiver.datum, self.root) {
            (Datum::Map(map), Value::Object(root)) => std::ptr::eq(*map, root),
            _ => false,
        }
    }

    fn method(&self, receiver: &Item<'a>, name: &str) -> Option<usize> {
        let index = self
            .options
            .methods
            .iter()
            .position(|method| method.name == name)?;
        self.is_root(receiver).then_some(index)
    }

    fn call_method(
        &mut self,
        dot: &Item<'a>,
        index: usize,
        operand: &'a Operand,
        arguments: &'a [Operand],
        last: Option<Item<'a>>,
    ) -> Result<Item<'a>> {
        let method = &self.options.methods[index];
        let (name, want) = (method.name, method.arguments);
        let got = arguments.len() + usize::from(last.is_some());
        if got != want {
            return self.error(format!(
                "wrong number of args for {name}: want {want} got {got}"
            ));
        }
        let texts = self.text_arguments(dot, arguments, last)?;
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        match (method.call)(self.root, &texts) {
            Ok(text) => Ok(Item::text(text)),
            Err(reason) => {
                self.visit(operand.pos, operand)?;
                self.error(format!("error calling {name}: {reason}"))
            }
        }
    }

    fn field(&self, receiver: &Item<'a>, name: &str, has_arguments: bool) -> Result<Item<'a>> {
        let quoted = || crate::quote::quote(name);
        match &receiver.datum {
            Datum::Missing if receiver.boxed => {
                self.error(format!("nil pointer evaluating interface {{}}.{name}"))
            }
            Datum::Missing if self.options.missing_key == MissingKey::Error => {
                self.error(format!("nil data; no entry for key {}", quoted()))
            }
            Datum::Missing => Ok(Item::MISSING),
            Datum::Map(_) if has_arguments => {
                self.error(format!("{name} is not a method but has arguments"))
            }
            Datum::Map(map) => match (map.get(name), self.options.root_type) {
                (Some(value), _) => Ok(Item::found(value)),
                (None, Some(root_type)) if self.is_root(receiver) => {
                    self.error(format!("can't evaluate field {name} in type {root_type}"))
                }
                (None, _) if self.options.missing_key == MissingKey::Error => {
                    self.error(format!("map has no entry for key {}", quoted()))
                }
                (None, _) => Ok(Item::MISSING),
            },
            _ => {
                let type_name = receiver.type_name();
                self.error(format!("can't evaluate field {name} in type {type_name}"))
            }
        }
    }

    /// A value as `%v` prints it, for a message.
    fn shown(&self, datum: &Datum<'_>) -> Result<String> {
        let mut text = Text::new(self.options.limits.output);
        match format::print_value(&mut text, datum) {
            Ok(()) => Ok(text.into_string()),
            Err(full) => self.full(full),
        }
    }
}
