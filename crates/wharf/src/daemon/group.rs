//! Groups of the system, read from /etc/group: the C library's lookup may load foreign libraries into this static program.

use rustix::fs::Gid;

const FILE: &str = "/etc/group";

/// Finds a group by name, or by number.
pub(super) fn find(name: &str) -> std::io::Result<Option<Gid>> {
    let text = std::fs::read_to_string(FILE)?;
    Ok(lookup(&text, name)
        .or_else(|| name.parse().ok())
        .map(Gid::from_raw))
}

fn lookup(text: &str, name: &str) -> Option<u32> {
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == name).then_some(())?;
        fields.nth(1)?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_found_by_name() {
        let text = "root:x:0:\nwharf:x:998:me,you\nbroken\nodd:x:y:\n";
        assert_eq!(lookup(text, "wharf"), Some(998));
        assert_eq!(lookup(text, "broken"), None);
        assert_eq!(lookup(text, "odd"), None);
        assert_eq!(lookup(text, "whar"), None);
    }
}
