//! `eq`, `lt` and the rest.

use crate::format;
use crate::functions::Failure;
use crate::item::Datum;
use crate::text::Text;

type Result<T> = std::result::Result<T, Failure>;

/// What Go's templates compare by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Other,
    Bool,
    Int,
    Uint,
    Float,
    Text,
}

fn kind(datum: &Datum<'_>) -> Kind {
    match datum {
        Datum::Bool(_) => Kind::Bool,
        Datum::Int(_) => Kind::Int,
        Datum::Uint(_) | Datum::Byte(_) => Kind::Uint,
        Datum::Float(_) => Kind::Float,
        Datum::Text(_) => Kind::Text,
        Datum::Missing | Datum::List(_) | Datum::Strings(_) | Datum::Map(_) => Kind::Other,
    }
}

/// An integer, signed or not.
fn integer(datum: &Datum<'_>) -> Option<i128> {
    match datum {
        Datum::Int(value) => Some((*value).into()),
        Datum::Uint(value) => Some((*value).into()),
        Datum::Byte(value) => Some((*value).into()),
        _ => None,
    }
}

fn incompatible<T>() -> Result<T> {
    Err(Failure::Message(
        "incompatible types for comparison".to_owned(),
    ))
}

/// Says whether `first` equals any of `others`.
pub(crate) fn equal(first: &Datum<'_>, others: &[&Datum<'_>], limit: usize) -> Result<bool> {
    if others.is_empty() {
        return Err(Failure::Message(
            "missing argument for comparison".to_owned(),
        ));
    }
    for other in others {
        if equal_one(first, other, limit)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn equal_one(first: &Datum<'_>, other: &Datum<'_>, limit: usize) -> Result<bool> {
    if let (Some(a), Some(b)) = (integer(first), integer(other)) {
        return Ok(a == b);
    }
    match (first, other) {
        (Datum::Bool(a), Datum::Bool(b)) => Ok(a == b),
        (Datum::Float(a), Datum::Float(b)) => Ok(a == b),
        (Datum::Text(a), Datum::Text(b)) => Ok(a == b),
        (Datum::Missing, Datum::Missing) => Ok(true),
        (Datum::Missing, _) | (_, Datum::Missing) => Ok(false),
        _ if kind(first) != kind(other) => incompatible(),
        _ => not_comparable(first, other, limit),
    }
}

/// Go names what cannot be compared, once by value and type and once the other way round.
fn not_comparable(first: &Datum<'_>, other: &Datum<'_>, limit: usize) -> Result<bool> {
    let show = |datum: &Datum<'_>, verb| {
        let mut text = Text::new(limit);
        format::print_with(&mut text, datum, verb).map_err(|_| Failure::Full(limit))?;
        Ok::<_, Failure>(text.into_string())
    };
    let is_map = |datum: &Datum<'_>| matches!(datum, Datum::Map(_));
    let message = if is_map(first) == is_map(other) {
        format!(
            "non-comparable type {}: {}",
            show(other, 's')?,
            other.type_name()
        )
    } else {
        format!(
            "non-comparable types {}: {}, {}: {}",
            show(first, 's')?,
            first.type_name(),
            other.type_name(),
            show(other, 'v')?
        )
    };
    Err(Failure::Message(message))
}

/// Says whether `first` is less than `other`.
pub(crate) fn less(first: &Datum<'_>, other: &Datum<'_>) -> Result<bool> {
    let invalid = || Err(Failure::Message("invalid type for comparison".to_owned()));
    if let (Some(a), Some(b)) = (integer(first), integer(other)) {
        return Ok(a < b);
    }
    match (kind(first), kind(other)) {
        (Kind::Other, _) | (_, Kind::Other) | (Kind::Bool, Kind::Bool) => return invalid(),
        (a, b) if a != b => return incompatible(),
        _ => {}
    }
    match (first, other) {
        (Datum::Float(a), Datum::Float(b)) => Ok(a < b),
        (Datum::Text(a), Datum::Text(b)) => Ok(a < b),
        _ => invalid(),
    }
}
