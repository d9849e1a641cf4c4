use super::*;

fn usage_error(line: &str) -> (String, u8) {
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    match dispatch(Program::Wharf, &words) {
        Err(Failure::Usage(error)) => (error.text(), error.exit_code()),
        Err(Failure::Message { text, code }) => (text, code),
        other => panic!("{line}: {other:?}"),
    }
}

fn first_line(line: &str) -> (String, u8) {
    let (text, code) = usage_error(line);
    (text.lines().next().unwrap_or_default().to_owned(), code)
}

#[test]
fn commands_have_one_place_each() {
    let mut names: Vec<_> = table::COMMANDS
        .iter()
        .flat_map(|command| command.names())
        .collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
    for name in names {
        if let Some((group, _)) = name.split_once(' ') {
            assert!(table::group(group).is_some(), "{name}");
        }
    }
}

#[test]
fn lines_that_are_wrong_are_told_as_docker_tells_them() {
    assert_eq!(
        usage_error("run --foo"),
        (
            "unknown flag: --foo\n\nUsage:  wharf run [OPTIONS] IMAGE [COMMAND] [ARG...]\n\nRun 'wharf run --help' for more information\n"
                .to_owned(),
            125
        )
    );
    assert_eq!(
        usage_error("run"),
        (
            "wharf: 'wharf run' requires at least 1 argument\n\nUsage:  wharf run [OPTIONS] IMAGE [COMMAND] [ARG...]\n\nSee 'wharf run --help' for more information\n"
                .to_owned(),
            1
        )
    );
    assert_eq!(
        usage_error("foo"),
        (
            "wharf: unknown command: wharf foo\n\nRun 'wharf --help' for more information"
                .to_owned(),
            1
        )
    );
    assert_eq!(
        usage_error("container foo"),
        (
            "wharf: unknown command: wharf container foo\n\nUsage:  wharf container\n\nRun 'wharf container --help' for more information"
                .to_owned(),
            1
        )
    );
    assert_eq!(
        first_line("container list a"),
        (
            "wharf: 'wharf container ls' accepts no arguments".to_owned(),
            1
        )
    );
    assert_eq!(
        first_line("--foo ps"),
        ("unknown flag: --foo".to_owned(), 125)
    );
    assert_eq!(
        first_line("run -m xx busybox"),
        (
            "invalid argument \"xx\" for \"-m, --memory\" flag: invalid size: 'xx'".to_owned(),
            125
        )
    );
    assert_eq!(
        first_line("run --mount foo busybox"),
        ("invalid argument \"foo\" for \"--mount\" flag: invalid field 'foo' must be a key=value pair".to_owned(), 125)
    );
    assert_eq!(
        first_line("ps -f foo"),
        ("invalid argument \"foo\" for \"-f, --filter\" flag: bad format of filter (expected name=value)".to_owned(), 125)
    );
    assert_eq!(
        first_line("run --cpu-count 1 x"),
        (
            "\"--cpu-count\" is only supported on a Docker daemon running on windows, but the Docker daemon is running on linux".to_owned(),
            1
        )
    );
    assert_eq!(
        first_line("build ."),
        (
            "wharf: wharf build is known from Docker, but wharf does not serve it yet".to_owned(),
            1
        )
    );
}

#[test]
fn contradictions_are_found_before_the_engine_is_asked() {
    assert_eq!(
        first_line("run -p 99999:1 busybox"),
        ("wharf: invalid hostPort: 99999".to_owned(), 125)
    );
    assert_eq!(
        first_line("run --rm --restart always busybox"),
        (
            "wharf: conflicting options: cannot specify both --restart and --rm".to_owned(),
            125
        )
    );
    assert_eq!(
        first_line("run -d -a stdout busybox"),
        (
            "conflicting options: cannot specify both --attach and --detach".to_owned(),
            1
        )
    );
    assert_eq!(
        first_line("-H nowhere ps"),
        ("unable to parse docker host `nowhere`".to_owned(), 1)
    );
    assert_eq!(
        first_line("-H unix:///a -H unix:///b ps"),
        (
            "Failed to initialize: unable to resolve docker endpoint: Specify only one -H"
                .to_owned(),
            1
        )
    );
    assert_eq!(
        first_line("-H unix:///nonexistent/x ps"),
        ("Cannot connect to the Wharf daemon at unix:///nonexistent/x. Is the wharf daemon running?".to_owned(), 1)
    );
    assert_eq!(
        first_line("inspect -f {{ a"),
        (
            "template parsing error: template: :1: unclosed action".to_owned(),
            64
        )
    );
}

#[test]
fn every_command_has_help() {
    for command in table::COMMANDS {
        for name in command.names() {
            let (_, shown) = table::find(name).expect(name);
            let text = command.help(Program::Wharf, shown);
            assert!(
                text.starts_with(&format!("Usage:  wharf {shown}")),
                "{text}"
            );
        }
    }
    let text = help::group(Program::Docker, "system");
    assert_eq!(
        text,
        "Usage:  docker system COMMAND\n\nManage Wharf\n\nCommands:\n  df          Show disk usage\n  events      Get real time events from the server\n  info        Display system-wide information\n  prune       Remove unused data\n\nRun 'docker system COMMAND --help' for more information on a command.\n"
    );
}
