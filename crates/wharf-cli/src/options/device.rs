//! Devices of the host: `/dev/fuse`, `/dev/sda:/dev/xvda:r`.

use wharf_wire::DeviceMapping;

use crate::grammar::Invalid;

/// Reads a device.
pub(crate) fn parse(text: &str) -> Result<DeviceMapping, Invalid> {
    let parts: Vec<&str> = text.split(':').collect();
    let (host, container, permissions) = match parts[..] {
        [host] => (host, host, "rwm"),
        [host, mode] if is_mode(mode) => (host, host, mode),
        [host, container] => (host, container, "rwm"),
        [host, container, mode] if is_mode(mode) => (
            host,
            if container.is_empty() {
                host
            } else {
                container
            },
            mode,
        ),
        [_, _, mode] => return Err(Invalid(format!("bad mode specified: {mode}"))),
        _ => return Err(Invalid(format!("invalid device specification: {text}"))),
    };
    for path in [host, container] {
        if !path.starts_with('/') {
            return Err(Invalid(format!("{path} is not an absolute path")));
        }
    }
    Ok(DeviceMapping {
        path_on_host: host.to_owned(),
        path_in_container: container.to_owned(),
        cgroup_permissions: permissions.to_owned(),
    })
}

fn is_mode(text: &str) -> bool {
    let mut seen = String::new();
    !text.is_empty()
        && text.chars().all(|letter| {
            let fresh = "rwm".contains(letter) && !seen.contains(letter);
            seen.push(letter);
            fresh
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_has_one_to_three_parts() {
        let check = |text: &str, host: &str, container: &str, mode: &str| {
            let device = parse(text).expect(text);
            assert_eq!(
                (
                    &*device.path_on_host,
                    &*device.path_in_container,
                    &*device.cgroup_permissions
                ),
                (host, container, mode)
            );
        };
        check("/dev/fuse", "/dev/fuse", "/dev/fuse", "rwm");
        check("/dev/sda:r", "/dev/sda", "/dev/sda", "r");
        check("/dev/sda:/dev/xvda", "/dev/sda", "/dev/xvda", "rwm");
        check("/dev/sda:/dev/xvda:wr", "/dev/sda", "/dev/xvda", "wr");
        check("/dev/sda::m", "/dev/sda", "/dev/sda", "m");
        for bad in [
            "sda",
            "/dev/sda:xvda",
            "/dev/sda:/dev/x:rr",
            "/a:/b:r:w",
            "",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
