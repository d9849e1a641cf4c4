//! Regular expressions, as far as people filter names by them.
//!
//! Docker takes the filters `name` and `id` as Go's expressions, unanchored: `web`, `^/web$`, `^(web|db)-\d+$`. This
//! knows literals, `.`, classes, groups, `|`, `*`, `+`, `?` and the anchors, and runs them all at once over the text
//! (Thompson's way), so that no expression takes longer than its length times the text's.

/// Longest expression.
const MAX_LENGTH: usize = 1000;

/// Deepest nesting of groups.
const MAX_DEPTH: usize = 50;

/// A compiled expression.
#[derive(Debug)]
pub(crate) struct Pattern(Vec<Step>);

/// An expression that is wrong, or not known here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the pattern {pattern:?} is not understood")]
pub(crate) struct PatternError {
    pattern: String,
}

#[derive(Debug, Clone)]
enum Step {
    /// Takes one letter of a set, or of everything else.
    Letter {
        ranges: Vec<(char, char)>,
        negated: bool,
    },
    Begin,
    End,
    /// Goes on at both.
    Split(usize, usize),
    Jump(usize),
    Match,
}

impl Pattern {
    /// Compiles an expression.
    pub(crate) fn new(text: &str) -> Result<Self, PatternError> {
        Self::compile(text).ok_or_else(|| PatternError {
            pattern: text.to_owned(),
        })
    }

    fn compile(text: &str) -> Option<Self> {
        let letters: Vec<char> = text.chars().collect();
        if letters.len() > MAX_LENGTH {
            return None;
        }
        let mut parser = Parser {
            letters,
            at: 0,
            depth: 0,
        };
        let mut steps = parser.alternatives()?;
        if parser.at < parser.letters.len() {
            return None;
        }
        steps.push(Step::Match);
        Some(Self(steps))
    }

    /// Whether it matches anywhere in `text`.
    pub(crate) fn matches(&self, text: &str) -> bool {
        let letters: Vec<char> = text.chars().collect();
        let mut now = vec![false; self.0.len()];
        for position in 0..=letters.len() {
            // Unanchored: a match may begin at every letter.
            self.reach(0, position, letters.len(), &mut now);
            if now.last() == Some(&true) {
                return true;
            }
            let Some(letter) = letters.get(position) else {
                break;
            };
            let mut next = vec![false; self.0.len()];
            for (index, step) in self.0.iter().enumerate() {
                if let Step::Letter { ranges, negated } = step
                    && now[index]
                    && ranges
                        .iter()
                        .any(|(low, high)| (low..=high).contains(&letter))
                        != *negated
                {
                    self.reach(index + 1, position + 1, letters.len(), &mut next);
                }
            }
            now = next;
        }
        false
    }

    /// Marks what is reached from a step without taking a letter.
    fn reach(&self, from: usize, position: usize, length: usize, reached: &mut [bool]) {
        let mut open = vec![from];
        while let Some(index) = open.pop() {
            if std::mem::replace(&mut reached[index], true) {
                continue;
            }
            match self.0[index] {
                Step::Letter { .. } | Step::Match => {}
                Step::Begin if position == 0 => open.push(index + 1),
                Step::End if position == length => open.push(index + 1),
                Step::Begin | Step::End => {}
                Step::Split(one, other) => open.extend([one, other]),
                Step::Jump(to) => open.push(to),
            }
        }
    }
}

/// Where to go is relative while a part is compiled: `Split` and `Jump` count from their own place on.
struct Parser {
    letters: Vec<char>,
    at: usize,
    depth: usize,
}

impl Parser {
    fn peek(&self) -> Option<char> {
        self.letters.get(self.at).copied()
    }

    fn take(&mut self) -> Option<char> {
        let letter = self.peek()?;
        self.at += 1;
        Some(letter)
    }

    fn takes(&mut self, letter: char) -> bool {
        let taken = self.peek() == Some(letter);
        self.at += usize::from(taken);
        taken
    }

    fn alternatives(&mut self) -> Option<Vec<Step>> {
        let mut steps = self.sequence()?;
        while self.takes('|') {
            let other = self.sequence()?;
            let mut joined = vec![Step::Split(1, steps.len() + 2)];
            append(&mut joined, steps);
            joined.push(Step::Jump(joined.len() + 1 + other.len()));
            append(&mut joined, other);
            steps = joined;
        }
        Some(steps)
    }

    fn sequence(&mut self) -> Option<Vec<Step>> {
        let mut steps = Vec::new();
        while self
            .peek()
            .is_some_and(|letter| letter != '|' && letter != ')')
        {
            let part = self.repeated()?;
            append(&mut steps, part);
        }
        Some(steps)
    }

