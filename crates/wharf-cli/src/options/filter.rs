//! `--filter key=value`.

use wharf_wire::Filters;

use crate::grammar::Invalid;

/// Adds a filter. Which keys exist is the engine's to say.
pub(crate) fn add(filters: &mut Filters, text: &str) -> Result<(), Invalid> {
    if text.is_empty() {
        return Ok(());
    }
    let (key, value) = text
        .split_once('=')
        .ok_or_else(|| Invalid("bad format of filter (expected name=value)".to_owned()))?;
    filters.add(key.trim().to_lowercase(), value.trim());
    Ok(())
}
