//! OCI distribution specification 1.1, row by row.

use serde_json::json;
use wharf_registry::Access;
use wharf_types::Digest;

use crate::client::Registry;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

fn manifest(config: &str, layer: &str) -> Vec<u8> {
    let document = json!({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": 2},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": layer, "size": 5}],
    });
    document.to_string().into_bytes()
}

#[test]
fn the_base_path_says_that_this_is_a_registry() {
    let registry = Registry::start(Access::open());
    let answer = registry.get("/v2/");
    assert_eq!(
        (
            answer.status,
            answer.header("docker-distribution-api-version")
        ),
        (200, "registry/2.0")
    );
    assert_eq!(registry.get("/v1/_ping").status, 404);
    assert_eq!(registry.send("PUT", "/v2/", &[], b"").status, 405);
}

#[test]
fn a_blob_is_uploaded_in_pieces_and_read_in_ranges() {
    let registry = Registry::start(Access::open());
    let begun = registry.send("POST", "/v2/app/blobs/uploads/", &[], b"");
    assert_eq!((begun.status, begun.header("range")), (202, "0-0"));
    let place = begun.header("location").to_owned();
    let first = registry.send("PATCH", &place, &[("Content-Range", "0-4")], b"hello");
    assert_eq!((first.status, first.header("range")), (202, "0-4"));
    let hole = registry.send("PATCH", &place, &[("Content-Range", "7-9")], b"xxx");
    assert_eq!((hole.status, hole.header("range")), (416, "0-4"));
    assert_eq!(
        registry
            .send("PATCH", &place, &[("Content-Range", "9-7")], b"xxx")
            .status,
        416
    );
    assert_eq!(registry.get(&place).status, 204);
    let digest = Digest::of(b"hello world");
    let wrong = registry.send(
        "PUT",
        &format!("{place}?digest={}", Digest::of(b"x")),
        &[],
        b" world",
    );
    assert_eq!(
        (wrong.status, wrong.code().as_str()),
        (400, "DIGEST_INVALID")
    );
    let done = registry.send("PUT", &format!("{place}?digest={digest}"), &[], b"");
    assert_eq!(
        (done.status, done.header("docker-content-digest")),
        (201, digest.to_string().as_str())
    );
    let blob = done.header("location").to_owned();
    assert_eq!(registry.get(&blob).body, b"hello world");
    let head = registry.send("HEAD", &blob, &[], b"");
    assert_eq!(
        (head.status, head.header("content-length"), head.body.len()),
        (200, "11", 0)
    );
    for (range, expected) in [
        ("bytes=6-", "world"),
        ("bytes=0-4", "hello"),
        ("bytes=-5", "world"),
        ("bytes=6-100", "world"),
    ] {
        let part = registry.send("GET", &blob, &[("Range", range)], b"");
        assert_eq!(
            (part.status, part.body.as_slice()),
            (206, expected.as_bytes()),
            "{range}"
        );
    }
    assert_eq!(
        registry
            .send("GET", &blob, &[("Range", "bytes=11-")], b"")
            .status,
        416
    );
    let known = registry.send("GET", &blob, &[("If-None-Match", done.header("etag"))], b"");
    assert_eq!((known.status, known.body.len()), (304, 0));
    assert_eq!(registry.get(&place).status, 404, "the upload is over");
}

#[test]
fn an_upload_can_be_cancelled() {
    let registry = Registry::start(Access::open());
    let place = registry
        .send("POST", "/v2/app/blobs/uploads/", &[], b"")
        .header("location")
        .to_owned();
    assert_eq!(registry.send("DELETE", &place, &[], b"").status, 204);
    let again = registry.send("PATCH", &place, &[], b"x");
    assert_eq!(
        (again.status, again.code().as_str()),
        (404, "BLOB_UPLOAD_UNKNOWN")
    );
}

