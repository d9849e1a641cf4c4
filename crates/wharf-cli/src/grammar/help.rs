//! The list of options in a command's help, laid out as pflag does it.

use super::{Action, Flag, Grammar};

/// One flag of the list, before its line is wrapped.
#[derive(Debug)]
pub struct HelpEntry {
    /// The long form, without dashes.
    pub long: &'static str,
    /// The one-letter form.
    pub short: Option<char>,
    /// The word that stands for the value; empty when there is none.
    pub kind: &'static str,
    left: String,
    /// What the flag does, with its default.
    pub about: String,
}

impl<A> Grammar<A> {
    /// The flags the help shows, sorted by name.
    #[must_use]
    pub fn help_entries(&self) -> Vec<HelpEntry> {
        let mut entries: Vec<_> = self
            .flags
            .iter()
            .copied()
            .flatten()
            .filter(|flag| !flag.hidden)
            .map(HelpEntry::of)
            .collect();
        if !entries.is_empty() {
            entries.push(HelpEntry {
                long: "help",
                short: None,
                kind: "",
                left: left(None, "help", ""),
                about: "Print usage".to_owned(),
            });
        }
        entries.sort_by_key(|entry| entry.long);
        entries
    }
}

impl HelpEntry {
    fn of<A>(flag: &Flag<A>) -> Self {
        let mut about = flag.about.to_owned();
        if !flag.default.is_empty() {
            about.push_str(&format!(" (default {})", flag.default));
        }
        let kind = match flag.action {
            Action::Value(_) => flag.kind,
            Action::Switch(_) | Action::Refuse => "",
        };
        Self {
            long: flag.long,
            short: flag.short,
            kind,
            left: left(flag.short, flag.long, kind),
            about,
        }
    }
}

fn left(short: Option<char>, long: &str, kind: &str) -> String {
    let name = match short {
        Some(short) => format!("  -{short}, --{long}"),
        None => format!("      --{long}"),
    };
    if kind.is_empty() {
        name
    } else {
        format!("{name} {kind}")
    }
}

/// Lays the entries out in two columns, wrapped to `width` columns.
#[must_use]
pub fn flag_usages(entries: &[HelpEntry], width: usize) -> String {
    let column = entries
        .iter()
        .map(|entry| entry.left.len())
        .max()
        .unwrap_or(0)
        + 3;
    let mut text = String::new();
    for entry in entries {
        text.push_str(&format!("{:column$}", entry.left));
        text.push_str(&wrap(&entry.about, column, width));
        text.push('\n');
    }
    text
}

/// Breaks a text at blanks; lines after the first are indented. As pflag, a line may stick out by five
/// columns rather than leave a short last word alone.
fn wrap(text: &str, indent: usize, width: usize) -> String {
    const SLOP: usize = 5;
    let available = width.saturating_sub(indent);
    if available < 24 {
        return text.to_owned();
    }
    let room = available - SLOP;
    let mut lines = Vec::new();
    let mut rest = text;
    while rest.chars().count() > room + SLOP {
        let limit = rest
            .char_indices()
            .nth(room)
            .map_or(rest.len(), |(at, _)| at);
        let Some(at) = rest[..limit].rfind([' ', '\t', '\n']) else {
            break;
        };
        lines.push(&rest[..at]);
        rest = &rest[at + 1..];
    }
    lines.push(rest);
    lines.join(&format!("\n{:indent$}", ""))
}
