//! Progress as text for a terminal or for a file: a function of what was told before, and of the terminal's width.

use std::collections::HashMap;
use std::time::Duration;

use wharf_wire::Progress;

use super::bar::bar;

/// What is looked at.
#[derive(Debug, Clone, Copy)]
pub(super) struct View {
    /// The terminal's width, if there is one.
    pub(super) columns: Option<usize>,
    /// The time since the epoch.
    pub(super) now: Duration,
}

/// The lines on the screen.
#[derive(Debug)]
pub(super) struct Frames {
    terminal: bool,
    /// The lines of the steps that have one, counted from the first.
    lines: HashMap<String, usize>,
}

impl Frames {
    /// Nothing has been shown yet.
    pub(super) fn new(terminal: bool) -> Self {
        Self {
            terminal,
            lines: HashMap::new(),
        }
    }

    /// What is to be written for a document; and the failure, if it tells one.
    pub(super) fn frame(&mut self, progress: &Progress, view: View) -> (String, Option<String>) {
        let mut text = String::new();
        let up = self.find_line(progress, &mut text);
        if self.terminal && up > 0 {
            text.push_str(&format!("\x1b[{up}A"));
        }
        let failure = failure(progress);
        if failure.is_none() {
            text.push_str(&self.line(progress, view));
        }
        if self.terminal && up > 0 {
            text.push_str(&format!("\x1b[{up}B"));
        }
        (text, failure)
    }

    /// How far up a step's line is. A new step gets one below all others; what is no step ends the steps
    /// before it, whose lines move no more.
    fn find_line(&mut self, progress: &Progress, text: &mut String) -> usize {
        let is_step = progress.progress_detail.is_some() || !progress.progress.is_empty();
        if progress.id.is_empty() || !is_step {
            self.lines.clear();
            return 0;
        }
        let count = self.lines.len();
        let line = *self.lines.entry(progress.id.clone()).or_insert_with(|| {
            if self.terminal {
                text.push('\n');
            }
            count
        });
        self.lines.len() - line
    }

    fn line(&self, progress: &Progress, view: View) -> String {
        let detail = progress.progress_detail.as_ref();
        let bar = detail.map_or_else(String::new, |detail| bar(detail, view.columns, view.now));
        let id = match progress.id.as_str() {
            "" => String::new(),
            id => format!("{id}: "),
        };
        let status = &progress.status;
        if self.terminal && progress.stream.is_empty() && detail.is_some() {
            let line = format!("{id}{status} {bar}");
            let line = fit(&line, view.columns);
            return format!("\x1b[2K\r{line}\r");
        }
        // A bar's every step would be a line: only changes of state are.
        if !bar.is_empty() {
            return String::new();
        }
        if !progress.progress.is_empty() {
            format!("{id}{status} {}", progress.progress)
        } else if !progress.stream.is_empty() {
            format!("{id}{}", progress.stream)
        } else {
            format!("{id}{status}\n")
        }
    }
}

fn failure(progress: &Progress) -> Option<String> {
    match &progress.error_detail {
        Some(detail) => Some(detail.message.clone()),
        None => Some(progress.error.clone()).filter(|error| !error.is_empty()),
    }
}

