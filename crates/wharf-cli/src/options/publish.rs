//! `-p`: published ports. `80`, `8080:80/udp`, `127.0.0.1:8000-8010:80-90`, `[::1]::80`.

use std::net::IpAddr;

use wharf_wire::{PortBinding, PortMap};

/// Ports that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PortError {
    /// Nothing behind the last colon.
    #[error("no port specified: {0}<empty>")]
    NoPort(String),
    /// No protocol that is known.
    #[error("invalid proto: {0}")]
    Protocol(String),
    /// No address.
    #[error("invalid IP address: {0}")]
    Address(String),
    /// No port of the container's.
    #[error("invalid containerPort: {0}")]
    ContainerPort(String),
    /// No port of the host's.
    #[error("invalid hostPort: {0}")]
    HostPort(String),
    /// Ranges of different lengths.
    #[error("invalid ranges specified for container and host Ports: {container} and {host}")]
    Ranges {
        /// The container's.
        container: String,
        /// The host's.
        host: String,
    },
    /// A field of the long form that is not known, or without a value.
    #[error("invalid field {0}")]
    Field(String),
    /// A port to expose that is none.
    #[error("invalid range format for --expose: {0}, error: {1}")]
    Expose(String, String),
}

/// A range of ports, ends included.
#[derive(Clone, Copy)]
struct Ports {
    first: u16,
    last: u16,
}

impl Ports {
    fn parse(text: &str) -> Option<Self> {
        let port = |text: &str| {
            text.bytes()
                .all(|byte| byte.is_ascii_digit())
                .then(|| text.parse().ok())
                .flatten()
        };
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let ports = Self {
            first: port(first)?,
            last: port(last)?,
        };
        (ports.first <= ports.last).then_some(ports)
    }

    fn span(self) -> u16 {
        self.last - self.first
    }
}

/// Adds what `-p` asks for.
pub(crate) fn publish(map: &mut PortMap, text: &str) -> Result<(), PortError> {
    let short;
    let text = if text.contains('=') {
        short = from_long_form(text)?;
        &short
    } else {
        text
    };
    let (spec, protocol) = protocol(text)?;
    let (address, host, container) = split(spec);
    if container.is_empty() {
        return Err(PortError::NoPort(text.to_owned()));
    }
    if !address.is_empty() && address.parse::<IpAddr>().is_err() {
        return Err(PortError::Address(address.to_owned()));
    }
    let container_ports =
        Ports::parse(container).ok_or_else(|| PortError::ContainerPort(container.to_owned()))?;
    let host_ports = match host {
        "" => None,
        host => Some(Ports::parse(host).ok_or_else(|| PortError::HostPort(host.to_owned()))?),
    };
    // A range of the host's for one port of the container's: the engine takes one that is free.
    let any_of = host_ports.filter(|ports| ports.span() != 0 && container_ports.span() == 0);
    if any_of.is_none() && host_ports.is_some_and(|ports| ports.span() != container_ports.span()) {
        return Err(PortError::Ranges {
            container: container.to_owned(),
            host: host.to_owned(),
        });
    }
    for offset in 0..=container_ports.span() {
        let host_port = match (any_of, host_ports) {
            (Some(_), _) => host.to_owned(),
            (None, Some(ports)) => (ports.first + offset).to_string(),
            (None, None) => String::new(),
        };
        let key = format!("{}/{protocol}", container_ports.first + offset);
        let bindings = map.entry(key).or_default().get_or_insert_default();
        bindings.push(PortBinding {
            host_ip: address.to_owned(),
            host_port,
        });
    }
    Ok(())
}

/// Reads what `--expose` asks for: ports of the container's, without any of the host's.
pub(crate) fn expose(text: &str) -> Result<Vec<String>, PortError> {
    let (spec, protocol) = protocol(text)?;
    let ports = Ports::parse(spec)
        .ok_or_else(|| PortError::Expose(text.to_owned(), range_problem(spec)))?;
    Ok((ports.first..=ports.last)
        .map(|port| format!("{port}/{protocol}"))
        .collect())
}

/// What Go's library says is wrong with a range.
fn range_problem(spec: &str) -> String {
    if spec.is_empty() {
        return "empty string specified for ports".to_owned();
    }
    let (first, last) = spec.split_once('-').unwrap_or((spec, spec));
    match port_number(first).and_then(|_| port_number(last)) {
        Err(problem) => problem,
        Ok(_) => format!("invalid range specified for port: {spec}"),
    }
}

/// Reads a port, or says what Go's library says is wrong with it.
pub(crate) fn port_number(text: &str) -> Result<u16, String> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits {
        return Err(format!(
            "strconv.ParseUint: parsing {text:?}: invalid syntax"
        ));
    }
    text.parse()
        .map_err(|_| format!("strconv.ParseUint: parsing {text:?}: value out of range"))
}

