//! Points in time: `--since 10m`, `--until 2026-01-31T12:00:00`.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use wharf_wire::UnixTime;

use super::duration;

/// Text that is no point in time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("failed to parse value as time or duration: {0:?}")]
pub(crate) struct TimeError(String);

/// Reads a time stamp, a duration before `now`, seconds of Unix time, or a local date and time.
pub(crate) fn parse(text: &str, now: &Zoned) -> Result<UnixTime, TimeError> {
    if let Ok(ago) =
        duration::parse(text).or_else(|_| duration::parse(text.strip_prefix('-').unwrap_or("")))
        && !text.bytes().all(|byte| byte.is_ascii_digit())
    {
        let then = now
            .timestamp()
            .checked_sub(ago)
            .map_err(|_| TimeError(text.to_owned()))?;
        return Ok(unix(then));
    }
    if let Some(time) = UnixTime::parse(text) {
        return Ok(time);
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(unix(time));
    }
    local(text, now.time_zone()).ok_or_else(|| TimeError(text.to_owned()))
}

fn local(text: &str, zone: &TimeZone) -> Option<UnixTime> {
    // Docker takes minutes or hours alone, and an hour's `Z` without seconds.
    let (text, zone) = match text.strip_suffix('Z') {
        Some(text) => (text, TimeZone::UTC),
        None => (text, zone.clone()),
    };
    let completed = match text.len() {
        10 => format!("{text}T00:00:00"),
        13 => format!("{text}:00:00"),
        16 => format!("{text}:00"),
        _ => text.to_owned(),
    };
    let civil: DateTime = completed.parse().ok()?;
    Some(unix(civil.to_zoned(zone).ok()?.timestamp()))
}

fn unix(time: Timestamp) -> UnixTime {
    let nanoseconds = time.as_nanosecond();
    UnixTime {
        seconds: i64::try_from(nanoseconds.div_euclid(1_000_000_000)).unwrap_or(i64::MAX),
        nanoseconds: u32::try_from(nanoseconds.rem_euclid(1_000_000_000)).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, seconds: i64, nanoseconds: u32) {
        let now = "2026-01-31T12:00:00+01:00[+01:00]".parse().expect("a time");
        assert_eq!(
            parse(text, &now),
            Ok(UnixTime {
                seconds,
                nanoseconds
            }),
            "{text}"
        );
    }

    #[test]
    fn times_are_written_in_many_ways() {
        let now = 1_769_857_200;
        check("10m", now - 600, 0);
        check("1h30m", now - 5400, 0);
        check("1500", 1500, 0);
        check("1500.5", 1500, 500_000_000);
        check("2026-01-31T11:00:00Z", now, 0);
        check("2026-01-31T11:00:00.5Z", now, 500_000_000);
        check("2026-01-31T12:00:00", now, 0);
        check("2026-01-31T12:00", now, 0);
        check("2026-01-31T12", now, 0);
        check("2026-01-31", now - 12 * 3600, 0);
        check("2026-01-31T11:00Z", now, 0);
        check("2026-01-31T12:00:00+01:00", now, 0);
    }

    #[test]
    fn what_is_no_time_is_refused() {
        let now = Zoned::now();
        for text in ["", "x", "2026-13-01", "ü2026-01-31"] {
            assert_eq!(parse(text, &now), Err(TimeError(text.to_owned())));
        }
    }
}
