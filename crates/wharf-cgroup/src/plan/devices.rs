//! Which devices a container may use: a list of rules, later ones winning.
//!
//! A rule is about some of reading, writing and making nodes, and each of the three is decided by
//! the last rule that names it for the device; what no rule names is denied. v2 runs exactly that
//! as a program, from the last rule to the first. v1 holds a default and exceptions from it, each
//! for one device or all of a kind; lists that ask for an exception from an exception are refused.
//! The devices that the runtime specification gives every container come after the configuration's.

use std::fmt;

use wharf_oci::runtime::DeviceRule;

use super::PlanError;

const MKNOD: u8 = 1;
const READ: u8 = 2;
const WRITE: u8 = 4;
const ALL: u8 = MKNOD | READ | WRITE;

/// Kinds in `bpf_cgroup_dev_ctx`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Block = 1,
    Char = 2,
}

/// Devices of one kind, all of them or some.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Devices {
    kind: Kind,
    major: Option<u32>,
    minor: Option<u32>,
}

/// Devices and what is done with them; as a line of the v1 controller's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Exception {
    devices: Devices,
    access: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rule {
    allow: bool,
    /// `None`: both kinds, all numbers.
    devices: Option<Devices>,
    access: u8,
}

/// The rules of a container.
#[derive(Debug)]
pub(super) struct Access {
    rules: Vec<Rule>,
}

/// The rules as v1 holds them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Exceptions {
    pub(super) default_allow: bool,
    /// What is decided otherwise than by the default.
    pub(super) exceptions: Vec<Exception>,
}

/// A program of type `BPF_PROG_TYPE_CGROUP_DEVICE`: the instructions, as the kernel takes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceProgram(pub(crate) Vec<u64>);

/// Nodes of any number may be made, but not opened; the usual eight devices may be used.
const OF_EVERY_CONTAINER: &[(Kind, Option<u32>, Option<u32>, u8)] = &[
    (Kind::Char, None, None, MKNOD),
    (Kind::Block, None, None, MKNOD),
    (Kind::Char, Some(1), Some(3), ALL), // null
    (Kind::Char, Some(1), Some(5), ALL), // zero
    (Kind::Char, Some(1), Some(7), ALL), // full
    (Kind::Char, Some(1), Some(8), ALL), // random
    (Kind::Char, Some(1), Some(9), ALL), // urandom
    (Kind::Char, Some(5), Some(0), ALL), // tty
    (Kind::Char, Some(5), Some(2), ALL), // ptmx
    (Kind::Char, Some(136), None, ALL),  // pts/*
];

impl Access {
    /// Reads the configuration's rules, and adds those of every container.
    pub(super) fn of_container(configured: &[DeviceRule]) -> Result<Self, PlanError> {
        let mut rules = Vec::with_capacity(configured.len() + OF_EVERY_CONTAINER.len());
        for rule in configured {
            rules.extend(read(rule)?);
        }
        rules.extend(
            OF_EVERY_CONTAINER
                .iter()
                .map(|&(kind, major, minor, access)| Rule {
                    allow: true,
                    devices: Some(Devices { kind, major, minor }),
                    access,
                }),
        );
        Ok(Self { rules })
    }

    /// The rules as a default and exceptions.
    pub(super) fn for_v1(&self) -> Result<Exceptions, PlanError> {
        let mut held = Exceptions {
            default_allow: false,
            exceptions: Vec::new(),
        };
        for rule in &self.rules {
            match rule.devices {
                None => {
                    held.default_allow = rule.allow;
                    held.exceptions.clear();
                }
                Some(devices) => {
                    let exception = Exception {
                        devices,
                        access: rule.access,
                    };
                    if rule.allow == held.default_allow {
                        held.take_back(exception)?;
                    } else {
                        held.add(exception);
                    }
                }
            }
        }
        Ok(held)
    }

    /// The rules as a program; none when everything is allowed.
    pub(super) fn program(&self) -> Option<DeviceProgram> {
        // What stands before a rule about everything is never asked.
        let whole = self.rules.iter().rposition(|rule| rule.devices.is_none());
        let default_allow = whole.is_some_and(|at| self.rules[at].allow);
        let rules = &self.rules[whole.map_or(0, |at| at + 1)..];
        if default_allow && rules.iter().all(|rule| rule.allow) {
            return None;
        }
        let mut program = vec![
            load(2, 0),
            move_register(3, 2),
            alu(RIGHT_SHIFT, 3, 16),
            alu(AND, 2, 0xffff),
            load(4, 4),
            load(5, 8),
        ];
        for rule in rules.iter().rev() {
            if let Some(devices) = rule.devices {
                push_rule(&mut program, *rule, devices);
            }
        }
        program.extend(give(default_allow));
        Some(DeviceProgram(program))
    }
}

