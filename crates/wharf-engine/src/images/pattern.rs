//! Shell patterns as Go's `path.Match` reads them, for the filter `reference`.

/// Tells whether a name matches a pattern: `*` and `?` stop at a slash, `[a-z]` and `[^a]` are
/// classes, `\` takes the next character as it is. A malformed pattern matches nothing.
pub(super) fn is_match(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    matches_from(&pattern, &name)
}

/// Goes back to the last star only, which is enough: an earlier one can take no more than the
/// later one could. So the time is the product of the lengths at worst.
fn matches_from(pattern: &[char], name: &[char]) -> bool {
    let (mut at, mut position) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    loop {
        if pattern.get(at) == Some(&'*') {
            star = Some((at + 1, position));
            at += 1;
            continue;
        }
        if position == name.len() && at == pattern.len() {
            return true;
        }
        let step = name
            .get(position)
            .and_then(|c| Some((*c, one(&pattern[at..], *c)?)));
        if let Some((_, length)) = step {
            at += length;
            position += 1;
            continue;
        }
        match star {
            Some((after, from)) if from < name.len() && name[from] != '/' => {
                star = Some((after, from + 1));
                (at, position) = (after, from + 1);
            }
            _ => return false,
        }
    }
}

/// Returns how much of the pattern's beginning takes the character, or nothing when it does not.
fn one(pattern: &[char], c: char) -> Option<usize> {
    match pattern.first()? {
        '?' => (c != '/').then_some(1),
        '[' => class(pattern, c),
        '\\' => (*pattern.get(1)? == c).then_some(2),
        other => (*other == c).then_some(1),
    }
}

fn class(pattern: &[char], c: char) -> Option<usize> {
    let negated = pattern.get(1) == Some(&'^');
    let mut at = if negated { 2 } else { 1 };
    let first = at;
    let mut found = false;
    while at == first || *pattern.get(at)? != ']' {
        let (low, after) = member(pattern, at)?;
        let (high, after) = match pattern.get(after) {
            Some('-') => member(pattern, after + 1)?,
            _ => (low, after),
        };
        found |= (low..=high).contains(&c);
        at = after;
    }
    (found != negated).then_some(at + 1)
}

fn member(pattern: &[char], at: usize) -> Option<(char, usize)> {
    match pattern.get(at)? {
        '\\' => Some((*pattern.get(at + 1)?, at + 2)),
        '-' | ']' => None,
        c => Some((*c, at + 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_go_matches() {
        // What Go 1.24's path.Match answers.
        for (pattern, name, expected) in [
            ("debian", "debian", true),
            ("deb*", "debian", true),
            ("deb*", "debian:12", true),
            ("*", "me/app", false),
            ("*/*", "me/app", true),
            ("*/*", "a/b/c", false),
            ("d?bian", "debian", true),
            ("d[a-f]bian", "debian", true),
            ("d[^a-f]bian", "debian", false),
            ("d[", "d[", false),
            ("d[]", "d", false),
            (r"a\*b", "a*b", true),
            (r"a\*b", "axb", false),
            ("*a*b", "xaxxb", true),
            ("*ab", "aab", true),
            ("", "", true),
            ("", "a", false),
            ("a", "", false),
            ("*", "", true),
        ] {
            assert_eq!(is_match(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn many_stars_take_no_time() {
        assert!(!is_match(&"*a".repeat(500), &"b".repeat(5000)));
    }
}
