use std::fs;

use super::*;

fn with(text: &str) -> (tempfile::TempDir, Credentials) {
    let directory = tempfile::tempdir().expect("a directory");
    fs::write(config::file(directory.path()), text).expect("a file");
    let credentials = Credentials::load(directory.path()).expect("a good file");
    (directory, credentials)
}

fn text(directory: &tempfile::TempDir) -> String {
    let text = fs::read_to_string(config::file(directory.path())).expect("a file");
    text.replace(['\n', '\t'], "").replace(": ", ":")
}

fn somebody(server: &str) -> AuthConfig {
    AuthConfig {
        username: "me".to_owned(),
        password: "a:b".to_owned(),
        server_address: server.to_owned(),
        ..AuthConfig::default()
    }
}

#[test]
fn an_entry_is_found_under_its_registry_or_an_address_of_it() {
    let (_directory, credentials) = with(
        r#"{"auths":{"r:5000":{"auth":"bWU6YTpi"},"https://old.example/v1/":{"auth":"bWU6YTpi"},"t":{"auth":"bWU6","identitytoken":"i"},"plain":{"username":"u","password":"p"},"n":null}}"#,
    );
    let get = |server: &str| credentials.get(server).expect("a good entry");
    assert_eq!(get("r:5000"), somebody("r:5000"));
    assert_eq!(get("old.example"), somebody("https://old.example/v1/"));
    assert_eq!(get("elsewhere"), AuthConfig::default());
    let token = get("t");
    assert_eq!(
        (
            token.username.as_str(),
            token.password.as_str(),
            token.identity_token.as_str()
        ),
        ("me", "", "i")
    );
    assert_eq!(get("plain").password, "p");
    assert_eq!(get("n").username, "");
}

#[test]
fn a_broken_entry_is_told_when_it_is_needed() {
    for entry in ["bm9jb2xvbg==", "!!!", "OnA="] {
        let (_directory, credentials) =
            with(&format!(r#"{{"auths":{{"r":{{"auth":"{entry}"}}}}}}"#));
        let error = credentials.get("r").expect_err(entry);
        assert!(
            error
                .to_string()
                .ends_with("Invalid auth configuration file")
        );
        assert!(credentials.get("other").is_ok());
        // Logging in anew mends it.
        credentials.put(&somebody("r")).expect("a good file");
    }
    let directory = tempfile::tempdir().expect("a directory");
    fs::write(config::file(directory.path()), "{").expect("a file");
    assert!(Credentials::load(directory.path()).is_err());
    let none = Credentials::none(directory.path());
    assert!(none.put(&somebody("r")).is_err());
    assert_eq!(text(&directory), "{", "what is broken is not written over");
}

#[test]
fn only_the_entry_is_changed() {
    let (directory, credentials) = with(
        r#"{"zebra":{"x":1},"auths":{"z":{"auth":"bWU6YTpi"},"r":{"auth":"eA==","more":[2]},"a":{}},"HttpHeaders":{"B":"1","A":"2"}}"#,
    );
    assert!(
        credentials.put(&somebody("r")).expect("a good file"),
        "readable"
    );
    assert_eq!(
        text(&directory),
        r#"{"zebra":{"x":1},"auths":{"z":{"auth":"bWU6YTpi"},"r":{"auth":"bWU6YTpi","more":[2]},"a":{}},"HttpHeaders":{"B":"1","A":"2"}}"#
    );
    let credentials = Credentials::load(directory.path()).expect("a good file");
    let before = fs::metadata(config::file(directory.path())).expect("a file");
    assert!(!credentials.put(&somebody("r")).expect("nothing new"));
    let after = fs::metadata(config::file(directory.path())).expect("a file");
    assert_eq!(
        before.modified().expect("a time"),
        after.modified().expect("a time")
    );
    let token = AuthConfig {
        password: String::new(),
        identity_token: "i".to_owned(),
        ..somebody("r")
    };
    assert!(
        !credentials.put(&token).expect("a good file"),
        "no password"
    );
    assert!(text(&directory).contains(r#""r":{"auth":"bWU6","more":[2],"identitytoken":"i"}"#));
    credentials.erase("z").expect("a good file");
    credentials.erase("nosuch").expect("nothing to do");
    assert_eq!(
        text(&directory),
        r#"{"zebra":{"x":1},"auths":{"r":{"auth":"bWU6","more":[2],"identitytoken":"i"},"a":{}},"HttpHeaders":{"B":"1","A":"2"}}"#
    );
}

#[test]
fn a_hostile_name_of_a_helper_is_refused() {
    for name in ["../x", "/bin/sh", "a b", "x\n", "a/../../b"] {
        let document = serde_json::json!({ "credHelpers": { "r": name }, "auths": { "r": {} } });
        let (directory, credentials) = with(&document.to_string());
        let before = text(&directory);
        for outcome in [
            credentials.get("r").map(drop),
            credentials.put(&somebody("r")).map(drop),
            credentials.erase("r"),
        ] {
            let error = outcome.expect_err(name);
            assert!(
                error
                    .to_string()
                    .starts_with("invalid name of a credential helper")
            );
        }
        assert_eq!(text(&directory), before);
        assert!(credentials.get("other").is_ok());
    }
}

#[test]
fn a_helper_that_is_not_there_is_named() {
    let (_directory, credentials) = with(r#"{"credsStore":"wharf-no-such-helper"}"#);
    assert_eq!(
        credentials.get("r").expect_err("no helper").to_string(),
        "error getting credentials - err: exec: \"docker-credential-wharf-no-such-helper\": executable file not found in $PATH, out: ``"
    );
}

#[test]
fn all_of_them_are_a_configuration_again() {
    let (_directory, credentials) =
        with(r#"{"auths":{"r":{"auth":"bWU6YTpi"},"t":{"auth":"bWU6","identitytoken":"i"}}}"#);
    let all = credentials.all().expect("good entries");
    let text = document(&all);
    assert_eq!(
        text,
        r#"{"auths":{"r":{"auth":"bWU6YTpi"},"t":{"auth":"bWU6","identitytoken":"i"}}}"#
    );
    assert_eq!(read(&text), Some(all));
    assert_eq!(read("{"), None);
    assert_eq!(read(r#"{"auths":{"r":{"auth":"!"}}}"#), None);
    assert_eq!(read("{}"), Some(BTreeMap::new()));
}

#[test]
fn docker_hub_has_a_key_of_its_own() {
    assert_eq!(key("docker.io"), HUB);
    assert_eq!(key("index.docker.io"), HUB);
    assert_eq!(key("r:5000"), "r:5000");
    for (address, name) in [
        ("r:5000", "r:5000"),
        ("https://r:5000/v2/", "r:5000"),
        ("http://me@r", "r"),
        ("r/path", "r"),
        ("https://[::1]:5/x", "[::1]:5"),
        (HUB, "index.docker.io"),
        ("://", "://"),
        ("", ""),
    ] {
        assert_eq!(hostname(address), name);
    }
}

proptest::proptest! {
    #[test]
    fn what_is_packed_is_unpacked(name in "[^:\0]{1,20}", password in "[^\0]{0,20}") {
        proptest::prop_assert_eq!(unpack(&pack(&name, &password)), Some((name, password)));
    }

    #[test]
    fn any_address_has_a_name(text: String) {
        drop(hostname(&text).to_owned());
    }
}
