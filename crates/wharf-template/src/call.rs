//! Calls of functions: arguments are evaluated and checked against the function's parameters as
//! Go's reflection would.

use std::fmt::Display;

use crate::exec::{Result, State};
use crate::functions::{self, Arguments, Failure, Parameter, Signature};
use crate::item::{Datum, Item};
use crate::node::{Ideal, Operand, OperandKind};

impl<'a> State<'a> {
    /// Calls `name`; errors of the function itself are reported at `place`.
    pub(crate) fn call(
        &mut self,
        dot: &Item<'a>,
        name: &'a str,
        place: (usize, &'a dyn Display),
        arguments: &'a [Operand],
        last: Option<Item<'a>>,
    ) -> Result<Item<'a>> {
        let Some(signature) = functions::signature(name, self.options.functions) else {
            return self.error(format!(
                "{} is not a defined function",
                crate::quote::quote(name)
            ));
        };
        self.check_count(name, &signature, arguments.len(), last.is_some())?;
        if let "and" | "or" = name {
            return self.short_circuit(dot, name == "or", arguments, last);
        }
        let mut values = Vec::with_capacity(arguments.len() + 1);
        for operand in arguments {
            let parameter = signature.parameter(values.len());
            values.push(self.argument(dot, parameter, operand)?);
        }
        if let Some(last) = last {
            values.push(self.validated(last, signature.parameter(values.len()))?);
        }
        let arguments = Arguments {
            values,
            limit: self.options.limits.output,
        };
        match functions::call(name, self.options.functions, arguments) {
            Ok(item) => Ok(item),
            Err(failure) => {
                self.visit(place.0, place.1)?;
                match failure {
                    Failure::Message(reason) => {
                        self.error(format!("error calling {name}: {reason}"))
                    }
                    Failure::Full(limit) => self.error(format!(
                        "error calling {name}: output exceeds {limit} bytes"
                    )),
                }
            }
        }
    }

    fn check_count(
        &self,
        name: &str,
        signature: &Signature,
        given: usize,
        has_last: bool,
    ) -> Result<()> {
        let got = given + usize::from(has_last);
        let want = signature.fixed.len();
        if signature.variadic.is_some() {
            if got < want {
                return self.error(format!(
                    "wrong number of args for {name}: want at least {want} got {given}"
                ));
            }
        } else if got != want {
            return self.error(format!(
                "wrong number of args for {name}: want {want} got {got}"
            ));
        }
        Ok(())
    }

    fn short_circuit(
        &mut self,
        dot: &Item<'a>,
        stop: bool,
        arguments: &'a [Operand],
        last: Option<Item<'a>>,
    ) -> Result<Item<'a>> {
        let mut value = Item::MISSING;
        for operand in arguments {
            value = self.argument(dot, Parameter::Any, operand)?;
            if value.datum.is_true() == stop {
                return Ok(value);
            }
        }
        Ok(last.unwrap_or(value))
    }

    fn argument(
        &mut self,
        dot: &Item<'a>,
        parameter: Parameter,
        operand: &'a Operand,
    ) -> Result<Item<'a>> {
        self.visit(operand.pos, operand)?;
        match (&operand.kind, parameter) {
            (OperandKind::Nil, Parameter::Any) => Ok(Item::MISSING),
            (OperandKind::Nil, _) => {
                self.error(format!("cannot assign nil to {}", parameter.type_name()))
            }
            (OperandKind::String { .. }, Parameter::Text) => self.term(dot, operand),
            (OperandKind::Number(number), Parameter::Int) => match (number.int, number.ideal) {
                (Some(int), _) => Ok(Item::bare(Datum::Int(int))),
                (None, Ideal::Int(_) | Ideal::Float(_) | Ideal::Overflow) => {
                    self.error(format!("expected integer; found {operand}"))
                }
            },
            (
                OperandKind::Bool(_) | OperandKind::Number(_) | OperandKind::String { .. },
                Parameter::Text | Parameter::Int,
            ) => self.error(format!(
                "expected {}; found {operand}",
                parameter.kind_name()
            )),
            _ => {
                let value = self.term(dot, operand)?;
                self.validated(value, parameter)
            }
        }
    }

    /// Checks that a value can be passed for a parameter.
    fn validated(&self, value: Item<'a>, parameter: Parameter) -> Result<Item<'a>> {
        match (&value.datum, parameter) {
            (_, Parameter::Any)
            | (Datum::Text(_), Parameter::Text)
            | (Datum::Int(_), Parameter::Int) => Ok(value),
            (Datum::Missing, _) if !value.boxed => {
                self.error(format!("invalid value; expected {}", parameter.type_name()))
            }
            _ => {
                let nil = value.is_nil_interface();
                let got = if nil {
                    "interface {}"
                } else {
                    value.datum.type_name()
                };
                let want = parameter.type_name();
                self.error(format!("wrong type for value; expected {want}; got {got}"))
            }
        }
    }

    /// Evaluates the arguments of a method, all of them strings.
    pub(crate) fn text_arguments(
        &mut self,
        dot: &Item<'a>,
        arguments: &'a [Operand],
        last: Option<Item<'a>>,
    ) -> Result<Vec<String>> {
        let mut values = Vec::with_capacity(arguments.len() + 1);
        for operand in arguments {
            values.push(self.argument(dot, Parameter::Text, operand)?);
        }
        if let Some(last) = last {
            values.push(self.validated(last, Parameter::Text)?);
        }
        Ok(values
            .into_iter()
            .filter_map(|value| match value.datum {
                Datum::Text(text) => Some(text.into_owned()),
                _ => None,
            })
            .collect())
    }
}
