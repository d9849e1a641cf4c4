//! One table of commands, through four pairings: `docker` and `wharf`, each at dockerd and at an engine of ours.
//!
//! What a row prints, where, and what it exits with must be the same in all four, once what can never be the same
//! (ids, times, addresses) is filtered out. A row that is to differ says so and why, and must then differ: a
//! reason outlives its difference nowhere. Older clients and engines of Docker's word things differently; what the
//! installed ones are is found out first, and rows that need newer ones are left to those that are new enough.

mod filter;
mod happenings;
mod registries;
mod table;

use wharf_tests_system::{Client, Engine, ForeignRegistry, Ran, command, needs};

use table::Row;

/// What one row did in one pairing.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Outcome {
    code: i32,
    stdout: String,
    stderr: String,
}

/// The client and the engine a row is run through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pairing {
    client: Client,
    dockerd: bool,
}

const PAIRINGS: [Pairing; 4] = [
    Pairing {
        client: Client::Docker,
        dockerd: true,
    },
    Pairing {
        client: Client::Docker,
        dockerd: false,
    },
    Pairing {
        client: Client::Wharf,
        dockerd: true,
    },
    Pairing {
        client: Client::Wharf,
        dockerd: false,
    },
];

#[test]
fn containers_are_the_same() {
    check(table::CONTAINERS);
}

#[test]
fn volumes_are_the_same() {
    check(table::data::VOLUMES);
}

#[test]
fn commits_are_the_same() {
    check(table::data::COMMIT);
}

#[test]
fn copies_are_the_same() {
    check(table::data::COPY);
}

#[test]
fn stats_are_the_same() {
    check(table::data::STATS);
}

#[test]
fn prunes_are_the_same() {
    check(table::data::PRUNE);
}

#[test]
fn images_are_the_same() {
    check(table::IMAGES);
}

#[test]
fn the_system_is_the_same() {
    check(table::SYSTEM);
}

#[test]
fn wrong_lines_are_the_same() {
    check(table::WRONG);
}

#[test]
fn registries_are_the_same() {
    check(registries::REGISTRIES);
}

/// The registries of one run of a table.
struct Registries {
    open: ForeignRegistry,
    closed: ForeignRegistry,
}