#[test]
fn a_manifest_comes_and_goes() {
    let registry = Registry::start(Access::open());
    let config = registry.push_blob("app", b"{}");
    let bytes = manifest(&config, &Digest::of(b"layer").to_string());
    let lacking = registry.send(
        "PUT",
        "/v2/app/manifests/1.0",
        &[("Content-Type", MANIFEST)],
        &bytes,
    );
    assert_eq!(
        (lacking.status, lacking.code().as_str()),
        (400, "MANIFEST_BLOB_UNKNOWN")
    );
    registry.push_blob("app", b"layer");
    let put = registry.send(
        "PUT",
        "/v2/app/manifests/1.0",
        &[("Content-Type", MANIFEST)],
        &bytes,
    );
    let digest = Digest::of(&bytes).to_string();
    assert_eq!(
        (put.status, put.header("docker-content-digest")),
        (201, digest.as_str())
    );
    for name in ["1.0", &digest] {
        let got = registry.get(&format!("/v2/app/manifests/{name}"));
        assert_eq!(
            (got.status, got.header("content-type"), &got.body),
            (200, MANIFEST, &bytes)
        );
        let head = registry.send("HEAD", &format!("/v2/app/manifests/{name}"), &[], b"");
        assert_eq!(
            (head.status, head.header("content-length")),
            (200, bytes.len().to_string().as_str())
        );
    }
    assert_eq!(
        registry.get("/v2/app/tags/list").json(),
        json!({"name": "app", "tags": ["1.0"]})
    );
    assert_eq!(
        registry.get("/v2/_catalog").json(),
        json!({"repositories": ["app"]})
    );
    let used = registry.send("DELETE", &format!("/v2/app/blobs/{config}"), &[], b"");
    assert_eq!((used.status, used.code().as_str()), (403, "DENIED"));
    assert_eq!(
        registry
            .send("DELETE", "/v2/app/manifests/1.0", &[], b"")
            .status,
        202
    );
    assert_eq!(
        registry.get("/v2/app/manifests/1.0").code(),
        "MANIFEST_UNKNOWN"
    );
    assert_eq!(
        registry
            .send("DELETE", &format!("/v2/app/manifests/{digest}"), &[], b"")
            .status,
        202
    );
    assert_eq!(
        registry.get(&format!("/v2/app/manifests/{digest}")).status,
        404
    );
    assert_eq!(
        registry
            .send("DELETE", &format!("/v2/app/blobs/{config}"), &[], b"")
            .status,
        202
    );
    assert_eq!(registry.get("/v2/nothing/tags/list").code(), "NAME_UNKNOWN");
}

#[test]
fn attack_g1_mounting_needs_a_source_that_serves_the_blob() {
    let registry = Registry::start(Access::open());
    let digest = registry.push_blob("private/x", b"secret");
    for query in [
        format!("mount={digest}"),
        format!("mount={digest}&from=other/y"),
    ] {
        let answer = registry.send(
            "POST",
            &format!("/v2/mine/blobs/uploads/?{query}"),
            &[],
            b"",
        );
        assert_eq!(answer.status, 202, "{query}");
        assert_eq!(
            registry.get(&format!("/v2/mine/blobs/{digest}")).status,
            404
        );
    }
    let mounted = registry.send(
        "POST",
        &format!("/v2/mine/blobs/uploads/?mount={digest}&from=private/x"),
        &[],
        b"",
    );
    assert_eq!(mounted.status, 201);
    assert_eq!(
        registry.get(&format!("/v2/mine/blobs/{digest}")).body,
        b"secret"
    );
}

#[test]
fn attack_g3_g6_lists_are_bounded_and_names_checked() {
    let registry = Registry::start(Access::open());
    for number in 0..5 {
        registry.push_blob(&format!("app{number}"), b"x");
    }
    assert_eq!(registry.get("/v2/_catalog?n=2000000000").status, 200);
    assert_eq!(
        registry.get("/v2/_catalog?n=-1").code(),
        "PAGINATION_NUMBER_INVALID"
    );
    let page = registry.get("/v2/_catalog?n=2");
    assert_eq!(page.json(), json!({"repositories": ["app0", "app1"]}));
    assert_eq!(
        page.header("link"),
        "</v2/_catalog?last=app1&n=2>; rel=\"next\""
    );
    assert_eq!(
        registry.get("/v2/_catalog?n=10&last=app3").json(),
        json!({"repositories": ["app4"]})
    );
    assert_eq!(
        registry.get("/v2/..%2f..%2fetc/tags/list").code(),
        "NAME_INVALID"
    );
    let line = registry.send("PUT", "/v2/app/manifests/a%0ab", &[], b"{}");
    assert_eq!((line.status, line.code().as_str()), (400, "TAG_INVALID"));
}

