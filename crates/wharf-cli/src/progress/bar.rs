//! How far a step has come, as text.

use std::time::Duration;

use wharf_wire::ProgressDetail;

use crate::format::units;

/// Steps of a bar.
const STEPS: usize = 50;
/// Columns a terminal must have more of for bars.
const WIDE: usize = 110;
/// Columns a terminal must have more of for the time that is left.
const ROOMY: usize = 50;
/// Columns that are assumed where there is no terminal to ask.
const ASSUMED: usize = 200;

/// `[=====>      ]  1.2MB/4.5MB 3s`; nothing while nothing is known.
pub(super) fn bar(detail: &ProgressDetail, columns: Option<usize>, now: Duration) -> String {
    let columns = columns.unwrap_or(ASSUMED);
    if detail.current <= 0 && detail.total <= 0 {
        return String::new();
    }
    if detail.total <= 0 {
        return match detail.units.as_str() {
            "" => format!("{:>8}", units::sum(detail.current)),
            units => format!("{} {units}", detail.current),
        };
    }
    let steps = steps(detail.current, detail.total);
    let mut text = String::new();
    if columns > WIDE {
        text.push('[');
        text.push_str(&"=".repeat(steps));
        text.push('>');
        text.push_str(&" ".repeat(STEPS - steps));
        text.push_str("] ");
    }
    text.push_str(&numbers(detail));
    if columns > ROOMY && steps < STEPS {
        text.push_str(&left(detail, now));
    }
    text
}

/// Whole percents are halved, so that the last step is made at the end only.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a percentage, and `as` holds it between zero and the largest number"
)]
fn steps(current: i64, total: i64) -> usize {
    let percent = (current as f64 / total as f64 * 100.0) as usize;
    (percent / 2).min(STEPS)
}

fn numbers(detail: &ProgressDetail) -> String {
    let ProgressDetail { current, total, .. } = *detail;
    // A step that is further than its end knows nothing of its end.
    let known = current <= total;
    match detail.units.as_str() {
        _ if detail.hide_counts => String::new(),
        "" if known => format!("{:>8}/{}", units::sum(current), units::sum(total)),
        "" => format!("{:>8}", units::sum(current)),
        units if known => format!("{current}/{total} {units}"),
        units => format!("{current} {units}"),
    }
}

/// The time that is left if the rest goes on as what has been.
fn left(detail: &ProgressDetail, now: Duration) -> String {
    if detail.current <= 0 || detail.start <= 0 {
        return String::new();
    }
    let nanoseconds = |duration: Duration| i128::try_from(duration.as_nanos()).unwrap_or(0);
    let passed = nanoseconds(now) - i128::from(detail.start) * 1_000_000_000;
    let each = passed / i128::from(detail.current);
    let left = i128::from(detail.total - detail.current).saturating_mul(each);
    let rounded = (left.unsigned_abs() + 500_000_000) / 1_000_000_000;
    let sign = if left < 0 && rounded > 0 { "-" } else { "" };
    let (hours, minutes, seconds) = (rounded / 3600, rounded / 60 % 60, rounded % 60);
    match (hours, minutes) {
        (0, 0) => format!(" {sign}{seconds}s"),
        (0, minutes) => format!(" {sign}{minutes}m{seconds}s"),
        (hours, minutes) => format!(" {sign}{hours}h{minutes}m{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(current: i64, total: i64, columns: Option<usize>) -> String {
        let detail = ProgressDetail {
            current,
            total,
            ..ProgressDetail::default()
        };
        bar(&detail, columns, Duration::ZERO)
    }

    #[test]
    fn bars_need_room() {
        assert_eq!(shown(1_200_000, 4_500_000, Some(80)), "   1.2MB/4.5MB");
        assert_eq!(shown(25, 50, Some(110)), "     25B/50B");
        assert_eq!(
            shown(25, 50, Some(111)),
            "[=========================>                         ]      25B/50B"
        );
        assert_eq!(
            shown(25, 50, None),
            "[=========================>                         ]      25B/50B"
        );
        assert_eq!(
            shown(50, 50, Some(111)),
            "[==================================================>]      50B/50B"
        );
        assert_eq!(
            shown(0, 50, Some(111)),
            "[>                                                  ]       0B/50B"
        );
    }

    #[test]
    fn what_is_not_known_is_not_shown() {
        assert_eq!(shown(0, 0, Some(200)), "");
        assert_eq!(shown(9, 0, Some(200)), "      9B");
        assert_eq!(
            shown(9, 3, Some(200)),
            "[==================================================>]       9B"
        );
        assert_eq!(shown(-5, 3, Some(80)), "     -5B/3B");
        assert_eq!(shown(i64::MAX, i64::MIN, Some(80)), " 9.223EB");
    }

    #[test]
    fn other_things_than_bytes_are_counted() {
        let mut detail = ProgressDetail {
            current: 3,
            total: 4,
            units: "layers".to_owned(),
            ..ProgressDetail::default()
        };
        assert_eq!(bar(&detail, Some(80), Duration::ZERO), "3/4 layers");
        detail.current = 5;
        assert_eq!(bar(&detail, Some(80), Duration::ZERO), "5 layers");
        detail.total = 0;
        assert_eq!(bar(&detail, Some(80), Duration::ZERO), "5 layers");
        detail.total = 10;
        detail.hide_counts = true;
        assert_eq!(bar(&detail, Some(80), Duration::ZERO), "");
    }

    #[test]
    fn the_time_that_is_left_is_told() {
        let detail = |current, total| ProgressDetail {
            current,
            total,
            start: 1000,
            ..ProgressDetail::default()
        };
        let at = Duration::from_millis(1_010_400);
        assert_eq!(bar(&detail(10, 100), Some(80), at), "     10B/100B 1m34s");
        assert_eq!(
            bar(&detail(10, 50_000), Some(80), at),
            "     10B/50kB 14h26m30s"
        );
        assert_eq!(bar(&detail(50, 52), Some(80), at), "     50B/52B 0s");
        assert_eq!(bar(&detail(10, 100), Some(50), at), "     10B/100B");
        assert_eq!(bar(&detail(100, 100), Some(80), at), "    100B/100B");
        let early = Duration::from_secs(990);
        assert_eq!(bar(&detail(1, 2), Some(80), early), "      1B/2B -10s");
    }

    proptest::proptest! {
        #[test]
        fn no_numbers_panic(current: i64, total: i64, start: i64, now: u64, columns: Option<usize>) {
            let detail = ProgressDetail { current, total, start, ..ProgressDetail::default() };
            let text = bar(&detail, columns, Duration::from_nanos(now));
            proptest::prop_assert_eq!(text.is_empty(), current <= 0 && total <= 0);
        }
    }
}
