//! `--network`: a name, or pairs that say how to be connected.

use std::collections::BTreeMap;

use crate::grammar::{Invalid, parse_int};

/// A network to connect to, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Attachment {
    pub(crate) network: String,
    pub(crate) aliases: Vec<String>,
    pub(crate) driver_options: BTreeMap<String, String>,
    pub(crate) ipv4: String,
    pub(crate) ipv6: String,
    pub(crate) link_local: Vec<String>,
    pub(crate) mac: String,
    pub(crate) gateway_priority: i64,
}

/// Reads `--network`.
pub(crate) fn parse(text: &str) -> Result<Attachment, Invalid> {
    let mut attachment = Attachment::default();
    if !text.contains('=') {
        text.clone_into(&mut attachment.network);
        return Ok(attachment);
    }
    for field in text.split(',') {
        let Some((key, value)) = field.split_once('=') else {
            return Err(Invalid(format!("invalid field {field}")));
        };
        let value = value.trim();
        match key.trim().to_ascii_lowercase().as_str() {
            "name" => value.clone_into(&mut attachment.network),
            "alias" => attachment.aliases.push(value.to_owned()),
            "driver-opt" => {
                let (name, option) = value
                    .split_once(':')
                    .or_else(|| value.split_once('='))
                    .ok_or_else(|| {
                        Invalid("invalid key value pair format in driver options".to_owned())
                    })?;
                attachment
                    .driver_options
                    .insert(name.to_owned(), option.to_owned());
            }
            "ip" => value.clone_into(&mut attachment.ipv4),
            "ip6" => value.clone_into(&mut attachment.ipv6),
            "link-local-ip" => attachment.link_local.push(value.to_owned()),
            "mac-address" => value.clone_into(&mut attachment.mac),
            "gw-priority" => attachment.gateway_priority = parse_int(value)?,
            key => return Err(Invalid(format!("invalid field key {key}"))),
        }
    }
    if attachment.network.is_empty() {
        return Err(Invalid("network name/id is not specified".to_owned()));
    }
    Ok(attachment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_names_or_pairs() {
        assert_eq!(parse("host").expect("a name").network, "host");
        let attachment =
            parse("name=net,alias=a,alias=b,ip=10.0.0.2,driver-opt=x:y").expect("pairs");
        assert_eq!(
            (&*attachment.network, &*attachment.ipv4),
            ("net", "10.0.0.2")
        );
        assert_eq!(attachment.aliases, ["a", "b"]);
        assert_eq!(attachment.driver_options["x"], "y");
        assert_eq!(
            parse("alias=a").expect_err("no name").0,
            "network name/id is not specified"
        );
        assert_eq!(parse("name=a,b").expect_err("no pair").0, "invalid field b");
        assert_eq!(
            parse("name=a,b=c").expect_err("no key").0,
            "invalid field key b"
        );
    }
}
