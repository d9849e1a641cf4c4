//! Recognises the keys that end a connection to a terminal.

/// Watches input for a sequence of keys.
#[derive(Debug, Default)]
pub(crate) struct DetachKeys {
    keys: Vec<u8>,
    /// Keys of the sequence seen so far, held back.
    matched: usize,
}

/// What to do with a piece of input.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Filtered {
    /// Input for the process.
    pub(crate) forward: Vec<u8>,
    /// Whether the sequence is complete; what follows it is dropped.
    pub(crate) detach: bool,
}

impl DetachKeys {
    pub(crate) fn new(keys: Vec<u8>) -> Self {
        Self { keys, matched: 0 }
    }

    /// Takes the next piece of input. The beginning of a sequence is held back until it is clear
    /// that it is none.
    pub(crate) fn filter(&mut self, input: &[u8]) -> Filtered {
        let mut forward = Vec::with_capacity(input.len());
        if self.keys.is_empty() {
            forward.extend_from_slice(input);
            return Filtered {
                forward,
                detach: false,
            };
        }
        for byte in input {
            if *byte != self.keys[self.matched] {
                forward.extend_from_slice(&self.keys[..self.matched]);
                self.matched = 0;
            }
            if *byte != self.keys[self.matched] {
                forward.push(*byte);
                continue;
            }
            self.matched += 1;
            if self.matched == self.keys.len() {
                self.matched = 0;
                return Filtered {
                    forward,
                    detach: true,
                };
            }
        }
        Filtered {
            forward,
            detach: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(pieces: &[&[u8]]) -> (Vec<u8>, bool) {
        let mut keys = DetachKeys::new(vec![16, 17]);
        let mut forwarded = Vec::new();
        for piece in pieces {
            let filtered = keys.filter(piece);
            forwarded.extend(filtered.forward);
            if filtered.detach {
                return (forwarded, true);
            }
        }
        (forwarded, false)
    }

    #[test]
    fn the_sequence_detaches_also_across_reads() {
        assert_eq!(run(&[b"ls\x10\x11rest"]), (b"ls".to_vec(), true));
        assert_eq!(run(&[b"ls\x10", b"\x11"]), (b"ls".to_vec(), true));
        assert_eq!(run(&[b"\x10\x10\x11"]), (b"\x10".to_vec(), true));
    }

    #[test]
    fn a_beginning_that_does_not_go_on_is_input() {
        assert_eq!(run(&[b"a\x10", b"b"]), (b"a\x10b".to_vec(), false));
        assert_eq!(run(&[b"\x11\x11"]), (b"\x11\x11".to_vec(), false));
    }
}
