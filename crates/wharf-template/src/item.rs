//! The values a template computes with.

use std::borrow::Cow;
use std::rc::Rc;

use serde_json::{Map, Value};

/// A value, and whether it is still in the interface it was found in.
///
/// Go's templates forget the interface at the end of a pipeline, and name the static type in
/// errors until then (`can't evaluate field X in type interface {}`).
#[derive(Debug, Clone)]
pub(crate) struct Item<'a> {
    pub(crate) datum: Datum<'a>,
    pub(crate) boxed: bool,
}

/// A value by its Go type.
#[derive(Debug, Clone)]
pub(crate) enum Datum<'a> {
    /// No value at all: a missing key, or an untyped nil.
    Missing,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Byte(u8),
    Float(f64),
    Text(Cow<'a, str>),
    List(&'a [Value]),
    /// A `[]string`, what `split` returns.
    Strings(Rc<[String]>),
    Map(&'a Map<String, Value>),
}

impl<'a> Item<'a> {
    pub(crate) const MISSING: Self = Self {
        datum: Datum::Missing,
        boxed: false,
    };

    /// A value found in a map or list: in an interface.
    pub(crate) fn found(value: &'a Value) -> Self {
        Self {
            datum: Datum::from(value),
            boxed: true,
        }
    }

    /// A value on its own.
    pub(crate) fn bare(datum: Datum<'a>) -> Self {
        Self {
            datum,
            boxed: false,
        }
    }

    pub(crate) fn text(text: String) -> Self {
        Self::bare(Datum::Text(Cow::Owned(text)))
    }

    /// Takes the value out of its interface.
    pub(crate) fn unboxed(self) -> Self {
        Self {
            boxed: false,
            ..self
        }
    }

    /// A nil interface, as opposed to no value at all.
    pub(crate) fn is_nil_interface(&self) -> bool {
        self.boxed && matches!(self.datum, Datum::Missing)
    }

    /// The static type, as Go's reflection names it.
    pub(crate) fn type_name(&self) -> &'static str {
        if self.boxed {
            "interface {}"
        } else {
            self.datum.type_name()
        }
    }
}

impl<'a> From<&'a Value> for Datum<'a> {
    fn from(value: &'a Value) -> Self {
        match value {
            Value::Null => Self::Missing,
            Value::Bool(value) => Self::Bool(*value),
            Value::Number(number) => {
                if let Some(int) = number.as_i64() {
                    Self::Int(int)
                } else if let Some(uint) = number.as_u64() {
                    Self::Uint(uint)
                } else {
                    Self::Float(number.as_f64().unwrap_or(f64::NAN))
                }
            }
            Value::String(text) => Self::Text(Cow::Borrowed(text)),
            Value::Array(list) => Self::List(list),
            Value::Object(map) => Self::Map(map),
        }
    }
}

impl Datum<'_> {
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Self::Missing => "<nil>",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Uint(_) => "uint64",
            Self::Byte(_) => "uint8",
            Self::Float(_) => "float64",
            Self::Text(_) => "string",
            Self::List(_) => "[]interface {}",
            Self::Strings(_) => "[]string",
            Self::Map(_) => "map[string]interface {}",
        }
    }

    /// What `if`, `and`, `or` and `not` go by: everything but the zero of its type.
    pub(crate) fn is_true(&self) -> bool {
        match self {
            Self::Missing => false,
            Self::Bool(value) => *value,
            Self::Int(value) => *value != 0,
            Self::Uint(value) => *value != 0,
            Self::Byte(value) => *value != 0,
            Self::Float(value) => *value != 0.0,
            Self::Text(text) => !text.is_empty(),
            Self::List(list) => !list.is_empty(),
            Self::Strings(list) => !list.is_empty(),
            Self::Map(map) => !map.is_empty(),
        }
    }
}

/// A map's entries in key order, which is how Go prints and ranges over maps.
pub(crate) fn sorted(map: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let mut entries: Vec<_> = map.iter().collect();
    entries.sort_unstable_by_key(|(key, _)| *key);
    entries
}
