//! The OCI runtime in the running kernel, through its command line.

mod attacks;
mod lifecycle;
mod mounts;
mod namespaces;
mod process;

use wharf_tests_kernel::bundle::Bundle;

/// Runs a script in a container changed by `change`, and returns what it has written.
#[track_caller]
fn output(script: &str, change: impl FnOnce(&mut Bundle)) -> String {
    let mut bundle = Bundle::new(script);
    change(&mut bundle);
    let ran = bundle.run();
    ran.out().to_owned()
}

/// Runs a script in a container changed by `change`, which is refused, and returns why.
#[track_caller]
fn refused(change: impl FnOnce(&mut Bundle)) -> String {
    let mut bundle = Bundle::new("echo it runs");
    change(&mut bundle);
    let ran = bundle.run();
    ran.exited(1);
    assert_eq!(ran.stdout, "");
    ran.stderr
}
