//! Where logs go, how they rotate, and that nothing of them is lost or doubled.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use wharf_tests_system::{Client, Engine, command, image, needs, wait};

use crate::{engine, with_both};

#[test]
fn drivers_and_options_are_refused_in_docker_s_words() {
    with_both(|engine, client| {
        for (flags, text) in [
            (
                &["--log-opt", "x=1"][..],
                "unknown log opt 'x' for json-file log driver",
            ),
            (
                &["--log-driver", "local", "--log-opt", "labels=1"],
                "unknown log opt 'labels' for log driver local",
            ),
            (
                &["--log-driver", "splunk"],
                "the log driver 'splunk' is not served by wharf",
            ),
            (
                &["--log-opt", "max-file=0"],
                "failed to initialize logging driver: max-file cannot be less than 1",
            ),
            (
                &["--log-opt", "tag={{.Nono"],
                "failed to initialize logging driver: template: log-tag:1: unclosed action",
            ),
            (
                &[
                    "--log-driver",
                    "syslog",
                    "--log-opt",
                    "syslog-address=tcp://127.0.0.1:1",
                ],
                "failed to initialize logging driver: dial tcp 127.0.0.1:1: connect",
            ),
            (
                &["--log-opt", "tag={{.Nono}}"],
                "can't evaluate field Nono in type *logger.Info",
            ),
        ] {
            let ran = engine.run(
                client,
                &[&["run", "--rm"], flags, &["busybox", "true"]].concat(),
            );
            ran.exited(125).says(text);
        }
    });
}

#[test]
fn rotated_files_have_a_bound_and_are_read_back() {
    with_both(|engine, client| {
        for flags in [
            &["--log-opt", "max-size=10k", "--log-opt", "max-file=3"][..],
            &[
                "--log-driver",
                "local",
                "--log-opt",
                "max-size=10k",
                "--log-opt",
                "max-file=3",
            ],
        ] {
            let script = ["busybox", "seq", "1", "3000"];
            let run = [&["run", "--name", "box"], flags, &script].concat();
            assert_eq!(engine.run(client, &run).out().lines().count(), 3000);
            let kept = engine.run(client, &["logs", "box"]);
            let lines: Vec<u32> = kept
                .out()
                .lines()
                .map(|line| line.parse().unwrap())
                .collect();
            assert_eq!(lines.last(), Some(&3000));
            assert!(lines.is_sorted_by(|a, b| a + 1 == *b));
            assert!(lines.len() > 100 && lines.len() < 3000, "{}", lines.len());
            let tail = engine.run(client, &["logs", "--tail", "150", "box"]);
            assert_eq!(tail.out().lines().count(), 150);
            engine.run(client, &["rm", "box"]).succeeded();
        }
        engine
            .run(client, &["create", "--name", "box", "busybox", "true"])
            .succeeded();
        let config = "{{json .HostConfig.LogConfig}}";
        assert_eq!(
            engine.inspect("box", config),
            r#"{"Type":"json-file","Config":{"max-file":"5","max-size":"100m"}}"#
        );
        engine.run(client, &["rm", "box"]).succeeded();
    });
}

#[test]
fn a_follower_crosses_every_rotation() {
    with_both(|engine, client| {
        for flags in [
            &["--log-opt", "compress=true"][..],
            &["--log-driver", "local"],
        ] {
            let script = "read go; seq 1 4000; echo end";
            let bound = ["--log-opt", "max-size=8k", "--log-opt", "max-file=1000"];
            let command = ["busybox", "sh", "-c", script];
            let run = [
                &["run", "-d", "-i", "--name", "box"],
                flags,
                &bound,
                &command,
            ]
            .concat();
            engine.run(client, &run).succeeded();
            let follow = engine.client(client, &["logs", "-f", "box"]);
            let following = std::thread::spawn(move || command::run(follow, &[]));
            command::run(engine.client(client, &["attach", "box"]), b"go\n").succeeded();
            let expected: String = (1..=4000).map(|n| format!("{n}\n")).collect();
            let followed = following.join().unwrap();
            followed.succeeded();
            assert!(followed.stdout == format!("{expected}end\n"));
            let directory = engine
                .data_root()
                .join("containers")
                .join(engine.inspect("box", "{{.Id}}"));
            wait::until_true("compressed files", || has_compressed(&directory));
            assert!(engine.run(client, &["logs", "box"]).stdout == format!("{expected}end\n"));
            engine.run(client, &["rm", "-f", "box"]).succeeded();
        }
    });
}

