//! Kills of the engine under load, at moments nobody chose.
//!
//! `WHARF_TEST_KILLS` says how many; a handful by default, so that the test takes some twenty
//! seconds. A thousand is a night's work.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::time::Duration;

use wharf_tests_system::{Client, Engine, wait};

use crate::engine;

const KILLS: u32 = 12;
/// Commands that are under way at each kill.
const LOAD: &[&[&str]] = &[
    &["update", "--cpu-shares", "300", "steady"],
    &["exec", "steady", "true"],
    &["restart", "-t", "0", "moving"],
    &["run", "-d", "--rm", "busybox", "sleep", "1"],
    &["create", "--label", "rubbish", "busybox", "true"],
    &["container", "prune", "-f", "--filter", "label=rubbish"],
    &["rename", "named", "renamed"],
    &["rename", "renamed", "named"],
    &["kill", "moving"],
];

fn begin(engine: &Engine, arguments: &[&str]) -> Child {
    let mut command = engine.client(Client::Wharf, arguments);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

fn echoes(stream: &mut BufReader<TcpStream>, word: &str) {
    stream
        .get_mut()
        .write_all(format!("{word}\n").as_bytes())
        .unwrap();
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    assert_eq!(line.trim_end(), word);
}

#[test]
fn kills_under_load_lose_no_container_no_connection_and_no_line() {
    let Some(mut engine) = engine() else { return };
    let kills = std::env::var("WHARF_TEST_KILLS").map_or(KILLS, |text| text.parse().unwrap());
    let counting = "i=0; while :; do i=$((i+1)); echo $i; usleep 2000; done";
    let run = |engine: &Engine, arguments: &[&str]| {
        let all = [&["run", "-d", "--name"], arguments].concat();
        engine.wharf(&all).out().to_owned()
    };
    run(&engine, &["steady", "busybox", "sh", "-c", counting]);
    run(&engine, &["moving", "busybox", "sleep", "1000"]);
    let named = run(&engine, &["named", "busybox", "sleep", "1000"]);
    run(
        &engine,
        &[
            "echo",
            "-p",
            "127.0.0.1::7",
            "busybox",
            "nc",
            "-ll",
            "-p",
            "7",
            "-e",
            "cat",
        ],
    );
    let port = engine.wharf(&["port", "echo", "7"]);
    let address = port.out().parse().unwrap();
    let mut stream = None;
    wait::until_true("the echo's first word", || {
        stream = TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok();
        stream.is_some()
    });
    let stream = stream.unwrap();
    stream.set_read_timeout(Some(wait::PATIENCE)).unwrap();
    let mut stream = BufReader::new(stream);
    echoes(&mut stream, "before");
    let pid = engine.inspect("steady", "{{.State.Pid}}");
    for round in 0..kills {
        let load: Vec<Child> = LOAD
            .iter()
            .map(|arguments| begin(&engine, arguments))
            .collect();
        // From before the first request is read to after the last is answered.
        std::thread::park_timeout(Duration::from_millis(u64::from(round * 7 % 90)));
        engine.kill();
        for mut child in load {
            child.wait().unwrap();
        }
        engine.launch();
        assert_eq!(
            engine.inspect("steady", "{{.State.Status}} {{.State.Pid}}"),
            format!("running {pid}"),
            "round {round}"
        );
        echoes(&mut stream, &format!("round {round}"));
        let names = engine.inspect(&named, "{{.Name}} {{.State.Status}}");
        assert!(
            ["/named running", "/renamed running"].contains(&names.as_str()),
            "round {round}: {names}"
        );
        let moving = engine.inspect("moving", "{{.State.Status}}");
        assert!(
            ["running", "exited"].contains(&moving.as_str()),
            "round {round}: {moving}"
        );
    }
    let log = engine.wharf(&["logs", "steady"]);
    let mut expected = 0_u64;
    for line in log.out().lines() {
        expected += 1;
        assert_eq!(line.parse::<u64>().unwrap(), expected);
    }
    assert!(expected > 100, "{expected}");
    drop(stream);
    engine.finish();
}
