//! The functions a template can call: Go's own, and Docker's.

use std::borrow::Cow;
use std::rc::Rc;

use crate::item::{Datum, Item};
use crate::text::{Full, Text};
use crate::{Functions, compare, escape, format};

/// What a parameter accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parameter {
    Any,
    Text,
    Int,
}

impl Parameter {
    pub(crate) fn type_name(self) -> &'static str {
        match self {
            Self::Any => "interface {}",
            Self::Text => "string",
            Self::Int => "int",
        }
    }

    /// What a constant of the wrong kind is told to be.
    pub(crate) fn kind_name(self) -> &'static str {
        match self {
            Self::Int => "integer",
            _ => self.type_name(),
        }
    }
}

/// A function's parameters.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Signature {
    pub(crate) fixed: &'static [Parameter],
    pub(crate) variadic: Option<Parameter>,
}

impl Signature {
    pub(crate) fn parameter(&self, index: usize) -> Parameter {
        let known = self.fixed.get(index).copied().or(self.variadic);
        known.unwrap_or(Parameter::Any)
    }
}

/// Why a function failed.
#[derive(Debug)]
pub(crate) enum Failure {
    Message(String),
    /// The result would be longer than this.
    Full(usize),
}

/// Arguments that fit the signature, and how long a string may get.
#[derive(Debug)]
pub(crate) struct Arguments<'a> {
    pub(crate) values: Vec<Item<'a>>,
    pub(crate) limit: usize,
}

type Result<T> = std::result::Result<T, Failure>;

fn message<T>(text: impl Into<String>) -> Result<T> {
    Err(Failure::Message(text.into()))
}

/// Says whether a template may name this function.
pub(crate) fn exists(name: &str) -> bool {
    signature(name, Functions::Values).is_some()
}

/// Returns the parameters of a function.
pub(crate) fn signature(name: &str, set: Functions) -> Option<Signature> {
    use Parameter::{Any, Int, Text};
    let (fixed, variadic): (&'static [Parameter], _) = match name {
        "and" | "or" | "call" | "index" | "slice" | "eq" => (&[Any], Some(Any)),
        "html" | "js" | "urlquery" | "print" | "println" => (&[], Some(Any)),
        "printf" => (&[Text], Some(Any)),
        "len" | "not" => (&[Any], None),
        "ge" | "gt" | "le" | "lt" | "ne" => (&[Any, Any], None),
        "json" if set == Functions::Headers => (&[Text], None),
        "json" => (&[Any], None),
        "join" => (&[Any, Text], None),
        "split" => (&[Text, Text], None),
        "title" | "lower" | "upper" => (&[Text], None),
        "pad" => (&[Text, Int, Int], None),
        "truncate" => (&[Text, Int], None),
        _ => return None,
    };
    Some(Signature { fixed, variadic })
}

/// Calls a function with arguments that fit its signature.
pub(crate) fn call<'a>(name: &str, set: Functions, arguments: Arguments<'a>) -> Result<Item<'a>> {
    if set == Functions::Headers
        && let "json" | "title" | "lower" | "upper" | "truncate" = name
    {
        return Ok(arguments
            .values
            .into_iter()
            .next()
            .unwrap_or(Item::MISSING)
            .unboxed());
    }
    let bool = |value| Ok(Item::bare(Datum::Bool(value)));
    match name {
        "index" => arguments.index(),
        "slice" => arguments.slice(),
        "len" => arguments.len(),
        "not" => bool(!arguments.get(0).is_true()),
        "eq" => bool(arguments.equal()?),
        "ne" => bool(!arguments.equal()?),
        "lt" => bool(arguments.less()?),
        "le" => bool(arguments.less()? || arguments.equal()?),
        "gt" => bool(!(arguments.less()? || arguments.equal()?)),
        "ge" => bool(!arguments.less()?),
        "call" => arguments.refuse_call(),
        "html" => arguments.escaped(escape::html),
        "js" => arguments.escaped(escape::js),
        "urlquery" => arguments.escaped(escape::urlquery),
        "print" => arguments.written(|out, data| format::print(out, data)),
        "println" => arguments.written(|out, data| format::println(out, data)),
        "printf" => arguments.printf(),
        "json" => arguments.written(|out, data| escape::json(out, data[0])),
        "join" => arguments.join(),
        "split" => arguments.split(),
        "lower" => arguments.written(|out, data| mapped(out, text(data[0]), lower)),
        "upper" => arguments.written(|out, data| mapped(out, text(data[0]), upper)),
        "title" => arguments.written(|out, data| title(out, text(data[0]))),
        "pad" => arguments.pad(),
        "truncate" => arguments.truncate(),
        _ => message("not a function"),
    }
}

/// The string a `Parameter::Text` argument holds.
fn text<'d>(datum: &'d Datum<'_>) -> &'d str {
    match datum {
        Datum::Text(text) => text,
        _ => "",
    }
}

