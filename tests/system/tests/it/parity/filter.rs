//! What can never be the same in two runs, made the same; and what newer engines of Docker's say as ours does.

/// Replaces ids, times, ages and addresses; a program's own name; and the width of columns.
pub(super) fn volatile(text: &str) -> String {
    let text = text.replace("wharf", "docker").replace("Wharf", "Docker");
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_str();
    let mut before = ' ';
    while let Some(letter) = rest.chars().next() {
        let found = (!before.is_alphanumeric()).then(|| token(rest)).flatten();
        let (written, length) = match found {
            Some((name, length)) => (name.to_owned(), length),
            None if rest.starts_with("  ") && before != '\n' => {
                let blanks = rest.len() - rest.trim_start_matches(' ').len();
                ("  ".to_owned(), blanks)
            }
            None => (letter.to_string(), letter.len_utf8()),
        };
        out.push_str(&written);
        before = out.chars().next_back().unwrap_or(' ');
        rest = &rest[length..];
    }
    // What Docker's client says of an archive that the engine stopped reading depends on when it did.
    let is_chatter = |line: &&str| line.starts_with("time=\"<time>\" level=error msg=\"Can't ");
    let lines: Vec<String> = out
        .split('\n')
        .filter(|line| !is_chatter(line) && !is_hurried(line))
        .map(|line| newer(&without_size(brought(line.trim_end()))))
        .collect();
    lines.join("\n")
}

/// A layer's state that is told or not, as the work goes: not every layer waits, or is seen on its way, and
/// which of them an engine still has is its own affair.
fn is_hurried(line: &str) -> bool {
    const STATES: [&str; 8] = [
        "Pulling fs layer",
        "Pull complete",
        "Already exists",
        "Waiting",
        "Downloading",
        "Verifying Checksum",
        "Download complete",
        "Extracting",
    ];
    line.strip_prefix("<id>: ")
        .is_some_and(|state| STATES.contains(&state.trim_end()))
}

/// A layer is pushed, also where the registry has it from another pairing's repository.
fn brought(line: &str) -> &str {
    if line.starts_with("<id>: Mounted from ") {
        "<id>: Pushed"
    } else {
        line
    }
}

/// Without the length of a manifest, which engines write each in a way of its own, and the like.
fn without_size(line: &str) -> String {
    // What there is to reclaim depends on what went before, in the other pairing too.
    if line.starts_with("Total reclaimed space: ") {
        return "Total reclaimed space: <size>".to_owned();
    }
    match line.split_once(" size: ") {
        Some((before, size)) if before.contains("digest: sha256:") => {
            let rest = size.trim_start_matches(|c: char| c.is_ascii_digit());
            format!("{before} size: <size>{rest}")
        }
        _ => line.to_owned(),
    }
}

/// An engine's sentence as newer engines of Docker's say it: they begin in lower case, and name their steps
/// otherwise.
fn newer(line: &str) -> String {
    const BEGIN: &str = "Error response from daemon: ";
    let Some((before, sentence)) = line.split_once(BEGIN) else {
        return line.to_owned();
    };
    let sentence = [
        "failed to create task for container: ",
        "runc create failed: ",
        "Error when allocating new name: ",
    ]
    .iter()
    .fold(sentence.to_owned(), |text, step| text.replace(step, ""));
    let sentence = sentence.replace(": Container ", ": container ");
    let mut letters = sentence.chars();
    let first = letters.next().map(|letter| letter.to_ascii_lowercase());
    format!(
        "{before}{BEGIN}{}{}",
        first.map_or_else(String::new, String::from),
        letters.as_str()
    )
}

/// What a volatile piece at the beginning of a text is, and how long.
fn token(text: &str) -> Option<(&'static str, usize)> {
    let end = text
        .find(|c: char| !c.is_ascii_alphanumeric())
        .unwrap_or(text.len());
    let word = &text[..end];
    let hex = word
        .bytes()
        .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    match end {
        64 if hex => return Some(("<long id>", end)),
        12 if hex => return Some(("<id>", end)),
        _ => {}
    }
    time(text)
        .map(|length| ("<time>", length))
        .or_else(|| age(text).map(|length| ("<age>", length)))
        .or_else(|| address(text).map(|length| ("<address>", length)))
        .or_else(|| size(text).map(|length| ("<size>", length)))
}

/// `1.99MB`: engines count an image's bytes differently.
fn size(text: &str) -> Option<usize> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let unit = ["kB", "MB", "GB"]
        .iter()
        .find(|unit| text[end..].starts_with(**unit))?;
    (end > 0).then_some(end + unit.len())
}

/// `2026-01-31T12:00:00.123Z`, `2026-01-31 12:00:00 +0000 UTC`.
fn time(text: &str) -> Option<usize> {
    let shape = b"dddd-dd-dd?dd:dd:dd";
    let bytes = text.as_bytes().get(..shape.len())?;
    let fits = bytes.iter().zip(shape).all(|(byte, shape)| match shape {
        b'd' => byte.is_ascii_digit(),
        b'?' => matches!(byte, b'T' | b' '),
        other => byte == other,
    });
    if !fits {
        return None;
    }
    let rest = &text[shape.len()..];
    let zone = match rest.strip_prefix(" +0000 UTC") {
        Some(after) => after,
        None => rest.trim_start_matches(|c: char| c.is_ascii_digit() || ".:Z+-".contains(c)),
    };
    Some(text.len() - zone.len())
}

/// `3 seconds`, `Less than a second`, `About a minute`.
fn age(text: &str) -> Option<usize> {
    const UNITS: [&str; 5] = ["second", "minute", "hour", "day", "week"];
    let rest = ["Less than a ", "About a ", "About an "]
        .iter()
        .find_map(|start| text.strip_prefix(start))
        .or_else(|| {
            let rest = text.trim_start_matches(|c: char| c.is_ascii_digit());
            (rest.len() < text.len()).then_some(rest)?.strip_prefix(' ')
        })?;
    let unit = UNITS.iter().find(|unit| rest.starts_with(**unit))?;
    let rest = &rest[unit.len()..];
    let rest = rest.strip_prefix('s').unwrap_or(rest);
    Some(text.len() - rest.len())
}

/// An IPv4 address of the engines' own networks.
fn address(text: &str) -> Option<usize> {
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let address: std::net::Ipv4Addr = text[..end].parse().ok()?;
    (address.octets()[0] == 10).then_some(end)
}

#[test]
fn what_varies_is_replaced() {
    assert_eq!(
        volatile("0123456789ab   Up 3 seconds  10.200.0.2 wharf\n  x"),
        "<id>  Up <age>  <address> docker\n  x"
    );
    assert_eq!(
        volatile("2026-01-31T12:00:00.5Z 2026-01-31 12:00:00 +0000 UTC."),
        "<time> <time>."
    );
    assert_eq!(
        volatile("0123456789abc 0.0.0.0 1.9MB 5"),
        "0123456789abc 0.0.0.0 <size> 5"
    );
}
