//! `--filter key=value`.

use wharf_wire::Filters;

use crate::grammar::Invalid;

/// Adds the filters that the user's configuration has for everything that is pruned, but for those of labels that
/// the line says the contrary of.
pub(crate) fn add_configured(filters: &mut Filters, configured: &[String]) {
    for (key, value) in configured.iter().filter_map(|text| text.split_once('=')) {
        let contrary = match key {
            "label" => "label!",
            "label!" => "label",
            _ => "",
        };
        if !filters.get(contrary).any(|known| known == value) {
            filters.add(key, value);
        }
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_comes_before_the_configuration() {
        let mut filters = Filters::default();
        add(&mut filters, "label!=keep").expect("a filter");
        let configured = [
            "label=keep",
            "label=mine",
            "label!=keep",
            "until=24h",
            "nothing",
        ];
        add_configured(&mut filters, &configured.map(str::to_owned));
        let values = |key: &str| filters.get(key).collect::<Vec<_>>();
        assert_eq!(values("label"), ["mine"]);
        assert_eq!(values("label!"), ["keep"]);
        assert_eq!(values("until"), ["24h"]);
    }
}