impl<'a> Arguments<'a> {
    fn get(&self, index: usize) -> &Datum<'a> {
        self.values
            .get(index)
            .map_or(&Datum::Missing, |item| &item.datum)
    }

    fn data(&self) -> Vec<&Datum<'a>> {
        self.values.iter().map(|item| &item.datum).collect()
    }

    fn int(&self, index: usize) -> i64 {
        match self.get(index) {
            Datum::Int(value) => *value,
            _ => 0,
        }
    }

    fn written(
        &self,
        write: impl FnOnce(&mut Text, &[&Datum<'a>]) -> std::result::Result<(), Full>,
    ) -> Result<Item<'a>> {
        let mut out = Text::new(self.limit);
        match write(&mut out, &self.data()) {
            Ok(()) => Ok(Item::text(out.into_string())),
            Err(Full) => Err(Failure::Full(self.limit)),
        }
    }

    fn equal(&self) -> Result<bool> {
        let data = self.data();
        match data.split_first() {
            Some((first, others)) => compare::equal(first, others, self.limit),
            None => Ok(false),
        }
    }

    fn less(&self) -> Result<bool> {
        compare::less(self.get(0), self.get(1))
    }

    fn refuse_call(&self) -> Result<Item<'a>> {
        match self.get(0) {
            Datum::Missing => message("call of nil"),
            other => message(format!("non-function of type {}", other.type_name())),
        }
    }

    fn index(&self) -> Result<Item<'a>> {
        let mut item = match self.values.first() {
            Some(item) if !matches!(item.datum, Datum::Missing) => item.clone().unboxed(),
            _ => return message("index of untyped nil"),
        };
        for index in self.values.iter().skip(1) {
            item = match &item.datum {
                Datum::Missing => return message("index of nil pointer"),
                Datum::List(list) => {
                    let at = position(&index.datum, list.len())?;
                    list.get(at)
                        .map(Item::found)
                        .ok_or_else(|| out_of_range("slice"))?
                }
                Datum::Strings(list) => {
                    let at = position(&index.datum, list.len())?;
                    let text = list.get(at).ok_or_else(|| out_of_range("slice"))?;
                    Item::text(text.clone())
                }
                Datum::Text(text) => {
                    let at = position(&index.datum, text.len())?;
                    let byte = text
                        .as_bytes()
                        .get(at)
                        .ok_or_else(|| out_of_range("string"))?;
                    Item::bare(Datum::Byte(*byte))
                }
                Datum::Map(map) => match &index.datum {
                    Datum::Text(key) => map.get(key.as_ref()).map_or(
                        Item {
                            datum: Datum::Missing,
                            boxed: true,
                        },
                        Item::found,
                    ),
                    Datum::Missing => return message("value is nil; should be of type string"),
                    other => {
                        let type_name = other.type_name();
                        return message(format!("value has type {type_name}; should be string"));
                    }
                },
                other => {
                    return message(format!("can't index item of type {}", other.type_name()));
                }
            };
        }
        Ok(item)
    }

    fn slice(&self) -> Result<Item<'a>> {
        let indexes = self.values.len().saturating_sub(1);
        let item = self.get(0);
        if matches!(item, Datum::Missing) {
            return message("slice of untyped nil");
        }
        if indexes > 3 {
            return message(format!("too many slice indexes: {indexes}"));
        }
        let len = match item {
            Datum::Text(_) if indexes == 3 => return message("cannot 3-index slice a string"),
            Datum::Text(text) => text.len(),
            Datum::List(list) => list.len(),
            Datum::Strings(list) => list.len(),
            other => return message(format!("can't slice item of type {}", other.type_name())),
        };
        let mut bounds = [0, len, len];
        for (bound, index) in bounds.iter_mut().zip(self.values.iter().skip(1)) {
            *bound = position(&index.datum, len)?;
        }
        let [start, end, cap] = bounds;
        if start > end {
            return message(format!("invalid slice index: {start} > {end}"));
        }
        if end > cap {
            return message(format!("invalid slice index: {end} > {cap}"));
        }
        Ok(Item::bare(match item {
            Datum::List(list) => Datum::List(&list[start..end]),
            Datum::Strings(list) => Datum::Strings(list[start..end].into()),
            other => Datum::Text(Cow::Owned(bytes(text(other), start, end))),
        }))
    }

    fn len(&self) -> Result<Item<'a>> {
        let len = match self.get(0) {
            Datum::Text(text) => text.len(),
            Datum::List(list) => list.len(),
            Datum::Strings(list) => list.len(),
            Datum::Map(map) => map.len(),
            Datum::Missing if self.values.iter().any(Item::is_nil_interface) => {
                return message("len of nil pointer");
            }
            Datum::Missing => {
                return message("reflect: call of reflect.Value.Type on zero Value");
            }
            other => return message(format!("len of type {}", other.type_name())),
        };
        Ok(Item::bare(Datum::Int(
            i64::try_from(len).unwrap_or(i64::MAX),
        )))
    }

    /// Joins the arguments as `print` does and escapes the whole.
    fn escaped(
        &self,
        escape: fn(&mut Text, &str) -> std::result::Result<(), Full>,
    ) -> Result<Item<'a>> {
        let none = Datum::Text(Cow::Borrowed("<no value>"));
        let data = self.data();
        let shown: Vec<&Datum<'_>> = data
            .iter()
            .map(|datum| {
                if matches!(datum, Datum::Missing) {
                    &none
                } else {
                    *datum
                }
            })
            .collect();
        self.written(|out, _| {
            let mut plain = Text::new(out.limit());
            format::print(&mut plain, &shown)?;
            escape(out, &plain.into_string())
        })
    }

    fn printf(&self) -> Result<Item<'a>> {
        self.written(|out, data| format::printf(out, text(data[0]), &data[1..]))
    }

    fn join(&self) -> Result<Item<'a>> {
        let separator = text(self.get(1));
        match self.get(0) {
            Datum::Missing => Ok(Item::text(String::new())),
            Datum::Strings(list) => Ok(Item::text(list.join(separator))),
            Datum::List(list) => self.written(|out, _| {
                for (index, value) in list.iter().enumerate() {
                    if index > 0 {
                        out.push(separator)?;
                    }
                    format::print(out, &[&Datum::from(value)])?;
                }
                Ok(())
            }),
            other => message(format!("expected slice, got {}", other.type_name())),
        }
    }

    fn split(&self) -> Result<Item<'a>> {
        let (source, separator) = (text(self.get(0)), text(self.get(1)));
        let parts: Rc<[String]> = if separator.is_empty() {
            source.chars().map(String::from).collect()
        } else {
            source.split(separator).map(str::to_owned).collect()
        };
        Ok(Item::bare(Datum::Strings(parts)))
    }

    fn pad(&self) -> Result<Item<'a>> {
        let source = text(self.get(0));
        if source.is_empty() {
            return Ok(Item::text(String::new()));
        }
        let (Ok(before), Ok(after)) = (usize::try_from(self.int(1)), usize::try_from(self.int(2)))
        else {
            return message("strings: negative Repeat count");
        };
        self.written(|out, _| {
            out.repeat(' ', before)?;
            out.push(source)?;
            out.repeat(' ', after)
        })
    }

    fn truncate(&self) -> Result<Item<'a>> {
        let source = text(self.get(0));
        let Ok(length) = usize::try_from(self.int(1)) else {
            let length = self.int(1);
            return message(format!(
                "runtime error: slice bounds out of range [:{length}]"
            ));
        };
        Ok(Item::text(bytes(source, 0, length.min(source.len()))))
    }
}

