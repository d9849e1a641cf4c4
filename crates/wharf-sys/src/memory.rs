//! Pages of a process.

use std::fs;
use std::io;

/// Unmaps the pages of the program's own code that are in this process's memory; those that are needed come
/// back from the file, a few at a time, as they are used. For a program that has done much at its start and
/// then waits.
///
/// # Errors
/// `/proc` cannot be read.
pub fn forget_code() -> io::Result<()> {
    let own = fs::read_link("/proc/self/exe")?;
    let own = own.to_string_lossy();
    for line in fs::read_to_string("/proc/self/maps")?.lines() {
        let mut words = line.split_ascii_whitespace();
        let (Some(range), Some("r-xp")) = (words.next(), words.next()) else {
            continue;
        };
        if !line.ends_with(&*own) {
            continue;
        }
        let ends = range.split_once('-').map(|(start, end)| {
            let number = |text| usize::from_str_radix(text, 16);
            (number(start), number(end))
        });
        if let Some((Ok(start), Ok(end))) = ends {
            let address = std::ptr::without_provenance_mut(start);
            // SAFETY: the range is one mapping of this process's, private, of a file, and not writable: what
            // is in it is what the file has, which cannot be written while it is executed. A page that is
            // missing is read from there again, also while a thread executes it.
            let result = unsafe { libc::madvise(address, end - start, libc::MADV_DONTNEED) };
            if result != 0 {
                return Err(io::Error::last_os_error());
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Kilobytes of code that are in memory.
    fn resident() -> u64 {
        let mut code = false;
        let mut sum = 0;
        for line in fs::read_to_string("/proc/self/smaps")
            .expect("smaps")
            .lines()
        {
            if line.contains(" r-xp ") {
                code = true;
            } else if line.contains("-p ") {
                code = false;
            } else if let (true, Some(rest)) = (code, line.strip_prefix("Rss:")) {
                let number = rest.split_whitespace().next().and_then(|n| n.parse().ok());
                sum += number.unwrap_or(0);
            }
        }
        sum
    }

    #[test]
    fn code_that_is_forgotten_comes_back() {
        let before = resident();
        forget_code().expect("forgotten");
        let after = resident();
        assert!(after < before, "{before} kB, then {after} kB");
        // And this is executed.
        assert_eq!(format!("{}", 7 * 6), "42");
    }
}
