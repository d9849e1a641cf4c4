use proptest::prelude::*;
use wharf_oci::runtime::{Seccomp, SeccompArg, SeccompSyscall};

use super::*;
use crate::interpreter::{Call, run};

const AUDIT_X86_64: u32 = 0xc000_003e;
const AUDIT_I386: u32 = 0x4000_0003;
const AUDIT_AARCH64: u32 = 0xc000_00b7;
const AUDIT_ARM: u32 = 0x4000_0028;

fn rule(names: &[&str], action: &str, args: &[(u32, &str, u64, u64)]) -> SeccompSyscall {
    SeccompSyscall {
        names: names.iter().map(|&name| name.to_owned()).collect(),
        action: action.to_owned(),
        errno_ret: None,
        args: args
            .iter()
            .map(|&(index, op, value, value_two)| SeccompArg {
                index,
                value,
                value_two,
                op: op.to_owned(),
            })
            .collect(),
    }
}

fn document(default: &str, architectures: &[&str], syscalls: Vec<SeccompSyscall>) -> Seccomp {
    Seccomp {
        default_action: default.to_owned(),
        architectures: architectures.iter().map(|&name| name.to_owned()).collect(),
        syscalls,
        ..Seccomp::default()
    }
}

/// The verdict on a call of x86-64.
fn verdict(document: &Seccomp, arch: u32, number: u32, args: [u64; 6]) -> u32 {
    let program = compile(document, Arch::X86_64).unwrap();
    run(program.instructions(), &Call { arch, number, args })
}

/// The rules said once more, as plainly as possible, straight from the document.
fn expected(document: &Seccomp, call: &Call) -> u32 {
    let covers = |name: &str| document.architectures.iter().any(|one| one == name);
    let abi = match call.arch {
        AUDIT_X86_64 if call.number < 0x4000_0000 => Abi::X86_64,
        AUDIT_X86_64 if covers("SCMP_ARCH_X32") => Abi::X32,
        AUDIT_X86_64 if call.number == u32::MAX => {
            return action(&document.default_action, document.default_errno_ret).unwrap();
        }
        AUDIT_I386 if covers("SCMP_ARCH_X86") => Abi::X86,
        _ => return 0x8000_0000,
    };
    let default = action(&document.default_action, document.default_errno_ret).unwrap();
    let newest = document
        .syscalls
        .iter()
        .flat_map(|rule| &rule.names)
        .filter_map(|name| abi.number(name))
        .max();
    let passes = ["SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE"];
    if newest.is_some_and(|newest| call.number > newest)
        && !passes.contains(&document.default_action.as_str())
    {
        return 0x0005_0000 | 38;
    }
    let mine: Vec<_> = document
        .syscalls
        .iter()
        .filter(|rule| {
            rule.names
                .iter()
                .any(|name| abi.number(name) == Some(call.number))
        })
        .filter(|rule| action(&rule.action, rule.errno_ret).unwrap() != default)
        .collect();
    if let Some(rule) = mine.iter().find(|rule| rule.args.is_empty()) {
        return action(&rule.action, rule.errno_ret).unwrap();
    }
    for rule in mine {
        let holds = |arg: &SeccompArg| {
            let value = call.args[arg.index as usize];
            match arg.op.as_str() {
                "SCMP_CMP_EQ" => value == arg.value,
                "SCMP_CMP_NE" => value != arg.value,
                "SCMP_CMP_LT" => value < arg.value,
                "SCMP_CMP_LE" => value <= arg.value,
                "SCMP_CMP_GT" => value > arg.value,
                "SCMP_CMP_GE" => value >= arg.value,
                "SCMP_CMP_MASKED_EQ" => value & arg.value == arg.value_two,
                other => panic!("comparison {other}"),
            }
        };
        let mut indexes: Vec<u32> = rule.args.iter().map(|arg| arg.index).collect();
        indexes.sort_unstable();
        let twice = indexes.windows(2).any(|pair| pair[0] == pair[1]);
        let matches = if twice {
            rule.args.iter().any(holds)
        } else {
            rule.args.iter().all(holds)
        };
        if matches {
            return action(&rule.action, rule.errno_ret).unwrap();
        }
    }
    default
}