fn out_of_range(what: &str) -> Failure {
    Failure::Message(format!("reflect: {what} index out of range"))
}

/// Checks an index against a length; the length itself passes, as a slice may end there.
fn position(index: &Datum<'_>, len: usize) -> Result<usize> {
    let value: i128 = match index {
        Datum::Int(value) => (*value).into(),
        Datum::Uint(value) => (*value).into(),
        Datum::Byte(value) => (*value).into(),
        Datum::Missing => return message("cannot index slice/array with nil"),
        other => {
            let type_name = other.type_name();
            return message(format!("cannot index slice/array with type {type_name}"));
        }
    };
    match usize::try_from(value) {
        Ok(at) if at <= len => Ok(at),
        _ => message(format!("index out of range: {value}")),
    }
}

/// Part of a string by bytes; a character cut in two becomes U+FFFD.
fn bytes(text: &str, start: usize, end: usize) -> String {
    String::from_utf8_lossy(&text.as_bytes()[start..end]).into_owned()
}

/// Maps character by character, as Go does: what has no single counterpart (ß) stays.
fn mapped(out: &mut Text, text: &str, map: fn(char) -> char) -> std::result::Result<(), Full> {
    text.chars()
        .try_for_each(|character| out.push_char(map(character)))
}

fn upper(character: char) -> char {
    only(character, character.to_uppercase())
}

fn lower(character: char) -> char {
    only(character, character.to_lowercase())
}

fn only(character: char, mut mapped: impl Iterator<Item = char>) -> char {
    match (mapped.next(), mapped.next()) {
        (Some(single), None) => single,
        _ => character,
    }
}

/// Go's `strings.Title`: the first letter of each word in upper case.
fn title(out: &mut Text, text: &str) -> std::result::Result<(), Full> {
    let mut in_word = false;
    for character in text.chars() {
        out.push_char(if in_word { character } else { upper(character) })?;
        in_word = character == '_'
            || character.is_alphanumeric()
            || (!character.is_ascii() && !character.is_whitespace());
    }
    Ok(())
}
