//! Durations as Go writes them: `300ms`, `1h30m`.

use std::time::Duration;

/// Text that is no duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("time: invalid duration {0:?}")]
pub(crate) struct DurationError(String);

/// Reads a duration that is not negative.
pub(crate) fn parse(text: &str) -> Result<Duration, DurationError> {
    let bad = || DurationError(text.to_owned());
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest.is_empty() {
        return Err(bad());
    }
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let number_end = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .ok_or_else(bad)?;
        let (number, after) = rest.split_at(number_end);
        let unit_end = after
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        total = total
            .checked_add(part(number, unit).ok_or_else(bad)?)
            .ok_or_else(bad)?;
        rest = after;
    }
    let nanoseconds = u64::try_from(total)
        .ok()
        .filter(|&total| i64::try_from(total).is_ok())
        .ok_or_else(bad)?;
    Ok(Duration::from_nanos(nanoseconds))
}

fn part(number: &str, unit: &str) -> Option<u128> {
    let scale: u128 = match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return None;
    }
    let whole: u128 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    // More than eighteen digits of a fraction are below any nanosecond.
    let fraction = &fraction[..fraction.len().min(18)];
    let numerator: u128 = if fraction.is_empty() {
        0
    } else {
        fraction.parse().ok()?
    };
    let denominator = 10u128.pow(u32::try_from(fraction.len()).ok()?);
    whole
        .checked_mul(scale)?
        .checked_add(numerator * scale / denominator)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_sums_of_units() {
        for (text, milliseconds) in [
            ("0", 0),
            ("300ms", 300),
            ("1.5s", 1500),
            ("1h2m3s", 3_723_000),
            (".5m", 30_000),
            ("+1s", 1000),
        ] {
            assert_eq!(
                parse(text),
                Ok(Duration::from_millis(milliseconds)),
                "{text}"
            );
        }
        for text in ["", "1", "s", "1x", "-1s", "1.s.", ".s", "9999999h"] {
            assert_eq!(parse(text), Err(DurationError(text.to_owned())), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "[0-9.hmsnuµ]{0,40}") {
            let answer = parse(&text);
            proptest::prop_assert!(answer.is_ok() || answer == Err(DurationError(text)));
        }
    }
}