#[test]
fn documents_are_bounded() {
    let registry = Registry::start(Access::open());
    let huge = vec![b' '; 5 * 1024 * 1024];
    let answer = registry.send(
        "PUT",
        "/v2/app/manifests/t",
        &[("Content-Type", MANIFEST)],
        &huge,
    );
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (413, "SIZE_INVALID")
    );
}

#[test]
fn referrers_are_an_index() {
    let registry = Registry::start(Access::open());
    let config = registry.push_blob("app", b"{}");
    let subject = Digest::of(b"not here yet").to_string();
    let mut document: serde_json::Value =
        serde_json::from_slice(&manifest(&config, &config)).expect("a document");
    document["subject"] = json!({"mediaType": MANIFEST, "digest": subject, "size": 7});
    document["artifactType"] = json!("application/x-sbom");
    let put = registry.send(
        "PUT",
        "/v2/app/manifests/sbom",
        &[("Content-Type", MANIFEST)],
        document.to_string().as_bytes(),
    );
    assert_eq!(
        (put.status, put.header("oci-subject")),
        (201, subject.as_str())
    );
    let found = registry.get(&format!("/v2/app/referrers/{subject}"));
    assert_eq!(
        found.header("content-type"),
        "application/vnd.oci.image.index.v1+json"
    );
    assert_eq!(
        found.json()["manifests"][0]["artifactType"],
        "application/x-sbom"
    );
    let other = registry.get(&format!(
        "/v2/app/referrers/{subject}?artifactType=application/x-other"
    ));
    assert_eq!(other.header("oci-filters-applied"), "artifactType");
    assert_eq!(other.json()["manifests"], json!([]));
    let nothing = registry.get(&format!("/v2/app/referrers/{}", Digest::of(b"nothing")));
    assert_eq!(
        (nothing.status, &nothing.json()["manifests"]),
        (200, &json!([]))
    );
}

#[test]
fn attack_g7_a_range_that_is_not_of_these_bytes_is_refused() {
    let registry = Registry::start(Access::open());
    let place = registry
        .send("POST", "/v2/app/blobs/uploads/", &[], b"")
        .header("location")
        .to_owned();
    for range in ["0-9", "0-1", "a-b", "4", "-4", "0-18446744073709551615"] {
        let answer = registry.send("PATCH", &place, &[("Content-Range", range)], b"hello");
        assert_eq!(answer.status, 416, "{range}");
    }
    assert_eq!(
        registry.get(&place).header("range"),
        "0-0",
        "nothing was taken"
    );
    let taken = registry.send("PATCH", &place, &[("Content-Range", "0-4")], b"hello");
    assert_eq!(taken.status, 202);
}

#[test]
fn a_head_is_conditional_too() {
    let registry = Registry::start(Access::open());
    let digest = registry.push_blob("app", b"x");
    let path = format!("/v2/app/blobs/{digest}");
    let head = registry.send(
        "HEAD",
        &path,
        &[("If-None-Match", &format!("\"{digest}\""))],
        b"",
    );
    assert_eq!(
        (head.status, head.header("docker-content-digest")),
        (304, digest.as_str())
    );
}

#[test]
fn a_list_of_nothing_has_no_next_page() {
    let registry = Registry::start(Access::open());
    registry.push_blob("app", b"x");
    let tags = registry.get("/v2/app/tags/list?n=0");
    assert_eq!(tags.json(), json!({"name": "app", "tags": []}));
    assert_eq!(registry.get("/v2/_catalog?n=0").header("link"), "");
}
