//! `WWW-Authenticate`: how a registry says which proof it wants.
//!
//! Grammar: RFC 9110, section 11.6.1, read leniently where registries are known to stray (commas
//! missing or doubled), and never beyond the bounds below. What cannot be read is left out: a
//! challenge that is half understood would send a secret to the wrong place.

/// Most bytes of one header that are read.
const HEADER_MAX: usize = 16 * 1024;
/// Most challenges, over all headers.
const CHALLENGES_MAX: usize = 16;
/// Most parameters of one challenge.
const PARAMETERS_MAX: usize = 32;

/// One challenge: a scheme in lower case, and its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Challenge {
    scheme: String,
    parameters: Vec<(String, String)>,
}

impl Challenge {
    /// Returns whether the scheme is this one, given in lower case.
    pub(crate) fn is(&self, scheme: &str) -> bool {
        self.scheme == scheme
    }

    /// Returns a parameter's value; of one given twice the first.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters
            .iter()
            .find(|(own, _)| own == name)
            .map(|(_, value)| value.as_str())
    }
}

/// Reads the values of all `WWW-Authenticate` headers of an answer.
pub(crate) fn parse<'a>(headers: impl IntoIterator<Item = &'a str>) -> Vec<Challenge> {
    let mut challenges = Vec::new();
    for header in headers {
        if header.len() <= HEADER_MAX {
            parse_header(header, &mut challenges);
        }
    }
    challenges.truncate(CHALLENGES_MAX);
    challenges
}

fn parse_header(header: &str, challenges: &mut Vec<Challenge>) {
    let mut rest = Text(header);
    loop {
        rest.skip(|c| c == ',' || c.is_ascii_whitespace());
        if rest.0.is_empty() || challenges.len() >= CHALLENGES_MAX {
            return;
        }
        let Some(scheme) = rest.token() else {
            return;
        };
        let mut challenge = Challenge {
            scheme: scheme.to_ascii_lowercase(),
            parameters: Vec::new(),
        };
        let whole = parse_parameters(&mut rest, &mut challenge.parameters);
        challenges.push(challenge);
        if !whole {
            // What follows something unreadable could be part of a quoted text.
            challenges.pop();
            return;
        }
    }
}

/// Reads `name=value` until the next word is a scheme; tells whether all could be read.
fn parse_parameters(rest: &mut Text<'_>, parameters: &mut Vec<(String, String)>) -> bool {
    loop {
        let before = rest.0;
        rest.skip(|c| c == ',' || c.is_ascii_whitespace());
        if rest.0.is_empty() {
            return true;
        }
        let Some(name) = rest.token() else {
            return false;
        };
        rest.skip(|c| c.is_ascii_whitespace());
        if !rest.0.starts_with('=') {
            // A word without a value begins the next challenge.
            rest.0 = before;
            return true;
        }
        rest.0 = rest.0.trim_start_matches('=');
        rest.skip(|c| c.is_ascii_whitespace());
        let value = if rest.0.starts_with('"') {
            rest.quoted()
        } else {
            rest.token().map(str::to_owned).or(Some(String::new()))
        };
        let Some(value) = value else {
            return false;
        };
        if parameters.len() < PARAMETERS_MAX {
            parameters.push((name.to_ascii_lowercase(), value));
        }
    }
}

/// What is left to read.
struct Text<'a>(&'a str);

impl<'a> Text<'a> {
    fn skip(&mut self, skipped: impl Fn(char) -> bool) {
        self.0 = self.0.trim_start_matches(skipped);
    }

    /// A `token`, or the characters of a `token68`, which no token has and no separator is.
    fn token(&mut self) -> Option<&'a str> {
        let end = self
            .0
            .find(|c: char| !(c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~/:".contains(c)))
            .unwrap_or(self.0.len());
        let (token, rest) = self.0.split_at(end);
        self.0 = rest;
        (!token.is_empty()).then_some(token)
    }

    /// A `quoted-string`; nothing when it does not end, or holds a control character.
    fn quoted(&mut self) -> Option<String> {
        let mut value = String::new();
        let mut chars = self.0.char_indices().skip(1);
        while let Some((index, c)) = chars.next() {
            match c {
                '"' => {
                    self.0 = &self.0[index + 1..];
                    return Some(value);
                }
                '\\' => value.push(chars.next()?.1),
                c if c.is_control() && c != '\t' => return None,
                c => value.push(c),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn challenge(scheme: &str, parameters: &[(&str, &str)]) -> Challenge {
        Challenge {
            scheme: scheme.to_owned(),
            parameters: parameters
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        }
    }

    #[test]
    fn what_registries_send_is_read() {
        assert_eq!(
            parse([
                r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/debian:pull""#
            ]),
            [challenge(
                "bearer",
                &[
                    ("realm", "https://auth.docker.io/token"),
                    ("service", "registry.docker.io"),
                    ("scope", "repository:library/debian:pull"),
                ]
            )]
        );
        // Several in one header and over headers; a scheme alone; a comma in a quoted text.
        assert_eq!(
            parse([
                r#"Negotiate, Basic realm="a, \"b\"", BEARER realm=x , scope="a b""#,
                "Basic"
            ]),
            [
                challenge("negotiate", &[]),
                challenge("basic", &[("realm", r#"a, "b""#)]),
                challenge("bearer", &[("realm", "x"), ("scope", "a b")]),
                challenge("basic", &[]),
            ]
        );
    }

    #[test]
    fn what_cannot_be_read_is_left_out() {
        assert_eq!(parse([r#"Bearer realm="https://a"#]), []);
        assert_eq!(parse(["Bearer realm=\"a\u{1}\""]), []);
        assert_eq!(parse(["", ",,", "=\"x\""]), []);
        assert_eq!(parse(["a".repeat(HEADER_MAX + 1).as_str()]), []);
        assert_eq!(parse(["a,".repeat(5000).as_str()]).len(), CHALLENGES_MAX);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_left_out(text in ".{0,200}") {
            let challenges = parse([text.as_str()]);
            proptest::prop_assert!(challenges.len() <= CHALLENGES_MAX);
        }

        #[test]
        fn what_is_written_is_read_back(
            scheme in "[a-z][a-z0-9-]{0,10}",
            parameters in proptest::collection::vec(("[a-z][a-z_]{0,8}", "[ -~]{0,20}"), 0..6),
        ) {
            let written: Vec<String> = parameters
                .iter()
                .map(|(name, value)| {
                    let value = value.replace('\\', "\\\\").replace('"', "\\\"");
                    format!("{name}=\"{value}\"")
                })
                .collect();
            let header = format!("{scheme} {}", written.join(","));
            proptest::prop_assert_eq!(
                parse([header.as_str()]),
                vec![Challenge { scheme, parameters }]
            );
        }
    }
}