const OPERATORS: [&str; 7] = [
    "SCMP_CMP_EQ",
    "SCMP_CMP_NE",
    "SCMP_CMP_LT",
    "SCMP_CMP_LE",
    "SCMP_CMP_GT",
    "SCMP_CMP_GE",
    "SCMP_CMP_MASKED_EQ",
];
const ACTIONS: [&str; 7] = [
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_TRAP",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_TRACE",
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_LOG",
];

/// Values around which comparisons of two words go wrong.
fn value() -> impl Strategy<Value = u64> {
    prop_oneof![
        0_u64..4,
        Just(u64::from(u32::MAX)),
        Just(1 << 32),
        Just((1 << 32) + 1),
        Just(u64::MAX),
        (0_u64..3, 0_u64..3).prop_map(|(high, low)| high << 32 | low),
    ]
}

fn arbitrary_rule() -> impl Strategy<Value = SeccompSyscall> {
    let names = prop::collection::vec(
        prop::sample::select(
            [crate::table::X86_64, crate::table::X86]
                .concat()
                .into_iter()
                .map(|(name, _)| name.to_owned())
                .collect::<Vec<_>>(),
        ),
        1..40,
    );
    let arg = (
        0_u32..6,
        prop::sample::select(OPERATORS.to_vec()),
        value(),
        value(),
    )
        .prop_map(|(index, op, value, value_two)| SeccompArg {
            index,
            op: op.to_owned(),
            value,
            value_two,
        });
    (
        names,
        prop::sample::select(ACTIONS.to_vec()),
        prop::option::of(0_u32..100),
        prop::collection::vec(arg, 0..3),
    )
        .prop_map(|(names, action, errno_ret, args)| SeccompSyscall {
            names,
            action: action.to_owned(),
            errno_ret,
            args,
        })
}

