//! The same tests again, where there is only cgroup v2.

use wharf_tests_kernel::guest;
use wharf_tests_system::{binary, needs};

#[test]
fn kernel_tests_pass_on_pure_cgroup_v2() {
    if !needs::met(&["qemu-system-x86_64", "busybox", "dpkg-deb"]) {
        return;
    }
    let program = std::env::current_exe().unwrap();
    let arguments = [
        "--skip",
        "guest::",
        "--skip",
        "callers::",
        "--test-threads",
        "1",
    ];
    let outcome = guest::run(&program, &binary::wharf(), &arguments).unwrap();
    println!("{}\n(guest: {:?})", outcome.console, outcome.took);
    assert_eq!(outcome.code, Some(0), "the guest's tests");
}