fn has_compressed(directory: &std::path::Path) -> bool {
    let places = [directory.to_owned(), directory.join("local-logs")];
    let files = places
        .iter()
        .filter_map(|place| std::fs::read_dir(place).ok());
    let names = files.flatten().flatten().map(|file| file.path());
    names
        .into_iter()
        .any(|path| path.extension().is_some_and(|end| end == "gz"))
}

fn raw(engine: &Engine, client: Client, arguments: &[&str]) -> Vec<u8> {
    let output = engine.client(client, arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

#[test]
fn long_lines_and_all_bytes_come_back() {
    with_both(|engine, client| {
        let long = "head -c 10000000 /dev/zero | tr '\\0' x; echo; printf 'a€\\377\\0\\001end'";
        for driver in ["json-file", "local"] {
            let flags = [
                "--name",
                "box",
                "--log-driver",
                driver,
                "busybox",
                "sh",
                "-c",
                long,
            ];
            let printed = raw(engine, client, &[&["run"], &flags[..]].concat());
            assert_eq!(printed.len(), 10_000_001 + 10);
            assert!(printed.ends_with(b"\xff\0\x01end"));
            let mut kept = raw(engine, client, &["logs", "box"]);
            if driver == "json-file" {
                // The one byte that is no UTF-8 has no place in JSON.
                assert!(kept.ends_with("a€\u{fffd}\0\u{1}end".as_bytes()));
                kept = kept.replace_once("\u{fffd}".as_bytes(), b"\xff");
            }
            assert!(kept == printed, "{driver}: {} bytes", kept.len());
            engine.run(client, &["rm", "box"]).succeeded();
        }
    });
}

trait ReplaceOnce {
    fn replace_once(&self, from: &[u8], to: &[u8]) -> Vec<u8>;
}

impl ReplaceOnce for Vec<u8> {
    fn replace_once(&self, from: &[u8], to: &[u8]) -> Vec<u8> {
        let at = self
            .windows(from.len())
            .rposition(|part| part == from)
            .unwrap();
        [&self[..at], to, &self[at + from.len()..]].concat()
    }
}

#[test]
fn syslog_gets_the_lines_and_logs_reads_the_cache() {
    with_both(|engine, client| {
        let path = engine.directory().join(format!("syslog-{client:?}"));
        let daemon = UnixDatagram::bind(&path).unwrap();
        daemon
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let address = format!("syslog-address=unixgram://{}", path.display());
        let options = ["--log-driver", "syslog", "--log-opt", &address];
        let tag = [
            "--log-opt",
            "tag={{.Name}}/{{.ImageName}}",
            "--log-opt",
            "syslog-format=rfc5424",
        ];
        let command = ["busybox", "sh", "-c", "echo one; echo two >&2"];
        let run = [&["run", "--name", "box"], &options[..], &tag, &command].concat();
        engine.run(client, &run).succeeded();
        let mut buffer = [0; 1000];
        for _ in 0..2 {
            let length = daemon.recv(&mut buffer).unwrap();
            let text = std::str::from_utf8(&buffer[..length]).unwrap();
            let priority = if text.ends_with(" - one\n") {
                "<30>1 "
            } else {
                "<27>1 "
            };
            assert!(text.starts_with(priority), "{text}");
            assert!(text.contains(" box/busybox "), "{text}");
        }
        let kept = engine.run(client, &["logs", "box"]);
        assert_eq!(
            (kept.stdout.as_str(), kept.stderr.as_str()),
            ("one\n", "two\n")
        );
        engine.run(client, &["rm", "box"]).succeeded();
        let uncached = ["--log-opt", "cache-disabled=true"];
        let run = [&["run", "--name", "box"], &options[..], &uncached, &command].concat();
        engine.run(client, &run).succeeded();
        engine
            .run(client, &["logs", "box"])
            .exited(1)
            .says("configured logging driver does not support reading");
        engine.run(client, &["rm", "box"]).succeeded();
    });
}

#[test]
fn details_are_what_was_asked_to_be_kept() {
    with_both(|engine, client| {
        let options = [
            "--log-opt",
            "labels=a,none",
            "--log-opt",
            "env=E",
            "--log-opt",
            "tag={{.Name}}",
        ];
        let values = [
            "-l", "a=x y", "-e", "E=1", "--name", "box", "busybox", "echo", "hi",
        ];
        engine
            .run(client, &[&["run"], &options[..], &values].concat())
            .succeeded();
        let logs = engine.run(client, &["logs", "--details", "box"]);
        assert_eq!(logs.out(), "E=1,a=x+y,tag=box hi");
        engine.run(client, &["rm", "box"]).succeeded();
    });
}

#[test]
fn labels_and_variables_are_kept_by_pattern() {
    with_both(|engine, client| {
        let patterns = [
            "--log-opt",
            "labels-regex=^com\\.",
            "--log-opt",
            "env-regex=^(A|B)$",
        ];
        let labels = ["-l", "com.one=1", "-l", "org.two=2"];
        let variables = ["-e", "A=a", "-e", "AB=ab"];
        let command = ["--name", "box", "busybox", "echo", "hi"];
        let line = [&["run"], &patterns[..], &labels, &variables, &command].concat();
        engine.run(client, &line).succeeded();
        let logs = engine.run(client, &["logs", "--details", "box"]);
        assert_eq!(logs.out(), "A=a,com.one=1 hi");
        engine.run(client, &["rm", "box"]).succeeded();
        let wrong = [
            "run",
            "--rm",
            "--log-opt",
            "labels-regex=(",
            "busybox",
            "true",
        ];
        engine
            .run(client, &wrong)
            .exited(125)
            .says("failed to initialize logging driver: error parsing regexp: ");
    });
}

/// An engine that knows a host `loghost`, which is this machine.
fn with_log_host() -> Option<Engine> {
    if !needs::met(&["docker", "busybox", "nft", "ip", "unshare", "openssl"]) {
        return None;
    }
    let mut engine = Engine::prepare();
    engine.replace("/etc/hosts", "127.0.0.1 localhost loghost\n");
    engine.launch();
    engine.import(&image::busybox(), "busybox");
    Some(engine)
}

#[test]
fn a_syslog_daemon_is_found_by_its_name() {
    let Some(engine) = with_log_host() else {
        return;
    };
    for client in Client::ALL {
        let daemon = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = daemon.local_addr().unwrap().port();
        let address = format!("syslog-address=tcp://loghost:{port}");
        let options = ["--log-driver", "syslog", "--log-opt", &address];
        let line = [&["run", "--rm"], &options[..], &["busybox", "echo", "one"]].concat();
        engine.run(client, &line).succeeded();
        let mut sent = String::new();
        daemon
            .accept()
            .unwrap()
            .0
            .read_to_string(&mut sent)
            .unwrap();
        assert!(
            sent.starts_with("<30>") && sent.ends_with(": one\n"),
            "{sent}"
        );
        let nowhere = ["--log-opt", "syslog-address=udp://loghost.:514"];
        let line = [
            &["run", "--rm", "--log-driver", "syslog"],
            &nowhere[..],
            &["busybox", "true"],
        ];
        engine
            .run(client, &line.concat())
            .exited(125)
            .says("failed to initialize logging driver: dial udp: lookup loghost.: ");
    }
    engine.finish();
}

#[test]
fn a_syslog_daemon_behind_tls_is_known_by_its_certificate() {
    let Some(engine) = with_log_host() else {
        return;
    };
    let directory = engine.directory().join("tls");
    std::fs::create_dir(&directory).unwrap();
    let mut made = Command::new("openssl");
    made.current_dir(&directory).args([
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=loghost",
        "-addext",
        "subjectAltName=DNS:loghost",
        "-addext",
        "basicConstraints=critical,CA:FALSE",
        "-keyout",
        "key.pem",
        "-out",
        "cert.pem",
    ]);
    command::run(made, &[]).succeeded();
    let mut daemon = Command::new("openssl")
        .current_dir(&directory)
        .args([
            "s_server",
            "-accept",
            "127.0.0.1:0",
            "-cert",
            "cert.pem",
            "-key",
            "key.pem",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(daemon.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok);
    let port =
        said.find_map(|line| Some(line.strip_prefix("ACCEPT ")?.rsplit_once(':')?.1.to_owned()));
    let port = port.unwrap();
    let authority = format!(
        "syslog-tls-ca-cert={}",
        directory.join("cert.pem").display()
    );
    let run = |client, host: &str, more: &[&str], word: &str| {
        let address = format!("syslog-address=tcp+tls://{host}:{port}");
        let options = ["--log-driver", "syslog", "--log-opt", &address];
        let command = ["busybox", "echo", word];
        engine.run(
            client,
            &[&["run", "--rm"], &options[..], more, &command].concat(),
        )
    };
    for client in Client::ALL {
        let word = format!("said-{client:?}");
        run(client, "loghost", &["--log-opt", &authority], &word).succeeded();
        assert!(said.any(|line| line.ends_with(&format!(": {word}"))));
        run(
            client,
            "localhost",
            &["--log-opt", "syslog-tls-skip-verify=true"],
            &word,
        )
        .succeeded();
        assert!(said.any(|line| line.ends_with(&format!(": {word}"))));
        for (host, more, text) in [
            ("loghost", &[][..], "invalid peer certificate"),
            (
                "localhost",
                &["--log-opt", &authority],
                "invalid peer certificate",
            ),
            (
                "loghost",
                &["--log-opt", "syslog-tls-ca-cert=/nonono"],
                "could not read CA certificate \"/nonono\"",
            ),
        ] {
            let prefix = "failed to initialize logging driver: ";
            run(client, host, more, "unsaid")
                .exited(125)
                .says(prefix)
                .says(text);
        }
    }
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    engine.finish();
}

#[test]
fn attaching_with_the_log_has_no_gap_and_nothing_twice() {
    let Some(engine) = engine() else { return };
    let script = "i=0; while [ $i -lt 20000 ]; do printf \"$i \"; [ $((i % 7)) = 6 ] && echo; i=$((i + 1)); done; read go";
    let bound = ["--log-opt", "max-size=20k", "--log-opt", "max-file=1000"];
    let command = ["--name", "box", "busybox", "sh", "-c", script];
    engine
        .wharf(&[&["run", "-d", "-i"], &bound[..], &command].concat())
        .succeeded();
    let mut readers = Vec::new();
    wait::until_true("many clients", || {
        let (begun, begins) = std::sync::mpsc::channel();
        let socket = engine.socket();
        readers.push(std::thread::spawn(move || attach_with_log(&socket, &begun)));
        begins.recv().is_ok() && readers.len() >= 40
    });
    command::run(engine.client(Client::Wharf, &["attach", "box"]), b"go\n").succeeded();
    let separator = |n: u32| if n % 7 == 6 { " \n" } else { " " };
    let expected: String = (0..20_000)
        .map(|n| format!("{n}{}", separator(n)))
        .collect();
    for reader in readers {
        let found = reader.join().unwrap();
        assert!(
            found == expected.as_bytes(),
            "{} of {} bytes",
            found.len(),
            expected.len()
        );
    }
    engine.finish();
}

/// Everything an attachment with the log gets, without its frames.
fn attach_with_log(socket: &std::path::Path, begun: &std::sync::mpsc::Sender<()>) -> Vec<u8> {
    let mut stream = UnixStream::connect(socket).unwrap();
    let request = "POST /containers/box/attach?logs=1&stream=1&stdout=1 HTTP/1.1\r\nHost: x\r\n\
                   Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(40)))
        .unwrap();
    let mut answer = vec![0; 1];
    stream.read_exact(&mut answer).unwrap();
    begun.send(()).unwrap();
    stream.read_to_end(&mut answer).unwrap();
    let head = answer
        .windows(4)
        .position(|part| part == b"\r\n\r\n")
        .unwrap();
    let (mut frames, mut found) = (&answer[head + 4..], Vec::new());
    while let Some((header, rest)) = frames.split_first_chunk::<8>() {
        let length = u32::from_be_bytes([header[4], header[5], header[6], header[7]]) as usize;
        found.extend_from_slice(&rest[..length]);
        frames = &rest[length..];
    }
    found
}

#[test]
fn the_engine_s_death_leaves_no_hole() {
    let Some(mut engine) = engine() else { return };
    let script = "i=0; while [ $i -lt 60000 ]; do echo $i; i=$((i + 1)); done";
    let command = [
        "run",
        "-d",
        "--name",
        "box",
        "--log-opt",
        "max-size=50k",
        "--log-opt",
        "max-file=1000",
    ];
    engine
        .wharf(&[&command[..], &["busybox", "sh", "-c", script]].concat())
        .succeeded();
    for _ in 0..2 {
        engine.kill();
        engine.launch();
    }
    engine.wharf(&["wait", "box"]).succeeded();
    let expected: String = (0..60_000).map(|n| format!("{n}\n")).collect();
    assert!(engine.wharf(&["logs", "box"]).stdout == expected);
    engine.finish();
}
