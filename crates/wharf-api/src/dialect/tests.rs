use wharf_wire::{HealthConfig, HostConfig, Mount, VolumeOptions};

use super::*;

fn minor(minor: u16) -> ApiVersion {
    ApiVersion::new(1, minor)
}

fn created(version: u16) -> ContainerCreateBody {
    let mut body = ContainerCreateBody {
        host_config: HostConfig {
            auto_remove: true,
            pids_limit: Some(0),
            kernel_memory: 7,
            annotations: [("a".to_owned(), "b".to_owned())].into(),
            mounts: vec![Mount {
                volume_options: Some(VolumeOptions {
                    subpath: "below".to_owned(),
                    ..Default::default()
                }),
                ..Default::default()
            }],
            ..Default::default()
        },
        ..Default::default()
    };
    body.config.healthcheck = Some(HealthConfig {
        start_interval: 5,
        ..Default::default()
    });
    create_body(minor(version), &mut body);
    body
}

#[test]
fn what_a_version_did_not_have_is_not_taken_from_it() {
    let newest = created(51);
    let host = &newest.host_config;
    assert_eq!(
        (host.auto_remove, host.pids_limit, host.kernel_memory),
        (true, Some(0), 0)
    );
    assert_eq!((host.ipc_mode.as_str(), host.annotations.len()), ("", 1));
    assert_eq!(
        newest.config.healthcheck.map(|check| check.start_interval),
        Some(5)
    );

    let oldest = created(24);
    let host = &oldest.host_config;
    assert_eq!(
        (host.auto_remove, host.pids_limit, host.kernel_memory),
        (false, None, 7)
    );
    assert_eq!(
        (host.ipc_mode.as_str(), host.annotations.len()),
        ("shareable", 0)
    );
    assert_eq!(
        oldest.config.healthcheck.map(|check| check.start_interval),
        Some(0)
    );

    let subpath = |version| {
        let mounts = created(version).host_config.mounts;
        let options = mounts
            .into_iter()
            .next()
            .and_then(|mount| mount.volume_options);
        options.map(|options| options.subpath)
    };
    assert_eq!(subpath(44).as_deref(), Some(""));
    assert_eq!(subpath(45).as_deref(), Some("below"));
}

#[test]
fn older_clients_see_a_containers_settings_in_an_image() {
    let seen = |version| {
        let mut image = json!({"Id": "x", "Size": 7, "Config": {"Cmd": ["sh"], "User": "me"}});
        super::image(minor(version), &mut image);
        image
    };
    let config = json!({
        "Cmd": ["sh"], "User": "me", "Hostname": "", "Domainname": "", "Image": "", "WorkingDir": "",
        "AttachStdin": false, "AttachStdout": false, "AttachStderr": false, "Tty": false, "OpenStdin": false,
        "StdinOnce": false, "Env": null, "Volumes": null, "Entrypoint": null, "OnBuild": null, "Labels": null,
    });
    assert_eq!(
        seen(50),
        json!({"Id": "x", "Size": 7, "Config": {"Cmd": ["sh"], "User": "me"}})
    );
    assert_eq!(seen(45), json!({"Id": "x", "Size": 7, "Config": config}));
    let with_containers = json!({
        "Id": "x", "Size": 7, "Config": config, "VirtualSize": 7, "Container": "", "ContainerConfig": config,
    });
    assert_eq!(seen(41), with_containers);
}

#[test]
fn older_clients_see_images_as_they_were() {
    let image = ImageSummary {
        size: 7,
        containers: 3,
        ..Default::default()
    };
    for (version, virtual_size, tags, containers) in [
        (51, 0, 0, 3),
        (50, 0, 0, -1),
        (44, 0, 0, -1),
        (43, 7, 0, -1),
        (42, 7, 1, -1),
    ] {
        let mut seen = image.clone();
        image_summary(minor(version), &mut seen);
        assert_eq!(
            (seen.virtual_size, seen.repo_tags.len(), seen.containers),
            (virtual_size, tags, containers),
            "1.{version}"
        );
    }
}

#[test]
fn parameters_that_came_later_are_left_out() {
    let mut query = ImageListQuery {
        shared_size: true,
        ..Default::default()
    };
    image_list_query(minor(40), &mut query, Some("busy*".to_owned()));
    assert!(!query.shared_size && query.filters.contains("reference"));
    let mut query = ImageListQuery::default();
    image_list_query(minor(41), &mut query, Some("busy*".to_owned()));
    assert!(!query.filters.contains("reference"));

    let mut stop = StopQuery {
        signal: "SIGINT".to_owned(),
        ..Default::default()
    };
    stop_query(minor(42), &mut stop);
    assert_eq!(stop.signal, "SIGINT");
    stop_query(minor(41), &mut stop);
    assert_eq!(stop.signal, "");

    let removed = WaitCondition::Removed;
    assert_eq!(wait_condition(minor(30), removed), removed);
    assert_eq!(
        wait_condition(minor(29), removed),
        WaitCondition::NotRunning
    );
}

#[test]
fn the_engine_describes_itself_to_each_in_its_way() {
    let engine = SystemInfo {
        security_options: vec!["name=seccomp,profile=builtin".to_owned()],
        ..Default::default()
    };
    let newest = info(minor(51), &engine);
    assert_eq!(
        newest["SecurityOptions"],
        json!(["name=seccomp,profile=builtin"])
    );
    assert!(newest.get("BridgeNfIptables").is_none());
    let oldest = info(minor(24), &engine);
    assert_eq!(oldest["SecurityOptions"], json!(["seccomp"]));
    assert_eq!(oldest["BridgeNfIptables"], json!(false));
    assert_eq!(oldest["RuncCommit"]["Expected"], json!(""));
}