fn protocol(text: &str) -> Result<(&str, String), PortError> {
    let (spec, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    match protocol.as_str() {
        "tcp" | "udp" | "sctp" => Ok((spec, protocol)),
        _ => Err(PortError::Protocol(protocol)),
    }
}

/// Cuts address, host port and container port apart; the address may be bracketed.
fn split(text: &str) -> (&str, &str, &str) {
    let Some((front, container)) = text.rsplit_once(':') else {
        return ("", "", text);
    };
    match front.rsplit_once(':') {
        None => ("", front, container),
        Some((address, host)) => {
            let bare = address
                .strip_prefix('[')
                .and_then(|inner| inner.strip_suffix(']'));
            (bare.unwrap_or(address), host, container)
        }
    }
}

fn from_long_form(text: &str) -> Result<String, PortError> {
    let (mut target, mut published, mut protocol) = ("", "", "tcp");
    for field in text.split(',') {
        match field.split_once('=') {
            Some(("target", value)) => target = value,
            Some(("published", value)) => published = value,
            Some(("protocol", value)) => protocol = value,
            _ => return Err(PortError::Field(field.to_owned())),
        }
    }
    if target.is_empty() {
        return Err(PortError::NoPort(text.to_owned()));
    }
    let separator = if published.is_empty() { "" } else { ":" };
    Ok(format!("{published}{separator}{target}/{protocol}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Vec<String> {
        let mut map = PortMap::new();
        publish(&mut map, text).expect(text);
        let mut lines = Vec::new();
        for (port, bindings) in map {
            for binding in bindings.expect("bindings") {
                lines.push(format!("{}:{}->{port}", binding.host_ip, binding.host_port));
            }
        }
        lines
    }

    #[test]
    fn ports_are_written_in_many_ways() {
        assert_eq!(shown("80"), [":->80/tcp"]);
        assert_eq!(shown("8080:80/UDP"), [":8080->80/udp"]);
        assert_eq!(shown("127.0.0.1:8080:80"), ["127.0.0.1:8080->80/tcp"]);
        assert_eq!(shown("127.0.0.1::80"), ["127.0.0.1:->80/tcp"]);
        assert_eq!(shown("[::1]:8080:80"), ["::1:8080->80/tcp"]);
        assert_eq!(shown("::1:8080:80"), ["::1:8080->80/tcp"]);
        assert_eq!(shown("8000-8001:80-81"), [":8000->80/tcp", ":8001->81/tcp"]);
        assert_eq!(shown("8000-8010:80"), [":8000-8010->80/tcp"]);
        assert_eq!(shown("80-81"), [":->80/tcp", ":->81/tcp"]);
        assert_eq!(
            shown("target=80,published=8080,protocol=udp"),
            [":8080->80/udp"]
        );
    }

    #[test]
    fn bad_ports_are_named_as_docker_names_them() {
        let error = |text: &str| {
            publish(&mut PortMap::new(), text)
                .expect_err(text)
                .to_string()
        };
        assert_eq!(error("99999:1"), "invalid hostPort: 99999");
        assert_eq!(error("1:99999"), "invalid containerPort: 99999");
        assert_eq!(error("x:80"), "invalid hostPort: x");
        assert_eq!(error("80:"), "no port specified: 80:<empty>");
        assert_eq!(error("80/x"), "invalid proto: x");
        assert_eq!(error("a:1:2"), "invalid IP address: a");
        assert_eq!(
            error("1-2:1-3"),
            "invalid ranges specified for container and host Ports: 1-3 and 1-2"
        );
        assert_eq!(error("2-1:80"), "invalid hostPort: 2-1");
        assert_eq!(error("mode=host"), "invalid field mode=host");
    }

    #[test]
    fn ranges_are_exposed_port_by_port() {
        assert_eq!(
            expose("80-82/udp"),
            Ok(vec![
                "80/udp".to_owned(),
                "81/udp".to_owned(),
                "82/udp".to_owned()
            ])
        );
        let problem = |text: &str| expose(text).expect_err(text).to_string();
        assert_eq!(
            problem("x"),
            "invalid range format for --expose: x, error: strconv.ParseUint: parsing \"x\": invalid syntax"
        );
        assert_eq!(
            problem("2-1"),
            "invalid range format for --expose: 2-1, error: invalid range specified for port: 2-1"
        );
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "[0-9a-z.:/\\[\\]-]{0,24}") {
            let mut map = PortMap::new();
            let answer = publish(&mut map, &text);
            proptest::prop_assert_eq!(answer.is_ok(), !map.is_empty());
        }
    }
}