/// Cuts a line to the terminal's width.
fn fit(line: &str, columns: Option<usize>) -> &str {
    let end = columns
        .filter(|&columns| columns > 0)
        .and_then(|columns| line.char_indices().nth(columns));
    end.map_or(line, |(end, _)| &line[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn documents(text: &str) -> Vec<Progress> {
        serde_json::Deserializer::from_str(text)
            .into_iter()
            .collect::<Result<_, _>>()
            .expect("documents")
    }

    /// What is written for a stream of documents, with the width of the terminal at each.
    fn written(terminal: bool, widths: &[usize], text: &str) -> (String, Option<String>) {
        let mut frames = Frames::new(terminal);
        let mut all = String::new();
        for (at, progress) in documents(text).iter().enumerate() {
            let view = View {
                columns: widths.get(at).or(widths.last()).copied(),
                now: Duration::ZERO,
            };
            let (text, failure) = frames.frame(progress, view);
            all.push_str(&text);
            if failure.is_some() {
                return (all, failure);
            }
        }
        (all, None)
    }

    const PULL: &str = r#"
        {"status":"Pulling from team/box","id":"1"}
        {"status":"Pulling fs layer","progressDetail":{},"id":"aaaaaaaaaaaa"}
        {"status":"Pulling fs layer","progressDetail":{},"id":"bbbbbbbbbbbb"}
        {"status":"Downloading","progressDetail":{"current":1000,"total":2000},"progress":"[==> ] x","id":"aaaaaaaaaaaa"}
        {"status":"Download complete","progressDetail":{},"id":"bbbbbbbbbbbb"}
        {"status":"Pull complete","progressDetail":{},"id":"aaaaaaaaaaaa"}
        {"status":"Digest: sha256:1"}
        {"status":"Status: Downloaded newer image for box:1"}"#;

    #[test]
    fn a_line_that_changes_is_rewritten_in_place() {
        let (text, failure) = written(true, &[80], PULL);
        assert_eq!(failure, None);
        assert_eq!(
            text,
            [
                "1: Pulling from team/box\n",
                "\n\x1b[1A\x1b[2K\raaaaaaaaaaaa: Pulling fs layer \r\x1b[1B",
                "\n\x1b[1A\x1b[2K\rbbbbbbbbbbbb: Pulling fs layer \r\x1b[1B",
                "\x1b[2A\x1b[2K\raaaaaaaaaaaa: Downloading      1kB/2kB\r\x1b[2B",
                "\x1b[1A\x1b[2K\rbbbbbbbbbbbb: Download complete \r\x1b[1B",
                "\x1b[2A\x1b[2K\raaaaaaaaaaaa: Pull complete \r\x1b[2B",
                "Digest: sha256:1\n",
                "Status: Downloaded newer image for box:1\n",
            ]
            .concat()
        );
    }

    #[test]
    fn elsewhere_each_state_is_a_line() {
        let (text, _) = written(false, &[], PULL);
        assert_eq!(
            text,
            "1: Pulling from team/box\naaaaaaaaaaaa: Pulling fs layer\nbbbbbbbbbbbb: Pulling fs layer\n\
             bbbbbbbbbbbb: Download complete\naaaaaaaaaaaa: Pull complete\nDigest: sha256:1\n\
             Status: Downloaded newer image for box:1\n"
        );
    }

    #[test]
    fn the_window_is_looked_at_each_time() {
        let step = |current| {
            format!(
                r#"{{"status":"Downloading","progressDetail":{{"current":{current},"total":100}},"id":"aaaaaaaaaaaa"}}"#
            )
        };
        let text = (0..4).map(|at| step(at * 25)).collect::<String>();
        let (text, _) = written(true, &[120, 80, 30, 10], &text);
        assert_eq!(
            text,
            [
                "\n\x1b[1A\x1b[2K\raaaaaaaaaaaa: Downloading [>                                                  ]       0B/100B\r\x1b[1B",
                "\x1b[1A\x1b[2K\raaaaaaaaaaaa: Downloading      25B/100B\r\x1b[1B",
                "\x1b[1A\x1b[2K\raaaaaaaaaaaa: Downloading     \r\x1b[1B",
                "\x1b[1A\x1b[2K\raaaaaaaaaa\r\x1b[1B",
            ]
            .concat()
        );
    }

    #[test]
    fn a_new_image_does_not_move_the_lines_of_the_one_before() {
        let stream = r#"
            {"status":"Layer already exists","progressDetail":{},"id":"a"}
            {"status":"1: digest: sha256:1 size: 5"}
            {"status":"Preparing","progressDetail":{},"id":"a"}
            {"status":"Preparing","progressDetail":{},"id":"b"}"#;
        let (text, _) = written(true, &[80], stream);
        assert_eq!(
            text,
            [
                "\n\x1b[1A\x1b[2K\ra: Layer already exists \r\x1b[1B",
                "1: digest: sha256:1 size: 5\n",
                "\n\x1b[1A\x1b[2K\ra: Preparing \r\x1b[1B",
                "\n\x1b[1A\x1b[2K\rb: Preparing \r\x1b[1B",
            ]
            .concat()
        );
    }

    #[test]
    fn text_is_passed_on_and_failure_ends_it() {
        let stream = r#"
            {"stream":"Loaded image: box:1\n"}
            {"errorDetail":{"message":"no space left"},"error":"no space left"}
            {"stream":"never"}"#;
        for terminal in [false, true] {
            assert_eq!(
                written(terminal, &[80], stream),
                (
                    "Loaded image: box:1\n".to_owned(),
                    Some("no space left".to_owned())
                )
            );
        }
        assert_eq!(
            written(false, &[], r#"{"error":"from before errorDetail"}"#).1,
            Some("from before errorDetail".to_owned())
        );
    }

    #[test]
    fn old_engines_draw_their_own_bar() {
        let stream = r#"{"status":"Buffering","progress":"[=> ] 1B","id":"a"}"#;
        assert_eq!(
            written(true, &[80], stream).0,
            "\n\x1b[1Aa: Buffering [=> ] 1B\x1b[1B"
        );
        assert_eq!(written(false, &[], stream).0, "a: Buffering [=> ] 1B");
    }
}
