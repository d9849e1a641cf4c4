//! One line of comma-separated values, as Go's `encoding/csv` reads it.

use crate::grammar::Invalid;

/// Splits one line of comma-separated values; a field in double quotes may hold commas.
pub(crate) fn record(text: &str) -> Result<Vec<String>, Invalid> {
    let mut fields = Vec::new();
    let mut rest = text;
    loop {
        if let Some(quoted) = rest.strip_prefix('"') {
            let mut field = String::new();
            let mut inner = quoted;
            let after = loop {
                let end = inner.find('"').ok_or_else(|| {
                    Invalid(format!("extraneous or missing \" in quoted-field: {text}"))
                })?;
                field.push_str(&inner[..end]);
                inner = &inner[end + 1..];
                match inner.strip_prefix('"') {
                    Some(more) => {
                        field.push('"');
                        inner = more;
                    }
                    None => break inner,
                }
            };
            fields.push(field);
            match after.strip_prefix(',') {
                Some(more) => rest = more,
                None if after.is_empty() => return Ok(fields),
                None => {
                    return Err(Invalid(format!(
                        "extraneous or missing \" in quoted-field: {text}"
                    )));
                }
            }
        } else {
            let (field, more) = rest
                .split_once(',')
                .map_or((rest, None), |(field, more)| (field, Some(more)));
            if field.contains('"') {
                return Err(Invalid(format!("bare \" in non-quoted-field: {text}")));
            }
            fields.push(field.trim().to_owned());
            match more {
                Some(more) => rest = more,
                None => return Ok(fields),
            }
        }
    }
}
