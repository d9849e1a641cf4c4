//! What a container may do: capabilities, system calls, and what `--security-opt` says.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use wharf_oci::runtime::Seccomp;
use wharf_seccomp::{Arch, KernelVersion};
use wharf_wire as wire;

use crate::capabilities;
use crate::defaults::Defaults;
use crate::error::Error;

/// What a request says about security, decided.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Security {
    /// The bounding, effective and permitted sets; the inheritable one is empty (attack R12).
    pub(crate) capabilities: Vec<String>,
    pub(crate) filter: Filter,
    pub(crate) no_new_privileges: bool,
    /// Whether nothing of /proc and /sys is hidden.
    pub(crate) system_paths: bool,
    /// Whether the cgroups that are seen inside can be changed.
    pub(crate) writable_cgroups: bool,
    /// AppArmor profile of the process.
    pub(crate) apparmor: Option<String>,
}

/// Which system call filter.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Filter {
    /// Docker's profile for the capabilities.
    Default,
    /// None.
    Unconfined,
    /// This one.
    Given(Box<Seccomp>),
}

impl Security {
    pub(crate) fn read(host: &wire::HostConfig, unsaid: &Defaults) -> Result<Self, Error> {
        let words = |words: &Option<wire::Words>| words.as_deref().unwrap_or_default().to_vec();
        let mut security = Self {
            capabilities: if host.privileged {
                capabilities::all()
            } else {
                capabilities::resolve(&words(&host.cap_add), &words(&host.cap_drop))?
            },
            filter: match (&unsaid.seccomp, host.privileged) {
                (_, true) => Filter::Unconfined,
                (None, false) => Filter::Default,
                (Some(document), false) => given(document)?,
            },
            no_new_privileges: unsaid.no_new_privileges,
            system_paths: host.privileged,
            writable_cgroups: host.privileged,
            apparmor: None,
        };
        for option in host.security_opt.iter().flatten() {
            security.apply(option)?;
        }
        Ok(security)
    }

    /// The filter as a runtime that is another program is told it; `None` for none.
    pub(crate) fn filter_document(&self) -> Option<Seccomp> {
        (self.filter != Filter::Unconfined).then(|| self.document(Arch::native()))
    }

    fn document(&self, arch: Arch) -> Seccomp {
        match &self.filter {
            Filter::Given(document) => (**document).clone(),
            _ => wharf_seccomp::default_profile(&self.capabilities, arch, KernelVersion::running()),
        }
    }

    fn apply(&mut self, option: &str) -> Result<(), Error> {
        let invalid =
            |part: u8| Error::invalid(format!("invalid --security-opt {part}: \"{option}\""));
        match option {
            "no-new-privileges" => {
                self.no_new_privileges = true;
                return Ok(());
            }
            "disable" => return refuse_labels(option),
            _ => {}
        }
        // Older clients write a colon.
        let (key, value) = (option.split_once('='))
            .or_else(|| option.split_once(':'))
            .ok_or_else(|| invalid(1))?;
        let flag = || go_bool(value).ok_or_else(|| invalid(2));
        match (key, value) {
            ("no-new-privileges", _) => self.no_new_privileges = flag()?,
            ("writable-cgroups", _) => self.writable_cgroups = flag()?,
            ("seccomp", "unconfined") => self.filter = Filter::Unconfined,
            ("seccomp", "builtin" | "") => self.filter = Filter::Default,
            ("seccomp", document) => self.filter = given(document)?,
            // Without AppArmor in the kernel there is nobody to confine, as in Docker.
            ("apparmor", profile) => {
                self.apparmor = Some(profile.to_owned())
                    .filter(|profile| profile != "unconfined" && has_apparmor());
            }
            ("label", _) => refuse_labels(option)?,
            _ => return Err(invalid(2)),
        }
        Ok(())
    }
}

