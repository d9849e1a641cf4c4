//! `search`, at an engine that finds what the test wants found.

use wharf_tests_system::fake_engine::{Asked, FakeEngine, Said};
use wharf_tests_system::{Client, Engine, needs};

const FOUND: &str = r#"[
    {"star_count":5123,"is_official":true,"name":"debian","is_automated":false,"description":"Debian is a Linux distribution that's composed entirely of free"},
    {"star_count":0,"is_official":false,"name":"me/box","is_automated":true,"description":"two\nlines <b>"},
    {"star_count":7,"is_official":false,"name":"r.example:5000/a/rather/long/name/of/an/image","description":""}]"#;

fn answer(asked: &Asked) -> Said {
    let body = match asked.line.as_str() {
        line if line.contains("term=nothing") => "[]",
        line if line.starts_with("GET /images/search") => FOUND,
        _ => return (404, vec![r#"{"message":"page not found"}"#.to_owned()]),
    };
    (200, vec![body.to_owned()])
}

#[test]
fn what_is_found_is_shown_as_docker_shows_it() {
    if !needs::met(&["docker"]) {
        return;
    }
    let engine = Engine::prepare();
    let fake = FakeEngine::listen(&engine.socket(), answer);
    for line in [
        &["search", "box"][..],
        &["search", "nothing"],
        &["search", "--no-trunc", "box"],
        &[
            "search",
            "--limit",
            "3",
            "-f",
            "stars=3",
            "-f",
            "is-official=true",
            "box",
        ],
        &["search", "--filter", "is-automated=true", "box"],
        &[
            "search",
            "--format",
            "{{.Name}}: {{.StarCount}} {{.IsOfficial}}",
            "box",
        ],
        &[
            "search",
            "--format",
            "table {{.Name}}\t{{.IsOfficial}}",
            "box",
        ],
        &["search", "--format", "json", "box"],
        &["search", "--format", "{{json .}}", "box"],
        &["search", "--format", "{{.Nope}}", "box"],
        &["search", "--format", "{{.Name", "box"],
        &["search", "--filter", "nosuch", "box"],
    ] {
        let [ours, theirs] = Client::ALL.map(|client| {
            let ran = engine.run(client, line);
            let asked: Vec<String> = fake
                .asked()
                .into_iter()
                .map(|asked| sorted(&asked.line))
                .collect();
            (
                ran.code,
                ran.stdout,
                ran.stderr.replace("wharf", "docker"),
                asked,
            )
        });
        assert_eq!(ours, theirs, "{line:?}");
    }
}

/// The same request, whatever the order of its parameters.
fn sorted(line: &str) -> String {
    let (path, query) = line.split_once('?').unwrap_or((line, ""));
    let mut parameters: Vec<&str> = query.split('&').collect();
    parameters.sort_unstable();
    format!("{path}?{}", parameters.join("&"))
}
