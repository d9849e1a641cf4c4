//! Sizes as text: `1.98MB`, `23.54GiB`.

const DECIMAL: [&str; 9] = ["B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"];
const BINARY: [&str; 9] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"];

/// Shows a size in powers of 1000 with so many significant digits.
pub(crate) fn decimal(bytes: f64, digits: usize) -> String {
    scaled(bytes, 1000.0, &DECIMAL, digits)
}

/// Shows a size in powers of 1000 as the tables do, with three digits.
pub(crate) fn size(bytes: i64) -> String {
    decimal(float(bytes), 3)
}

/// Shows a size in powers of 1000 as sums are shown, with four digits.
pub(crate) fn sum(bytes: i64) -> String {
    decimal(float(bytes), 4)
}

/// Shows a size in powers of 1024 with four digits.
pub(crate) fn binary(bytes: i64) -> String {
    scaled(float(bytes), 1024.0, &BINARY, 4)
}

#[expect(clippy::cast_precision_loss, reason = "a few digits are shown")]
fn float(bytes: i64) -> f64 {
    bytes as f64
}

/// The division goes on while the value is at least the base, before it is rounded: 999,999 bytes are `1e+03kB`.
fn scaled(mut value: f64, base: f64, units: &[&str], digits: usize) -> String {
    let mut unit = 0;
    while value >= base && unit + 1 < units.len() {
        value /= base;
        unit += 1;
    }
    format!("{}{}", general(value, digits), units[unit])
}

/// Shows a number as Go's `%.{digits}g` does.
fn general(value: f64, digits: usize) -> String {
    let scientific = format!("{value:.*e}", digits - 1);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let trim = |text: &str| {
        if text.contains('.') {
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        } else {
            text.to_owned()
        }
    };
    let limit = i32::try_from(digits).unwrap_or(i32::MAX);
    if exponent < -4 || exponent >= limit {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{}e{sign}{:02}", trim(mantissa), exponent.abs());
    }
    let decimals = usize::try_from(limit - 1 - exponent).unwrap_or(0);
    trim(&format!("{value:.decimals$}"))
}