/// A filter of the user's.
fn given(document: &str) -> Result<Filter, Error> {
    serde_json::from_str(document)
        .map(|parsed| Filter::Given(Box::new(parsed)))
        .map_err(|error| Error::invalid(format!("Decoding seccomp profile failed: {error}")))
}

/// Reads a truth value as Go does.
fn go_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

fn has_apparmor() -> bool {
    let enabled = std::fs::read_to_string("/sys/module/apparmor/parameters/enabled");
    enabled.is_ok_and(|text| text.starts_with('Y'))
}

/// SELinux labels: where there is no SELinux they mean nothing, as in Docker; where it is, they
/// would have to be set.
pub(crate) fn refuse_labels(option: &str) -> Result<(), Error> {
    if std::path::Path::new("/sys/fs/selinux/enforce").exists() {
        return Err(Error::not_implemented(format!(
            "{option}: SELinux labels are not supported yet"
        )));
    }
    Ok(())
}

/// Compiled filters, by what they are compiled from: compiling takes longer than all else in a
/// start, and almost all containers have the same one.
#[derive(Debug, Default)]
pub(crate) struct Filters(Mutex<HashMap<String, Arc<[u8]>>>);

/// Filters kept; a bound only, an engine meets few.
const FILTERS_MAX: usize = 64;

impl Filters {
    /// Returns the compiled filter of a container, `None` for none.
    pub(crate) fn compiled(&self, security: &Security) -> Result<Option<Arc<[u8]>>, Error> {
        let key = match &security.filter {
            Filter::Unconfined => return Ok(None),
            Filter::Default => security.capabilities.join(","),
            Filter::Given(document) => serde_json::to_string(document)
                .map_err(|error| Error::internal("cannot read the seccomp profile", error))?,
        };
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = lock().get(&key) {
            return Ok(Some(Arc::clone(found)));
        }
        let arch = Arch::native();
        let document = security.document(arch);
        let program = wharf_seccomp::compile(&document, arch)
            .map_err(|error| Error::invalid(format!("seccomp: {}", crate::error::chain(&error))))?;
        let bytes: Arc<[u8]> = program.encode().into();
        let mut filters = lock();
        if filters.len() >= FILTERS_MAX {
            filters.clear();
        }
        filters.insert(key, Arc::clone(&bytes));
        Ok(Some(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(options: &[&str]) -> Result<Security, String> {
        let host = wire::HostConfig {
            security_opt: Some(options.iter().map(|o| (*o).to_owned()).collect()),
            ..Default::default()
        };
        Security::read(&host, &Defaults::default()).map_err(|error| error.to_string())
    }

    #[test]
    fn options_are_carried_out_or_refused() {
        assert_eq!(read(&[]).map(|s| s.filter), Ok(Filter::Default));
        assert_eq!(
            read(&["seccomp=unconfined"]).map(|s| s.filter),
            Ok(Filter::Unconfined)
        );
        assert_eq!(
            read(&["no-new-privileges"]).map(|s| s.no_new_privileges),
            Ok(true)
        );
        assert!(read(&["seccomp={"]).is_err());
        assert_eq!(
            read(&["no-new-privileges:false", "writable-cgroups=1"])
                .map(|s| (s.no_new_privileges, s.writable_cgroups)),
            Ok((false, true))
        );
        for (option, part) in [("x", 1), ("x=y", 2), ("no-new-privileges=x", 2)] {
            assert_eq!(
                read(&[option]),
                Err(format!("invalid --security-opt {part}: \"{option}\""))
            );
        }
    }

    #[test]
    fn a_filter_is_compiled_once() {
        let filters = Filters::default();
        let security = read(&[]).expect("security");
        let first = filters
            .compiled(&security)
            .expect("compile")
            .expect("a filter");
        let second = filters
            .compiled(&security)
            .expect("compile")
            .expect("a filter");
        assert!(Arc::ptr_eq(&first, &second));
        let unconfined = read(&["seccomp=unconfined"]).expect("security");
        assert_eq!(filters.compiled(&unconfined).expect("nothing"), None);
    }
}
