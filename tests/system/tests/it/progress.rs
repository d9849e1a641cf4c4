//! Progress on a terminal: what our client writes is what Docker's writes, byte for byte.

use std::path::Path;
use std::process::Command;

use wharf_tests_system::fake_engine::{Asked, FakeEngine, Said};
use wharf_tests_system::{Client, Engine, command, needs};

/// Two layers that come, and one that is there.
const PULL: &[&str] = &[
    r#"{"status":"Pulling from team/box","id":"1"}"#,
    r#"{"status":"Pulling fs layer","progressDetail":{},"id":"aaaaaaaaaaaa"}"#,
    r#"{"status":"Already exists","progressDetail":{},"id":"bbbbbbbbbbbb"}"#,
    r#"{"status":"Pulling fs layer","progressDetail":{},"id":"cccccccccccc"}"#,
    r#"{"status":"Waiting","progressDetail":{},"id":"cccccccccccc"}"#,
    r#"{"status":"Downloading","progressDetail":{"current":16384,"total":4200000},"progress":"[>  ] x","id":"aaaaaaaaaaaa"}"#,
    r#"{"status":"Downloading","progressDetail":{"current":999983,"total":4200000},"progress":"[=> ] x","id":"aaaaaaaaaaaa"}"#,
    r#"{"status":"Downloading","progressDetail":{"current":4200000,"total":4200000},"progress":"[==>] x","id":"aaaaaaaaaaaa"}"#,
    r#"{"status":"Retrying in 5 seconds","progressDetail":{},"id":"cccccccccccc"}"#,
    r#"{"status":"Downloading","progressDetail":{"current":1000,"total":0},"id":"cccccccccccc"}"#,
    r#"{"status":"Verifying Checksum","progressDetail":{},"id":"aaaaaaaaaaaa"}"#,
    r#"{"status":"Download complete","progressDetail":{},"id":"aaaaaaaaaaaa"}"#,
    r#"{"status":"Extracting","progressDetail":{"current":3,"units":"s"},"progress":"3 s","id":"aaaaaaaaaaaa"}"#,
    r#"{"status":"Extracting","progressDetail":{"current":65536,"total":99},"progress":"x","id":"aaaaaaaaaaaa"}"#,
    r#"{"status":"Pull complete","progressDetail":{},"id":"aaaaaaaaaaaa"}"#,
    r#"{"status":"Pull complete","progressDetail":{},"id":"cccccccccccc"}"#,
    r#"{"status":"Digest: sha256:0"}"#,
    r#"{"status":"Status: Downloaded newer image for box:1"}"#,
];

const PUSH: &[&str] = &[
    r#"{"status":"The push refers to repository [docker.io/library/box]"}"#,
    r#"{"status":"Preparing","progressDetail":{},"id":"aaaaaaaaaaaa"}"#,
    r#"{"status":"Preparing","progressDetail":{},"id":"bbbbbbbbbbbb"}"#,
    r#"{"status":"Pushing","progressDetail":{"current":512,"total":2000},"progress":"[==>  ] x","id":"aaaaaaaaaaaa"}"#,
    r#"{"status":"Mounted from library/x","progressDetail":{},"id":"bbbbbbbbbbbb"}"#,
    r#"{"status":"Pushed","progressDetail":{},"id":"aaaaaaaaaaaa"}"#,
    r#"{"status":"1: digest: sha256:0 size: 527"}"#,
    r#"{"progressDetail":{},"aux":{"Tag":"1","Digest":"sha256:0","Size":527}}"#,
    r#"{"aux":{"manifestPushedInsteadOfIndex":true,"originalIndex":{"mediaType":"m","digest":"sha256:a","size":1},"selectedManifest":{"mediaType":"m","digest":"sha256:b","size":1}}}"#,
    r#"{"status":"Preparing","progressDetail":{},"id":"aaaaaaaaaaaa"}"#,
    r#"{"errorDetail":{"message":"denied: no"},"error":"denied: no"}"#,
];

/// An image for two platforms, of which one is here.
const IMAGES: &str = r#"[
    {"Id":"sha256:0123456789abcdef","RepoTags":["a:1","longer:1"],"Size":2000,"Containers":1,"Created":5,"Manifests":[
        {"ID":"sha256:fedcba9876543210","Kind":"image","Available":true,"Size":{"Total":2000,"Content":1000},
         "ImageData":{"Platform":{"os":"linux","architecture":"amd64"},"Containers":["x"]}},
        {"ID":"sha256:eeeeeeeeeeeeeeee","Kind":"image","Available":false,"Size":{"Total":0,"Content":0},
         "ImageData":{"Platform":{"os":"linux","architecture":"arm","variant":"v7"},"Containers":null}}]},
    {"Id":"sha256:ffffffffffffffff","RepoTags":null,"RepoDigests":["x@sha256:0"],"Size":3,"Created":4,"Containers":-1},
    {"Id":"sha256:cccccccccccccccc","RepoTags":[],"RepoDigests":[],"Size":3,"Created":9,"Containers":-1}]"#;

