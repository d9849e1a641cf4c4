//! Options of the driver `local`: `type`, `o` and `device`, as for mount(8).
//!
//! What is served is a directory of the host as a volume (`type=none`, `o=bind`, `device=/path`):
//! the container gets that directory itself, and nothing is mounted on the host. Other file systems
//! would have to be mounted once for all their users; they are refused.

use std::collections::BTreeMap;
use std::path::PathBuf;

use wharf_types::VolumeName;

use crate::error::Error;

/// A directory of the host that stands for a volume's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Binding {
    pub(crate) device: PathBuf,
    /// Options of the mount: `ro`, `nosuid`…
    pub(crate) flags: Vec<String>,
    pub(crate) recursive: bool,
}

const KNOWN: [&str; 4] = ["device", "o", "size", "type"];
/// Which options need which others.
const NEEDS: [(&str, &[&str]); 3] = [
    ("device", &["type"]),
    ("o", &["device", "type"]),
    ("type", &["device"]),
];

impl Binding {
    /// Reads a volume's options; `None` for a volume with a directory of its own.
    pub(crate) fn read(
        name: &VolumeName,
        options: &BTreeMap<String, String>,
    ) -> Result<Option<Self>, Error> {
        let invalid = |reason: String| Error::invalid(format!("create {name}: {reason}"));
        if let Some(option) = options.keys().find(|key| !KNOWN.contains(&key.as_str())) {
            return Err(invalid(format!("invalid option: \"{option}\"")));
        }
        for (option, needed) in NEEDS {
            let missing = needed.iter().find(|needed| !options.contains_key(**needed));
            if let (true, Some(missing)) = (options.contains_key(option), missing) {
                return Err(invalid(format!("missing required option: \"{missing}\"")));
            }
        }
        if options.contains_key("size") {
            return Err(invalid(
                "quota size requested but no quota support".to_owned(),
            ));
        }
        let Some(kind) = options.get("type") else {
            return Ok(None);
        };
        let device = options.get("device").cloned().unwrap_or_default();
        let words = options.get("o").map(String::as_str).unwrap_or_default();
        let mut binding = Self {
            device: PathBuf::from(&device),
            flags: Vec::new(),
            recursive: false,
        };
        let mut bound = kind == "bind";
        for word in words.split(',').filter(|word| !word.is_empty()) {
            match word {
                "bind" => bound = true,
                "rbind" => (bound, binding.recursive) = (true, true),
                "rw" | "suid" | "dev" | "exec" => {}
                "ro" | "nosuid" | "nodev" | "noexec" | "noatime" => {
                    binding.flags.push(word.to_owned());
                }
                other if bound => {
                    return Err(invalid(format!("invalid mount option: \"{other}\"")));
                }
                _ => {}
            }
        }
        if !bound {
            return Err(Error::not_implemented(format!(
                "create {name}: volumes of type \"{kind}\" are not supported yet: only directories of the host are \
                 (type=none, o=bind)"
            )));
        }
        if !device.starts_with('/') {
            return Err(invalid(format!(
                "device \"{device}\" must be an absolute path"
            )));
        }
        Ok(Some(binding))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(options: &[(&str, &str)]) -> Result<Option<Binding>, String> {
        let options = options
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        let name = "vol".parse().expect("a name");
        Binding::read(&name, &options.collect()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_directory_of_the_host_can_be_a_volume() {
        assert_eq!(read(&[]), Ok(None));
        let options = [("type", "none"), ("o", "bind,ro"), ("device", "/srv")];
        assert_eq!(
            read(&options),
            Ok(Some(Binding {
                device: PathBuf::from("/srv"),
                flags: vec!["ro".to_owned()],
                recursive: false
            }))
        );
    }

    #[test]
    fn other_options_are_refused_in_dockers_words() {
        for (options, message) in [
            (
                &[("bogus", "1")][..],
                "create vol: invalid option: \"bogus\"",
            ),
            (
                &[("device", "x")],
                "create vol: missing required option: \"type\"",
            ),
            (
                &[("o", "bind")],
                "create vol: missing required option: \"device\"",
            ),
            (
                &[("size", "1g")],
                "create vol: quota size requested but no quota support",
            ),
            (
                &[("type", "nfs"), ("device", ":/x"), ("o", "addr=1.2.3.4")],
                "create vol: volumes of type \"nfs\" are not supported yet: only directories of the host are \
                 (type=none, o=bind)",
            ),
            (
                &[("type", "none"), ("device", "x"), ("o", "bind")],
                "create vol: device \"x\" must be an absolute path",
            ),
        ] {
            assert_eq!(read(options), Err(message.to_owned()));
        }
    }
}
