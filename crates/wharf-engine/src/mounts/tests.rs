use super::*;

fn read_host(host: &wire::HostConfig) -> Result<Vec<Mount>, String> {
    let request = Request {
        host,
        volumes: Vec::new(),
        donated: Vec::new(),
        directory: Path::new("/volumes"),
    };
    read(request)
        .map(|read| read.mounts)
        .map_err(|error| error.to_string())
}

fn binds(texts: &[&str]) -> Result<Vec<Mount>, String> {
    let binds = texts.iter().map(|text| (*text).to_owned()).collect();
    read_host(&wire::HostConfig {
        binds: Some(binds),
        ..Default::default()
    })
}

fn mount(change: impl FnOnce(&mut wire::Mount)) -> Result<Vec<Mount>, String> {
    let mut mount = wire::Mount {
        kind: "volume".to_owned(),
        target: "/x".to_owned(),
        ..Default::default()
    };
    change(&mut mount);
    read_host(&wire::HostConfig {
        mounts: vec![mount],
        ..Default::default()
    })
}

#[test]
fn a_bind_becomes_the_runtimes_mount() {
    let mounts = binds(&["/a/../b//c:/x/./y:ro,rslave"]).expect("mounts");
    let oci = mounts[0].to_oci(None);
    assert_eq!(oci.source, Some(PathBuf::from("/b/c")));
    assert_eq!(oci.destination, Path::new("/x/y"));
    assert_eq!(oci.options, ["rbind", "ro", "rro", "rslave"]);
}

#[test]
fn a_named_volume_is_below_the_volumes() {
    let mounts = binds(&["name:/x:ro,nocopy"]).expect("mounts");
    let volume = mounts[0].volume().expect("a volume");
    assert_eq!(volume.source, Path::new("/volumes/name/_data"));
    assert!(!volume.copy && !volume.anonymous);
    assert_eq!(
        mounts[0].to_oci(None).options,
        ["rbind", "ro", "rro", "rprivate"]
    );
    let shown = mounts[0].to_wire().expect("shown");
    assert_eq!((&*shown.mode, shown.rw), ("ro,nocopy", false));
    // Docker's label for what is shared, also where labels mean nothing.
    let shown = binds(&["name:/x"]).expect("mounts")[0].to_wire();
    assert_eq!(shown.expect("shown").mode, "z");
}

#[test]
fn wrong_binds_are_refused_by_name() {
    for (text, message) in [
        ("/a:", "invalid volume specification: '/a:'"),
        (":/a", "invalid volume specification: ':/a'"),
        ("", "invalid volume specification: ''"),
        ("/a:ro", "invalid volume specification: '/a:ro'"),
        ("/a:/b:ro:x", "invalid volume specification: '/a:/b:ro:x'"),
        ("/a:/b:nope", "invalid mode: nope"),
        (
            "/a:b",
            "invalid volume specification: '/a:b': invalid mount config for type \"bind\": invalid mount path: 'b' \
             mount path must be absolute",
        ),
        (
            "/a:/x/..",
            "invalid volume specification: '/a:/x/..': invalid mount config for type \"bind\": invalid \
             specification: destination can't be '/'",
        ),
        (
            "/a:/b:nocopy",
            "invalid volume specification: '/a:/b:nocopy': invalid mount config for type \"bind\": field \
             VolumeOptions must not be specified",
        ),
        (
            "vol:/b:shared",
            "invalid volume specification: 'vol:/b:shared': invalid mount config for type \"volume\": field \
             BindOptions must not be specified",
        ),
        (
            "v/x:/b",
            "create v/x: \"v/x\" includes invalid characters for a local volume name, only \
             \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path",
        ),
    ] {
        assert_eq!(binds(&[text]), Err(message.to_owned()), "{text}");
    }
    assert_eq!(
        binds(&["/a:/b", "/c:/b/"]),
        Err("Duplicate mount point: /b".to_owned())
    );
}

