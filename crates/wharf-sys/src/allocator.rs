//! Settings of glibc's allocator.

/// Bounds the number of arenas. glibc gives each thread its own, up to eight a processor, and a
/// freed arena is not returned: a mostly idle program with many threads holds megabytes for nothing.
pub fn limit_arenas(count: u8) {
    // SAFETY: mallopt(3) reads two integers; M_ARENA_MAX holds for arenas made from now on.
    let accepted = unsafe { libc::mallopt(libc::M_ARENA_MAX, i32::from(count)) };
    debug_assert_eq!(
        accepted, 1,
        "M_ARENA_MAX is known to every glibc since 2.10"
    );
}

/// Returns free memory to the kernel: after a burst of allocation in a process that then idles.
pub fn trim() {
    // SAFETY: malloc_trim(3) releases only pages that hold no live allocation.
    unsafe { libc::malloc_trim(0) };
}
