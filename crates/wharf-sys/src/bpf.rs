//! Device filters of cgroup v2 (bpf(2), program type `CGROUP_DEVICE`).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

const PROG_LOAD: libc::c_int = 5;
const PROG_ATTACH: libc::c_int = 8;
const PROG_DETACH: libc::c_int = 9;
const PROG_GET_FD_BY_ID: libc::c_int = 13;
const PROG_QUERY: libc::c_int = 16;

const PROGRAM_TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_TYPE_CGROUP_DEVICE: u32 = 6;
/// Programs of the groups above and below are asked too.
const ALLOW_MULTI: u32 = 2;
/// Programs one group can have.
const MAX_PROGRAMS: usize = 64;

/// The beginning of `union bpf_attr` for loading.
#[repr(C)]
#[derive(Default)]
struct LoadAttributes {
    program_type: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
    interface: u32,
    attach_type: u32,
}

/// The same for attaching and detaching.
#[repr(C)]
#[derive(Default)]
struct AttachAttributes {
    target: u32,
    program: u32,
    attach_type: u32,
    flags: u32,
    replaced: u32,
}

/// The same for listing.
#[repr(C)]
#[derive(Default)]
struct QueryAttributes {
    target: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    ids: u64,
    count: u32,
    padding: u32,
}

/// The same for opening by id.
#[repr(C)]
#[derive(Default)]
struct IdAttributes {
    id: u32,
    next_id: u32,
    flags: u32,
}

/// bpf(2).
///
/// # Safety
/// `A` must be the beginning of `union bpf_attr` for `command`, and what it points to must be
/// valid for what the command does with it.
unsafe fn bpf<A>(command: libc::c_int, attributes: &mut A) -> io::Result<libc::c_int> {
    // SAFETY: the kernel reads and writes at most the given size at the given place, which is a
    // value this function has exclusively; the rest is the caller's promise.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_mut(attributes),
            size_of::<A>(),
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    libc::c_int::try_from(result).map_err(io::Error::other)
}

/// The number of a descriptor, as these attributes hold it.
fn number(fd: BorrowedFd<'_>) -> u32 {
    // A borrowed descriptor is never negative.
    fd.as_raw_fd().cast_unsigned()
}

/// Loads a device filter.
pub fn load_device_program(instructions: &[u64]) -> io::Result<OwnedFd> {
    let mut attributes = LoadAttributes {
        program_type: PROGRAM_TYPE_CGROUP_DEVICE,
        instruction_count: u32::try_from(instructions.len()).map_err(io::Error::other)?,
        instructions: instructions.as_ptr().addr() as u64,
        license: c"Apache-2.0".as_ptr().addr() as u64,
        attach_type: ATTACH_TYPE_CGROUP_DEVICE,
        ..LoadAttributes::default()
    };
    attributes.name[..13].copy_from_slice(b"wharf_devices");
    // SAFETY: the layout is that of BPF_PROG_LOAD; both pointers are to memory that lives across
    // the call and is only read: `instruction_count` instructions of 8 bytes, and a C string.
    let fd = unsafe { bpf(PROG_LOAD, &mut attributes) }?;
    // SAFETY: loading returns a new descriptor that nobody else has.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Attaches a device filter to a group, beside those that are there.
pub fn attach_device_program(group: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let mut attributes = AttachAttributes {
        target: number(group),
        program: number(program),
        attach_type: ATTACH_TYPE_CGROUP_DEVICE,
        flags: ALLOW_MULTI,
        replaced: 0,
    };
    // SAFETY: the layout is that of BPF_PROG_ATTACH, without pointers.
    unsafe { bpf(PROG_ATTACH, &mut attributes) }.map(|_| ())
}

/// Detaches a device filter.
pub fn detach_device_program(group: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let mut attributes = AttachAttributes {
        target: number(group),
        program: number(program),
        attach_type: ATTACH_TYPE_CGROUP_DEVICE,
        ..AttachAttributes::default()
    };
    // SAFETY: the layout is that of BPF_PROG_DETACH, without pointers.
    unsafe { bpf(PROG_DETACH, &mut attributes) }.map(|_| ())
}

/// Ids of the device filters attached to the group itself.
pub fn device_programs(group: BorrowedFd<'_>) -> io::Result<Vec<u32>> {
    let mut ids = [0_u32; MAX_PROGRAMS];
    let mut attributes = QueryAttributes {
        target: number(group),
        attach_type: ATTACH_TYPE_CGROUP_DEVICE,
        ids: ids.as_mut_ptr().addr() as u64,
        count: 64,
        ..QueryAttributes::default()
    };
    // SAFETY: the layout is that of BPF_PROG_QUERY; the pointer is to as many ids as `count` says,
    // which the kernel writes while this function has them exclusively.
    unsafe { bpf(PROG_QUERY, &mut attributes) }?;
    let count = usize::try_from(attributes.count).map_err(io::Error::other)?;
    Ok(ids.into_iter().take(count).collect())
}

/// Opens a loaded program.
pub fn program(id: u32) -> io::Result<OwnedFd> {
    let mut attributes = IdAttributes {
        id,
        ..IdAttributes::default()
    };
    // SAFETY: the layout is that of BPF_PROG_GET_FD_BY_ID, without pointers.
    let fd = unsafe { bpf(PROG_GET_FD_BY_ID, &mut attributes) }?;
    // SAFETY: the command returns a new descriptor that nobody else has.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
