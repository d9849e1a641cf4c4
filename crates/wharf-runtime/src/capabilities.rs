//! The five capability sets: from names to bits, and onto the calling thread.

use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set,
    configure_capability_in_ambient_set, remove_capability_from_bounding_set, set_capabilities,
};
use wharf_oci::runtime::{CAPABILITY_NAMES as NAMES, Capabilities};

/// The sets as bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sets {
    pub(crate) bounding: CapabilitySet,
    pub(crate) effective: CapabilitySet,
    pub(crate) inheritable: CapabilitySet,
    pub(crate) permitted: CapabilitySet,
    pub(crate) ambient: CapabilitySet,
}

impl Sets {
    /// Reads the names. One that is not known is passed over with a warning, as runc does: lists
    /// are written for newer kernels too. No sets at all are empty sets.
    pub(crate) fn parse(capabilities: Option<&Capabilities>, warnings: &mut Vec<String>) -> Self {
        let mut unknown = Vec::new();
        let mut set = |names: &[String]| {
            let mut bits = CapabilitySet::empty();
            for name in names {
                match number(name) {
                    Some(number) => bits |= CapabilitySet::from_bits_retain(1 << number),
                    None if unknown.contains(name) => {}
                    None => unknown.push(name.clone()),
                }
            }
            bits
        };
        let none = Capabilities::default();
        let capabilities = capabilities.unwrap_or(&none);
        let sets = Self {
            bounding: set(&capabilities.bounding),
            effective: set(&capabilities.effective),
            inheritable: set(&capabilities.inheritable),
            permitted: set(&capabilities.permitted),
            ambient: set(&capabilities.ambient),
        };
        warnings.extend(
            unknown
                .into_iter()
                .map(|name| format!("ignoring unknown capability {name}")),
        );
        sets
    }

    /// Takes everything but these out of the bounding set; needs `CAP_SETPCAP`, so it comes first.
    pub(crate) fn drop_bounding(&self) -> rustix::io::Result<()> {
        for bit in 0..u64::BITS {
            let capability = CapabilitySet::from_bits_retain(1 << bit);
            if self.bounding.contains(capability) {
                continue;
            }
            match remove_capability_from_bounding_set(capability) {
                Ok(()) => {}
                // Past the last capability of this kernel.
                Err(rustix::io::Errno::INVAL) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Sets the three sets of capset(2), with `extra` kept for what still has to be done.
    pub(crate) fn apply(&self, extra: CapabilitySet) -> rustix::io::Result<()> {
        set_capabilities(
            None,
            CapabilitySets {
                effective: self.effective | extra,
                permitted: self.permitted | extra,
                inheritable: self.inheritable,
            },
        )
    }

    /// Leaves out what the calling thread does not have itself, and returns the names.
    pub(crate) fn keep_available(&mut self) -> rustix::io::Result<Vec<&'static str>> {
        let own = rustix::thread::capabilities(None)?.permitted;
        let asked = self.effective | self.permitted | self.inheritable | self.ambient;
        for set in [
            &mut self.effective,
            &mut self.permitted,
            &mut self.inheritable,
            &mut self.ambient,
        ] {
            *set &= own;
        }
        let missing =
            |bit: usize| (asked - own).contains(CapabilitySet::from_bits_retain(1 << bit));
        let names = NAMES.iter().enumerate().filter(|(bit, _)| missing(*bit));
        Ok(names.map(|(_, name)| *name).collect())
    }

    /// Sets the ambient set. One that cannot be raised (not permitted or not inheritable) is left out and
    /// returned.
    pub(crate) fn apply_ambient(&self) -> rustix::io::Result<Vec<&'static str>> {
        clear_ambient_capability_set()?;
        let mut refused = Vec::new();
        for (bit, name) in NAMES.iter().enumerate() {
            let capability = CapabilitySet::from_bits_retain(1 << bit);
            if self.ambient.contains(capability)
                && configure_capability_in_ambient_set(capability, true).is_err()
            {
                refused.push(*name);
            }
        }
        Ok(refused)
    }
}

fn number(name: &str) -> Option<usize> {
    NAMES
        .iter()
        .position(|known| known.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_bits_and_unknown_ones_a_warning() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let capabilities = Capabilities {
            bounding: names(&["CAP_CHOWN", "CAP_CHECKPOINT_RESTORE", "CAP_TOMORROW"]),
            effective: names(&["CAP_TOMORROW", "cap_kill"]),
            ..Capabilities::default()
        };
        let mut warnings = Vec::new();
        let sets = Sets::parse(Some(&capabilities), &mut warnings);
        assert_eq!(sets.bounding.bits(), 1 | 1 << 40);
        assert_eq!(sets.effective.bits(), 1 << 5);
        assert!(sets.inheritable.is_empty());
        assert_eq!(warnings, ["ignoring unknown capability CAP_TOMORROW"]);
    }
}
