//! Who may do what, over the socket.

use std::time::Duration;

use serde_json::json;
use wharf_registry::{Access, IssueSettings, Policy, Rules, TokenSettings, Tokens};
use wharf_types::Digest;

use crate::client::Registry;

/// A file of users whose passwords are their names.
fn users(names: &[&str]) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let lines: String = names
        .iter()
        .map(|name| format!("{name}:{}\n", bcrypt::hash(name, 4).expect("a hash")))
        .collect();
    std::fs::write(file.path(), lines).expect("written");
    file
}

fn basic(name: &str, password: &str) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(format!("{name}:{password}"));
    format!("Basic {text}")
}

fn with_users(file: &tempfile::NamedTempFile, rules: Rules) -> Access {
    Access {
        rules,
        users: Some(Access::users(file.path().to_owned()).expect("read")),
        realm: "home".to_owned(),
        tokens: None,
    }
}

fn policy(text: &str) -> (tempfile::NamedTempFile, Rules) {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), text).expect("written");
    let rules = Rules::file(file.path().to_owned()).expect("a policy");
    (file, rules)
}

#[test]
fn a_password_opens_what_is_closed() {
    let file = users(&["anna"]);
    let registry = Registry::start(with_users(&file, Policy::users(true).into()));
    let base = registry.get("/v2/");
    assert_eq!(
        (base.status, base.header("www-authenticate")),
        (401, "Basic realm=\"home\"")
    );
    let status = |method: &str, path: &str, authorization: &str| {
        let answer = registry.send(method, path, &[("Authorization", authorization)], b"");
        answer.status
    };
    assert_eq!(status("GET", "/v2/", &basic("anna", "anna")), 200);
    assert_eq!(status("GET", "/v2/", &basic("anna", "falsch")), 401);
    assert_eq!(status("GET", "/v2/", "Bearer x.y.z"), 401);
    assert_eq!(
        registry.get("/v2/_catalog").status,
        200,
        "everybody may read"
    );
    let catalog = status("GET", "/v2/_catalog", &basic("anna", "falsch"));
    assert_eq!(catalog, 401, "wrong is not anonymous");
    let write = registry.send("POST", "/v2/app/blobs/uploads/", &[], b"");
    assert_eq!((write.status, write.code().as_str()), (401, "UNAUTHORIZED"));
    assert_eq!(
        status("POST", "/v2/app/blobs/uploads/", &basic("anna", "anna")),
        202
    );
}

#[test]
fn attack_g1_g2_a_policy_keeps_repositories_apart() {
    let file = users(&["anna", "bert", "chef"]);
    let (_policy, rules) = policy(
        r#"{"rules": [
            {"who": ["anna"], "repositories": ["private/**"], "actions": ["pull", "push"]},
            {"who": ["bert"], "repositories": ["mine"], "actions": ["pull", "push"]},
            {"who": ["chef"], "repositories": ["**"], "actions": ["pull", "push", "overwrite", "delete"]}
        ]}"#,
    );
    let registry = Registry::start(with_users(&file, rules));
    let send = |who: &str, method: &str, path: &str, body: &[u8]| {
        let headers = [
            ("Authorization", &*basic(who, who)),
            ("Content-Type", "application/vnd.oci.image.manifest.v1+json"),
        ];
        registry.send(method, path, &headers, body)
    };
    let digest = Digest::of(b"secret").to_string();
    let pushed = send(
        "anna",
        "POST",
        &format!("/v2/private/x/blobs/uploads/?digest={digest}"),
        b"secret",
    );
    assert_eq!(pushed.status, 201);
    let mount = format!("/v2/mine/blobs/uploads/?mount={digest}&from=private/x");
    assert_eq!(
        send("bert", "POST", &mount, b"").status,
        202,
        "an upload, not the blob"
    );
    assert_eq!(
        send("bert", "GET", &format!("/v2/mine/blobs/{digest}"), b"").status,
        404
    );
    let private = format!("/v2/private/x/blobs/{digest}");
    let seen = send("bert", "GET", &private, b"");
    assert_eq!((seen.status, seen.code().as_str()), (403, "DENIED"));
    assert_eq!(registry.get(&private).status, 401);
    assert_eq!(send("chef", "POST", &mount, b"").status, 201);
    // A tag that is there is not for who may only push.
    let manifest = |size: u32| {
        let document = json!({"schemaVersion": 2, "config": {"mediaType": "x/y", "digest": digest, "size": size}, "layers": []});
        document.to_string().into_bytes()
    };
    let path = "/v2/private/x/manifests/latest";
    assert_eq!(send("anna", "PUT", path, &manifest(1)).status, 201);
    let over = send("anna", "PUT", path, &manifest(2));
    assert_eq!((over.status, over.code().as_str()), (403, "DENIED"));
    assert_eq!(
        send("anna", "PUT", path, &manifest(1)).status,
        201,
        "it is there already"
    );
    assert_eq!(send("anna", "DELETE", path, b"").status, 403);
    assert_eq!(send("chef", "PUT", path, &manifest(2)).status, 201);
    assert_eq!(send("chef", "DELETE", path, b"").status, 202);
    // Lists show what may be pulled.
    let catalog = |who: &str| send(who, "GET", "/v2/_catalog", b"").json();
    assert_eq!(catalog("anna"), json!({"repositories": ["private/x"]}));
    assert_eq!(catalog("bert"), json!({"repositories": ["mine"]}));
    assert_eq!(
        catalog("chef"),
        json!({"repositories": ["mine", "private/x"]})
    );
    let found = send("bert", "GET", "/v1/search?q=x", b"");
    assert_eq!(found.json()["num_results"], 0);
}

