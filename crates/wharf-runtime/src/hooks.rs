//! Hooks: programs of the configuration, run at points of the container's life with its state on
//! their standard input.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags, Signal};
use wharf_oci::runtime::{Hook, State};

use crate::error::ProcessError;

/// Runs `hooks` in order; the first that fails ends it.
pub(crate) fn run(hooks: &[Hook], point: &str, state: &State) -> Result<(), ProcessError> {
    if hooks.is_empty() {
        return Ok(());
    }
    let failed = |reason: String| ProcessError::Hook {
        point: point.to_owned(),
        reason,
    };
    let state = serde_json::to_vec(state).map_err(|error| failed(error.to_string()))?;
    for hook in hooks {
        run_one(hook, &state)
            .map_err(|reason| failed(format!("{}: {reason}", hook.path.display())))?;
    }
    Ok(())
}

/// Runs all of `hooks`, whatever becomes of each; what failed is returned as warnings.
pub(crate) fn run_all(hooks: &[Hook], point: &str, state: &State) -> Vec<String> {
    let run_one = |hook| run(std::slice::from_ref(hook), point, state);
    hooks
        .iter()
        .filter_map(|hook| Some(run_one(hook).err()?.to_string()))
        .collect()
}

fn run_one(hook: &Hook, state: &[u8]) -> Result<(), String> {
    if !hook.path.is_absolute() {
        return Err("its path is not absolute".to_owned());
    }
    let mut command = Command::new(&hook.path);
    if let Some((name, args)) = hook.args.split_first() {
        command.arg0(name).args(args);
    }
    command.env_clear();
    for variable in &hook.env {
        let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
        if !name.is_empty() {
            command.env(name, value);
        }
    }
    command.stdin(Stdio::piped());
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    // A hook that does not read its input has a right to: the pipe takes a state whole, and its
    // closing is no failure.
    if let Some(mut stdin) = child.stdin.take() {
        match stdin.write_all(state) {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                return Err(error.to_string());
            }
            _ => {}
        }
    }
    let status = wait(&mut child, hook.timeout)?;
    if status.success() {
        Ok(())
    } else {
        Err(status.to_string())
    }
}

/// Waits for the hook; one that takes too long is killed.
fn wait(child: &mut Child, timeout: Option<i64>) -> Result<ExitStatus, String> {
    let ended = |result: std::io::Result<ExitStatus>| result.map_err(|error| error.to_string());
    let Some(seconds) = timeout else {
        return ended(child.wait());
    };
    let pid = i32::try_from(child.id())
        .ok()
        .and_then(Pid::from_raw)
        .ok_or("no process id")?;
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty());
    let pidfd = pidfd.map_err(|errno| errno.to_string())?;
    let limit = Timespec {
        tv_sec: seconds,
        tv_nsec: 0,
    };
    let mut polled = [PollFd::new(&pidfd, PollFlags::IN)];
    match rustix::io::retry_on_intr(|| rustix::event::poll(&mut polled, Some(&limit))) {
        Ok(0) => {
            rustix::process::pidfd_send_signal(&pidfd, Signal::KILL)
                .map_err(|errno| errno.to_string())?;
            ended(child.wait())?;
            Err(format!("did not end within {seconds} s"))
        }
        Ok(_) => ended(child.wait()),
        Err(errno) => Err(errno.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use wharf_oci::runtime::Status;

    use super::*;

    fn shell(script: &str, timeout: Option<i64>) -> Hook {
        Hook {
            path: "/bin/sh".into(),
            args: vec!["sh".into(), "-c".into(), script.into()],
            env: vec!["WORD=hello".into()],
            timeout,
        }
    }

    fn state() -> State {
        State {
            oci_version: "1.2.0".into(),
            id: "box".into(),
            status: Status::Created,
            pid: Some(7),
            bundle: "/b".into(),
            annotations: BTreeMap::new(),
        }
    }

    #[test]
    fn hooks_get_the_state_and_their_own_environment_only() {
        let script =
            r#"read state; case "$state$WORD$HOME" in *'"id":"box"'*hello) ;; *) exit 1;; esac"#;
        run(&[shell(script, Some(10))], "prestart", &state()).expect("the hook is content");
    }

    #[test]
    fn failing_slow_and_relative_hooks_are_errors() {
        let reason = |hook: Hook| {
            run(&[hook], "prestart", &state())
                .expect_err("fails")
                .to_string()
        };
        assert_eq!(
            reason(shell("exit 3", None)),
            "error running prestart hook: /bin/sh: exit status: 3"
        );
        assert!(reason(shell("exec sleep 100", Some(0))).contains("did not end within 0 s"));
        let relative = Hook {
            path: "sh".into(),
            ..Hook::default()
        };
        assert!(reason(relative).contains("not absolute"));
    }
}
