use super::*;
use crate::grammar::{Arity, Grammar, Line};
use crate::options::container::{RUN_ONLY, SHARED};

static GRAMMAR: Grammar<ContainerArguments> = Grammar {
    flags: &[SHARED, RUN_ONLY],
    interspersed: false,
    arity: Arity::AtLeast(1),
};

fn made(line: &str) -> Result<Created, BodyError> {
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    match GRAMMAR.parse(&words).expect(line) {
        Line::Arguments(arguments, mut positional) => {
            let image = positional.remove(0);
            body(&arguments, &image, positional)
        }
        Line::Help => panic!("help"),
    }
}

fn good(line: &str) -> Created {
    made(line).expect(line)
}

#[test]
fn the_process_is_described() {
    let Created { body, streams, .. } = good(
        "-it -e A=1 -u 1:2 -w /tmp -h box --entrypoint sh --stop-signal INT --stop-timeout 3 busybox -c id",
    );
    let config = body.config;
    assert_eq!(
        (
            config.tty,
            config.open_stdin,
            config.stdin_once,
            config.attach_stdin
        ),
        (true, true, true, true)
    );
    assert_eq!(config.env.expect("variables"), ["A=1"]);
    assert_eq!(
        (&*config.user, &*config.working_dir, &*config.hostname),
        ("1:2", "/tmp", "box")
    );
    assert_eq!(config.entrypoint.expect("an entrypoint").0, ["sh"]);
    assert_eq!(config.cmd.expect("a command").0, ["-c", "id"]);
    assert_eq!(
        (&*config.stop_signal, config.stop_timeout),
        ("INT", Some(3))
    );
    assert_eq!(
        streams,
        Streams {
            stdin: true,
            stdout: true,
            stderr: true
        }
    );
}

#[test]
fn detached_containers_are_attached_to_nothing() {
    let Created { body, streams, .. } = good("-d busybox");
    assert!(!streams.any() && !body.config.attach_stdout);
    let Created { body, streams, .. } = good("-di busybox");
    assert!(!streams.any() && body.config.open_stdin && !body.config.stdin_once);
    assert_eq!(
        good("-a stderr busybox").streams,
        Streams {
            stderr: true,
            ..Streams::default()
        }
    );
}

#[test]
fn the_host_s_part_is_described() {
    let host = good(
        "-m 64m --cpus 1.5 --pids-limit 9 --init --rm --read-only --privileged --cap-add SYS_TIME --cap-drop ALL \
         --pid host --ipc private --uts host --tmpfs /t:size=1m -v /a:/b:ro -v /anonymous --shm-size 1m --ulimit nofile=5:6 \
         --security-opt no-new-privileges --memory-swap -1 busybox",
    )
    .body;
    let anonymous: Vec<_> = host
        .config
        .volumes
        .clone()
        .expect("volumes")
        .into_keys()
        .collect();
    assert_eq!(anonymous, ["/anonymous"]);
    let host = host.host_config;
    assert_eq!(
        (host.memory, host.nano_cpus, host.pids_limit),
        (64 << 20, 1_500_000_000, Some(9))
    );
    assert_eq!(
        (
            host.init,
            host.auto_remove,
            host.readonly_rootfs,
            host.privileged
        ),
        (Some(true), true, true, true)
    );
    assert_eq!(
        (&*host.pid_mode, &*host.ipc_mode, &*host.uts_mode),
        ("host", "private", "host")
    );
    assert_eq!(host.tmpfs["/t"], "size=1m");
    assert_eq!(host.binds.expect("binds"), ["/a:/b:ro"]);
    assert_eq!((host.shm_size, host.memory_swap), (1 << 20, -1));
    assert_eq!(host.security_opt.expect("options"), ["no-new-privileges"]);
    assert_eq!(
        (&*host.restart_policy.name, &*host.network_mode),
        ("no", "default")
    );
}

#[test]
fn ports_are_exposed_and_published() {
    let body = good("-p 8080:80 --expose 90/udp busybox").body;
    let exposed: Vec<_> = body.config.exposed_ports.into_keys().collect();
    assert_eq!(exposed, ["80/tcp", "90/udp"]);
    let bindings = body.host_config.port_bindings.expect("bindings");
    assert_eq!(bindings.into_keys().collect::<Vec<_>>(), ["80/tcp"]);
}

#[test]
fn networks_are_modes_and_endpoints() {
    let body = good(
        "--network name=net,gw-priority=1 --network-alias b --ip 10.0.0.9 --network host busybox",
    )
    .body;
    assert_eq!(body.host_config.network_mode, "net");
    let endpoints = body.networking_config.expect("endpoints").endpoints_config;
    assert_eq!(endpoints.keys().collect::<Vec<_>>(), ["host", "net"]);
    let endpoint = endpoints["net"].clone().expect("an endpoint");
    assert_eq!(endpoint.aliases.expect("aliases"), ["b"]);
    assert_eq!(
        endpoint.ipam_config.expect("addresses").ipv4_address,
        "10.0.0.9"
    );
    assert!(matches!(
        body_error("--network name=net,alias=a --network-alias b busybox"),
        BodyError::TwiceForNetwork(..)
    ));
}

fn body_error(line: &str) -> BodyError {
    made(line).expect_err(line)
}

#[test]
fn contradictions_are_named() {
    let error = |line: &str| body_error(line).to_string();
    assert_eq!(
        error("--rm --restart always x"),
        "conflicting options: cannot specify both --restart and --rm"
    );
    assert_eq!(error("--pid x y"), "--pid: invalid PID mode");
    assert_eq!(error("--uts container:x y"), "--uts: invalid UTS mode");
    assert_eq!(
        error("--memory-swappiness 101 y"),
        "invalid value: 101. Valid memory swappiness range is 0-100"
    );
    assert_eq!(
        error("--network a --network a y"),
        "network \"a\" is specified multiple times"
    );
    assert_eq!(
        error("--env-file /nonexistent y"),
        "open /nonexistent: no such file or directory"
    );
    assert_eq!(
        error("--log-driver none --log-opt a=b y"),
        "invalid logging opts for driver none"
    );
    assert_eq!(
        error("-v a::b y"),
        "invalid spec: a::b: empty section between colons"
    );
}
