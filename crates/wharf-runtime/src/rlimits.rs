//! Resource limits of a process.

use rustix::io::Errno;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use wharf_oci::runtime;

use crate::error::SpecError;

/// One limit, ready to set.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit {
    name: &'static str,
    resource: Resource,
    value: Rlimit,
}

const RESOURCES: [(&str, Resource); 16] = [
    ("RLIMIT_AS", Resource::As),
    ("RLIMIT_CORE", Resource::Core),
    ("RLIMIT_CPU", Resource::Cpu),
    ("RLIMIT_DATA", Resource::Data),
    ("RLIMIT_FSIZE", Resource::Fsize),
    ("RLIMIT_LOCKS", Resource::Locks),
    ("RLIMIT_MEMLOCK", Resource::Memlock),
    ("RLIMIT_MSGQUEUE", Resource::Msgqueue),
    ("RLIMIT_NICE", Resource::Nice),
    ("RLIMIT_NOFILE", Resource::Nofile),
    ("RLIMIT_NPROC", Resource::Nproc),
    ("RLIMIT_RSS", Resource::Rss),
    ("RLIMIT_RTPRIO", Resource::Rtprio),
    ("RLIMIT_RTTIME", Resource::Rttime),
    ("RLIMIT_SIGPENDING", Resource::Sigpending),
    ("RLIMIT_STACK", Resource::Stack),
];

/// Reads the limits of a process.
pub(crate) fn parse(rlimits: &[runtime::Rlimit]) -> Result<Vec<Limit>, SpecError> {
    let mut limits: Vec<Limit> = Vec::with_capacity(rlimits.len());
    for rlimit in rlimits {
        let invalid = |reason| SpecError::Invalid {
            member: "process.rlimits",
            value: rlimit.kind.clone(),
            reason,
        };
        let (name, resource) = *RESOURCES
            .iter()
            .find(|(name, _)| *name == rlimit.kind)
            .ok_or_else(|| invalid("no such limit"))?;
        if limits.iter().any(|limit| limit.name == name) {
            return Err(invalid("given twice"));
        }
        if rlimit.soft > rlimit.hard {
            return Err(invalid("the soft limit is above the hard one"));
        }
        let value = Rlimit {
            current: finite(rlimit.soft),
            maximum: finite(rlimit.hard),
        };
        limits.push(Limit {
            name,
            resource,
            value,
        });
    }
    Ok(limits)
}

/// `RLIM_INFINITY` is the largest number in the configuration, and no number in rustix.
fn finite(value: u64) -> Option<u64> {
    (value != u64::MAX).then_some(value)
}

impl Limit {
    /// Sets the limit of `pid`, or of the calling process. Where the hard limit cannot be raised,
    /// the limit is clamped to it and a warning says so: a container with a lower limit is worth more than
    /// none.
    pub(crate) fn apply(&self, pid: Option<Pid>) -> Result<Option<String>, Errno> {
        match prlimit(pid, self.resource, self.value) {
            Ok(_) => Ok(None),
            Err(Errno::PERM) => self.clamp(pid).map(Some),
            Err(error) => Err(error),
        }
    }

    fn clamp(&self, pid: Option<Pid>) -> Result<String, Errno> {
        // Every process the runtime makes has its own limits, so the caller's stand for them.
        let hard = rustix::process::getrlimit(self.resource).maximum;
        let clamped = Rlimit {
            current: least(self.value.current, hard),
            maximum: least(self.value.maximum, hard),
        };
        prlimit(pid, self.resource, clamped)?;
        Ok(format!(
            "{}: clamped to the hard limit {}, which may not be raised",
            self.name,
            hard.map_or_else(|| "unlimited".to_owned(), |value| value.to_string())
        ))
    }

    /// The limit's name, for errors.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }
}

fn least(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(kind: &str, soft: u64, hard: u64) -> runtime::Rlimit {
        runtime::Rlimit {
            kind: kind.to_owned(),
            soft,
            hard,
        }
    }

    #[test]
    fn limits_are_read() {
        let limits = parse(&[limit("RLIMIT_NOFILE", 10, u64::MAX)]).expect("a limit");
        assert_eq!(
            limits[0].value,
            Rlimit {
                current: Some(10),
                maximum: None
            }
        );
    }

    #[test]
    fn unknown_double_and_crossed_limits_are_refused() {
        let reason = |limits: &[runtime::Rlimit]| parse(limits).expect_err("refused").to_string();
        assert_eq!(
            reason(&[limit("RLIMIT_X", 1, 1)]),
            r#"invalid process.rlimits "RLIMIT_X": no such limit"#
        );
        let twice = [limit("RLIMIT_CPU", 1, 1), limit("RLIMIT_CPU", 2, 2)];
        assert!(reason(&twice).ends_with("given twice"));
        assert!(reason(&[limit("RLIMIT_CPU", 2, 1)]).contains("above"));
    }
}