#[test]
fn wrong_mounts_are_refused_by_name() {
    type Change = fn(&mut wire::Mount);
    let cases: [(Change, &str); 8] = [
        (
            |m| "bogus".clone_into(&mut m.kind),
            "invalid mount config for type \"bogus\": mount type unknown",
        ),
        (
            |m| m.target.clear(),
            "invalid mount config for type \"volume\": field Target must not be empty",
        ),
        (
            |m| m.bind_options = Some(wire::BindOptions::default()),
            "invalid mount config for type \"volume\": field BindOptions must not be specified",
        ),
        (
            |m| m.read_only = true,
            "invalid mount config for type \"volume\": must not set ReadOnly mode when using anonymous volumes",
        ),
        (
            |m| {
                m.volume_options = Some(wire::VolumeOptions {
                    subpath: "../x".to_owned(),
                    ..Default::default()
                });
            },
            "invalid mount config for type \"volume\": subpath must be within the volume: '../x'",
        ),
        (
            |m| {
                "tmpfs".clone_into(&mut m.kind);
                "x".clone_into(&mut m.source);
            },
            "invalid mount config for type \"tmpfs\": field Source must not be specified",
        ),
        (
            |m| {
                "bind".clone_into(&mut m.kind);
                "/nonexistent/wharf".clone_into(&mut m.source);
            },
            "invalid mount config for type \"bind\": bind source path does not exist: /nonexistent/wharf",
        ),
        (
            |m| {
                "vol".clone_into(&mut m.source);
                m.volume_options = Some(wire::VolumeOptions {
                    driver_config: Some(wire::MountDriver {
                        name: "nope".to_owned(),
                        ..Default::default()
                    }),
                    ..Default::default()
                });
            },
            "create vol: error looking up volume plugin nope: plugin \"nope\" not found",
        ),
    ];
    for (change, message) in cases {
        assert_eq!(mount(change), Err(message.to_owned()));
    }
}

#[test]
fn attack_r17_mounts_over_proc_are_refused() {
    for text in [
        "/a:/proc",
        "/a:/proc/sys/kernel",
        "/a:/x/../proc/1",
        "/proc/self",
    ] {
        let error = binds(&[text]).expect_err(text);
        assert!(error.contains("inside /proc"), "{error}");
    }
    binds(&["/a:/proc/cpuinfo"]).expect("lxcfs's files are allowed");
}

#[test]
fn attack_r18_an_images_volume_is_normalised() {
    let read = |text: &str| {
        read(Request {
            host: &wire::HostConfig::default(),
            volumes: vec![text.to_owned()],
            donated: Vec::new(),
            directory: Path::new("/volumes"),
        })
        .map(|read| read.mounts[0].target().to_owned())
    };
    for (text, target) in [
        ("/../../../../etc", "/etc"),
        ("data", "/data"),
        ("../../etc", "/etc"),
    ] {
        assert_eq!(read(text).expect(text), Path::new(target));
    }
    for text in ["", "/", "/a/../../..", "..", "/proc", "/sys/kernel"] {
        assert!(read(text).is_err(), "{text:?}");
    }
}

#[test]
fn a_mount_below_another_comes_after_it() {
    let mounts = binds(&["/a:/x/y/z", "/b:/x"]).expect("mounts");
    let targets: Vec<_> = mounts.iter().map(Mount::target).collect();
    assert_eq!(targets, [Path::new("/x"), Path::new("/x/y/z")]);
}

#[test]
fn lent_mounts_give_way_to_own_ones() {
    let lent = |texts: &[&str]| {
        let mounts = binds(texts).expect("mounts").into_iter();
        mounts.map(|mount| (mount, true)).collect::<Vec<_>>()
    };
    let donated = [lent(&["one:/a", "one:/b"]), lent(&["two:/b", "two:/c"])].concat();
    let host = wire::HostConfig {
        binds: Some(vec!["own:/c".to_owned()]),
        ..Default::default()
    };
    let read = read(Request {
        host: &host,
        volumes: vec!["/a".to_owned(), "/d".to_owned()],
        donated,
        directory: Path::new("/volumes"),
    })
    .expect("mounts");
    let mut found: Vec<_> = read
        .mounts
        .iter()
        .map(|mount| {
            let volume = mount.volume().expect("a volume");
            let name = if volume.anonymous {
                "-"
            } else {
                volume.name.as_str()
            };
            (
                name,
                mount.target().to_str().expect("text"),
                volume.read_only,
            )
        })
        .collect();
    found.sort_unstable();
    assert_eq!(
        found,
        [
            ("-", "/d", false),
            ("one", "/a", true),
            ("own", "/c", false),
            ("two", "/b", true)
        ]
    );
    // The own volume and the nameless one are to be made; what is lent is there.
    assert_eq!(read.wishes.len(), 2);
}
