//! Environment variables and label files: `-e`, `--env-file`, `--label-file`.

use std::path::PathBuf;

/// A variable or a file of variables that cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EnvironmentError {
    /// Nothing before the equals sign.
    #[error("invalid environment variable: {0}")]
    EmptyName(String),
    /// The file cannot be read.
    #[error("open {}: {}", path.display(), crate::failure::errno_text(source))]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not text.
    #[error("invalid env file ({}): invalid utf8 bytes", .0.display())]
    NotText(PathBuf),
    /// A line of the file is no variable.
    #[error("invalid env file ({}): {reason}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// What is wrong, naming the line.
        reason: String,
    },
}

/// Reads a variable behind `-e`: `K=V`, or `K` with the value it has here; a `K` that has none
/// here is sent bare, and unsets the image's.
pub(crate) fn variable(text: &str) -> Result<String, EnvironmentError> {
    if text.is_empty() || text.starts_with('=') {
        return Err(EnvironmentError::EmptyName(text.to_owned()));
    }
    Ok(match std::env::var(text) {
        Ok(value) if !text.contains('=') => format!("{text}={value}"),
        _ => text.to_owned(),
    })
}

/// Reads a file of variables, in which a bare name takes its value from here or is dropped.
pub(crate) fn variables_file(path: &str) -> Result<Vec<String>, EnvironmentError> {
    lines(path, |name| {
        std::env::var(name)
            .ok()
            .map(|value| format!("{name}={value}"))
    })
}

/// Reads a file of labels, in which a bare name is a label without a value.
pub(crate) fn labels_file(path: &str) -> Result<Vec<String>, EnvironmentError> {
    lines(path, |name| Some(name.to_owned()))
}

fn lines(
    path: &str,
    bare: impl Fn(&str) -> Option<String>,
) -> Result<Vec<String>, EnvironmentError> {
    let path = PathBuf::from(path);
    let bytes = std::fs::read(&path).map_err(|source| EnvironmentError::File {
        path: path.clone(),
        source,
    })?;
    let text = String::from_utf8(bytes).map_err(|_| EnvironmentError::NotText(path.clone()))?;
    parse(&text, bare).map_err(|reason| EnvironmentError::Line { path, reason })
}

fn parse(text: &str, bare: impl Fn(&str) -> Option<String>) -> Result<Vec<String>, String> {
    let mut found = Vec::new();
    for line in text.strip_prefix('\u{feff}').unwrap_or(text).lines() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let name = line.split_once('=').map_or(line, |(name, _)| name);
        if name.is_empty() {
            return Err(format!("no variable name on line '{line}'"));
        }
        if name.trim_end() != name || name.contains([' ', '\t']) {
            return Err(format!("variable '{name}' contains whitespaces"));
        }
        if line.contains('=') {
            found.push(line.to_owned());
        } else {
            found.extend(bare(name));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_variable_takes_its_value_from_here() {
        assert_eq!(variable("A=1=2").expect("a pair"), "A=1=2");
        assert_eq!(variable("A=").expect("an empty value"), "A=");
        assert_eq!(
            variable("WHARF_SURELY_UNSET").expect("a name"),
            "WHARF_SURELY_UNSET"
        );
        let path = std::env::var("PATH").expect("a PATH");
        assert_eq!(variable("PATH").expect("a name"), format!("PATH={path}"));
        assert_eq!(
            variable("=x").expect_err("no name").to_string(),
            "invalid environment variable: =x"
        );
    }

    #[test]
    fn files_have_comments_and_bare_names() {
        let text = "\u{feff}# comment\nA=1 \n\n  B=\"q\"\r\nKNOWN\nUNKNOWN\n";
        let known = |name: &str| (name == "KNOWN").then(|| "KNOWN=yes".to_owned());
        assert_eq!(
            parse(text, known).expect("a good file"),
            ["A=1 ", "B=\"q\"", "KNOWN=yes"]
        );
        assert_eq!(
            parse("=1", known).expect_err("no name"),
            "no variable name on line '=1'"
        );
        assert_eq!(
            parse("A B=1", known).expect_err("a blank"),
            "variable 'A B' contains whitespaces"
        );
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = variables_file("/nonexistent/x").expect_err("no such file");
        assert_eq!(
            error.to_string(),
            "open /nonexistent/x: no such file or directory"
        );
    }
}
