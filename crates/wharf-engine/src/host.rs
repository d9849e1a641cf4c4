//! What the engine tells of the machine it runs on.

use std::fs;

use wharf_wire as wire;

/// Returns the answer of `GET /info` as far as it is about the machine; the engine adds what is about itself.
pub(crate) fn info() -> wire::SystemInfo {
    let uname = rustix::system::uname();
    let release = os_release(
        &read("/etc/os-release")
            .or_else(|| read("/usr/lib/os-release"))
            .unwrap_or_default(),
    );
    wire::SystemInfo {
        kernel_version: uname.release().to_string_lossy().into_owned(),
        architecture: uname.machine().to_string_lossy().into_owned(),
        name: hostname(),
        operating_system: release.name,
        os_version: release.version,
        os_type: "linux".to_owned(),
        n_cpu: processors(),
        mem_total: memory(&read("/proc/meminfo").unwrap_or_default()),
        ipv4_forwarding: is_on("/proc/sys/net/ipv4/ip_forward"),
        bridge_nf_iptables: is_on("/proc/sys/net/bridge/bridge-nf-call-iptables"),
        bridge_nf_ip6tables: is_on("/proc/sys/net/bridge/bridge-nf-call-ip6tables"),
        n_fd: fs::read_dir("/proc/self/fd").map_or(-1, |entries| {
            i64::try_from(entries.count()).unwrap_or(i64::MAX)
        }),
        system_time: jiff::Timestamp::now().to_string(),
        swarm: wire::SwarmInfo {
            local_node_state: "inactive".to_owned(),
            ..wire::SwarmInfo::default()
        },
        ..wire::SystemInfo::default()
    }
}

/// Returns the machine's name.
pub(crate) fn hostname() -> String {
    let uname = rustix::system::uname();
    uname.nodename().to_string_lossy().into_owned()
}

/// Returns the answer of `GET /version` for an engine of the given version.
pub(crate) fn version(engine: &str) -> wire::Version {
    let uname = rustix::system::uname();
    let kernel_version = uname.release().to_string_lossy().into_owned();
    let arch = go_architecture(&uname.machine().to_string_lossy()).to_owned();
    let details = [
        ("ApiVersion", wire::API_VERSION),
        ("MinAPIVersion", wire::MIN_API_VERSION),
        ("Arch", &arch),
        ("Os", "linux"),
        ("KernelVersion", &kernel_version),
        ("Experimental", "false"),
    ];
    let details = details
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let component = wire::ComponentVersion {
        name: "Engine".to_owned(),
        version: engine.to_owned(),
        details,
    };
    wire::Version {
        platform: wire::VersionPlatform {
            name: "Wharf".to_owned(),
        },
        components: vec![component],
        version: engine.to_owned(),
        api_version: wire::API_VERSION.to_owned(),
        min_api_version: wire::MIN_API_VERSION.to_owned(),
        os: "linux".to_owned(),
        arch,
        kernel_version,
        ..wire::Version::default()
    }
}

/// A machine's name as Go has it, which is how images name it too.
pub(crate) fn go_architecture(machine: &str) -> &str {
    match machine {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()
}

fn is_on(path: &str) -> bool {
    read(path).is_some_and(|text| text.trim() == "1")
}

/// Processors this process may use, as Go counts them.
fn processors() -> i64 {
    let count = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Bytes of memory.
pub(crate) fn memory(meminfo: &str) -> i64 {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"));
    let kilobytes = line.and_then(|rest| rest.split_ascii_whitespace().next()?.parse::<i64>().ok());
    kilobytes.map_or(0, |kilobytes| kilobytes.saturating_mul(1024))
}

#[derive(Debug, PartialEq, Eq)]
struct Release {
    name: String,
    version: String,
}

/// Reads os-release(5): lines `NAME=value`, the value as a shell would quote it.
fn os_release(text: &str) -> Release {
    let value = |name: &str| {
        let line = text
            .lines()
            .find_map(|line| line.trim().strip_prefix(name)?.strip_prefix('='))?;
        let quoted = |quote: char| line.strip_prefix(quote)?.strip_suffix(quote);
        Some(
            quoted('"')
                .or_else(|| quoted('\''))
                .unwrap_or(line)
                .replace('\\', ""),
        )
    };
    Release {
        name: value("PRETTY_NAME")
            .or_else(|| value("NAME"))
            .unwrap_or_else(|| "Linux".to_owned()),
        version: value("VERSION_ID").unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn os_release_is_read_as_a_shell_would() {
        for (text, name, version) in [
            (
                "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nVERSION_ID='12'\n",
                "Debian GNU/Linux 12 (bookworm)",
                "12",
            ),
            ("NAME=Arch\nBUILD_ID=rolling\n", "Arch", ""),
            ("PRETTY_NAME=\"A \\\"B\\\"\"\n", "A \"B\"", ""),
            ("", "Linux", ""),
        ] {
            assert_eq!(
                os_release(text),
                Release {
                    name: name.to_owned(),
                    version: version.to_owned()
                },
                "{text}"
            );
        }
    }

    #[test]
    fn the_machine_is_described() {
        let info = info();
        assert!(
            info.mem_total > 1 << 20 && info.n_cpu >= 1 && info.n_fd > 0,
            "{info:?}"
        );
        assert!(
            !info.kernel_version.is_empty() && !info.operating_system.is_empty(),
            "{info:?}"
        );
        assert_eq!(
            memory("MemFree: 1 kB\nMemTotal:    24684084 kB\n"),
            25_276_502_016
        );
    }

    #[test]
    fn the_version_is_in_gos_words() {
        let version = version("1.2.3");
        assert_eq!(
            (version.version.as_str(), version.os.as_str()),
            ("1.2.3", "linux")
        );
        assert_eq!(
            version.components[0].details["ApiVersion"],
            wire::API_VERSION
        );
        assert_eq!(
            [go_architecture("x86_64"), go_architecture("riscv64")],
            ["amd64", "riscv64"]
        );
    }
}
