//! What is read, and what is refused in which words.

use std::path::PathBuf;

use super::*;
use crate::syslog::Host;
use crate::tls::Tls;

fn read(driver: &str, options: &[(&str, &str)]) -> Result<Options, String> {
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    let options = options.iter().map(owned).collect();
    Options::read(driver, &options).map_err(|error| error.to_string())
}

#[test]
fn what_is_refused_is_told_in_docker_s_words() {
    for (driver, options, text) in [
        (
            "json-file",
            [("x", "1")],
            "unknown log opt 'x' for json-file log driver",
        ),
        (
            "local",
            [("labels", "1")],
            "unknown log opt 'labels' for log driver local",
        ),
        (
            "syslog",
            [("foo", "foo")],
            "unknown log opt 'foo' for syslog log driver",
        ),
        (
            "journald",
            [("x", "1")],
            "unknown log opt 'x' for journald log driver",
        ),
        (
            "nix",
            [("x", "1")],
            "logger: no log driver named 'nix' is registered",
        ),
        (
            "gelf",
            [("x", "1")],
            "the log driver 'gelf' is not served by wharf",
        ),
        (
            "json-file",
            [("max-file", "0")],
            "failed to initialize logging driver: max-file cannot be less than 1",
        ),
        (
            "json-file",
            [("max-size", "x")],
            "failed to initialize logging driver: invalid size: 'x'",
        ),
        (
            "json-file",
            [("compress", "x")],
            "failed to initialize logging driver: strconv.ParseBool: parsing \"x\": invalid syntax",
        ),
        (
            "json-file",
            [("mode", "x")],
            "logger: logging mode not supported: x",
        ),
        (
            "json-file",
            [("max-buffer-size", "1m")],
            "logger: max-buffer-size option is only supported with 'mode=non-blocking'",
        ),
        (
            "json-file",
            [("cache-disabled", "x")],
            "invalid value for option cache-disabled: x",
        ),
        (
            "local",
            [("max-file", "1")],
            "failed to initialize logging driver: compression cannot be enabled when max file count is 1",
        ),
        (
            "syslog",
            [("syslog-address", "foo://127.0.0.1:1")],
            "syslog-address should be in form proto://address, got foo://127.0.0.1:1",
        ),
        (
            "syslog",
            [("syslog-facility", "foo")],
            "invalid syslog facility",
        ),
        (
            "syslog",
            [("syslog-format", "foo")],
            "Invalid syslog format",
        ),
    ] {
        assert_eq!(read(driver, &options).map(drop), Err(text.to_owned()));
    }
}

#[test]
fn files_have_a_bound_also_when_none_is_asked_for() {
    let rotation = |driver, options: &[(&str, &str)]| {
        let rotation = read(driver, options).expect("good options").rotation();
        rotation.map(|r| (r.max_size, r.max_files, r.compress))
    };
    assert_eq!(
        rotation("json-file", &[]),
        Some((Some(100_000_000), 5, false))
    );
    assert_eq!(
        rotation("json-file", &[("max-file", "3"), ("compress", "true")]),
        Some((Some(100_000_000), 3, true))
    );
    assert_eq!(
        rotation("json-file", &[("max-size", "1k")]),
        Some((Some(1000), 1, false))
    );
    assert_eq!(
        rotation("json-file", &[("max-size", "-1")]),
        Some((None, 1, false))
    );
    assert_eq!(rotation("local", &[]), Some((Some(20 << 20), 5, true)));
    assert_eq!(rotation("journald", &[]), Some((Some(20 << 20), 5, true)));
    assert_eq!(rotation("journald", &[("cache-disabled", "true")]), None);
    assert_eq!(rotation("none", &[]), None);
}

#[test]
fn what_goes_without_saying_is_written_down() {
    let mut options = Given::new();
    Rotation::write_defaults("json-file", &mut options);
    let written = Options::read("json-file", &options).expect("defaults");
    assert_eq!(
        written.rotation(),
        read("json-file", &[]).expect("defaults").rotation()
    );
    assert_eq!(options.len(), 2);
}

