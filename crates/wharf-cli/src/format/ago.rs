//! Durations in words: `About a minute`, `3 hours`.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Tells a duration in seconds.
pub(crate) fn duration(seconds: i64) -> String {
    let minutes = seconds / 60;
    // Rounded to the nearest, unlike the others.
    let hours = (seconds + 1800) / 3600;
    match seconds {
        ..1 => "Less than a second".to_owned(),
        1 => "1 second".to_owned(),
        2..60 => format!("{seconds} seconds"),
        _ if minutes == 1 => "About a minute".to_owned(),
        _ if minutes < 60 => format!("{minutes} minutes"),
        _ if hours == 1 => "About an hour".to_owned(),
        _ if hours < 48 => format!("{hours} hours"),
        _ if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        _ if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        _ if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", seconds / 3600 / 24 / 365),
    }
}

/// Tells how long ago a time was, both in Unix seconds.
pub(crate) fn since(then: i64, now: i64) -> String {
    format!("{} ago", duration(now - then))
}

/// Shows a time in Unix seconds as Go prints one: `2026-01-31 12:00:00 +0000 UTC`.
pub(crate) fn date(seconds: i64, zone: &TimeZone) -> String {
    match Timestamp::from_second(seconds) {
        Ok(time) => time
            .to_zoned(zone.clone())
            .strftime("%Y-%m-%d %H:%M:%S %z %Z")
            .to_string(),
        Err(_) => seconds.to_string(),
    }
}

/// Shows a time in Unix seconds as RFC 3339 has it.
pub(crate) fn rfc3339(seconds: i64, zone: &TimeZone) -> String {
    match Timestamp::from_second(seconds) {
        Ok(time) => {
            let text = time
                .to_zoned(zone.clone())
                .strftime("%Y-%m-%dT%H:%M:%S%:z")
                .to_string();
            text.strip_suffix("+00:00")
                .map_or(text.clone(), |bare| format!("{bare}Z"))
        }
        Err(_) => seconds.to_string(),
    }
}
