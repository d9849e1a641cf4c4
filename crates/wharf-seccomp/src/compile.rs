//! From the OCI document to a program.
//!
//! # Which rule decides
//! A rule without conditions decides its calls alone; of several, the first. Otherwise the rules
//! with conditions are asked in the document's order, and the first whose conditions all hold
//! decides; if none does, the default action. When two conditions of one rule are on the same
//! argument, each stands for itself (any of them suffices): that is what runc makes of such
//! documents, because libseccomp takes one condition an argument, and profiles rely on it.
//! A rule whose action is the default changes nothing and is left out, as is a call whose name is
//! unknown on an architecture.
//!
//! # Calls newer than the profile
//! Numbers above the highest that the document names get `ENOSYS` instead of the default action,
//! unless the default lets calls pass: a C library that finds a new call missing falls back to the
//! old one, and gives up on `EPERM`. The rule is runc's; the highest number counts for each calling
//! convention apart, private calls of 32-bit ARM not counted.
//!
//! # Shape
//! The program looks at the architecture, then searches the call's number in a balanced tree over
//! ranges of numbers with the same outcome. The kernel runs a filter once for each call number when
//! it is installed, so that a linear chain costs it a millisecond and the tree a tenth. A foreign
//! calling convention kills the process.

use std::collections::BTreeMap;

use wharf_oci::runtime::{Seccomp, SeccompArg, SeccompSyscall};
use wharf_sys::seccomp::FilterFlags;

use crate::arch::{Abi, Arch, FOREIGN, X32_FIRST};
use crate::bpf::{Assembler, Label, Test};
use crate::program::Program;

/// Longest program the kernel takes (`BPF_MAXINSNS`).
const MAX_INSTRUCTIONS: usize = 4096;
/// Highest error number a call can return (`MAX_ERRNO`).
const MAX_ERRNO: u32 = 4095;

const RET_KILL_PROCESS: u32 = 0x8000_0000;
const RET_KILL_THREAD: u32 = 0x0000_0000;
const RET_TRAP: u32 = 0x0003_0000;
const RET_ERRNO: u32 = 0x0005_0000;
const RET_NOTIFY: u32 = 0x7fc0_0000;
const RET_TRACE: u32 = 0x7ff0_0000;
const RET_LOG: u32 = 0x7ffc_0000;
const RET_ALLOW: u32 = 0x7fff_0000;
const EPERM: u32 = 1;
const ENOSYS: u32 = 38;

/// Offsets in `seccomp_data`.
const DATA_NUMBER: u32 = 0;
const DATA_ARCH: u32 = 4;
const DATA_ARGS: u32 = 16;

/// Why a document is not a filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// An action that is none.
    #[error("seccomp: unknown action {0:?}")]
    UnknownAction(String),
    /// A comparison that is none.
    #[error("seccomp: unknown comparison {op:?} in the rule for {call}")]
    UnknownComparison {
        /// The comparison.
        op: String,
        /// First call of the rule.
        call: String,
    },
    /// An architecture that is none.
    #[error("seccomp: unknown architecture {0:?}")]
    UnknownArchitecture(String),
    /// A flag that is none.
    #[error("seccomp: unknown flag {0:?}")]
    UnknownFlag(String),
    /// Calls have arguments 0 to 5.
    #[error("seccomp: no argument {index} in the rule for {call}")]
    NoSuchArgument {
        /// The index.
        index: u32,
        /// First call of the rule.
        call: String,
    },
    /// An error number that no call can return.
    #[error("seccomp: error number {0} is above 4095")]
    ErrnoTooLarge(u32),
    /// Trace data has 16 bits.
    #[error("seccomp: trace value {0} is above 65535")]
    TraceTooLarge(u32),
    /// Everything would wait for the listener, the handing over of the listener too.
    #[error("seccomp: SCMP_ACT_NOTIFY cannot be the default action")]
    NotifyByDefault,
    /// The listener is handed over by writing.
    #[error("seccomp: SCMP_ACT_NOTIFY cannot be the action for write")]
    NotifyOnWrite,
    /// The flag is about notifications, and no rule notifies.
    #[error("seccomp: flag {0} needs a rule with SCMP_ACT_NOTIFY")]
    FlagNeedsNotify(&'static str),
    /// The kernel's limit on programs.
    #[error("seccomp: the filter has {0} instructions, more than the kernel's limit of 4096")]
    TooLong(usize),
}

