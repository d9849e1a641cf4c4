//! Signal names and numbers.

/// The highest number.
const MAX: i32 = 64;

const NAMES: [(&str, i32); 34] = [
    ("ABRT", 6),
    ("ALRM", 14),
    ("BUS", 7),
    ("CHLD", 17),
    ("CLD", 17),
    ("CONT", 18),
    ("FPE", 8),
    ("HUP", 1),
    ("ILL", 4),
    ("INT", 2),
    ("IO", 29),
    ("IOT", 6),
    ("KILL", 9),
    ("PIPE", 13),
    ("POLL", 29),
    ("PROF", 27),
    ("PWR", 30),
    ("QUIT", 3),
    ("SEGV", 11),
    ("STKFLT", 16),
    ("STOP", 19),
    ("SYS", 31),
    ("TERM", 15),
    ("TRAP", 5),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("USR1", 10),
    ("USR2", 12),
    ("VTALRM", 26),
    ("WINCH", 28),
    ("XCPU", 24),
    ("XFSZ", 25),
];

/// Reads a signal: a name with or without `SIG`, or a number.
pub(super) fn parse(text: &str) -> Result<i32, String> {
    let unknown = || format!("unknown signal {text:?}");
    let number = match text.parse::<i32>() {
        Ok(number) => number,
        Err(_) => {
            let upper = text.to_ascii_uppercase();
            let name = upper.strip_prefix("SIG").unwrap_or(&upper);
            real_time(name)
                .or_else(|| {
                    NAMES
                        .iter()
                        .find(|(known, _)| *known == name)
                        .map(|(_, number)| *number)
                })
                .ok_or_else(unknown)?
        }
    };
    if (1..=MAX).contains(&number) {
        Ok(number)
    } else {
        Err(unknown())
    }
}

/// `RTMIN`, `RTMIN+n`, `RTMAX`, `RTMAX-n`, counted as glibc does.
fn real_time(name: &str) -> Option<i32> {
    const MIN: i32 = 34;
    let number = if let Some(rest) = name.strip_prefix("RTMIN") {
        MIN + if rest.is_empty() {
            0
        } else {
            rest.strip_prefix('+')?.parse().ok()?
        }
    } else {
        let rest = name.strip_prefix("RTMAX")?;
        MAX - if rest.is_empty() {
            0
        } else {
            rest.strip_prefix('-')?.parse().ok()?
        }
    };
    (MIN..=MAX).contains(&number).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_names_and_numbers() {
        for text in ["15", "TERM", "SIGTERM", "sigterm"] {
            assert_eq!(parse(text), Ok(15), "{text}");
        }
        assert_eq!(parse("RTMIN+3").expect("a signal"), 37);
        for text in ["", "0", "99", "SIGFOO", "-1", "RTMIN+99"] {
            parse(text).expect_err(text);
        }
    }
}
