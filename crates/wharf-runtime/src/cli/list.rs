//! `state`, `list` and `ps`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;
use wharf_oci::runtime::Status;

use super::args::{List, OutputFormat, Ps};
use super::container::{Container, NotFound};
use super::log::Log;
use super::{Failure, Outcome, print, print_json};

/// The state document with runc's additions.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ContainerState {
    oci_version: String,
    id: String,
    /// 0 when stopped.
    pid: i32,
    status: Status,
    bundle: PathBuf,
    rootfs: PathBuf,
    created: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
    owner: String,
}

impl ContainerState {
    fn of(container: &Container) -> Result<Self, Failure> {
        let state = container.state()?;
        let record = &container.record;
        let root = record
            .spec
            .root
            .as_ref()
            .map(|root| record.bundle.join(&root.path));
        Ok(Self {
            oci_version: state.oci_version,
            id: state.id,
            pid: state.pid.unwrap_or(0),
            status: state.status,
            bundle: state.bundle,
            rootfs: root.unwrap_or_default(),
            created: record.created.clone(),
            annotations: state.annotations,
            owner: String::new(),
        })
    }
}

/// `state`.
pub(super) fn state(root: &Path, id: &str) -> Outcome {
    print_json(&ContainerState::of(&Container::look(root, id)?)?)
}

/// `--version`.
pub(super) fn version() -> Outcome {
    let own = env!("CARGO_PKG_VERSION");
    print(&format!(
        "wharf runtime version {own}\nspec: {}\n",
        wharf_oci::runtime::VERSION
    ))?;
    Ok(0)
}

/// `list`.
pub(super) fn list(root: &Path, args: &List, log: &Log) -> Outcome {
    let ids = Container::ids(root)?;
    if args.quiet {
        print(&ids.iter().fold(String::new(), |text, id| text + id + "\n"))?;
        return Ok(0);
    }
    let mut states = Vec::new();
    for id in ids {
        match Container::look(root, &id).and_then(|container| ContainerState::of(&container)) {
            Ok(state) => states.push(state),
            // Deleted meanwhile.
            Err(failure) if failure.error.is::<NotFound>() => {}
            Err(failure) => log.error(&format!("{id}: {}", super::describe(&*failure.error))),
        }
    }
    match args.format {
        OutputFormat::Json if states.is_empty() => print("null")?,
        OutputFormat::Json => print(&serde_json::to_string(&states)?)?,
        OutputFormat::Table => print(&table(&states)?)?,
    }
    Ok(0)
}

fn table(states: &[ContainerState]) -> Result<String, Failure> {
    let header = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_owned);
    let mut rows = vec![header];
    for state in states {
        rows.push([
            state.id.clone(),
            state.pid.to_string(),
            serde_json::to_value(state.status)?
                .as_str()
                .unwrap_or_default()
                .to_owned(),
            state.bundle.display().to_string(),
            state.created.clone(),
            "root".to_owned(),
        ]);
    }
    Ok(align(&rows))
}

/// Columns of at least twelve characters, three spaces between them, none after the last.
fn align<const N: usize>(rows: &[[String; N]]) -> String {
    const LEAST: usize = 12;
    const GAP: usize = 3;
    let width = |column: usize| {
        let widest = rows
            .iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or(0);
        (widest + GAP).max(LEAST)
    };
    let widths: Vec<usize> = (0..N).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row[..N - 1].iter().zip(&widths) {
            // Writing to a string does not fail.
            let written = write!(line, "{cell:width$}");
            debug_assert!(written.is_ok());
        }
        text.push_str(&line);
        text.push_str(&row[N - 1]);
        text.push('\n');
    }
    text
}

/// `ps`.
pub(super) fn ps(root: &Path, args: &Ps) -> Outcome {
    let container = Container::look(root, &args.id)?;
    let pids: Vec<i32> = container
        .cgroup()?
        .pids()?
        .iter()
        .map(|pid| pid.as_raw_pid())
        .collect();
    if args.format == OutputFormat::Json {
        print(&serde_json::to_string(&pids)?)?;
        return Ok(0);
    }
    // The host's ps, and the host's /proc: nothing of the container's is run or read.
    let default = [String::from("-ef")];
    let options = if args.ps_args.is_empty() {
        &default[..]
    } else {
        &args.ps_args
    };
    let output = std::process::Command::new("ps").args(options).output()?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        return Err(format!("ps {}: {}", options.join(" "), text.trim()).into());
    }
    print(&select(&String::from_utf8_lossy(&output.stdout), &pids)?)?;
    Ok(0)
}

/// The header and the lines of the processes among `pids`.
fn select(output: &str, pids: &[i32]) -> Result<String, Failure> {
    let mut lines = output.lines();
    let header = lines.next().unwrap_or_default();
    let column = header.split_whitespace().position(|title| title == "PID");
    let column = column.ok_or("couldn't find PID field in ps output")?;
    let wanted = |line: &&str| {
        let pid = line
            .split_whitespace()
            .nth(column)
            .and_then(|pid| pid.parse().ok());
        pid.is_some_and(|pid: i32| pids.contains(&pid))
    };
    let selected = std::iter::once(header).chain(lines.filter(wanted));
    Ok(selected.fold(String::new(), |text, line| text + line + "\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_wide_columns() {
        let rows = [["ID", "PID"], ["a-very-long-name", "7"]].map(|row| row.map(str::to_owned));
        assert_eq!(
            align(&rows),
            "ID                 PID\na-very-long-name   7\n"
        );
    }

    #[test]
    fn processes_are_selected_by_the_column_of_their_id() {
        let output = "UID PID CMD\nroot 7 sh\nroot 8 8\nroot 9 7\n";
        assert_eq!(
            select(output, &[7]).expect("lines"),
            "UID PID CMD\nroot 7 sh\n"
        );
        select("UID CMD\n", &[]).expect_err("no column");
    }
}
