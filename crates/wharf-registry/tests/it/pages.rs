//! The pages for people, and the search.

use serde_json::json;
use wharf_registry::Access;

use crate::client::{Answer, Registry};

const HTML: [(&str, &str); 1] = [("Accept", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8")];

fn page(registry: &Registry, path: &str) -> Answer {
    registry.send("GET", path, &HTML, b"")
}

/// A registry with an image whose every text is hostile.
fn registry() -> (Registry, String) {
    let registry = Registry::start(Access::open());
    let hostile = "<script>alert(1)</script>\"'&";
    let config = json!({
        "architecture": hostile, "os": "linux", "created": "2026-01-02T03:04:05Z",
        "config": {"Cmd": [hostile], "User": hostile}, "rootfs": {"type": "layers", "diff_ids": []},
        "history": [{"created_by": hostile}],
    });
    let config_text = config.to_string();
    let config = registry.push_blob("team/app", config_text.as_bytes());
    let layer = registry.push_blob("team/app", &[0; 2_500_000]);
    let manifest = json!({
        "schemaVersion": 2,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": config_text.len()},
        "layers": [{"mediaType": hostile, "digest": layer, "size": 2_500_000}],
    });
    let type_ = [("Content-Type", "application/vnd.oci.image.manifest.v1+json")];
    let put = registry.send(
        "PUT",
        "/v2/team/app/manifests/1.0",
        &type_,
        manifest.to_string().as_bytes(),
    );
    assert_eq!(put.status, 201);
    let digest = put.header("docker-content-digest").to_owned();
    (registry, digest)
}

#[test]
fn pages_show_what_there_is_and_escape_it() {
    let (registry, digest) = registry();
    let first = page(&registry, "/").text();
    assert!(
        first.contains("<a href=\"/-/team/app\">team/app</a>"),
        "{first}"
    );
    assert!(first.contains("2.5 MB"), "{first}");
    let tags = page(&registry, "/-/team/app").text();
    assert!(tags.contains("docker pull registry/team/app:1.0"), "{tags}");
    for path in [
        "/-/team/app:1.0".to_owned(),
        format!("/-/team/app@{digest}"),
    ] {
        let image = page(&registry, &path);
        assert_eq!(image.status, 200);
        let text = image.text();
        assert!(text.contains("2026-01-02 03:04 UTC"), "{text}");
        assert!(
            text.contains("&lt;script&gt;alert(1)&lt;/script&gt;"),
            "{text}"
        );
        assert!(!text.contains("<script"), "{text}");
        let policy = image.header("content-security-policy");
        assert!(
            policy.starts_with("default-src 'none'; style-src 'sha256-"),
            "{policy}"
        );
    }
    assert_eq!(page(&registry, "/-/team/none").status, 404);
    assert_eq!(page(&registry, "/-/team/app:2").status, 404);
    assert_eq!(page(&registry, "/-/Team").status, 400);
}

#[test]
fn a_search_finds_parts_of_names() {
    let (registry, _) = registry();
    registry.push_blob("other", b"x");
    let found = page(&registry, "/?q=APP").text();
    assert!(
        found.contains(">team/app</a>") && !found.contains(">other</a>"),
        "{found}"
    );
    let nothing = page(&registry, "/?q=%22%3E%3Cscript%3E").text();
    assert!(
        nothing.contains("No repository has this in its name"),
        "{nothing}"
    );
    assert!(!nothing.contains("<script"), "{nothing}");
    let answer = registry.get("/v1/search?q=app&n=25").json();
    assert_eq!(answer["num_results"], 1);
    assert_eq!(answer["results"][0]["name"], "team/app");
    assert_eq!(
        registry.get("/v1/search?q=&page=2&n=1").json()["results"][0]["name"],
        "team/app"
    );
    assert_eq!(registry.get("/v1/search?n=x").status, 400);
}

#[test]
fn only_browsers_get_the_first_page() {
    let (registry, _) = registry();
    let answer = registry.get("/");
    assert_eq!((answer.status, answer.body.len()), (200, 0));
    assert_eq!(registry.send("POST", "/", &HTML, b"").status, 405);
}