impl Registries {
    /// What stands for registries in a line, and what is in its place; what is found in an answer is put back.
    fn words(&self, client: Client, dockerd: bool) -> [(String, &'static str); 5] {
        let own = format!("{client:?}-{}", if dockerd { "theirs" } else { "ours" });
        let own = own.to_lowercase();
        let (open, closed) = (self.open.address(), self.closed.address());
        [
            (format!("{open}/{own}"), "REGISTRY"),
            (format!("{closed}/{own}"), "CLOSED"),
            (closed, "ACCOUNT"),
            ("127.0.0.1:9".to_owned(), "NOBODY"),
            (format!("{own}/"), "OWN/"),
        ]
    }
}

fn check(rows: &[Row]) {
    let mut needed = vec!["docker", "dockerd", "containerd", "busybox", "ip", "nft"];
    let at_registries = rows.iter().any(|row| row.line.contains("REGISTRY"));
    if at_registries {
        needed.push("docker-registry");
    }
    if !needs::met(&needed) {
        return;
    }
    let registries = at_registries.then(|| Registries {
        open: ForeignRegistry::open(),
        closed: ForeignRegistry::closed(),
    });
    let registries = registries.as_ref();
    let (ours, theirs) = std::thread::scope(|scope| {
        let ours = scope.spawn(|| passes(rows, Engine::with_busybox(), false, registries));
        let theirs = passes(rows, Engine::dockerd_with_busybox(), true, registries);
        let ours = ours.join();
        (
            ours.unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            theirs,
        )
    });
    let outcomes = [theirs.1, ours.1].concat();
    let release = release();
    let complaints: Vec<String> = rows
        .iter()
        .enumerate()
        .filter_map(|(index, row)| {
            let of = |pairing: Pairing| {
                outcomes
                    .iter()
                    .find(|(known, _)| *known == pairing)
                    .map(|(_, outcomes)| outcomes[index].clone())
                    .unwrap()
            };
            row.judge(&PAIRINGS.map(of), release)
        })
        .collect();
    assert!(
        complaints.is_empty(),
        "{} of {} rows:\n\n{}",
        complaints.len(),
        rows.len(),
        complaints.join("\n\n")
    );
    ours.0.finish();
    theirs.0.finish();
}

/// The major version of the installed client of Docker's.
fn release() -> u32 {
    let mut command = std::process::Command::new(needs::program("docker").unwrap());
    command.arg("--version");
    let text = command::run(command, &[]).stdout;
    text.trim_start_matches("Docker version ")
        .split('.')
        .next()
        .and_then(|major| major.parse().ok())
        .unwrap()
}

/// Runs the table twice on one engine, once with each client; between them everything is removed.
fn passes(
    rows: &[Row],
    engine: Engine,
    dockerd: bool,
    registries: Option<&Registries>,
) -> (Engine, Vec<(Pairing, Vec<Outcome>)>) {
    let passes = Client::ALL.map(|client| {
        let start = now();
        let stand_ins = registries.map(|all| all.words(client, dockerd));
        let stand_ins = stand_ins.as_ref().map_or(&[][..], |words| words);
        let outcomes = rows
            .iter()
            .map(|row| run(&engine, client, row, &start, stand_ins))
            .collect();
        clear(&engine);
        (Pairing { client, dockerd }, outcomes)
    });
    (engine, passes.into())
}

/// The time, for rows that ask for what was since they began.
fn now() -> String {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap();
    format!("{}.{:09}", since.as_secs(), since.subsec_nanos())
}

fn run(
    engine: &Engine,
    client: Client,
    row: &Row,
    start: &str,
    stand_ins: &[(String, &'static str)],
) -> Outcome {
    let directory = engine.directory().join(format!("{client:?}"));
    std::fs::create_dir_all(&directory).unwrap();
    let mut line = row.line.replace("START", start).replace("NOW", &now());
    for (there, word) in stand_ins {
        line = line.replace(word, there);
    }
    let words = words(&line);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut command = engine.client(client, &words);
    command.current_dir(&directory).env("COLUMNS", "80");
    let Ran {
        code,
        stdout,
        stderr,
        ..
    } = command::run(command, row.input.as_bytes());
    let own = engine.directory().to_string_lossy();
    let filtered = |text: &str| {
        let mut text = text.replace(own.as_ref(), "<engine>");
        for (there, word) in stand_ins {
            text = text.replace(there, word);
        }
        filter::volatile(&text)
    };
    Outcome {
        code,
        stdout: filtered(&stdout),
        stderr: filtered(&stderr),
    }
}

fn clear(engine: &Engine) {
    let all = engine.wharf(&["ps", "--all", "--quiet"]).out().to_owned();
    let mut words = vec!["rm", "--force", "--volumes"];
    words.extend(all.lines());
    if words.len() > 3 {
        engine.wharf(&words).succeeded();
    }
    let images = engine
        .wharf(&[
            "images",
            "--all",
            "--format",
            "{{.Repository}}:{{.Tag}} {{.ID}}",
        ])
        .out()
        .to_owned();
    for image in images.lines() {
        let (name, id) = image.split_once(' ').unwrap();
        match name {
            "busybox:latest" | "hello-world:latest" => {}
            "<none>:<none>" => drop(engine.wharf(&["rmi", "--force", id])),
            name => drop(engine.wharf(&["rmi", "--force", name])),
        }
    }
    let volumes = engine.request("GET", "/volumes", &[]).unwrap().json();
    for volume in volumes["Volumes"].as_array().into_iter().flatten() {
        let name = volume["Name"].as_str().unwrap();
        let path = format!("/volumes/{name}?force=1");
        engine.request("DELETE", &path, &[]).unwrap();
    }
}

/// Splits a line at blanks; what is between single quotes stays together.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quoted = false;
    for letter in line.chars() {
        match letter {
            '\'' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            ' ' if !quoted => words.extend(word.take()),
            letter => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    words
}
