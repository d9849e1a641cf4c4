use super::*;

fn resolved_with(values: Values, file: &str) -> Result<Settings, String> {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("daemon.json");
    std::fs::write(&path, file).expect("a file");
    let given = Given {
        config_file: Some(path.display().to_string()),
        values,
        ..Given::default()
    };
    Settings::resolve(&given).map_err(|error| error.to_string())
}

fn resolved(file: &str) -> Result<Settings, String> {
    resolved_with(Values::default(), file)
}

#[test]
fn the_file_has_dockerd_s_keys() {
    let file = r#"{"data-root":"/d","exec-root":"/e","hosts":["unix:///s","fd://"],"bip":"10.9.0.1/24","storage-driver":"overlay2",
        "debug":true,"dns":["1.1.1.1"],"labels":["a=b"],"live-restore":true,"userland-proxy":false,"mtu":1400,"icc":true,
        "exec-opts":["native.cgroupdriver=cgroupfs"],"features":{"containerd-snapshotter":false},"raw-logs":false,
        "default-address-pools":[{"base":"172.30.0.0/16","size":24}],"ip":"127.0.0.1","log-format":"json"}"#;
    let settings = resolved(file).expect("a good file");
    assert_eq!(
        settings.hosts,
        [Host::Unix(PathBuf::from("/s")), Host::Inherited]
    );
    assert_eq!(settings.pidfile, Path::new("/e/wharf.pid"));
    assert_eq!(settings.log_level, LevelFilter::DEBUG);
    assert_eq!(settings.log_format, LogFormat::Json);
    let engine = settings.engine;
    assert_eq!(
        (engine.data_root.to_str(), engine.mtu),
        (Some("/d"), Some(1400))
    );
    let address = engine.bridge_address.map(|address| address.to_string());
    assert_eq!(address.as_deref(), Some("10.9.0.1/24"));
    assert_eq!(engine.storage_driver, DriverChoice::Overlay);
    assert_eq!(engine.address_pools.len(), 1);
    assert_eq!(engine.publish_address, Ipv4Addr::LOCALHOST);
}

#[test]
fn what_containers_get_is_read() {
    let file = r#"{"default-ulimits":{"nofile":{"Name":"nofile","Soft":64,"Hard":128}},"default-shm-size":"128M",
        "runtimes":{"mine":{"path":"/bin/sh","runtimeArgs":["--debug"]}},"default-runtime":"mine","log-driver":"json-file",
        "log-opts":{"max-size":"1m"},"no-new-privileges":true,"seccomp-profile":"unconfined","shutdown-timeout":-1,
        "default-cgroupns-mode":"host","init":true}"#;
    let defaults = resolved(file).expect("a good file").engine.defaults;
    assert_eq!(defaults.ulimits["nofile"].soft, 64);
    assert_eq!(defaults.shm_size, 128 << 20);
    assert_eq!(defaults.runtimes["mine"].arguments, ["--debug"]);
    assert_eq!(
        (
            defaults.runtime.as_str(),
            defaults.cgroup_namespace.as_str()
        ),
        ("mine", "host")
    );
    assert_eq!(defaults.log.config["max-size"], "1m");
    assert!(defaults.no_new_privileges && defaults.init && defaults.seccomp.is_some());
    assert!(defaults.shutdown_timeout.as_secs() > 1 << 20);
}

#[test]
fn what_means_nothing_is_named() {
    for (file, expected) in [
        (
            r#"{"log-level":"loud"}"#,
            "invalid value \"loud\" for log-level: it is one of debug, info, warn, error, fatal",
        ),
        (
            r#"{"storage-driver":"zfs"}"#,
            "invalid value \"zfs\" for storage-driver: it is overlay2 or vfs",
        ),
        (
            r#"{"live-restore":false}"#,
            "invalid value \"false\" for live-restore: containers always go on without the engine",
        ),
        (
            r#"{"data-root":"d"}"#,
            "invalid value \"d\" for data-root: the path must be absolute",
        ),
        (
            r#"{"labels":["x"]}"#,
            "invalid value \"x\" for labels: it is not of the form key=value",
        ),
        (
            r#"{"exec-opts":["native.cgroupdriver=systemd"]}"#,
            "invalid value \"native.cgroupdriver=systemd\" for exec-opts: the engine makes its cgroups itself: \
             native.cgroupdriver=cgroupfs is all there is",
        ),
        (
            r#"{"default-ulimits":{"nofile":{"Soft":9,"Hard":1}}}"#,
            "invalid value \"nofile\" for default-ulimits: ulimit soft limit must be less than or equal to hard \
             limit: 9 > 1",
        ),
    ] {
        assert_eq!(resolved(file).map(drop), Err(expected.to_owned()), "{file}");
    }
}

#[test]
fn attack_m3_tcp_for_everybody_has_to_be_asked_for() {
    let insecure = |more: &str| resolved(&format!(r#"{{"hosts":["tcp://127.0.0.1:2375"]{more}}}"#));
    let error = insecure("").expect_err("insecure");
    assert!(error.contains("--allow-insecure-tcp"), "{error}");
    // A certificate of ours says nothing about who connects.
    assert!(insecure(r#","tls":true"#).is_err());
    assert!(insecure(r#","allow-insecure-tcp":true"#).is_ok());
    assert!(insecure(r#","tlsverify":true"#).is_ok());
}

#[test]
fn what_is_in_flags_and_file_is_named_with_the_file() {
    let mut values = Values::default();
    values.set("bridge", "b0");
    let error = resolved_with(values.clone(), r#"{"bridge":"b1"}"#).expect_err("both");
    assert!(
        error.starts_with("unable to configure the engine with file /"),
        "{error}"
    );
    let settings = resolved_with(values, r#"{"data-root":"/d"}"#).expect("no conflict");
    assert_eq!(settings.engine.bridge, "b0");
    assert_eq!(settings.engine.cgroup_parent, Path::new("/wharf-b0"));
}

#[test]
fn what_means_nothing_to_the_engine_is_told() {
    for (file, expected) in [
        (
            r#"{"default-runtime":"nobodys"}"#,
            "unknown or invalid runtime name: nobodys",
        ),
        (r#"{"log-driver":"paper"}"#, "paper"),
        (r#"{"log-opts":{"max-size":"much"}}"#, "much"),
    ] {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("daemon.json");
        std::fs::write(&path, file).expect("a file");
        let given = Given {
            config_file: Some(path.display().to_string()),
            ..Given::default()
        };
        let error = Settings::resolve(&given).expect_err(file);
        let error = format!("{:#}", anyhow::Error::from(error));
        assert!(error.contains(expected), "{file}: {error}");
    }
}