/// Compiles `document` for `arch`. Calls whose names are not known are left out, as runc does.
pub fn compile(document: &Seccomp, arch: Arch) -> Result<Program, CompileError> {
    let default = action(&document.default_action, document.default_errno_ret)?;
    if default == RET_NOTIFY {
        return Err(CompileError::NotifyByDefault);
    }
    let rules = document
        .syscalls
        .iter()
        .map(Rule::read)
        .collect::<Result<Vec<_>, _>>()?;
    let notifies = rules.iter().any(|rule| rule.action == RET_NOTIFY);
    let flags = flags(&document.flags, notifies)?;
    let abis = architectures(&document.architectures, arch)?;

    let mut assembler = Assembler::default();
    let mut start = assembler.ret(RET_KILL_PROCESS);
    for group in arch.groups().iter().rev() {
        let covered: Vec<Abi> = group
            .iter()
            .copied()
            .filter(|abi| abis.contains(abi))
            .collect();
        if covered.is_empty() {
            continue;
        }
        let mut ranges = Vec::new();
        for &abi in &covered {
            ranges.extend(ranges_of(abi, &rules, default));
        }
        if group.contains(&Abi::X32) && !covered.contains(&Abi::X32) {
            ranges.push((X32_FIRST, Outcome::Return(RET_KILL_PROCESS)));
            // A tracer that skips a call sets the number to -1.
            ranges.push((u32::MAX, Outcome::Return(default)));
        }
        coalesce(&mut ranges);
        let search = emit_search(&mut assembler, &ranges);
        assembler.go(search);
        let section = assembler.load(DATA_NUMBER);
        // The test of the architecture comes before the section: what follows it when it fails is
        // the part written so far.
        start = assembler.branch(Test::Equal, group[0].audit(), section, start);
    }
    assembler.go(start);
    assembler.load(DATA_ARCH);

    let instructions = assembler.finish();
    if instructions.len() > MAX_INSTRUCTIONS {
        return Err(CompileError::TooLong(instructions.len()));
    }
    Ok(Program {
        instructions,
        flags,
    })
}

/// What a call number leads to.
#[derive(Debug, Clone, PartialEq)]
enum Outcome<'a> {
    Return(u32),
    /// Conditional rules in order, then the default.
    Ask(Vec<&'a Rule<'a>>, u32),
}

/// A rule of the document, read.
#[derive(Debug, PartialEq)]
struct Rule<'a> {
    names: &'a [String],
    action: u32,
    /// Any of these, each a list of which all must hold; empty: always.
    alternatives: Vec<Vec<Condition>>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Condition {
    index: u32,
    comparison: Comparison,
    value: u64,
    value_two: u64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    MaskedEqual,
}

impl<'a> Rule<'a> {
    fn read(rule: &'a SeccompSyscall) -> Result<Self, CompileError> {
        let action = action(&rule.action, rule.errno_ret)?;
        if action == RET_NOTIFY && rule.names.iter().any(|name| name == "write") {
            return Err(CompileError::NotifyOnWrite);
        }
        let call = rule.names.first().map_or("", String::as_str);
        let conditions = rule
            .args
            .iter()
            .map(|arg| Condition::read(arg, call))
            .collect::<Result<Vec<_>, _>>()?;
        let same_argument = (0..conditions.len())
            .any(|i| (0..i).any(|j| conditions[i].index == conditions[j].index));
        let alternatives = if conditions.is_empty() {
            Vec::new()
        } else if same_argument {
            conditions.into_iter().map(|one| vec![one]).collect()
        } else {
            vec![conditions]
        };
        Ok(Self {
            names: &rule.names,
            action,
            alternatives,
        })
    }
}

impl Condition {
    fn read(arg: &SeccompArg, call: &str) -> Result<Self, CompileError> {
        let comparison = match arg.op.as_str() {
            "SCMP_CMP_EQ" => Comparison::Equal,
            "SCMP_CMP_NE" => Comparison::NotEqual,
            "SCMP_CMP_LT" => Comparison::Less,
            "SCMP_CMP_LE" => Comparison::LessOrEqual,
            "SCMP_CMP_GT" => Comparison::Greater,
            "SCMP_CMP_GE" => Comparison::GreaterOrEqual,
            "SCMP_CMP_MASKED_EQ" => Comparison::MaskedEqual,
            other => {
                return Err(CompileError::UnknownComparison {
                    op: other.to_owned(),
                    call: call.to_owned(),
                });
            }
        };
        if arg.index > 5 {
            return Err(CompileError::NoSuchArgument {
                index: arg.index,
                call: call.to_owned(),
            });
        }
        Ok(Self {
            index: arg.index,
            comparison,
            value: arg.value,
            value_two: arg.value_two,
        })
    }
}