#[test]
fn attack_g7_an_upload_of_somebody_else_is_out_of_reach() {
    let file = users(&["anna", "bert"]);
    let registry = Registry::start(with_users(&file, Policy::users(false).into()));
    let send = |who: &str, method: &str, path: &str| {
        registry.send(method, path, &[("Authorization", &basic(who, who))], b"")
    };
    let begun = send("anna", "POST", "/v2/app/blobs/uploads/");
    let place = begun.header("location").to_owned();
    for method in ["GET", "PATCH", "DELETE"] {
        assert_eq!(send("bert", method, &place).status, 403, "{method}");
    }
    let elsewhere = place.replace("/app/", "/other/");
    assert_eq!(send("anna", "GET", &elsewhere).status, 404);
    assert_eq!(send("anna", "GET", &place).status, 204);
}

fn tokens(rules: Rules, file: &tempfile::NamedTempFile) -> Access {
    let settings = TokenSettings {
        service: "here".to_owned(),
        realm: None,
        issue: Some(IssueSettings {
            key: None,
            lifetime: Duration::from_secs(300),
        }),
        trust: None,
    };
    Access {
        tokens: Some(Tokens::new(settings).expect("a key")),
        ..with_users(file, rules)
    }
}

#[test]
fn a_token_is_asked_for_given_and_believed() {
    let file = users(&["anna"]);
    let registry = Registry::start(tokens(Policy::users(true).into(), &file));
    let base = registry.get("/v2/");
    assert_eq!(
        (base.status, base.header("www-authenticate")),
        (
            401,
            "Bearer realm=\"http://registry/token\",service=\"here\""
        )
    );
    let write = registry.send("POST", "/v2/a/b/blobs/uploads/?mount=x&from=c", &[], b"");
    assert_eq!(
        write.header("www-authenticate"),
        "Bearer realm=\"http://registry/token\",service=\"here\",scope=\"repository:a/b:pull,push repository:c:pull\""
    );
    let token = |query: &str, headers: &[(&str, &str)]| {
        let answer = registry.send("GET", &format!("/token?service=here{query}"), headers, b"");
        assert_eq!(answer.status, 200, "{answer:?}");
        let document = answer.json();
        assert_eq!(document["expires_in"], 300);
        assert_eq!(document["token"], document["access_token"]);
        format!("Bearer {}", document["token"].as_str().expect("a token"))
    };
    let status = |method: &str, path: &str, token: &str| {
        let answer = registry.send(method, path, &[("Authorization", token)], b"");
        (answer.status, answer.header("www-authenticate").to_owned())
    };
    let anna = [("Authorization", &*basic("anna", "anna"))];
    let push = token("&scope=repository:a/b:pull,push", &anna);
    assert_eq!(status("GET", "/v2/", &push).0, 200);
    assert_eq!(status("POST", "/v2/a/b/blobs/uploads/", &push).0, 202);
    let (elsewhere, challenge) = status("POST", "/v2/a/c/blobs/uploads/", &push);
    assert_eq!(elsewhere, 401);
    assert!(
        challenge.ends_with("scope=\"repository:a/c:pull,push\",error=\"insufficient_scope\""),
        "{challenge}"
    );
    assert_eq!(status("GET", "/v2/_catalog", &push).0, 401);
    let anonymous = token("&scope=repository:a/b:pull,push", &[]);
    assert_eq!(status("GET", "/v2/a/b/tags/list", &anonymous).0, 404);
    assert_eq!(status("POST", "/v2/a/b/blobs/uploads/", &anonymous).0, 401);
    let (changed, challenge) = status("GET", "/v2/", &format!("{push}x"));
    assert_eq!(changed, 401);
    assert!(
        challenge.ends_with(",error=\"invalid_token\""),
        "{challenge}"
    );
    let wrong = [("Authorization", &*basic("anna", "x"))];
    let refused = registry.send("GET", "/token", &wrong, b"");
    assert_eq!(
        (refused.status, refused.header("www-authenticate")),
        (401, "Basic realm=\"home\"")
    );
    let again = registry.send("GET", "/token", &[("Authorization", &push)], b"");
    assert_eq!(again.status, 401, "a token does not beget another");
    assert_eq!(registry.get("/token?service=there").status, 400);
    assert_eq!(registry.send("POST", "/token", &anna, b"").status, 405);
}

#[test]
fn where_no_tokens_are_given_out_there_is_no_such_path() {
    let registry = Registry::start(Access::open());
    assert_eq!(registry.get("/token").status, 404);
    assert_eq!(registry.get("/v2/").status, 200);
}