fn answer(asked: &Asked) -> Said {
    if asked.line.contains("/images/json") {
        return (200, vec![IMAGES.to_owned()]);
    }
    if asked.line.contains("/containers/create") {
        return (
            201,
            vec![r#"{"Id":"0123456789ab","Warnings":[]}"#.to_owned()],
        );
    }
    let documents = if asked.line.contains("/push") {
        PUSH
    } else if asked.line.contains("tag=cut") {
        &[
            r#"{"status":"Pulling from team/box","id":"cut"}"#,
            r#"{"stat"#,
        ]
    } else {
        PULL
    };
    let end = |text: &str| if text.ends_with('}') { "\r\n" } else { "" };
    let pieces = documents.iter().map(|text| format!("{text}{}", end(text)));
    (200, pieces.collect())
}

/// What a client writes on a terminal of a width, and how it ends.
fn on_terminal(engine: &Engine, client: Client, columns: u16, words: &[&str]) -> (i32, String) {
    let line = engine.client(client, words);
    let words: Vec<String> = std::iter::once(line.get_program())
        .chain(line.get_args())
        .map(|word| format!("'{}'", word.to_string_lossy()))
        .collect();
    let inner = format!("stty rows 24 cols {columns}; exec {}", words.join(" "));
    let mut script = Command::new("script");
    script
        .args(["--quiet", "--return", "--command", &inner, "/dev/null"])
        .env("DOCKER_CONFIG", engine.directory().join("config"))
        .env("TERM", "xterm");
    let ran = command::run(script, b"");
    (ran.code, ran.stdout)
}

fn compare(engine: &Engine, columns: u16, words: &[&str]) -> String {
    let [ours, theirs] = Client::ALL.map(|client| on_terminal(engine, client, columns, words));
    assert_eq!(ours, theirs, "{words:?} on {columns} columns");
    ours.1
}

#[test]
fn it_is_dockers_byte_for_byte() {
    if !needs::met(&["docker", "script", "stty"]) {
        return;
    }
    let engine = Engine::prepare();
    let _fake = FakeEngine::listen(&engine.socket(), answer);
    for columns in [60, 80, 110, 111, 200] {
        let pulled = compare(&engine, columns, &["pull", "box:1"]);
        let bars = pulled.contains("[===========>      ");
        assert_eq!(bars, columns > 110, "{pulled:?}");
        let pushed = compare(&engine, columns, &["push", "box:1"]);
        assert!(pushed.ends_with("denied: no\r\n"), "{pushed:?}");
    }
    for columns in [0, 20, 40, 62, 63, 100] {
        compare(&engine, columns, &["images", "--tree"]);
    }
    compare(&engine, 120, &["images", "--tree", "--all"]);
    compare(&engine, 120, &["pull", "--quiet", "box:1"]);
    compare(&engine, 120, &["push", "--platform", "linux/arm64", "box"]);
    compare(&engine, 120, &["create", "--pull", "always", "box:1"]);
    // A pull that is cut within a document has failed.
    let cut = compare(&engine, 120, &["pull", "box:cut"]);
    assert!(cut.ends_with("unexpected EOF\r\n"), "{cut:?}");
}

#[test]
fn elsewhere_it_is_lines() {
    if !needs::met(&["docker"]) {
        return;
    }
    let engine = Engine::prepare();
    let _fake = FakeEngine::listen(&engine.socket(), answer);
    let [ours, theirs] = Client::ALL.map(|client| {
        let pulled = engine.run(client, &["pull", "box:1"]);
        let pushed = engine.run(client, &["push", "box:1"]);
        let tree = engine.run(client, &["images", "--tree"]);
        assert!(tree.out().contains("linux/arm/v7"));
        (
            tree.stdout,
            pulled.code,
            pulled.stdout,
            pushed.code,
            pushed.stdout,
            pushed.stderr,
        )
    });
    assert_eq!(ours, theirs);
    assert!(
        !ours.2.contains('\u{1b}') && !ours.2.contains("MB"),
        "{}",
        ours.2
    );
}

/// Only where Docker's would wrap, so that the next step is drawn over another's line, ours is shorter.
#[test]
fn lines_are_cut_where_the_terminal_ends() {
    if !needs::met(&["script", "stty"]) {
        return;
    }
    let engine = Engine::prepare();
    let _fake = FakeEngine::listen(&engine.socket(), answer);
    let (_, pulled) = on_terminal(&engine, Client::Wharf, 30, &["pull", "box:1"]);
    for line in pulled
        .split(['\r', '\n'])
        .filter(|line| line.contains(": "))
    {
        let steps = line.starts_with("aaaaaaaaaaaa: Downloading");
        assert!(!steps || line.len() <= 30, "{line:?}");
    }
    assert!(Path::new(&engine.socket()).exists());
}