/// Reads an action into the filter's return value.
fn action(name: &str, number: Option<u32>) -> Result<u32, CompileError> {
    Ok(match name {
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => RET_KILL_THREAD,
        "SCMP_ACT_KILL_PROCESS" => RET_KILL_PROCESS,
        "SCMP_ACT_TRAP" => RET_TRAP,
        "SCMP_ACT_ERRNO" => match number.unwrap_or(EPERM) {
            errno @ ..=MAX_ERRNO => RET_ERRNO | errno,
            errno => return Err(CompileError::ErrnoTooLarge(errno)),
        },
        "SCMP_ACT_TRACE" => match number.unwrap_or(EPERM) {
            data @ ..=0xffff => RET_TRACE | data,
            data => return Err(CompileError::TraceTooLarge(data)),
        },
        "SCMP_ACT_ALLOW" => RET_ALLOW,
        "SCMP_ACT_LOG" => RET_LOG,
        "SCMP_ACT_NOTIFY" => RET_NOTIFY,
        other => return Err(CompileError::UnknownAction(other.to_owned())),
    })
}

fn flags(names: &[String], notifies: bool) -> Result<FilterFlags, CompileError> {
    let mut flags = FilterFlags::default();
    for name in names {
        flags = flags.union(match name.as_str() {
            "SECCOMP_FILTER_FLAG_TSYNC" if notifies => {
                FilterFlags::TSYNC.union(FilterFlags::TSYNC_ESRCH)
            }
            "SECCOMP_FILTER_FLAG_TSYNC" => FilterFlags::TSYNC,
            "SECCOMP_FILTER_FLAG_LOG" => FilterFlags::LOG,
            "SECCOMP_FILTER_FLAG_SPEC_ALLOW" => FilterFlags::SPEC_ALLOW,
            "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" => FilterFlags::WAIT_KILLABLE_RECV,
            other => return Err(CompileError::UnknownFlag(other.to_owned())),
        });
    }
    if flags.contains(FilterFlags::WAIT_KILLABLE_RECV) && !notifies {
        return Err(CompileError::FlagNeedsNotify(
            "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
        ));
    }
    if notifies {
        flags = flags.union(FilterFlags::NEW_LISTENER);
    }
    Ok(flags)
}

/// The calling conventions a document covers; the native one always.
fn architectures(names: &[String], arch: Arch) -> Result<Vec<Abi>, CompileError> {
    let mut abis = vec![arch.main_abi()];
    for name in names {
        match Abi::from_oci(name) {
            Some(abi) => abis.push(abi),
            None if FOREIGN.contains(&name.as_str()) => {}
            None => return Err(CompileError::UnknownArchitecture(name.clone())),
        }
    }
    Ok(abis)
}

/// The numbers of one convention as ranges: where each starts, and what it leads to.
fn ranges_of<'a>(abi: Abi, rules: &'a [Rule<'a>], default: u32) -> Vec<(u32, Outcome<'a>)> {
    let mut calls: BTreeMap<u32, Vec<&Rule<'_>>> = BTreeMap::new();
    let mut newest = None;
    for rule in rules {
        for number in rule.names.iter().filter_map(|name| abi.number(name)) {
            if abi.is_ordinary(number) {
                newest = newest.max(Some(number));
            }
            if rule.action != default {
                calls.entry(number).or_default().push(rule);
            }
        }
    }

    let (first, last) = abi.bounds();
    let mut ranges = vec![(first, Outcome::Return(default))];
    for (number, rules) in calls {
        ranges.push((number, outcome(rules, default)));
        ranges.push((number + 1, Outcome::Return(default)));
    }
    if let Some(newest) = newest
        && !lets_pass(default)
    {
        deny_newer(&mut ranges, newest, default, last);
    }
    ranges
}

