//! Names and addresses given to a container: `--add-host`, `--dns`.

use std::net::IpAddr;

use crate::grammar::Invalid;

/// Reads `name:address` or `name=address`; the engine is told the first form.
pub(crate) fn extra_host(text: &str) -> Result<String, Invalid> {
    let separator = if text.contains('=') { '=' } else { ':' };
    let (name, address) = text
        .split_once(separator)
        .filter(|(name, _)| !name.is_empty())
        .ok_or_else(|| Invalid(format!("bad format for add-host: {text:?}")))?;
    let bare = address
        .strip_prefix('[')
        .and_then(|inner| inner.strip_suffix(']'))
        .unwrap_or(address);
    if bare != "host-gateway" && bare.parse::<IpAddr>().is_err() {
        return Err(Invalid(format!(
            "invalid IP address in add-host: {address:?}"
        )));
    }
    Ok(format!("{name}:{bare}"))
}

/// Reads an address.
pub(crate) fn address(text: &str) -> Result<String, Invalid> {
    match text.trim().parse::<IpAddr>() {
        Ok(address) => Ok(address.to_string()),
        Err(_) => Err(Invalid(format!(
            "IP address is not correctly formatted: {text}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_told_with_a_colon() {
        assert_eq!(extra_host("a:1.2.3.4").expect("good"), "a:1.2.3.4");
        assert_eq!(extra_host("a=[::1]").expect("good"), "a:::1");
        assert_eq!(
            extra_host("a:host-gateway").expect("good"),
            "a:host-gateway"
        );
        assert_eq!(
            extra_host("a").expect_err("no address").0,
            "bad format for add-host: \"a\""
        );
        assert_eq!(
            extra_host("a:b").expect_err("no address").0,
            "invalid IP address in add-host: \"b\""
        );
        assert!(address("1.2.3").is_err());
    }
}
