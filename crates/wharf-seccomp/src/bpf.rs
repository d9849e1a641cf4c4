//! A small assembler for classic BPF, writing programs from their end.
//!
//! Jumps only go forwards and reach 255 instructions. Written backwards, every target is known
//! when the jump to it is made, and a target out of reach gets a `ja` (or a second copy, when it is
//! a `ret`) right after the jump.

use std::collections::HashMap;

use wharf_sys::seccomp::Instruction;

/// An instruction already written: its distance from the program's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Label(usize);

/// `A = data[offset]`, 32 bits.
const LOAD: u16 = 0x20;
/// `A &= k`.
const AND: u16 = 0x54;
/// `return k`.
const RETURN: u16 = 0x06;
/// `pc += k`.
const JUMP: u16 = 0x05;

/// Unsigned comparison of the accumulator with a constant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub(crate) enum Test {
    Equal = 0x15,
    Greater = 0x25,
    GreaterOrEqual = 0x35,
}

/// The program so far, last instruction first.
#[derive(Debug, Default)]
pub(crate) struct Assembler {
    reversed: Vec<Instruction>,
    /// Latest copy of each `ret`.
    returns: HashMap<u32, Label>,
}

impl Assembler {
    fn push(&mut self, code: u16, jump_true: u8, jump_false: u8, operand: u32) -> Label {
        self.reversed.push(Instruction {
            code,
            jump_true,
            jump_false,
            operand,
        });
        Label(self.reversed.len())
    }

    /// Instructions to skip from the next one written to `label`.
    fn distance(&self, label: Label) -> usize {
        self.reversed.len() - label.0
    }

    pub(crate) fn load(&mut self, offset: u32) -> Label {
        self.push(LOAD, 0, 0, offset)
    }

    pub(crate) fn and(&mut self, mask: u32) -> Label {
        self.push(AND, 0, 0, mask)
    }

    /// A `ret` of `value`, an old copy if one is near.
    pub(crate) fn ret(&mut self, value: u32) -> Label {
        // Two instructions of margin: the test that jumps here may need a `ja` for its other branch.
        if let Some(&label) = self.returns.get(&value)
            && self.distance(label) + 2 <= usize::from(u8::MAX)
        {
            return label;
        }
        let label = self.push(RETURN, 0, 0, value);
        self.returns.insert(value, label);
        label
    }

    /// Makes `label` the next instruction executed: nothing when it is, else a jump.
    pub(crate) fn go(&mut self, label: Label) -> Label {
        match u32::try_from(self.distance(label)) {
            Ok(0) => label,
            Ok(skip) => self.push(JUMP, 0, 0, skip),
            Err(_) => unreachable!("a program has at most 2^32 instructions"),
        }
    }

    /// Compares the accumulator with `value` and goes on at `yes` or `no`.
    pub(crate) fn branch(&mut self, test: Test, value: u32, yes: Label, no: Label) -> Label {
        let yes = self.within_reach(yes, 1);
        let no = self.within_reach(no, 0);
        let (jump_true, jump_false) = (self.reach(yes), self.reach(no));
        self.push(test as u16, jump_true, jump_false, value)
    }

    /// `label`, or a `ja` to it when a test written `margin` instructions later cannot reach it.
    fn within_reach(&mut self, label: Label, margin: usize) -> Label {
        if self.distance(label) + margin <= usize::from(u8::MAX) {
            label
        } else {
            self.go(label)
        }
    }

    fn reach(&self, label: Label) -> u8 {
        u8::try_from(self.distance(label)).expect("within_reach bounded the distance")
    }

    pub(crate) fn finish(mut self) -> Vec<Instruction> {
        self.reversed.reverse();
        self.reversed
    }
}
