use super::*;

fn digest(text: &str) -> String {
    Digest::of(text.as_bytes()).to_string()
}

fn image(media_type: &str) -> String {
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{media_type}","config":{{"mediaType":"c","digest":"{}","size":2}},"layers":[{{"mediaType":"l","digest":"{}","size":3}}]}}"#,
        digest("config"),
        digest("layer")
    )
}

fn index(media_type: &str) -> String {
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{media_type}","manifests":[{{"mediaType":"m","digest":"{}","size":2,"platform":{{"os":"linux","architecture":"amd64"}}}}]}}"#,
        digest("manifest")
    )
}

fn fault(sent_as: &str, text: &str) -> ManifestFault {
    Document::parse(sent_as, text.as_bytes()).expect_err(text)
}

#[test]
fn the_four_types_are_read() {
    for kind in [media_type::MANIFEST, media_type::DOCKER_MANIFEST] {
        let (media_type, document) =
            Document::parse(&format!("{kind}; charset=utf-8"), image(kind).as_bytes())
                .expect("image");
        assert_eq!(media_type, kind);
        assert!(matches!(document, Document::Image(image) if image.layers.len() == 1));
    }
    for kind in [media_type::INDEX, media_type::DOCKER_INDEX] {
        let (media_type, document) =
            Document::parse("application/json", index(kind).as_bytes()).expect("index");
        assert_eq!(media_type, kind);
        assert!(matches!(document, Document::Index(index) if index.manifests.len() == 1));
    }
}

