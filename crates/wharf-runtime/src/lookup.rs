//! Finding things inside the container's root, when that is the process's own root: the program and the
//! user's home. The tree is the container's and not trusted.

use std::ffi::CString;
use std::io::{BufRead, BufReader, Read};

use rustix::fs::{Access, AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::error::ProcessError;

/// A larger `/etc/passwd` is not read to its end.
const MAX_PASSWD: u64 = 1024 * 1024;

/// Finds the program as a shell would: a name with a slash is a path, another one is looked for
/// in `PATH`.
pub(crate) fn program(name: &str, path: Option<&str>) -> Result<CString, ProcessError> {
    let program = || name.to_owned();
    if name.contains('/') {
        return match executable(name) {
            Ok(path) => Ok(path),
            Err(Errno::NOENT) => Err(ProcessError::NotFound { program: program() }),
            Err(errno) => Err(ProcessError::NotExecutable {
                program: program(),
                errno: errno.raw_os_error(),
            }),
        };
    }
    let mut denied = false;
    for directory in path.unwrap_or_default().split(':') {
        // An empty entry of PATH is the working directory; found there is not found (Go's exec.ErrDot).
        if name.is_empty() || directory.is_empty() {
            continue;
        }
        match executable(&format!("{directory}/{name}")) {
            Ok(path) => return Ok(path),
            Err(errno) => denied |= errno == Errno::ACCESS,
        }
    }
    if denied {
        let errno = Errno::ACCESS.raw_os_error();
        return Err(ProcessError::NotExecutable {
            program: program(),
            errno,
        });
    }
    Err(ProcessError::NotFoundInPath { program: program() })
}

/// Whether `path` is a file that this process may execute.
fn executable(path: &str) -> Result<CString, Errno> {
    let stat = rustix::fs::stat(path)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => return Err(Errno::ISDIR),
        FileType::RegularFile => {}
        _ => return Err(Errno::ACCESS),
    }
    rustix::fs::accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS)?;
    CString::new(path).map_err(|_| Errno::INVAL)
}

/// The user's home directory by `/etc/passwd`; `/` when there is none to be found.
pub(crate) fn home(uid: u32) -> Vec<u8> {
    find_home(uid).unwrap_or_else(|| b"/".to_vec())
}

fn find_home(uid: u32) -> Option<Vec<u8>> {
    // Neither a FIFO that nobody writes to, nor a link to a descriptor of ours, nor a file without end.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_MAGICLINKS;
    let file = rustix::fs::openat2(CWD, "/etc/passwd", flags, Mode::empty(), resolve).ok()?;
    let stat = rustix::fs::fstat(&file).ok()?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return None;
    }
    let reader = BufReader::new(std::fs::File::from(file).take(MAX_PASSWD));
    home_in(reader, uid)
}

fn home_in(passwd: impl BufRead, uid: u32) -> Option<Vec<u8>> {
    for line in passwd.split(b'\n') {
        let line = line.ok()?;
        let mut fields = line.split(|&byte| byte == b':');
        let id = fields
            .nth(2)
            .and_then(|id| std::str::from_utf8(id).ok()?.parse::<u32>().ok());
        if id != Some(uid) {
            continue;
        }
        let home = fields.nth(2)?;
        if home.is_empty() || home.contains(&0) {
            return None;
        }
        return Some(home.to_vec());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn homes_are_found_by_number() {
        let passwd = b"root:x:0:0:root:/root:/bin/sh\nbroken\nme:x:1000:1000::/home/me:/bin/sh\nno:x:7:7:::\n";
        assert_eq!(home_in(&passwd[..], 0).as_deref(), Some(&b"/root"[..]));
        assert_eq!(
            home_in(&passwd[..], 1000).as_deref(),
            Some(&b"/home/me"[..])
        );
        assert_eq!(home_in(&passwd[..], 7), None);
        assert_eq!(home_in(&passwd[..], 8), None);
    }

    #[test]
    fn programs_are_found_as_a_shell_does() {
        let path = Some("/nowhere:/bin");
        assert_eq!(program("sh", path).expect("found").to_bytes(), b"/bin/sh");
        assert_eq!(
            program("/bin/sh", None).expect("found").to_bytes(),
            b"/bin/sh"
        );
        let missing = program("sh", Some("/nowhere")).expect_err("missing");
        assert_eq!(
            missing,
            ProcessError::NotFoundInPath {
                program: "sh".into()
            }
        );
        let missing = program("/nowhere/sh", None).expect_err("missing");
        assert_eq!(
            missing,
            ProcessError::NotFound {
                program: "/nowhere/sh".into()
            }
        );
        assert_eq!(
            program("/etc", None).expect_err("a directory").to_string(),
            r#"exec: "/etc": is a directory"#
        );
    }
}
