use proptest::prelude::*;

use super::*;

/// What the list says about one kind of access to one device.
fn expected(access: &Access, kind: Kind, major: u32, minor: u32, asked: u8) -> bool {
    let device = Devices {
        kind,
        major: Some(major),
        minor: Some(minor),
    };
    [MKNOD, READ, WRITE]
        .iter()
        .filter(|&&bit| asked & bit != 0)
        .all(|&bit| {
            access
                .rules
                .iter()
                .rev()
                .find(|rule| {
                    rule.access & bit != 0
                        && rule.devices.is_none_or(|devices| devices.cover(device))
                })
                .is_some_and(|rule| rule.allow)
        })
}

/// Runs a program as the kernel would.
fn run(program: &DeviceProgram, kind: Kind, major: u32, minor: u32, asked: u8) -> bool {
    let context = [kind as u32 | u32::from(asked) << 16, major, minor];
    let mut registers = [0_u64; 11];
    let mut at = 0_usize;
    loop {
        let bytes = program.0[at].to_le_bytes();
        let (destination, source) = (usize::from(bytes[1] & 15), usize::from(bytes[1] >> 4));
        let offset = usize::from(u16::from_le_bytes([bytes[2], bytes[3]]));
        let operand = u32::from_le_bytes(bytes[4..].try_into().unwrap());
        at += 1;
        match bytes[0] {
            0x61 => registers[destination] = context[offset / 4].into(),
            0xbf => registers[destination] = registers[source],
            0x57 => registers[destination] &= u64::from(operand),
            0x77 => registers[destination] >>= operand,
            0xb7 => registers[destination] = operand.into(),
            0x15 if registers[destination] == u64::from(operand) => at += offset,
            0x56 if registers[destination] & 0xffff_ffff != u64::from(operand) => at += offset,
            0x15 | 0x56 => {}
            0x95 => return registers[0] == 1,
            other => panic!("operation {other:#x}"),
        }
    }
}

/// What the v1 controller answers: all asked accesses must be on one side.
fn v1(held: &Exceptions, kind: Kind, major: u32, minor: u32, asked: u8) -> bool {
    let device = Devices {
        kind,
        major: Some(major),
        minor: Some(minor),
    };
    let matching = || {
        held.exceptions
            .iter()
            .filter(|held| held.devices.cover(device))
    };
    if held.default_allow {
        matching().all(|held| held.access & asked == 0)
    } else {
        matching().any(|held| held.access & asked == asked)
    }
}

fn arbitrary_rule() -> impl Strategy<Value = DeviceRule> {
    let number = || prop::option::of(prop_oneof![Just(-1_i64), 0_i64..3, Just(136)]);
    (
        any::<bool>(),
        prop::option::of(prop::sample::select(vec!["a", "b", "c"])),
        number(),
        number(),
        prop::option::of(prop::sample::select(vec!["r", "w", "m", "rw", "rwm"])),
    )
        .prop_map(|(allow, kind, major, minor, access)| DeviceRule {
            allow,
            kind: kind.map(str::to_owned),
            major,
            minor,
            access: access.map(str::to_owned),
        })
}

proptest! {
    #[test]
    fn both_versions_decide_as_the_list_says(rules in prop::collection::vec(arbitrary_rule(), 0..8)) {
        let access = Access::of_container(&rules).unwrap();
        let program = access.program();
        let held = access.for_v1();
        for kind in [Kind::Block, Kind::Char] {
            for (major, minor) in [(0, 0), (0, 1), (1, 0), (1, 2), (1, 3), (2, 2), (5, 1), (136, 4), (1 << 31, 7)] {
                for asked in 1..=ALL {
                    let expected = expected(&access, kind, major, minor, asked);
                    let found = program.as_ref().is_none_or(|program| run(program, kind, major, minor, asked));
                    prop_assert_eq!(found, expected, "{:?} {}:{} {}", kind, major, minor, asked);
                    // v1 wants one exception to allow all that is asked, so that only single
                    // accesses compare.
                    if let Ok(held) = &held && asked.count_ones() == 1 {
                        let found = v1(held, kind, major, minor, asked);
                        prop_assert_eq!(found, expected, "v1 {:?} {}:{} {}", kind, major, minor, asked);
                    }
                }
            }
        }
    }
}

fn rule(allow: bool, kind: &str, major: i64, minor: i64, access: &str) -> DeviceRule {
    DeviceRule {
        allow,
        kind: Some(kind.to_owned()),
        major: Some(major),
        minor: Some(minor),
        access: Some(access.to_owned()),
    }
}

#[test]
fn everything_allowed_needs_nothing() {
    let access = Access::of_container(&[rule(true, "a", -1, -1, "rwm")]).unwrap();
    assert_eq!(access.program(), None);
    assert_eq!(
        access.for_v1(),
        Ok(Exceptions {
            default_allow: true,
            exceptions: Vec::new()
        })
    );
}

#[test]
fn exception_from_an_exception_is_refused_on_v1_alone() {
    let rules = [
        rule(false, "a", -1, -1, "rwm"),
        rule(true, "c", 10, -1, "rwm"),
        rule(false, "c", 10, 229, "rw"),
    ];
    let access = Access::of_container(&rules).unwrap();
    assert_eq!(
        access.for_v1(),
        Err(PlanError::DeviceRuleOverlap {
            rule: "c 10:229 rw".to_owned(),
            wider: "c 10:* rwm".to_owned(),
        })
    );
    let program = access.program().unwrap();
    assert!(run(&program, Kind::Char, 10, 228, READ));
    assert!(!run(&program, Kind::Char, 10, 229, READ));
    assert!(run(&program, Kind::Char, 10, 229, MKNOD));
}

#[test]
fn nonsense_is_refused() {
    for rule in [
        rule(true, "p", 1, 3, "rwm"),
        rule(true, "c", 1, 3, "rwx"),
        rule(true, "c", -2, 3, "rwm"),
        rule(true, "c", 1, 1 << 33, "rwm"),
    ] {
        let error = Access::of_container(std::slice::from_ref(&rule)).unwrap_err();
        assert!(matches!(error, PlanError::Malformed { .. }), "{rule:?}");
    }
}
