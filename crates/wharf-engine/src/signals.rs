//! Signals by name or number, as users write them.

use crate::error::Error;

/// Names and numbers on Linux, without `SIG`; the first name of a number is its own.
const NAMES: [(&str, i32); 35] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("IOT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("POLL", 29),
    ("PWR", 30),
    ("SYS", 31),
    ("RTMIN", REAL_TIME_FIRST),
];

/// The first real-time signal glibc leaves to programs.
const REAL_TIME_FIRST: i32 = 34;
const REAL_TIME_LAST: i32 = 64;

pub(crate) const KILL: i32 = 9;
pub(crate) const TERM: i32 = 15;

/// Reads a signal: `9`, `KILL`, `SIGKILL`, `RTMIN+3`, `RTMAX-1`, in any case.
pub(crate) fn parse(text: &str) -> Result<i32, Error> {
    let invalid = || Error::invalid(format!("invalid signal: {text}"));
    if let Ok(number) = text.parse::<i32>() {
        return (1..=REAL_TIME_LAST)
            .contains(&number)
            .then_some(number)
            .ok_or_else(invalid);
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let offset = |rest: &str| rest.parse::<i32>().map_err(|_| invalid());
    let number = if let Some(rest) = name.strip_prefix("RTMIN+") {
        REAL_TIME_FIRST
            .checked_add(offset(rest)?)
            .ok_or_else(invalid)?
    } else if let Some(rest) = name.strip_prefix("RTMAX-") {
        REAL_TIME_LAST
            .checked_sub(offset(rest)?)
            .ok_or_else(invalid)?
    } else if name == "RTMAX" {
        REAL_TIME_LAST
    } else {
        let known = NAMES.iter().find(|(known, _)| *known == name);
        return known.map(|(_, number)| *number).ok_or_else(invalid);
    };
    (REAL_TIME_FIRST..=REAL_TIME_LAST)
        .contains(&number)
        .then_some(number)
        .ok_or_else(invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_as_users_write_them() {
        for (text, number) in [
            ("9", 9),
            ("kill", 9),
            ("SIGTERM", 15),
            ("sigrtmin+3", 37),
            ("RTMAX", 64),
            ("RTMAX-1", 63),
            ("CLD", 17),
        ] {
            assert_eq!(parse(text).map_err(|e| e.to_string()), Ok(number), "{text}");
        }
        for text in [
            "",
            "0",
            "65",
            "-1",
            "NOPE",
            "RTMIN+31",
            "RTMAX-x",
            "RTMIN+2147483647",
            "RTMAX--2147483648",
            "SIGSIGKILL",
        ] {
            let error = parse(text).expect_err(text);
            assert_eq!(error.to_string(), format!("invalid signal: {text}"));
        }
    }
}