/// Turns the default into `ENOSYS` for all numbers above `newest`. Ranges with rules can stand
/// there too: the private calls of 32-bit ARM.
fn deny_newer(ranges: &mut Vec<(u32, Outcome<'_>)>, newest: u32, default: u32, last: u32) {
    let above = ranges.partition_point(|range| range.0 <= newest);
    let starts_above = ranges.get(above).map(|range| range.0);
    if newest < last && starts_above != Some(newest + 1) {
        ranges.insert(above, (newest + 1, Outcome::Return(default)));
    }
    for range in &mut ranges[above..] {
        if range.1 == Outcome::Return(default) {
            range.1 = Outcome::Return(RET_ERRNO | ENOSYS);
        }
    }
}

fn outcome<'a>(rules: Vec<&'a Rule<'a>>, default: u32) -> Outcome<'a> {
    match rules.iter().find(|rule| rule.alternatives.is_empty()) {
        Some(unconditional) => Outcome::Return(unconditional.action),
        None => Outcome::Ask(rules, default),
    }
}

/// Whether a default action is one after which the call is (or may be) made.
fn lets_pass(action: u32) -> bool {
    action == RET_ALLOW || action == RET_LOG || action & 0xffff_0000 == RET_TRACE
}

/// Drops empty ranges and joins neighbours with the same outcome.
fn coalesce(ranges: &mut Vec<(u32, Outcome<'_>)>) {
    let mut kept: Vec<(u32, Outcome<'_>)> = Vec::with_capacity(ranges.len());
    for range in ranges.drain(..) {
        if kept.last().is_some_and(|previous| previous.0 == range.0) {
            kept.pop();
        }
        if kept.last().is_none_or(|previous| previous.1 != range.1) {
            kept.push(range);
        }
    }
    *ranges = kept;
}

/// A balanced search over `ranges`, which are not empty and cover all numbers.
fn emit_search(assembler: &mut Assembler, ranges: &[(u32, Outcome<'_>)]) -> Label {
    match ranges {
        [] => unreachable!("every convention has at least its default range"),
        [(_, outcome)] => emit_outcome(assembler, outcome),
        _ => {
            let (lower, upper) = ranges.split_at(ranges.len() / 2);
            let upper_label = emit_search(assembler, upper);
            let lower_label = emit_search(assembler, lower);
            let pivot = upper[0].0;
            assembler.branch(Test::GreaterOrEqual, pivot, upper_label, lower_label)
        }
    }
}

fn emit_outcome(assembler: &mut Assembler, outcome: &Outcome<'_>) -> Label {
    match outcome {
        Outcome::Return(value) => assembler.ret(*value),
        Outcome::Ask(rules, default) => {
            let mut next = assembler.ret(*default);
            for rule in rules.iter().rev() {
                for conditions in rule.alternatives.iter().rev() {
                    let mut yes = assembler.ret(rule.action);
                    for condition in conditions.iter().rev() {
                        yes = emit_condition(assembler, *condition, yes, next);
                    }
                    next = yes;
                }
            }
            next
        }
    }
}

/// A comparison of a 64-bit argument, its high word first.
fn emit_condition(assembler: &mut Assembler, condition: Condition, yes: Label, no: Label) -> Label {
    let value = Words::of(condition.value);
    let low = DATA_ARGS + 8 * condition.index;
    match condition.comparison {
        Comparison::Equal => emit_equal(assembler, low, None, value, yes, no),
        Comparison::NotEqual => emit_equal(assembler, low, None, value, no, yes),
        Comparison::MaskedEqual => {
            let wanted = Words::of(condition.value_two);
            emit_equal(assembler, low, Some(value), wanted, yes, no)
        }
        Comparison::GreaterOrEqual => {
            emit_ordered(assembler, low, Test::GreaterOrEqual, value, yes, no)
        }
        Comparison::Less => emit_ordered(assembler, low, Test::GreaterOrEqual, value, no, yes),
        Comparison::Greater => emit_ordered(assembler, low, Test::Greater, value, yes, no),
        Comparison::LessOrEqual => emit_ordered(assembler, low, Test::Greater, value, no, yes),
    }
}

/// The two halves of a 64-bit value.
#[derive(Clone, Copy)]
struct Words {
    high: u32,
    low: u32,
}

impl Words {
    fn of(value: u64) -> Self {
        let [a, b, c, d, e, f, g, h] = value.to_be_bytes();
        Self {
            high: u32::from_be_bytes([a, b, c, d]),
            low: u32::from_be_bytes([e, f, g, h]),
        }
    }
}

fn emit_equal(
    assembler: &mut Assembler,
    low: u32,
    mask: Option<Words>,
    wanted: Words,
    yes: Label,
    no: Label,
) -> Label {
    assembler.branch(Test::Equal, wanted.low, yes, no);
    if let Some(mask) = mask {
        assembler.and(mask.low);
    }
    let low_label = assembler.load(low);
    assembler.branch(Test::Equal, wanted.high, low_label, no);
    if let Some(mask) = mask {
        assembler.and(mask.high);
    }
    assembler.load(low + 4)
}

fn emit_ordered(
    assembler: &mut Assembler,
    low: u32,
    test: Test,
    value: Words,
    yes: Label,
    no: Label,
) -> Label {
    assembler.branch(test, value.low, yes, no);
    let low_label = assembler.load(low);
    let equal = assembler.branch(Test::Equal, value.high, low_label, no);
    // The accumulator still holds the high word.
    assembler.branch(Test::Greater, value.high, yes, equal);
    assembler.load(low + 4)
}

#[cfg(test)]
mod tests;
