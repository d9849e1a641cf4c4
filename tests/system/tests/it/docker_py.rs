//! docker-py: what programs in Python do, scenario by scenario, with the real library.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use wharf_tests_system::{Engine, command, image, needs};

/// Where `cargo xtask packages` installs docker-py.
const ENVIRONMENT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../target/tools/python/bin/python"
);

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/python/docker_py.py");

/// A Python that has the modules.
fn python(modules: &str) -> Option<PathBuf> {
    let candidates = [Some(ENVIRONMENT.into()), needs::program("python3")];
    candidates.into_iter().flatten().find(|python: &PathBuf| {
        let mut asked = Command::new(python);
        asked.args(["-c", &format!("import {modules}")]);
        asked.stderr(Stdio::null());
        asked.status().is_ok_and(|status| status.success())
    })
}

/// Runs a scenario on an engine with more arguments; `address` finds where it is to be reached.
#[track_caller]
fn scenario_at(name: &str, modules: &str, arguments: &[&str], address: fn(&Engine) -> String) {
    let Some(python) = python(modules) else {
        // Says what is missing, and fails unless that is allowed.
        assert!(!needs::met(&[&format!("python3 with {modules}")]));
        return;
    };
    if !needs::met(&["busybox", "nft", "ip"]) {
        return;
    }
    let mut engine = Engine::prepare();
    arguments.iter().for_each(|word| engine.argument(word));
    engine.launch();
    engine.import(&image::busybox(), "busybox");
    let mut command = Command::new(python);
    command.args(["-B", SCRIPT, &address(&engine), name]);
    command
        .env_remove("DOCKER_HOST")
        .env("DOCKER_CONFIG", engine.directory());
    command::run(command, b"").succeeded();
    engine.finish();
}

#[track_caller]
fn scenario(name: &str) {
    scenario_at(name, "docker", &[], Engine::host);
}

#[test]
fn containers_live() {
    scenario("containers");
}

#[test]
fn processes_beside_them() {
    scenario("execs");
}

#[test]
fn attaching() {
    scenario("attach");
}

/// Which docker-py does over TCP only.
#[test]
fn attaching_over_a_websocket() {
    let open = ["--allow-insecure-tcp", "--host=tcp://127.0.0.1:0"];
    scenario_at("websocket", "docker, websocket", &open, |engine| {
        format!("tcp://127.0.0.1:{}", crate::daemon::port(engine))
    });
}

#[test]
fn logs() {
    scenario("logs");
}

#[test]
fn files_in_and_out() {
    scenario("archives");
}

#[test]
fn events() {
    scenario("events");
}

#[test]
fn images() {
    scenario("images");
}

#[test]
fn an_image_of_a_container() {
    scenario("commit");
}

#[test]
fn volumes() {
    scenario("volumes");
}

#[test]
fn figures() {
    scenario("stats");
}
