//! Numbers behind flags.

use crate::grammar::{Invalid, parse_int};

/// Reads a number of the asked width.
pub(crate) fn parse<T: TryFrom<i64>>(text: &str) -> Result<T, Invalid> {
    T::try_from(parse_int(text)?).map_err(|_| {
        Invalid(format!(
            "strconv.ParseInt: parsing {text:?}: value out of range"
        ))
    })
}

/// CPUs that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CpusError {
    /// No number.
    #[error("failed to parse {0} as a rational number")]
    Number(String),
    /// More than nine digits after the point.
    #[error("value is too precise")]
    Precision,
}

/// Reads a number of CPUs (`1.5`) as billionths of one.
pub(crate) fn nano_cpus(text: &str) -> Result<i64, CpusError> {
    let bad = || CpusError::Number(text.to_owned());
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !all_digits(whole) || !all_digits(fraction) {
        return Err(bad());
    }
    let fraction = fraction.trim_end_matches('0');
    if fraction.len() > 9 {
        return Err(CpusError::Precision);
    }
    let nano: i64 = format!("{whole}{fraction:0<9}")
        .parse()
        .map_err(|_| bad())?;
    Ok(sign * nano)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_are_exact() {
        assert_eq!(nano_cpus("1.5"), Ok(1_500_000_000));
        assert_eq!(nano_cpus(".000000001"), Ok(1));
        assert_eq!(nano_cpus("2"), Ok(2_000_000_000));
        assert_eq!(nano_cpus("-1"), Ok(-1_000_000_000));
        assert_eq!(nano_cpus("0.10000000000"), Ok(100_000_000));
        assert_eq!(nano_cpus("0.0000000001"), Err(CpusError::Precision));
        for text in ["", "x", ".", "1.x", "1e3", "99999999999999"] {
            assert_eq!(nano_cpus(text), Err(CpusError::Number(text.to_owned())));
        }
    }

    #[test]
    fn widths_are_checked() {
        assert_eq!(parse::<u16>("1000"), Ok(1000));
        assert!(parse::<u16>("70000").is_err());
        assert!(parse::<u16>("-1").is_err());
    }
}
