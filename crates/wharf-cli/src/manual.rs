//! Manual pages, one for each command, from the table that lines are parsed by.

use crate::commands::{AnyCommand, pages};
use crate::grammar::HelpEntry;

/// A page of the manual.
#[derive(Debug)]
pub struct Page {
    /// The file it belongs into: `wharf-run.1`.
    pub file: String,
    /// The page, for `man`.
    pub text: String,
}

/// Returns every page, sorted by name.
#[must_use]
pub fn manual() -> Vec<Page> {
    let mut all: Vec<Page> = pages()
        .into_iter()
        .map(|(name, command)| page(name, command))
        .collect();
    all.push(overview());
    all.sort_by(|a, b| a.file.cmp(&b.file));
    all
}

fn page(name: &str, command: &dyn AnyCommand) -> Page {
    let title = format!("wharf-{}", name.replace(' ', "-"));
    let mut text = head(&title, command.about());
    let usage = format!("wharf {name} {}", command.usage());
    text.push_str(&format!(".SH SYNOPSIS\n{}\n", escape(usage.trim_end())));
    text.push_str(&format!(
        ".SH DESCRIPTION\n{}.\n",
        escape(command.about().trim_end_matches('.'))
    ));
    let others: Vec<String> = command
        .names()
        .iter()
        .filter(|other| **other != name)
        .map(|other| escape(&format!("wharf {other}")))
        .collect();
    if !others.is_empty() {
        text.push_str(&format!(
            ".PP\nThe same command is known as {}.\n",
            others.join(", ")
        ));
    }
    let entries = command.entries();
    if !entries.is_empty() {
        text.push_str(".SH OPTIONS\n");
        for entry in &entries {
            text.push_str(&option(entry));
        }
    }
    text.push_str(".SH SEE ALSO\n.BR wharf (1)\n");
    Page {
        file: format!("{title}.1"),
        text,
    }
}

fn overview() -> Page {
    let mut text = head("wharf", "run containers");
    text.push_str(".SH SYNOPSIS\nwharf [OPTIONS] COMMAND\n.SH COMMANDS\n");
    for (name, command) in pages() {
        text.push_str(&format!(
            ".TP\n.BR wharf\\-{} (1)\n{}\n",
            escape(&name.replace(' ', "-")),
            escape(command.about())
        ));
    }
    text.push_str(".SH GLOBAL OPTIONS\n");
    for entry in crate::commands::GLOBALS.help_entries() {
        text.push_str(&option(&entry));
    }
    Page {
        file: "wharf.1".to_owned(),
        text,
    }
}

fn head(title: &str, about: &str) -> String {
    format!(
        ".TH \"{}\" \"1\" \"\" \"wharf {}\" \"User commands\"\n.SH NAME\n{} \\- {}\n",
        title.to_uppercase(),
        env!("CARGO_PKG_VERSION"),
        escape(title),
        escape(about)
    )
}

fn option(entry: &HelpEntry) -> String {
    let short = entry
        .short
        .map_or_else(String::new, |short| format!("\\fB\\-{short}\\fR, "));
    let value = if entry.kind.is_empty() {
        String::new()
    } else {
        format!(" \\fI{}\\fR", escape(entry.kind))
    };
    format!(
        ".TP\n{short}\\fB\\-\\-{}\\fR{value}\n{}\n",
        escape(entry.long),
        escape(&entry.about)
    )
}

/// Text that `man` takes as it is: no hyphen that is a dash, no line that is a request.
fn escape(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    text.lines()
        .map(|line| {
            if line.starts_with(['.', '\'']) {
                format!("\\&{line}")
            } else {
                line.to_owned()
            }
        })
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_with_its_flags() {
        let pages = manual();
        let run = pages
            .iter()
            .find(|page| page.file == "wharf-run.1")
            .expect("a page");
        assert!(run.text.starts_with(".TH \"WHARF-RUN\" \"1\""));
        assert!(
            run.text
                .contains("\\fB\\-m\\fR, \\fB\\-\\-memory\\fR \\fIbytes\\fR\nMemory limit\n")
        );
        assert!(
            run.text
                .contains("The same command is known as wharf container run.")
        );
        for (name, command) in crate::commands::pages() {
            let file = format!("wharf-{}.1", name.replace(' ', "-"));
            let page = pages.iter().find(|page| page.file == file).expect(name);
            for entry in command.entries() {
                let long = escape(entry.long);
                assert!(
                    page.text.contains(&format!("\\-\\-{long}\\fR")),
                    "{name} {long}"
                );
            }
        }
    }

    #[test]
    fn text_is_no_request() {
        assert_eq!(escape(".so x\n'y a-b\\c"), "\\&.so x\n\\&'y a\\-b\\ec");
    }
}