    fn repeated(&mut self) -> Option<Vec<Step>> {
        let part = self.one()?;
        let length = part.len();
        let mut steps = Vec::new();
        if self.takes('*') {
            steps.push(Step::Split(1, length + 2));
            append(&mut steps, part);
            steps.push(Step::Jump(0));
        } else if self.takes('+') {
            append(&mut steps, part);
            steps.push(Step::Split(0, length + 1));
        } else if self.takes('?') {
            steps.push(Step::Split(1, length + 1));
            append(&mut steps, part);
        } else {
            return Some(part);
        }
        // The shortest instead of the longest match: whether there is one is the same.
        self.takes('?');
        match self.peek() {
            Some('*' | '+' | '?') => None,
            _ => Some(steps),
        }
    }

    fn one(&mut self) -> Option<Vec<Step>> {
        let letter =
            |ranges: Vec<(char, char)>, negated| Some(vec![Step::Letter { ranges, negated }]);
        match self.take()? {
            '.' => letter(vec![('\n', '\n')], true),
            '^' => Some(vec![Step::Begin]),
            '$' => Some(vec![Step::End]),
            '(' => self.group(),
            '[' => self.class(),
            '\\' => {
                let (ranges, negated) = self.escaped()?;
                letter(ranges, negated)
            }
            '*' | '+' | '?' | '{' => None,
            other => letter(vec![(other, other)], false),
        }
    }

    fn group(&mut self) -> Option<Vec<Step>> {
        self.depth += 1;
        if self.depth > MAX_DEPTH || (self.takes('?') && !self.takes(':')) {
            return None;
        }
        let steps = self.alternatives()?;
        self.depth -= 1;
        self.takes(')').then_some(steps)
    }

    fn escaped(&mut self) -> Option<(Vec<(char, char)>, bool)> {
        let letter = self.take()?;
        let ranges = match letter.to_ascii_lowercase() {
            'd' => vec![('0', '9')],
            'w' => vec![('0', '9'), ('a', 'z'), ('A', 'Z'), ('_', '_')],
            's' => vec![(' ', ' '), ('\t', '\r')],
            other if other.is_ascii_alphanumeric() => return None,
            _ => return Some((vec![(letter, letter)], false)),
        };
        Some((ranges, letter.is_ascii_uppercase()))
    }

    fn class(&mut self) -> Option<Vec<Step>> {
        let negated = self.takes('^');
        let mut ranges = Vec::new();
        let mut first = true;
        loop {
            let low = match self.take()? {
                ']' if !first => return Some(vec![Step::Letter { ranges, negated }]),
                '\\' => match self.escaped()? {
                    (_, true) => return None,
                    (escaped, false) => {
                        ranges.extend(escaped);
                        first = false;
                        continue;
                    }
                },
                other => other,
            };
            first = false;
            let is_range = self.peek() == Some('-')
                && self
                    .letters
                    .get(self.at + 1)
                    .is_some_and(|next| *next != ']');
            if is_range {
                self.at += 1;
                let high = self.take()?;
                if high == '\\' || high < low {
                    return None;
                }
                ranges.push((low, high));
            } else {
                ranges.push((low, low));
            }
        }
    }
}

/// Appends compiled steps, whose places move on by what is there already.
fn append(steps: &mut Vec<Step>, part: Vec<Step>) {
    let by = steps.len();
    steps.extend(part.into_iter().map(|step| match step {
        Step::Split(one, other) => Step::Split(one + by, other + by),
        Step::Jump(to) => Step::Jump(to + by),
        other => other,
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_matched_as_go_matches_them() {
        for (expression, text, expected) in [
            ("", "web", true),
            ("web", "my-web-1", true),
            ("^web$", "web", true),
            ("^web$", "web-1", false),
            ("^/web$", "/web", true),
            ("w.b", "wab", true),
            ("we*b", "wb", true),
            ("we+b", "wb", false),
            ("we+?b", "weeb", true),
            ("we?b", "web", true),
            ("^(web|db)-\\d+$", "db-12", true),
            ("^(web|db)-\\d+$", "db-", false),
            ("^(?:a|b|c)+$", "abcab", true),
            ("a|b|c", "xxc", true),
            ("^[a-c_-]+$", "a_b-c", true),
            ("^[^a-c]+$", "xyb", false),
            ("[]x]", "]", true),
            ("a\\.b", "a.b", true),
            ("a\\.b", "axb", false),
            ("(a*)*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaac", false),
            ("^$", "", true),
            ("x*", "", true),
            ("é", "café", true),
        ] {
            let pattern = Pattern::new(expression).expect(expression);
            assert_eq!(pattern.matches(text), expected, "{expression} on {text}");
        }
    }

    #[test]
    fn what_is_wrong_is_refused() {
        for expression in [
            "(", ")", "a)", "[", "[a", "*", "a**", "\\", "a{2}", "(?i)a", "[b-a]", "\\q",
        ] {
            assert!(Pattern::new(expression).is_err(), "{expression}");
        }
        assert!(Pattern::new(&"(".repeat(900)).is_err());
        assert!(Pattern::new(&"a".repeat(MAX_LENGTH + 1)).is_err());
    }
}
