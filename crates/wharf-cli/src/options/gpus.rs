//! Graphics processors asked for: `all`, `2`, `device=0,capabilities=utility`.

use std::collections::{BTreeMap, BTreeSet};

use wharf_wire::DeviceRequest;

use super::csv;
use crate::grammar::Invalid;

/// Reads a request.
pub(crate) fn parse(text: &str) -> Result<DeviceRequest, Invalid> {
    let mut request = DeviceRequest::default();
    let mut seen = BTreeSet::new();
    for field in csv::record(text)? {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (field.as_str(), None),
        };
        if !seen.insert(key.to_owned()) {
            return Err(Invalid(format!(
                "gpu request key '{key}' can be specified only once"
            )));
        }
        let Some(value) = value else {
            seen.insert("count".to_owned());
            request.count = count(key)?;
            continue;
        };
        match key {
            "driver" => value.clone_into(&mut request.driver),
            "count" => request.count = count(value)?,
            "device" => request.device_ids = Some(list(value)),
            "capabilities" => {
                let mut capabilities = list(value);
                capabilities.push("gpu".to_owned());
                request.capabilities = Some(vec![capabilities]);
            }
            "options" => request.options = Some(options(value)?),
            _ => {
                return Err(Invalid(format!("unexpected key '{key}' in '{field}'")));
            }
        }
    }
    if !seen.contains("count") && request.device_ids.is_none() {
        request.count = 1;
    }
    request.options.get_or_insert_default();
    request
        .capabilities
        .get_or_insert_with(|| vec![vec!["gpu".to_owned()]]);
    Ok(request)
}

fn count(text: &str) -> Result<i64, Invalid> {
    if text == "all" {
        return Ok(-1);
    }
    text.parse().map_err(|_| {
        Invalid(format!(
            "invalid count ({text}): value must be either \"all\" or an integer: invalid syntax"
        ))
    })
}

fn list(text: &str) -> Vec<String> {
    text.split(',').map(str::to_owned).collect()
}

fn options(text: &str) -> Result<BTreeMap<String, String>, Invalid> {
    let pairs = csv::record(text)?.into_iter();
    Ok(pairs
        .map(|pair| match pair.split_once('=') {
            Some((name, value)) => (name.to_owned(), value.to_owned()),
            None => (pair, String::new()),
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counts_or_devices() {
        let all = parse("all").expect("a request");
        assert_eq!(
            (all.count, all.capabilities),
            (-1, Some(vec![vec!["gpu".to_owned()]]))
        );
        let two = parse("\"device=0,1\",capabilities=utility,driver=nvidia").expect("a request");
        assert_eq!(two.device_ids, Some(vec!["0".to_owned(), "1".to_owned()]));
        assert_eq!(
            (two.count, two.driver.as_str(), two.capabilities),
            (
                0,
                "nvidia",
                Some(vec![vec!["utility".to_owned(), "gpu".to_owned()]])
            )
        );
        let text = |text: &str| parse(text).expect_err(text).to_string();
        assert_eq!(text("foo=bar,x"), "unexpected key 'foo' in 'foo=bar'");
        assert_eq!(
            text("some"),
            "invalid count (some): value must be either \"all\" or an integer: invalid syntax"
        );
        assert_eq!(
            text("count=1,count=2"),
            "gpu request key 'count' can be specified only once"
        );
    }
}
