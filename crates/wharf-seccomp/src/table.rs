//! System call numbers, one table a calling convention, each sorted by name.

mod aarch64;
mod arm;
mod x32;
mod x86;
mod x86_64;

pub(crate) const X86_64: &[(&str, u32)] = x86_64::CALLS;
pub(crate) const X32: &[(&str, u32)] = x32::CALLS;
pub(crate) const X86: &[(&str, u32)] = x86::CALLS;
pub(crate) const AARCH64: &[(&str, u32)] = aarch64::CALLS;
pub(crate) const ARM: &[(&str, u32)] = arm::CALLS;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    #[test]
    fn tables_are_sorted_and_have_each_number_once() {
        for table in [
            super::X86_64,
            super::X32,
            super::X86,
            super::AARCH64,
            super::ARM,
        ] {
            assert!(table.is_sorted_by(|a, b| a.0 < b.0));
            let numbers: BTreeSet<u32> = table.iter().map(|(_, number)| *number).collect();
            assert!(table.len() - numbers.len() <= 1, "arm has one alias");
        }
    }

    /// The numbers the C library was built with, for calls from every corner of the table.
    #[test]
    #[cfg(target_arch = "x86_64")]
    fn numbers_are_those_of_the_c_library() {
        let expected = [
            ("read", libc::SYS_read),
            ("arch_prctl", libc::SYS_arch_prctl),
            ("newfstatat", libc::SYS_newfstatat),
            ("rseq", libc::SYS_rseq),
            ("pidfd_send_signal", libc::SYS_pidfd_send_signal),
            ("clone3", libc::SYS_clone3),
            ("openat2", libc::SYS_openat2),
            ("memfd_secret", libc::SYS_memfd_secret),
            ("set_mempolicy_home_node", libc::SYS_set_mempolicy_home_node),
            ("fchmodat2", libc::SYS_fchmodat2),
            ("mseal", libc::SYS_mseal),
        ];
        for (name, number) in expected {
            let found = crate::arch::Abi::X86_64.number(name).map(i64::from);
            assert_eq!(found, Some(number), "{name}");
        }
    }
}
