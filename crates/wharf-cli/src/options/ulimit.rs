//! Resource limits of processes: `nofile=1024:2048`.

use wharf_wire::{ULIMIT_NAMES, Ulimit};

use crate::grammar::{Invalid, parse_int};

/// Reads a limit; one number is both limits, -1 is none.
pub fn parse(text: &str) -> Result<Ulimit, Invalid> {
    let Some((name, limits)) = text.split_once('=') else {
        return Err(Invalid(format!("invalid ulimit argument: {text}")));
    };
    if !ULIMIT_NAMES.contains(&name) {
        return Err(Invalid(format!("invalid ulimit type: {name}")));
    }
    let mut numbers = limits.split(':');
    let soft = parse_int(numbers.next().unwrap_or_default())?;
    let hard = numbers.next().map(parse_int).transpose()?.unwrap_or(soft);
    if numbers.next().is_some() {
        return Err(Invalid(format!(
            "too many limit value arguments - {limits}, can only have up to two, `soft[:hard]`"
        )));
    }
    if hard != -1 && (soft == -1 || soft > hard) {
        return Err(Invalid(format!(
            "ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}"
        )));
    }
    Ok(Ulimit {
        name: name.to_owned(),
        hard,
        soft,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_number_is_both_limits() {
        let limit = |soft, hard| Ulimit {
            name: "nofile".to_owned(),
            hard,
            soft,
        };
        assert_eq!(parse("nofile=1024"), Ok(limit(1024, 1024)));
        assert_eq!(parse("nofile=1:2"), Ok(limit(1, 2)));
        assert_eq!(parse("nofile=1:-1"), Ok(limit(1, -1)));
        for bad in [
            "nofile",
            "wine=1",
            "nofile=2:1",
            "nofile=-1:1",
            "nofile=1:2:3",
            "nofile=",
            "nofile=x",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert_eq!(
            parse("x").expect_err("no limit").0,
            "invalid ulimit argument: x"
        );
    }
}