#[test]
fn addresses_of_syslog_daemons() {
    let address = |text| match read("syslog", &[("syslog-address", text)])?.driver {
        Driver::Syslog { address, .. } => Ok(address),
        other => Err(format!("{other:?}")),
    };
    let host = |name: &str, port| Host {
        name: name.to_owned(),
        port,
    };
    let tls = |name, port| Address::Tls(host(name, port), Tls::default());
    for (text, expected) in [
        ("", Address::Local),
        ("unix:///run/log", Address::Unix("/run/log".into())),
        ("udp://127.0.0.1", Address::Udp(host("127.0.0.1", 514))),
        ("tcp://localhost:99", Address::Tcp(host("localhost", 99))),
        (
            "tcp://log.example.org/",
            Address::Tcp(host("log.example.org", 514)),
        ),
        ("tcp://[::1]:99", Address::Tcp(host("::1", 99))),
        ("udp://[::1]", Address::Udp(host("::1", 514))),
        ("tcp+tls://1.2.3.4:1", tls("1.2.3.4", 1)),
        ("tcp+tls://loghost", tls("loghost", 514)),
    ] {
        assert_eq!(address(text), Ok(expected), "{text}");
    }
    for text in [
        "tcp://",
        "tcp://:1",
        "tcp://a b",
        "tcp://a:x",
        "tcp://a:70000",
        "tcp://[a]:1",
        "tcp://[::1]x",
        "nix",
    ] {
        let error = format!("syslog-address should be in form proto://address, got {text}");
        assert_eq!(address(text), Err(error));
    }
    let missing = [("syslog-address".to_owned(), "unix:///nonono".to_owned())];
    let missing = check("syslog", &missing.into()).expect_err("no socket there");
    assert!(missing.to_string().starts_with("stat /nonono: "));
}

#[test]
fn what_secures_the_way_to_a_syslog_daemon() {
    let options = [
        ("syslog-address", "tcp+tls://loghost:6514"),
        ("syslog-tls-ca-cert", "/ca"),
        ("syslog-tls-cert", "/cert"),
        ("syslog-tls-key", "/key"),
        ("syslog-tls-skip-verify", "false"),
    ];
    let Driver::Syslog { address, .. } = read("syslog", &options).expect("good options").driver
    else {
        panic!("another driver");
    };
    let Address::Tls(_, tls) = address else {
        panic!("{address:?}");
    };
    let path = |text: &str| Some(PathBuf::from(text));
    let expected = Tls {
        authority: path("/ca"),
        certificate: path("/cert"),
        key: path("/key"),
        // Docker looks only whether it is there.
        unverified: true,
    };
    assert_eq!(tls, expected);
}

#[test]
fn labels_and_variables_are_kept_by_name_and_by_pattern() {
    for driver in ["json-file", "journald", "syslog"] {
        let options = read(
            driver,
            &[
                ("labels", "one"),
                ("labels-regex", "^com\\.example\\.|x$"),
                ("env-regex", "(?i)^lang"),
            ],
        )
        .expect("good options");
        for (label, kept) in [
            ("one", true),
            ("ones", false),
            ("com.example.a", true),
            ("com-example.a", false),
            ("a.com.example.a", false),
            ("box", true),
            ("", false),
        ] {
            assert_eq!(options.keeps_label(label), kept, "{driver} {label}");
        }
        assert!(options.keeps_variable("LANGUAGE") && !options.keeps_variable("one"));
    }
    let refused = read("json-file", &[("env-regex", "(")]).expect_err("no pattern");
    let prefix = "failed to initialize logging driver: error parsing regexp: ";
    assert!(
        refused.starts_with(prefix) && refused.ends_with(": `(`"),
        "{refused}"
    );
    assert!(read("local", &[("labels-regex", "a")]).is_err());
}