#[test]
fn attack_g4_a_manifest_that_is_an_index_too_is_refused() {
    let both = image(media_type::MANIFEST).replace(
        r#""layers":"#,
        &format!(
            r#""manifests":[{{"mediaType":"m","digest":"{}","size":1}}],"layers":"#,
            digest("x")
        ),
    );
    assert_eq!(fault(media_type::MANIFEST, &both), ManifestFault::Ambiguous);
    // Read as the one or as the other by who sends it.
    assert!(matches!(
        fault(media_type::INDEX, &image(media_type::MANIFEST)),
        ManifestFault::TypesDiffer { .. }
    ));
    let silent = image("").replace(r#""mediaType":"","#, "");
    assert_eq!(fault(media_type::INDEX, &silent), ManifestFault::Ambiguous);
    let silent = index("").replace(r#""mediaType":"","#, "");
    assert_eq!(
        fault(media_type::MANIFEST, &silent),
        ManifestFault::Ambiguous
    );
    // A member twice: one reader takes the first, another the last.
    let twice = image(media_type::MANIFEST)
        .replace(r#""schemaVersion":2,"#, r#""schemaVersion":2,"layers":[],"#);
    assert!(matches!(
        fault(media_type::MANIFEST, &twice),
        ManifestFault::Json(_)
    ));
}

#[test]
fn attack_g5_digests_of_other_algorithms_and_upper_case_are_refused() {
    for wrong in [
        format!("sha512:{}", "a".repeat(128)),
        digest("layer").to_uppercase(),
        format!("sha256:{}", "A".repeat(64)),
        "md5:d41d8cd98f00b204e9800998ecf8427e".to_owned(),
        "../../etc/passwd".to_owned(),
        String::new(),
    ] {
        let text = image(media_type::MANIFEST).replace(&digest("layer"), &wrong);
        assert!(
            matches!(fault(media_type::MANIFEST, &text), ManifestFault::Digest(_)),
            "{wrong}"
        );
        let text = index(media_type::INDEX).replace(&digest("manifest"), &wrong);
        assert!(
            matches!(fault(media_type::INDEX, &text), ManifestFault::Digest(_)),
            "{wrong}"
        );
    }
}

#[test]
fn attack_g10_counts_and_sizes_no_image_has_are_refused() {
    let layer = format!(r#"{{"mediaType":"l","digest":"{}","size":1}}"#, digest("l"));
    let many = format!(
        r#"{{"schemaVersion":2,"config":{layer},"layers":[{}]}}"#,
        vec![layer.as_str(); LAYERS_MAX + 1].join(",")
    );
    assert_eq!(
        fault(media_type::MANIFEST, &many),
        ManifestFault::TooMany {
            what: "layers",
            count: LAYERS_MAX + 1,
            max: LAYERS_MAX
        }
    );
    let many = format!(
        r#"{{"schemaVersion":2,"manifests":[{}]}}"#,
        vec![layer.as_str(); ENTRIES_MAX + 1].join(",")
    );
    assert!(matches!(
        fault(media_type::INDEX, &many),
        ManifestFault::TooMany { .. }
    ));
    let huge =
        image(media_type::MANIFEST).replace(r#""size":2"#, &format!(r#""size":{}"#, i64::MAX));
    assert_eq!(fault(media_type::MANIFEST, &huge), ManifestFault::Sizes);
    for config in ["", r#""config":null,"#] {
        let text = format!(r#"{{"schemaVersion":2,{config}"layers":[]}}"#);
        assert_eq!(
            fault(media_type::MANIFEST, &text),
            ManifestFault::Missing("config")
        );
    }
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(matches!(
        fault(media_type::MANIFEST, &deep),
        ManifestFault::Json(_)
    ));
    let long = " ".repeat(MANIFEST_MAX + 1);
    assert_eq!(fault(media_type::MANIFEST, &long), ManifestFault::TooLong);
}

#[test]
fn schema_1_is_refused_with_what_to_do() {
    for (sent_as, text) in [
        (
            "application/vnd.docker.distribution.manifest.v1+prettyjws",
            "{}",
        ),
        ("application/json", r#"{"schemaVersion":1,"fsLayers":[]}"#),
    ] {
        let fault = fault(sent_as, text);
        assert_eq!(fault, ManifestFault::Schema1);
        assert!(fault.to_string().contains("rebuild"));
    }
}

#[test]
fn other_documents_are_refused() {
    assert!(matches!(
        fault("application/vnd.oci.image.config.v1+json", &image("")),
        ManifestFault::MediaType(_)
    ));
    assert_eq!(
        fault(media_type::MANIFEST, r#"{"schemaVersion":3}"#),
        ManifestFault::Schema(3)
    );
}

#[test]
fn attack_g9_the_digest_decides_over_the_tag() {
    let text = format!("debian:12@{}", digest("x"));
    let reference: Reference = text.parse().expect("reference");
    assert_eq!(
        Target::of(&reference),
        Target::Digest(Digest::of(b"x")),
        "the tag is only for people"
    );
    let reference: Reference = "debian".parse().expect("reference");
    assert_eq!(Target::of(&reference).to_string(), "latest");
}

fn platform(text: &str) -> Platform {
    let mut parts = text.split('/').map(str::to_owned);
    Platform {
        os: parts.next().expect("os"),
        architecture: parts.next().expect("architecture"),
        variant: parts.next(),
        ..Platform::default()
    }
}

fn chosen(wanted: &str, offered: &[&str]) -> Option<String> {
    let index = Index {
        manifests: offered
            .iter()
            .map(|name| Descriptor {
                digest: (*name).to_owned(),
                platform: Some(platform(name)),
                ..Descriptor::default()
            })
            .collect(),
        ..Index::default()
    };
    choose(&index, &platform(wanted)).map(|entry| entry.digest.clone())
}

#[test]
fn the_entry_is_chosen_as_docker_does() {
    let check = |wanted: &str, offered: &[&str], expected: Option<&str>| {
        assert_eq!(chosen(wanted, offered).as_deref(), expected, "{wanted}");
    };
    check(
        "linux/amd64",
        &["linux/386", "linux/amd64", "unknown/unknown"],
        Some("linux/amd64"),
    );
    check(
        "linux/amd64",
        &["linux/arm64", "linux/386"],
        Some("linux/386"),
    );
    check("linux/amd64", &["windows/amd64", "linux/arm64"], None);
    check(
        "linux/amd64",
        &["linux/amd64/v3", "linux/amd64"],
        Some("linux/amd64"),
    );
    check(
        "linux/amd64/v3",
        &["linux/amd64", "linux/amd64/v2"],
        Some("linux/amd64/v2"),
    );
    check(
        "linux/arm64",
        &["linux/arm/v7", "linux/arm64/v8"],
        Some("linux/arm64/v8"),
    );
    check(
        "linux/arm64",
        &["linux/arm/v6", "linux/arm/v7"],
        Some("linux/arm/v7"),
    );
    check(
        "linux/arm",
        &["linux/arm/v5", "linux/arm/v6"],
        Some("linux/arm/v6"),
    );
    check("linux/arm/v6", &["linux/arm/v7"], None);
    check("linux/s390x", &["linux/s390x"], Some("linux/s390x"));
    check("linux/amd64", &[], None);
}

#[test]
fn platforms_are_named_as_docker_does() {
    assert_eq!(platform_name(&platform("linux/arm64/v8")), "linux/arm64/v8");
    assert_eq!(platform_name(&platform("linux/amd64")), "linux/amd64");
}
