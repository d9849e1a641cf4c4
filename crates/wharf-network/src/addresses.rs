//! Which addresses of a subnet are in use.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

/// The host addresses of a subnet, one bit each.
///
/// Addresses are handed out in turn, and one that came back is reached again only after all others:
/// what the network still remembers of its last holder (neighbour entries, tracked connections) has
/// long expired by then.
#[derive(Debug)]
pub(crate) struct Addresses {
    subnet: Ipv4Net,
    gateway: Ipv4Addr,
    /// A set bit is an address in use; bit 0 is the subnet's own address.
    used: Vec<u64>,
    free: u32,
    next: u32,
}

impl Addresses {
    /// All of the subnet's host addresses but the gateway's.
    pub(crate) fn new(subnet: Ipv4Net, gateway: Ipv4Addr) -> Self {
        let subnet = subnet.trunc();
        let size = size_of_subnet(subnet);
        let words = usize::try_from(size.div_ceil(64)).unwrap_or(usize::MAX);
        let mut addresses = Self {
            subnet,
            gateway,
            used: vec![0; words],
            free: size,
            next: 0,
        };
        addresses.reserve(subnet.network());
        addresses.reserve(subnet.broadcast());
        addresses.reserve(gateway);
        addresses
    }

    /// The next free address.
    pub(crate) fn take(&mut self) -> Option<Ipv4Addr> {
        if self.free == 0 {
            return None;
        }
        let offset = self.first_free(self.next).or_else(|| self.first_free(0))?;
        self.next = (offset + 1) % size_of_subnet(self.subnet);
        self.mark(offset);
        Some(Ipv4Addr::from(u32::from(self.subnet.network()) + offset))
    }

    /// Marks an address as in use; false when it was, or is not of this subnet.
    pub(crate) fn reserve(&mut self, address: Ipv4Addr) -> bool {
        match self.offset(address) {
            Some(offset) if !self.is_used(offset) => {
                self.mark(offset);
                true
            }
            _ => false,
        }
    }

    /// Gives an address back; false when it was not in use, or never anybody's to give.
    pub(crate) fn release(&mut self, address: Ipv4Addr) -> bool {
        if [self.subnet.network(), self.subnet.broadcast(), self.gateway].contains(&address) {
            return false;
        }
        match self.offset(address) {
            Some(offset) if self.is_used(offset) => {
                self.used[word(offset)] &= !bit(offset);
                self.free += 1;
                true
            }
            _ => false,
        }
    }

    fn offset(&self, address: Ipv4Addr) -> Option<u32> {
        self.subnet
            .contains(&address)
            .then(|| u32::from(address) - u32::from(self.subnet.network()))
    }

    fn is_used(&self, offset: u32) -> bool {
        self.used[word(offset)] & bit(offset) != 0
    }

    fn mark(&mut self, offset: u32) {
        self.used[word(offset)] |= bit(offset);
        self.free -= 1;
    }

    /// The first free offset from `start` on.
    fn first_free(&self, start: u32) -> Option<u32> {
        let below_start = bit(start) - 1;
        let words = (word(start)..self.used.len())
            .zip(std::iter::once(below_start).chain(std::iter::repeat(0)));
        for (index, skipped) in words {
            let taken = self.used[index] | skipped;
            if taken != u64::MAX {
                let offset = u32::try_from(index).ok()? * 64 + taken.trailing_ones();
                return (offset < size_of_subnet(self.subnet)).then_some(offset);
            }
        }
        None
    }
}

/// How many addresses a subnet has.
fn size_of_subnet(subnet: Ipv4Net) -> u32 {
    1 << (32 - subnet.prefix_len())
}

fn word(offset: u32) -> usize {
    usize::try_from(offset / 64).unwrap_or(usize::MAX)
}

fn bit(offset: u32) -> u64 {
    1 << (offset % 64)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Take,
        Release(usize),
        Reserve(u32),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => Just(Step::Take),
            3 => any::<usize>().prop_map(Step::Release),
            1 => (0_u32..2048).prop_map(Step::Reserve),
        ];
        prop::collection::vec(step, 0..400)
    }

    proptest! {
        /// Against a plain set: never twice the same, never one that is not of the subnet, never
        /// empty-handed while one is free.
        #[test]
        fn allocator_agrees_with_a_set(prefix in 22_u8..=30, steps in steps()) {
            let subnet = Ipv4Net::new(Ipv4Addr::new(172, 17, 8, 0), prefix).unwrap();
            let gateway = subnet.hosts().next().unwrap();
            let all: BTreeSet<Ipv4Addr> = subnet.hosts().filter(|host| *host != gateway).collect();
            let mut addresses = Addresses::new(subnet, gateway);
            let mut used = BTreeSet::new();
            for step in steps {
                match step {
                    Step::Take => match addresses.take() {
                        Some(address) => {
                            prop_assert!(all.contains(&address), "{} is not to be given", address);
                            prop_assert!(used.insert(address), "{} given twice", address);
                        }
                        None => prop_assert_eq!(&used, &all),
                    },
                    Step::Release(index) => {
                        let Some(address) = used.iter().nth(index % used.len().max(1)).copied() else { continue };
                        used.remove(&address);
                        prop_assert!(addresses.release(address));
                        prop_assert!(!addresses.release(address));
                    }
                    Step::Reserve(offset) => {
                        let address = Ipv4Addr::from(u32::from(subnet.network()) + offset);
                        let free = all.contains(&address) && used.insert(address);
                        prop_assert_eq!(addresses.reserve(address), free);
                    }
                }
                prop_assert_eq!(usize::try_from(addresses.free).unwrap(), all.len() - used.len());
            }
        }
    }

    #[test]
    fn released_address_is_given_again_last() {
        let subnet: Ipv4Net = "10.0.0.0/28".parse().unwrap();
        let mut addresses = Addresses::new(subnet, Ipv4Addr::new(10, 0, 0, 1));
        let first = addresses.take().unwrap();
        assert_eq!(first, Ipv4Addr::new(10, 0, 0, 2));
        assert!(addresses.release(first));
        let others: Vec<_> = (0..12).map(|_| addresses.take().unwrap()).collect();
        assert!(!others.contains(&first), "{others:?}");
        assert_eq!(addresses.take(), Some(first));
        assert_eq!(addresses.take(), None);
    }

    #[test]
    fn gateway_cannot_be_released() {
        let gateway = Ipv4Addr::new(10, 0, 0, 1);
        let mut addresses = Addresses::new("10.0.0.0/30".parse().unwrap(), gateway);
        assert!(!addresses.release(gateway));
        assert_eq!(addresses.take(), Some(Ipv4Addr::new(10, 0, 0, 2)));
        assert_eq!(addresses.take(), None);
    }
}
