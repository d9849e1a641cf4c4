//! The process of `exec`: out of a file, or the container's with what the options change.

use wharf_oci::runtime::{Capabilities, Process, User};

use super::Failure;
use super::args::Exec;

/// Ids above are none: they would be negative to programs that keep them in an int.
const MAX_ID: u32 = i32::MAX.unsigned_abs();

/// The process that `exec` runs.
pub(super) fn process(args: &Exec, container: &Process) -> Result<Process, Failure> {
    if let Some(path) = &args.process {
        let text = std::fs::read(path)
            .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        let process: Process = serde_json::from_slice(&text)
            .map_err(|error| format!("{}: {error}", path.display()))?;
        return Ok(process);
    }
    if args.args.is_empty() {
        return Err("process args cannot be empty".into());
    }
    let mut process = container.clone();
    process.args.clone_from(&args.args);
    process.terminal = args.tty;
    process.env.extend(args.env.iter().cloned());
    if let Some(cwd) = &args.cwd {
        process.cwd.clone_from(cwd);
    }
    if let Some(label) = &args.process_label {
        process.selinux_label = Some(label.clone());
    }
    if let Some(profile) = &args.apparmor {
        process.apparmor_profile = Some(profile.clone());
    }
    process.no_new_privileges |= args.no_new_privs;
    if let Some(text) = &args.user {
        let (uid, gid) = user(text)?;
        process.user = User {
            uid,
            gid: gid.unwrap_or(process.user.gid),
            ..process.user
        };
    }
    process.user.additional_gids.extend(&args.additional_gids);
    if !args.cap.is_empty() {
        let capabilities = process
            .capabilities
            .get_or_insert_with(Capabilities::default);
        let bounding = &mut capabilities.bounding;
        for set in [
            bounding,
            &mut capabilities.effective,
            &mut capabilities.permitted,
        ] {
            set.extend(args.cap.iter().cloned());
        }
    }
    Ok(process)
}

/// Reads `UID` or `UID:GID`. Only digits: what is not a number must not become root (CVE-2026-30892).
fn user(text: &str) -> Result<(u32, Option<u32>), Failure> {
    let invalid = || format!("parsing {text:?} as user failed: not UID or UID:GID");
    let number = |digits: &str| {
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(invalid());
        }
        digits
            .parse()
            .ok()
            .filter(|&id| id <= MAX_ID)
            .ok_or_else(invalid)
    };
    match text.split_once(':') {
        Some((uid, gid)) => Ok((number(uid)?, Some(number(gid)?))),
        None => Ok((number(text)?, None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_numbers() {
        assert_eq!(user("1000").ok(), Some((1000, None)));
        assert_eq!(user("0:7").ok(), Some((0, Some(7))));
    }

    #[test]
    fn attack_r10_odd_users_are_refused() {
        let odd = [
            "", ":", "1000:", ":5", " 0", "0 ", "-1", "+1", "0x0", "root", "1:2:3",
        ];
        let huge = [
            "2147483648",
            "4294967296",
            "99999999999999999999",
            "1:4294967296",
        ];
        for text in odd.into_iter().chain(huge) {
            user(text).expect_err(text);
        }
    }
}
