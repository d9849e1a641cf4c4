//! Ports of a container on one line.

use wharf_wire::PortSummary;

/// Ports side by side that are shown as one.
struct Group {
    address: String,
    protocol: String,
    first: u16,
    last: u16,
}

impl Group {
    fn text(&self) -> String {
        let Self {
            address,
            protocol,
            first,
            last,
        } = self;
        let range = if first == last {
            first.to_string()
        } else {
            format!("{first}-{last}")
        };
        if address.is_empty() {
            return format!("{range}/{protocol}");
        }
        format!("{}->{range}/{protocol}", host_port(address, &range))
    }
}

/// Shows ports: neighbours with equal numbers on both sides joined, others behind.
pub(crate) fn displayable(ports: &[PortSummary]) -> String {
    let mut sorted: Vec<&PortSummary> = ports.iter().collect();
    sorted.sort_by(|a, b| {
        (a.private_port, &a.ip, a.public_port, &a.protocol).cmp(&(
            b.private_port,
            &b.ip,
            b.public_port,
            &b.protocol,
        ))
    });
    let mut done = Vec::new();
    let mut groups: Vec<Group> = Vec::new();
    let mut moved = Vec::new();
    for port in sorted {
        let current = port.private_port;
        if !port.ip.is_empty() && port.public_port != current {
            let host = host_port(&port.ip, &port.public_port.to_string());
            moved.push(format!("{host}->{current}/{}", port.protocol));
            continue;
        }
        match groups
            .iter_mut()
            .find(|group| group.address == port.ip && group.protocol == port.protocol)
        {
            None => groups.push(Group {
                address: port.ip.clone(),
                protocol: port.protocol.clone(),
                first: current,
                last: current,
            }),
            Some(group) => {
                if group.last.checked_add(1) != Some(current) {
                    done.push(group.text());
                    group.first = current;
                }
                group.last = current;
            }
        }
    }
    done.extend(groups.iter().map(Group::text));
    done.extend(moved);
    done.join(", ")
}

fn host_port(address: &str, port: &str) -> String {
    if address.contains(':') {
        format!("[{address}]:{port}")
    } else {
        format!("{address}:{port}")
    }
}
