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

/// Whether a device is named by a CDI specification, `vendor.com/class=name`, and not by its path.
pub(crate) fn is_qualified(text: &str) -> bool {
    let Some((kind, name)) = text.split_once('=') else {
        return false;
    };
    let Some((vendor, class)) = kind.split_once('/') else {
        return false;
    };
    let plain = |part: &str, more: &[u8]| {
        part.starts_with(|first: char| first.is_ascii_alphanumeric())
            && part.ends_with(|last: char| last.is_ascii_alphanumeric())
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || more.contains(&byte))
    };
    plain(vendor, b"_-.") && plain(class, b"_-.") && plain(name, b"_-.:")
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
    fn a_cdi_name_is_no_path() {
        assert!(is_qualified("vendor.com/gpu=all") && is_qualified("a.b/c=0:1"));
        for path in ["/dev/fuse", "/dev/a=b", "vendor.com/gpu", "vendor.com/gpu="] {
            assert!(!is_qualified(path), "{path}");
        }
    }

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
