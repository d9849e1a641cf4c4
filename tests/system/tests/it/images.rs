//! Images in, out and about.

use wharf_tests_system::{Client, command, image};

use crate::{engine, with_both};

#[test]
fn images_are_tagged_listed_and_removed() {
    with_both(|engine, client| {
        let run = |arguments: &[&str]| engine.run(client, arguments).out().to_owned();
        let list = || run(&["images", "--format", "{{.Repository}}:{{.Tag}}"]);
        assert_eq!(list(), "busybox:latest");
        assert_eq!(run(&["tag", "busybox", "example.com/team/box:v1"]), "");
        let mut names: Vec<String> = list().lines().map(str::to_owned).collect();
        names.sort();
        assert_eq!(names, ["busybox:latest", "example.com/team/box:v1"]);
        assert_eq!(
            run(&["rmi", "example.com/team/box:v1"]),
            "Untagged: example.com/team/box:v1"
        );
        engine
            .run(client, &["create", "--name", "box", "busybox", "true"])
            .succeeded();
        let busy = engine.run(client, &["rmi", "busybox"]);
        busy.exited(1).says("conflict").says("container");
        run(&["rm", "box"]);
        assert_eq!(
            run(&[
                "image",
                "inspect",
                "-f",
                "{{.Os}} {{json .Config.Cmd}}",
                "busybox"
            ]),
            "linux [\"sh\"]"
        );
        let history = run(&["history", "--format", "{{.ID}}", "--no-trunc", "busybox"]);
        assert!(history.starts_with("sha256:"), "{history}");
        engine
            .run(client, &["rmi", "no-such"])
            .exited(1)
            .says("No such image: no-such:latest");
        engine
            .run(client, &["tag", "no-such", "x"])
            .exited(1)
            .says("No such image: no-such:latest");
    });
}

#[test]
fn save_and_load_bring_an_image_over() {
    let (Some(engine), Some(other)) = (engine(), engine()) else {
        return;
    };
    let id = engine.inspect("busybox", "{{.Id}}");
    for (index, client) in Client::ALL.into_iter().enumerate() {
        let file = engine.directory().join(format!("saved{index}.tar"));
        let path = file.to_str().unwrap();
        engine
            .run(client, &["save", "-o", path, "busybox"])
            .succeeded();
        other.wharf(&["rmi", "busybox"]).succeeded();
        let loaded = other.run(client, &["load", "-i", path]);
        assert!(
            loaded.out().contains("Loaded image: busybox:latest"),
            "{loaded:?}"
        );
        assert_eq!(other.inspect("busybox", "{{.Id}}"), id);
        assert_eq!(
            other
                .run(client, &["run", "--rm", "busybox", "echo", "here"])
                .out(),
            "here"
        );
    }
    // By way of standard output and input, compressed.
    let file = engine.directory().join("saved0.tar");
    for compressor in ["gzip", "xz", "zstd"] {
        let mut compress = std::process::Command::new(compressor);
        compress.arg("--stdout").arg(&file);
        let packed = compress.output().unwrap();
        assert!(packed.status.success(), "{compressor}");
        other.wharf(&["rmi", "busybox"]).succeeded();
        command::run(other.client(Client::Docker, &["load"]), &packed.stdout).succeeded();
        assert_eq!(other.inspect("busybox", "{{.Id}}"), id, "{compressor}");
    }
    engine.finish();
    other.finish();
}

#[test]
fn export_and_import_bring_a_file_system_over() {
    with_both(|engine, client| {
        let script = "echo changed > /etc/changed; rm /bin/vi; ln -s changed /etc/link";
        engine
            .run(
                client,
                &["run", "--name", "box", "busybox", "sh", "-c", script],
            )
            .succeeded();
        let diff = engine.run(client, &["diff", "box"]);
        let mut lines: Vec<&str> = diff.out().lines().collect();
        lines.sort_unstable();
        assert_eq!(
            lines,
            [
                "A /etc/changed",
                "A /etc/link",
                "C /bin",
                "C /etc",
                "D /bin/vi"
            ]
        );
        let file = engine.directory().join(format!("{client:?}.tar"));
        let path = file.to_str().unwrap();
        engine
            .run(client, &["export", "-o", path, "box"])
            .succeeded();
        let change = [
            "import",
            "--change",
            "CMD [\"cat\",\"/etc/link\"]",
            "--change",
            "ENV K=v",
        ];
        engine
            .run(
                client,
                &[&change[..], &["-m", "by hand", path, "moved:1"]].concat(),
            )
            .succeeded();
        assert_eq!(
            engine.run(client, &["run", "--rm", "moved:1"]).out(),
            "changed"
        );
        let field = |template: &str| engine.inspect("moved:1", template);
        assert_eq!(
            field("{{.Comment}} {{join .Config.Env \",\"}}"),
            "by hand K=v"
        );
        engine
            .run(client, &["run", "--rm", "moved:1", "test", "-e", "/bin/vi"])
            .exited(1);
        engine.run(client, &["rm", "box"]).succeeded();
        engine.run(client, &["rmi", "moved:1"]).succeeded();
    });
}

#[test]
fn image_settings_are_a_containers_defaults() {
    let Some(engine) = engine() else { return };
    let archive = std::fs::read(image::busybox()).unwrap();
    let changes = [
        "ENTRYPOINT [\"/bin/sh\",\"-c\"]",
        "CMD [\"echo $A $PWD $(id -u)\"]",
        "ENV A=image",
        "WORKDIR /var",
        "USER www",
        "EXPOSE 8080",
        "LABEL k=v",
    ];
    engine
        .import_bytes(&archive, "set:up", &changes)
        .succeeded();
    for client in Client::ALL {
        let run = |flags: &[&str]| {
            engine
                .run(client, &[&["run", "--rm"], flags, &["set:up"]].concat())
                .out()
                .to_owned()
        };
        assert_eq!(run(&[]), "image /var 33");
        assert_eq!(run(&["-e", "A=own", "-w", "/tmp", "-u", "0"]), "own /tmp 0");
    }
    assert_eq!(engine.inspect("set:up", "{{.Config.Labels.k}}"), "v");
    engine.finish();
}

#[test]
fn an_image_without_attestations_has_none() {
    let Some(engine) = engine() else { return };
    let ask = |path: &str| engine.request("GET", path, &[]).unwrap();
    let none = ask("/images/busybox/attestations?statement=true&type=x");
    assert_eq!((none.status, none.text().trim()), (200, "[]"));
    let missing = ask("/images/nosuch/attestations");
    assert_eq!(missing.status, 404);
    let platform = "platform=%7B%22os%22%3A%22linux%22%2C%22architecture%22%3A%22s390x%22%7D";
    let other = ask(&format!("/images/busybox/attestations?{platform}"));
    assert_eq!(other.status, 404, "{}", other.text());
    let two = ask(&format!(
        "/images/busybox/attestations?{platform}&{platform}"
    ));
    assert_eq!(two.status, 400);
    assert_eq!(ask("/v1.50/images/busybox/attestations").status, 404);
    engine.finish();
}