fn arbitrary_document() -> impl Strategy<Value = Seccomp> {
    let architectures = prop::sample::subsequence(
        vec!["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        0..=3,
    );
    (
        prop::sample::select(ACTIONS.to_vec()),
        architectures,
        prop::collection::vec(arbitrary_rule(), 0..12),
    )
        .prop_map(|(default, architectures, rules)| document(default, &architectures, rules))
}

fn arbitrary_call() -> impl Strategy<Value = Call> {
    let number = prop_oneof![
        8 => 0_u32..480,
        2 => 0x4000_0000_u32..0x4000_0230,
        1 => Just(u32::MAX),
        1 => any::<u32>(),
    ];
    let arch = prop_oneof![
        4 => Just(AUDIT_X86_64),
        2 => Just(AUDIT_I386),
        1 => Just(AUDIT_ARM),
    ];
    (arch, number, prop::array::uniform6(value())).prop_map(|(arch, number, args)| Call {
        arch,
        number,
        args,
    })
}

proptest! {
    #[test]
    fn program_decides_as_the_document_says(
        document in arbitrary_document(),
        calls in prop::collection::vec(arbitrary_call(), 50),
    ) {
        let program = match compile(&document, Arch::X86_64) {
            Ok(program) => program,
            Err(CompileError::TooLong(_)) => return Ok(()),
            Err(error) => panic!("{error}"),
        };
        for call in calls {
            prop_assert_eq!(
                run(program.instructions(), &call),
                expected(&document, &call),
                "{:?}", call
            );
        }
    }

    #[test]
    fn encoding_keeps_the_program(document in arbitrary_document()) {
        if let Ok(program) = compile(&document, Arch::X86_64) {
            prop_assert_eq!(Program::decode(&program.encode()), Ok(program));
        }
    }
}

#[test]
fn every_number_of_a_long_filter_is_found() {
    // Every second call by number with an argument rule: the longest tree there can be.
    let rules = crate::table::X86_64
        .iter()
        .filter(|(_, number)| number % 2 == 0)
        .map(|&(name, number)| {
            rule(
                &[name],
                "SCMP_ACT_ALLOW",
                &[(0, "SCMP_CMP_EQ", u64::from(number), 0)],
            )
        })
        .collect();
    let document = document("SCMP_ACT_ERRNO", &["SCMP_ARCH_X86_64"], rules);
    let program = compile(&document, Arch::X86_64).unwrap();
    for number in 0..500 {
        for arg in [0, u64::from(number)] {
            let call = Call {
                arch: AUDIT_X86_64,
                number,
                args: [arg, 0, 0, 0, 0, 0],
            };
            let found = run(program.instructions(), &call);
            assert_eq!(found, expected(&document, &call), "{call:?}");
        }
    }
}

#[test]
fn unconditional_rule_beats_conditions_before_it() {
    let document = document(
        "SCMP_ACT_ERRNO",
        &[],
        vec![
            rule(&["read"], "SCMP_ACT_TRAP", &[(0, "SCMP_CMP_EQ", 3, 0)]),
            rule(&["read"], "SCMP_ACT_ALLOW", &[]),
        ],
    );
    assert_eq!(
        verdict(&document, AUDIT_X86_64, 0, [3, 0, 0, 0, 0, 0]),
        RET_ALLOW
    );
}

#[test]
fn conditions_on_one_argument_suffice_each() {
    let document = document(
        "SCMP_ACT_ERRNO",
        &[],
        vec![rule(
            &["read"],
            "SCMP_ACT_ALLOW",
            &[(0, "SCMP_CMP_EQ", 3, 0), (0, "SCMP_CMP_EQ", 4, 0)],
        )],
    );
    for (arg, expected) in [
        (3, RET_ALLOW),
        (4, RET_ALLOW),
        (5, RET_ERRNO | EPERM),
        (3 | 1 << 32, RET_ERRNO | EPERM),
    ] {
        assert_eq!(
            verdict(&document, AUDIT_X86_64, 0, [arg, 0, 0, 0, 0, 0]),
            expected,
            "{arg:#x}"
        );
    }
}

#[test]
fn newer_calls_do_not_exist_unless_the_default_lets_pass() {
    let rules = vec![rule(&["read", "openat2"], "SCMP_ACT_ALLOW", &[])];
    for (default, expected) in [
        ("SCMP_ACT_ERRNO", RET_ERRNO | ENOSYS),
        ("SCMP_ACT_KILL_PROCESS", RET_ERRNO | ENOSYS),
        ("SCMP_ACT_TRAP", RET_ERRNO | ENOSYS),
        ("SCMP_ACT_LOG", RET_LOG),
        ("SCMP_ACT_TRACE", RET_TRACE | 1),
    ] {
        let document = document(default, &[], rules.clone());
        assert_eq!(verdict(&document, AUDIT_X86_64, 437, [0; 6]), RET_ALLOW);
        assert_eq!(
            verdict(&document, AUDIT_X86_64, 438, [0; 6]),
            expected,
            "{default}"
        );
    }
}

#[test]
fn foreign_conventions_are_killed() {
    let document = document(
        "SCMP_ACT_ALLOW",
        &["SCMP_ARCH_X86_64", "SCMP_ARCH_MIPS"],
        Vec::new(),
    );
    assert_eq!(verdict(&document, AUDIT_X86_64, 0, [0; 6]), RET_ALLOW);
    for (arch, number) in [
        (AUDIT_I386, 0),
        (AUDIT_ARM, 0),
        (AUDIT_X86_64, 0x4000_0000),
        (AUDIT_X86_64, u32::MAX - 1),
    ] {
        assert_eq!(
            verdict(&document, arch, number, [0; 6]),
            RET_KILL_PROCESS,
            "{arch:#x}"
        );
    }
    // A tracer skips a call by making its number -1: the filter must not kill for it.
    assert_eq!(
        verdict(&document, AUDIT_X86_64, u32::MAX, [0; 6]),
        RET_ALLOW
    );
}

#[test]
fn arm_kernels_run_both_conventions() {
    let document = document(
        "SCMP_ACT_ERRNO",
        &["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
        vec![rule(&["read", "set_tls"], "SCMP_ACT_ALLOW", &[])],
    );
    let program = compile(&document, Arch::Aarch64).unwrap();
    for (arch, number, expected) in [
        (AUDIT_AARCH64, 63, RET_ALLOW),
        (AUDIT_AARCH64, 62, RET_ERRNO | EPERM),
        (AUDIT_AARCH64, 64, RET_ERRNO | ENOSYS),
        (AUDIT_ARM, 3, RET_ALLOW),
        (AUDIT_ARM, 4, RET_ERRNO | ENOSYS),
        // A private call counts as a rule, not as the profile's age.
        (AUDIT_ARM, 0xf_0005, RET_ALLOW),
        (AUDIT_ARM, 0xf_0006, RET_ERRNO | ENOSYS),
        (AUDIT_X86_64, 0, RET_KILL_PROCESS),
    ] {
        let call = Call {
            arch,
            number,
            args: [0; 6],
        };
        assert_eq!(
            run(program.instructions(), &call),
            expected,
            "{arch:#x} {number}"
        );
    }
}

#[test]
fn documents_that_are_no_filter_are_refused() {
    let allow = |args| vec![rule(&["read"], "SCMP_ACT_ALLOW", args)];
    let cases = [
        (
            document("SCMP_ACT_MAYBE", &[], Vec::new()),
            CompileError::UnknownAction("SCMP_ACT_MAYBE".into()),
        ),
        (
            document("SCMP_ACT_NOTIFY", &[], Vec::new()),
            CompileError::NotifyByDefault,
        ),
        (
            document(
                "SCMP_ACT_ALLOW",
                &[],
                vec![rule(&["read", "write"], "SCMP_ACT_NOTIFY", &[])],
            ),
            CompileError::NotifyOnWrite,
        ),
        (
            document("SCMP_ACT_ALLOW", &["SCMP_ARCH_VAX"], Vec::new()),
            CompileError::UnknownArchitecture("SCMP_ARCH_VAX".into()),
        ),
        (
            document("SCMP_ACT_ERRNO", &[], allow(&[(6, "SCMP_CMP_EQ", 0, 0)])),
            CompileError::NoSuchArgument {
                index: 6,
                call: "read".into(),
            },
        ),
        (
            document("SCMP_ACT_ERRNO", &[], allow(&[(0, "=", 0, 0)])),
            CompileError::UnknownComparison {
                op: "=".into(),
                call: "read".into(),
            },
        ),
        (
            Seccomp {
                default_errno_ret: Some(4096),
                ..document("SCMP_ACT_ERRNO", &[], Vec::new())
            },
            CompileError::ErrnoTooLarge(4096),
        ),
        (
            Seccomp {
                flags: vec!["SECCOMP_FILTER_FLAG_NEW".into()],
                ..document("SCMP_ACT_ERRNO", &[], Vec::new())
            },
            CompileError::UnknownFlag("SECCOMP_FILTER_FLAG_NEW".into()),
        ),
        (
            Seccomp {
                flags: vec!["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV".into()],
                ..document("SCMP_ACT_ERRNO", &[], Vec::new())
            },
            CompileError::FlagNeedsNotify("SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"),
        ),
    ];
    for (document, error) in cases {
        assert_eq!(compile(&document, Arch::X86_64), Err(error));
    }
}

#[test]
fn flags_become_those_of_the_system_call() {
    let flags = [
        "SECCOMP_FILTER_FLAG_TSYNC",
        "SECCOMP_FILTER_FLAG_LOG",
        "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
    ];
    let document = Seccomp {
        flags: flags.iter().map(|&flag| flag.to_owned()).collect(),
        ..document("SCMP_ACT_ALLOW", &[], Vec::new())
    };
    let program = compile(&document, Arch::X86_64).unwrap();
    assert_eq!(program.flags(), FilterFlags(0b111));
    assert!(!program.needs_listener());

    let document = Seccomp {
        syscalls: vec![rule(&["mount"], "SCMP_ACT_NOTIFY", &[])],
        ..document
    };
    let program = compile(&document, Arch::X86_64).unwrap();
    assert_eq!(program.flags(), FilterFlags(0b01_1111));
    assert!(program.needs_listener());
}

#[test]
fn foreign_bytes_are_no_program() {
    for bytes in [
        &b"WSF"[..],
        b"WSF0\0\0\0\0",
        b"WSF1\0\0\0\0\0",
        b"WSF1\0\0\0\0\0\0\0\0\0",
    ] {
        Program::decode(bytes).unwrap_err();
    }
}
