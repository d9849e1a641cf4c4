//! Small members of a process's configuration: from the document's words to the kernel's numbers.

use std::ffi::CString;

use rustix::fs::{Gid, Uid};
use rustix::thread::CpuSet;
use wharf_oci::runtime::{IoPriority, Scheduler, Spec};
use wharf_sys::process::SchedulerAttributes;

use crate::error::SpecError;

/// Strings for `execve`.
pub(crate) fn c_strings(
    member: &'static str,
    strings: &[String],
) -> Result<Vec<CString>, SpecError> {
    let convert = |string: &String| {
        CString::new(string.as_str()).map_err(|_| invalid(member, string, "contains a NUL"))
    };
    strings.iter().map(convert).collect()
}

/// A user id; the largest number means "unchanged" to the kernel, which would leave root.
pub(crate) fn uid(uid: u32) -> Result<Uid, SpecError> {
    if uid == u32::MAX {
        return Err(invalid(
            "process.user.uid",
            &uid.to_string(),
            "not a user id",
        ));
    }
    Ok(Uid::from_raw(uid))
}

/// A group id, with the same exception.
pub(crate) fn gid(gid: u32) -> Result<Gid, SpecError> {
    if gid == u32::MAX {
        return Err(invalid(
            "process.user.gid",
            &gid.to_string(),
            "not a group id",
        ));
    }
    Ok(Gid::from_raw(gid))
}

/// Arguments of sched_setattr(2).
pub(crate) fn scheduler(scheduler: &Scheduler) -> Result<SchedulerAttributes, SpecError> {
    let bad = |reason| invalid("process.scheduler", &scheduler.policy, reason);
    let policy = match scheduler.policy.as_str() {
        "SCHED_OTHER" => 0,
        "SCHED_FIFO" => 1,
        "SCHED_RR" => 2,
        "SCHED_BATCH" => 3,
        "SCHED_ISO" => 4,
        "SCHED_IDLE" => 5,
        "SCHED_DEADLINE" => 6,
        _ => return Err(bad("no such policy")),
    };
    let mut flags = 0;
    for flag in &scheduler.flags {
        flags |= match flag.as_str() {
            "SCHED_FLAG_RESET_ON_FORK" => 0x01,
            "SCHED_FLAG_RECLAIM" => 0x02,
            "SCHED_FLAG_DL_OVERRUN" => 0x04,
            "SCHED_FLAG_KEEP_POLICY" => 0x08,
            "SCHED_FLAG_KEEP_PARAMS" => 0x10,
            "SCHED_FLAG_UTIL_CLAMP_MIN" => 0x20,
            "SCHED_FLAG_UTIL_CLAMP_MAX" => 0x40,
            _ => return Err(invalid("process.scheduler.flags", flag, "no such flag")),
        };
    }
    Ok(SchedulerAttributes {
        policy,
        flags,
        nice: scheduler.nice,
        priority: u32::try_from(scheduler.priority).map_err(|_| bad("negative priority"))?,
        runtime: scheduler.runtime,
        deadline: scheduler.deadline,
        period: scheduler.period,
    })
}

/// Class and priority of ioprio_set(2).
pub(crate) fn io_priority(priority: &IoPriority) -> Result<(u16, u16), SpecError> {
    let bad = |reason| invalid("process.ioPriority", &priority.class, reason);
    let class = match priority.class.as_str() {
        "IOPRIO_CLASS_RT" => 1,
        "IOPRIO_CLASS_BE" => 2,
        "IOPRIO_CLASS_IDLE" => 3,
        _ => return Err(bad("no such class")),
    };
    match u16::try_from(priority.priority) {
        Ok(priority @ 0..=7) => Ok((class, priority)),
        _ => Err(bad("the priority is not within 0 to 7")),
    }
}

/// The execution domain.
pub(crate) fn personality(spec: &Spec) -> Result<Option<u32>, SpecError> {
    const PER_LINUX: u32 = 0;
    const PER_LINUX32: u32 = 8;
    let linux = spec.linux.as_ref();
    let Some(personality) = linux.and_then(|linux| linux.personality.as_ref()) else {
        return Ok(None);
    };
    if let Some(flag) = personality.flags.first() {
        return Err(invalid(
            "linux.personality.flags",
            flag,
            "no flags are defined",
        ));
    }
    match personality.domain.as_str() {
        "LINUX" => Ok(Some(PER_LINUX)),
        "LINUX32" => Ok(Some(PER_LINUX32)),
        other => Err(invalid("linux.personality.domain", other, "no such domain")),
    }
}

/// A list of CPUs in the kernel's format.
pub(crate) fn cpus(list: &str) -> Result<CpuSet, SpecError> {
    let bad = || invalid("process.execCPUAffinity", list, "not a list of CPUs");
    let mut set = CpuSet::new();
    for part in list
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
    {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let first: usize = first.trim().parse().map_err(|_| bad())?;
        let last: usize = last.trim().parse().map_err(|_| bad())?;
        if first > last || last >= CpuSet::MAX_CPU {
            return Err(bad());
        }
        (first..=last).for_each(|cpu| set.set(cpu));
    }
    if set.count() == 0 {
        Err(bad())
    } else {
        Ok(set)
    }
}

fn invalid(member: &'static str, value: &str, reason: &'static str) -> SpecError {
    SpecError::Invalid {
        member,
        value: value.to_owned(),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_that_means_unchanged_is_no_user() {
        uid(u32::MAX).expect_err("refused");
        gid(u32::MAX).expect_err("refused");
        assert_eq!(uid(1000).expect("a user").as_raw(), 1000);
    }

    #[test]
    fn cpu_lists_are_read() {
        let set = cpus("0-2, 5").expect("a list");
        assert_eq!(
            (set.count(), set.is_set(5), set.is_set(3)),
            (4, true, false)
        );
        for bad in ["", "2-1", "x", "0-99999"] {
            cpus(bad).expect_err(bad);
        }
    }

    #[test]
    fn strings_with_nul_are_refused() {
        c_strings("process.args", &["a\0b".to_owned()]).expect_err("refused");
    }
}
