//! The keys that leave a container without ending it: `ctrl-p ctrl-q` unless others are chosen.

/// The keys unless others are chosen.
pub(crate) const DEFAULT: &str = "ctrl-p,ctrl-q";

/// A sequence of keys that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Unknown character: '{0}'")]
pub(crate) struct KeysError(String);

/// Finds the sequence in what is typed. Keys that may be its beginning are held back until they are or are not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Escape {
    keys: Vec<u8>,
    matched: usize,
}

/// What a piece of input comes to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Filtered {
    /// What goes on to the container.
    pub(crate) pass: Vec<u8>,
    /// Whether the sequence was typed.
    pub(crate) escaped: bool,
}

impl Escape {
    /// Reads a sequence: `ctrl-p,q`. Empty text is no sequence.
    pub(crate) fn parse(text: &str) -> Result<Self, KeysError> {
        let mut keys = Vec::new();
        for key in text.split(',').filter(|_| !text.is_empty()) {
            keys.push(parse_key(key).ok_or_else(|| KeysError(key.to_owned()))?);
        }
        Ok(Self { keys, matched: 0 })
    }

    /// Takes what was typed.
    pub(crate) fn filter(&mut self, input: &[u8]) -> Filtered {
        let mut pass = Vec::with_capacity(input.len());
        for &byte in input {
            // What was held back goes on when this key breaks the sequence; the key may begin it anew.
            while self.keys.get(self.matched) != Some(&byte) {
                if self.matched == 0 {
                    pass.push(byte);
                    break;
                }
                self.fall_back(&mut pass);
            }
            if self.keys.get(self.matched) == Some(&byte) {
                self.matched += 1;
                if self.matched == self.keys.len() {
                    self.matched = 0;
                    return Filtered {
                        pass,
                        escaped: true,
                    };
                }
            }
        }
        Filtered {
            pass,
            escaped: false,
        }
    }

    /// Lets go of the fewest held keys after which the rest may still be a beginning.
    fn fall_back(&mut self, pass: &mut Vec<u8>) {
        let held = &self.keys[..self.matched];
        let keep = (0..self.matched)
            .rev()
            .find(|&length| held.ends_with(&self.keys[..length]))
            .unwrap_or(0);
        pass.extend_from_slice(&held[..self.matched - keep]);
        self.matched = keep;
    }
}

fn parse_key(key: &str) -> Option<u8> {
    if let [letter] = key.as_bytes() {
        return letter.is_ascii().then_some(*letter);
    }
    match key.strip_prefix("ctrl-")?.as_bytes() {
        [letter @ b'a'..=b'z'] => Some(letter - b'a' + 1),
        [b'@'] => Some(0),
        [b'['] => Some(27),
        [b'\\'] => Some(28),
        [b']'] => Some(29),
        [b'^'] => Some(30),
        [b'_'] => Some(31),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(keys: &str, pieces: &[&str]) -> (String, bool) {
        let mut escape = Escape::parse(keys).expect(keys);
        let mut passed = Vec::new();
        for piece in pieces {
            let filtered = escape.filter(piece.as_bytes());
            passed.extend(filtered.pass);
            if filtered.escaped {
                return (String::from_utf8(passed).expect("text"), true);
            }
        }
        (String::from_utf8(passed).expect("text"), false)
    }

    #[test]
    fn the_sequence_is_found_across_pieces() {
        assert_eq!(
            run(DEFAULT, &["ls\u{10}", "\u{11}x"]),
            ("ls".to_owned(), true)
        );
        assert_eq!(run(DEFAULT, &["a\u{10}\u{11}"]), ("a".to_owned(), true));
    }

    #[test]
    fn what_only_begins_it_is_passed_on() {
        assert_eq!(
            run(DEFAULT, &["\u{10}", "b"]),
            ("\u{10}b".to_owned(), false)
        );
        assert_eq!(
            run(DEFAULT, &["\u{10}\u{10}\u{11}"]),
            ("\u{10}".to_owned(), true)
        );
        assert_eq!(run("a,a,b", &["aaab"]), ("a".to_owned(), true));
        assert_eq!(run("a,b,a,c", &["ababac"]), ("ab".to_owned(), true));
        assert_eq!(
            run("", &["\u{10}\u{11}"]),
            ("\u{10}\u{11}".to_owned(), false)
        );
    }

    #[test]
    fn keys_have_names() {
        assert_eq!(
            Escape::parse("ctrl-@,ctrl-[,q").expect("keys").keys,
            [0, 27, b'q']
        );
        assert_eq!(
            Escape::parse("ctrl-1").expect_err("no key").to_string(),
            "Unknown character: 'ctrl-1'"
        );
    }

    proptest::proptest! {
        #[test]
        fn nothing_is_lost_or_made_up(keys in "[ab](,[ab]){0,3}", input in "[abc]{0,40}") {
            let mut escape = Escape::parse(&keys).expect("keys");
            let sequence = escape.keys.clone();
            let filtered = escape.filter(input.as_bytes());
            let end = input.as_bytes().windows(sequence.len()).position(|window| window == sequence);
            proptest::prop_assert_eq!(filtered.escaped, end.is_some());
            match end {
                Some(end) => proptest::prop_assert_eq!(filtered.pass, &input.as_bytes()[..end]),
                None => {
                    let mut all = filtered.pass;
                    all.extend_from_slice(&sequence[..escape.matched]);
                    proptest::prop_assert_eq!(all, input.as_bytes());
                }
            }
        }
    }
}