/// Reads one rule; one about both kinds but not about all of them becomes two.
fn read(rule: &DeviceRule) -> Result<Vec<Rule>, PlanError> {
    let malformed = |field: &str, value: String, form| PlanError::Malformed {
        key: format!("devices.{field}"),
        value,
        form,
    };
    let number = |field: &str, value: Option<i64>| match value {
        None | Some(-1) => Ok(None),
        Some(value) => u32::try_from(value)
            .map(Some)
            .map_err(|_| malformed(field, value.to_string(), "a device number")),
    };
    let major = number("major", rule.major)?;
    let minor = number("minor", rule.minor)?;
    let mut access = 0;
    for letter in rule.access.as_deref().unwrap_or("").chars() {
        access |= match letter {
            'm' => MKNOD,
            'r' => READ,
            'w' => WRITE,
            _ => {
                let value = rule.access.clone().unwrap_or_default();
                return Err(malformed("access", value, "some of r, w and m"));
            }
        };
    }
    if access == 0 {
        access = ALL;
    }
    let kinds: &[Kind] = match rule.kind.as_deref() {
        None | Some("" | "a") => &[Kind::Char, Kind::Block],
        Some("c" | "u") => &[Kind::Char],
        Some("b") => &[Kind::Block],
        Some(other) => return Err(malformed("type", other.to_owned(), "one of a, b, c")),
    };
    let allow = rule.allow;
    if kinds.len() == 2 && major.is_none() && minor.is_none() && access == ALL {
        return Ok(vec![Rule {
            allow,
            devices: None,
            access,
        }]);
    }
    Ok(kinds
        .iter()
        .map(|&kind| Rule {
            allow,
            devices: Some(Devices { kind, major, minor }),
            access,
        })
        .collect())
}

impl Devices {
    /// Whether all of `other` are among these.
    fn cover(self, other: Self) -> bool {
        let covers = |mine: Option<u32>, theirs| mine.is_none() || mine == theirs;
        self.kind == other.kind
            && covers(self.major, other.major)
            && covers(self.minor, other.minor)
    }

    /// Whether some of `other` are among these.
    fn meet(self, other: Self) -> bool {
        let meets = |mine: Option<u32>, theirs: Option<u32>| {
            mine.is_none() || theirs.is_none() || mine == theirs
        };
        self.kind == other.kind && meets(self.major, other.major) && meets(self.minor, other.minor)
    }
}

impl Exceptions {
    fn add(&mut self, new: Exception) {
        match self
            .exceptions
            .iter_mut()
            .find(|held| held.devices == new.devices)
        {
            Some(held) => held.access |= new.access,
            None => self.exceptions.push(new),
        }
    }

    fn take_back(&mut self, rule: Exception) -> Result<(), PlanError> {
        for held in &mut self.exceptions {
            if rule.devices.cover(held.devices) {
                held.access &= !rule.access;
            } else if rule.devices.meet(held.devices) && held.access & rule.access != 0 {
                return Err(PlanError::DeviceRuleOverlap {
                    rule: rule.to_string(),
                    wider: held.to_string(),
                });
            }
        }
        self.exceptions.retain(|held| held.access != 0);
        Ok(())
    }
}

impl fmt::Display for Exception {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.devices.kind {
            Kind::Block => 'b',
            Kind::Char => 'c',
        };
        write!(f, "{kind} ")?;
        match self.devices.major {
            Some(major) => write!(f, "{major}:")?,
            None => f.write_str("*:")?,
        }
        match self.devices.minor {
            Some(minor) => write!(f, "{minor} ")?,
            None => f.write_str("* ")?,
        }
        for (bit, letter) in [(READ, "r"), (WRITE, "w"), (MKNOD, "m")] {
            if self.access & bit != 0 {
                f.write_str(letter)?;
            }
        }
        Ok(())
    }
}

// The program's registers: r2 kind, r3 what is asked and not yet allowed, r4 major, r5 minor.
const AND: u8 = 0x57;
const RIGHT_SHIFT: u8 = 0x77;
const JUMP_EQUAL: u8 = 0x15;
/// On the low 32 bits, because the operand of the 64-bit jump is signed.
const JUMP_NOT_EQUAL_32: u8 = 0x56;

fn instruction(code: u8, destination: u8, source: u8, offset: i16, operand: u32) -> u64 {
    u64::from(code)
        | u64::from(destination) << 8
        | u64::from(source) << 12
        | u64::from(offset.cast_unsigned()) << 16
        | u64::from(operand) << 32
}

/// `r = *(u32 *)(context + offset)`.
fn load(register: u8, offset: i16) -> u64 {
    instruction(0x61, register, 1, offset, 0)
}

fn move_register(destination: u8, source: u8) -> u64 {
    instruction(0xbf, destination, source, 0, 0)
}

fn alu(code: u8, register: u8, operand: u32) -> u64 {
    instruction(code, register, 0, 0, operand)
}

/// `return allow`.
fn give(allow: bool) -> [u64; 2] {
    [
        instruction(0xb7, 0, 0, 0, u32::from(allow)),
        instruction(0x95, 0, 0, 0, 0),
    ]
}

fn push_rule(program: &mut Vec<u64>, rule: Rule, devices: Devices) {
    let mut body = Vec::new();
    if rule.allow {
        // What this rule allows need not be asked of the rules before; nothing left is a yes.
        body.push(alu(AND, 3, u32::from(ALL & !rule.access)));
        body.push(instruction(JUMP_NOT_EQUAL_32, 3, 0, 2, 0));
    } else {
        body.push(move_register(1, 3));
        body.push(alu(AND, 1, u32::from(rule.access)));
        body.push(instruction(JUMP_EQUAL, 1, 0, 2, 0));
    }
    body.extend(give(rule.allow));

    let mut tests = vec![(2, devices.kind as u32)];
    tests.extend(devices.major.map(|major| (4, major)));
    tests.extend(devices.minor.map(|minor| (5, minor)));
    for (at, (register, value)) in tests.iter().enumerate() {
        let over = tests.len() - at - 1 + body.len();
        let over = i16::try_from(over).expect("a rule has at most eight instructions");
        program.push(instruction(JUMP_NOT_EQUAL_32, *register, 0, over, *value));
    }
    program.extend(body);
}

impl DeviceProgram {
    /// The instructions.
    #[must_use]
    pub fn instructions(&self) -> &[u64] {
        &self.0
    }
}

#[cfg(test)]
mod tests;
