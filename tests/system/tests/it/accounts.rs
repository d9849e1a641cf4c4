//! Who the user is at registries: told once, remembered, proved, forgotten.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use wharf_tests_system::fake_engine::{Asked, FakeEngine, Said};
use wharf_tests_system::foreign_registry::ACCOUNT;
use wharf_tests_system::{Client, Engine, ForeignRegistry, Ran, command, needs};

const NEEDED: [&str; 5] = [
    "docker",
    "dockerd",
    "containerd",
    "busybox",
    "docker-registry",
];

/// A client of an engine, with a configuration of its own and programs of the test's.
struct Desk<'a> {
    engine: &'a Engine,
    client: Client,
    configuration: PathBuf,
    programs: PathBuf,
}

impl<'a> Desk<'a> {
    fn new(engine: &'a Engine, client: Client, name: &str) -> Self {
        let directory = engine.directory().join(format!("{client:?}-{name}"));
        let desk = Self {
            engine,
            client,
            configuration: directory.join("configuration"),
            programs: directory.join("programs"),
        };
        std::fs::create_dir_all(&desk.programs).unwrap();
        desk
    }

    fn configure(&self, text: &str) {
        std::fs::create_dir_all(&self.configuration).unwrap();
        std::fs::write(self.file(), text).unwrap();
    }

    fn file(&self) -> PathBuf {
        self.configuration.join("config.json")
    }

    /// The configuration without blanks.
    fn configured(&self) -> String {
        let text = std::fs::read_to_string(self.file()).unwrap();
        text.replace(['\n', '\t'], "").replace(": ", ":")
    }

    #[track_caller]
    fn run(&self, arguments: &[&str], input: &str) -> Ran {
        let mut command = self.engine.client(self.client, arguments);
        let path = std::env::var("PATH").unwrap();
        command
            .env("DOCKER_CONFIG", &self.configuration)
            .env("PATH", format!("{}:{path}", self.programs.display()));
        command::run(command, input.as_bytes())
    }

    #[track_caller]
    fn login(&self, registry: &str, password: &str) -> Ran {
        let words = ["login", "-u", ACCOUNT.0, "--password-stdin", registry];
        self.run(&words, password)
    }
}

fn at_dockerd(name: &str, scenario: impl Fn(&Desk<'_>, &str)) {
    if !needs::met(&NEEDED) {
        return;
    }
    let engine = Engine::dockerd_with_busybox();
    let registry = ForeignRegistry::closed();
    for client in Client::ALL {
        scenario(&Desk::new(&engine, client, name), &registry.address());
    }
    engine.finish();
}

/// The image goes to the registry, and comes back when it is run and not here.
#[track_caller]
fn travels(desk: &Desk<'_>, registry: &str) {
    let image = format!("{registry}/{:?}/box:1", desk.client).to_lowercase();
    desk.run(&["tag", "busybox", &image], "").succeeded();
    let pushed = desk.run(&["push", &image], "");
    pushed.tells("1: digest: sha256:").succeeded();
    desk.run(&["rmi", &image], "").succeeded();
    let made = desk.run(&["create", "--name", "traveller", &image, "true"], "");
    made.says(&format!("Unable to find image '{image}' locally"))
        .says("Status: Downloaded newer image for")
        .succeeded();
    desk.run(&["rm", "traveller"], "").succeeded();
    desk.run(&["rmi", &image], "").succeeded();
}

#[test]
fn a_login_is_proved_remembered_used_and_forgotten() {
    at_dockerd("plain", |desk, registry| {
        let image = format!("{registry}/x/box:1");
        desk.run(&["tag", "busybox", &image], "").succeeded();
        let refused = desk.run(&["push", &image], "");
        refused.exited(1).says("no basic auth credentials");
        desk.run(&["rmi", &image], "").succeeded();
        desk.login(registry, "wrong\n")
            .exited(1)
            .says("401 Unauthorized");
        assert!(!desk.file().exists());

        let first = desk.login(registry, "secret\n");
        assert_eq!(first.out(), "Login Succeeded");
        first.says("WARNING! Your credentials are stored unencrypted in");
        let mode = std::fs::metadata(desk.file()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(
            desk.configured(),
            format!(r#"{{"auths":{{"{registry}":{{"auth":"dGVzdGVyOnNlY3JldA=="}}}}}}"#)
        );
        travels(desk, registry);
        let again = desk.run(&["login", registry], "");
        assert_eq!(again.out(), "Login Succeeded");
        again.says("Authenticating with existing credentials... [Username: tester]");

        let gone = desk.run(&["logout", registry], "");
        assert_eq!(
            gone.out(),
            format!("Removing login credentials for {registry}")
        );
        assert_eq!(desk.configured(), r#"{"auths":{}}"#);
    });
}

#[test]
fn what_others_keep_in_the_configuration_stays() {
    at_dockerd("others", |desk, registry| {
        if desk.client == Client::Docker {
            // Docker's own client drops what it does not know.
            return;
        }
        desk.configure(r#"{"zebra":{"b":1,"a":2},"auths":{"other":{"auth":"bWU6bWU=","x":1}},"currentContext":"default"}"#);
        std::fs::set_permissions(desk.file(), PermissionsExt::from_mode(0o644)).unwrap();
        desk.login(registry, "secret").succeeded();
        assert_eq!(
            desk.configured(),
            format!(
                r#"{{"zebra":{{"b":1,"a":2}},"auths":{{"other":{{"auth":"bWU6bWU=","x":1}},"{registry}":{{"auth":"dGVzdGVyOnNlY3JldA=="}}}},"currentContext":"default"}}"#
            )
        );
        let mode = std::fs::metadata(desk.file()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "there is a password in it now");
        desk.configure("{broken");
        let failed = desk.login(registry, "secret");
        failed
            .exited(1)
            .says("Error saving credentials: Error parsing config file");
        assert_eq!(std::fs::read_to_string(desk.file()).unwrap(), "{broken");
    });
}

/// Keeps one document beside itself, and notes what it is asked.
const HELPER: &str = r#"#!/bin/sh
echo "$1" >> "$0.asked"
case "$1" in
get) cat "$0.kept" 2>/dev/null || { echo "credentials not found in native keychain"; exit 1; };;
store) cat > "$0.kept";;
erase) rm "$0.kept" 2>/dev/null || { echo "credentials not found in native keychain"; exit 1; };;
esac
"#;

/// Writes a program, by another process: one that is open for writing cannot be run.
fn install(path: &Path, text: &str) {
    let mut writer = Command::new("sh");
    writer
        .args(["-c", "cat > \"$0\" && chmod 755 \"$0\""])
        .arg(path);
    command::run(writer, text.as_bytes()).succeeded();
}

#[test]
fn a_helper_keeps_credentials_in_place_of_the_file() {
    at_dockerd("helper", |desk, registry| {
        let helper = desk.programs.join("docker-credential-test");
        install(&helper, HELPER);
        let kept = helper.with_extension("kept");
        for (configuration, entry) in [
            (r#"{"credsStore":"test"}"#.to_owned(), ""),
            (
                format!(r#"{{"credsStore":"nosuch","credHelpers":{{"{registry}":"test"}}}}"#),
                "helpers",
            ),
        ] {
            desk.configure(&configuration);
            let done = desk.login(registry, "secret");
            assert_eq!(done.out(), "Login Succeeded", "{entry}");
            assert!(!done.stderr.contains("unencrypted"), "{done:?}");
            assert!(!desk.configured().contains("dGVzdGVyOnNlY3JldA=="));
            assert!(desk.configured().contains(&format!(r#""{registry}":{{}}"#)));
            let document = std::fs::read_to_string(&kept).unwrap();
            let document: serde_json::Value = serde_json::from_str(&document).unwrap();
            assert_eq!(document["ServerURL"], registry);
            assert_eq!(document["Username"], ACCOUNT.0);
            assert_eq!(document["Secret"], ACCOUNT.1);
            travels(desk, registry);
            let gone = desk.run(&["logout", registry], "");
            assert!(
                gone.stdout.contains("Removing login credentials"),
                "{gone:?}"
            );
            assert!(!kept.exists());
            let image = format!("{registry}/x/box:1");
            let refused = desk.run(&["pull", &image], "");
            refused.exited(1).says("no basic auth credentials");
        }
        let asked = std::fs::read_to_string(helper.with_extension("asked")).unwrap();
        for action in ["get", "store", "erase"] {
            assert!(asked.lines().any(|line| line == action), "{asked}");
        }
    });
}

#[test]
fn a_hostile_name_of_a_helper_runs_nothing() {
    if !needs::met(&NEEDED) {
        return;
    }
    let engine = Engine::dockerd_with_busybox();
    let registry = ForeignRegistry::closed();
    let registry = registry.address();
    let desk = Desk::new(&engine, Client::Wharf, "hostile");
    // Where the name would lead, from the working directory and from a directory of programs.
    std::fs::create_dir_all(desk.programs.join("docker-credential-")).unwrap();
    install(&desk.programs.join("x"), HELPER);
    desk.configure(&format!(r#"{{"credHelpers":{{"{registry}":"/../x"}}}}"#));
    let before = desk.configured();
    let refused = desk.login(&registry, "secret");
    refused
        .exited(1)
        .says("invalid name of a credential helper: \"/../x\"");
    let pulled = desk.run(&["pull", &format!("{registry}/x/y")], "");
    pulled.exited(1).says("invalid name of a credential helper");
    let ran = desk.run(&["run", &format!("{registry}/x/y")], "");
    ran.exited(125).says("invalid name of a credential helper");
    let gone = desk.run(&["logout", &registry], "");
    gone.says("WARNING: could not erase credentials");
    assert!(!desk.programs.join("x.asked").exists());
    assert_eq!(desk.configured(), before);
    engine.finish();
}

/// Gives a token in place of the password, and no image.
fn token_server(asked: &Asked) -> Said {
    if asked.line == "POST /auth" {
        let answer = r#"{"Status":"Login Succeeded","IdentityToken":"a-token"}"#;
        return (200, vec![answer.to_owned()]);
    }
    (404, vec![r#"{"message":"nothing here"}"#.to_owned()])
}

#[test]
fn a_token_takes_the_passwords_place_and_is_sent_along() {
    if !needs::met(&["docker"]) {
        return;
    }
    for client in Client::ALL {
        let engine = Engine::prepare();
        let fake = FakeEngine::listen(&engine.socket(), token_server);
        let desk = Desk::new(&engine, client, "token");
        let done = desk.login("r.example:5000", "secret");
        assert_eq!(done.out(), "Login Succeeded");
        assert!(
            !done.stderr.contains("unencrypted"),
            "a token is no password"
        );
        assert_eq!(
            desk.configured(),
            r#"{"auths":{"r.example:5000":{"auth":"dGVzdGVyOg==","identitytoken":"a-token"}}}"#
        );
        let asked = fake.asked();
        let body: serde_json::Value = serde_json::from_str(&asked[0].body).unwrap();
        assert_eq!(
            (&body["username"], &body["password"], &body["serveraddress"]),
            (&"tester".into(), &"secret".into(), &"r.example:5000".into())
        );
        let image = "r.example:5000/a/b:1";
        for line in [
            &["pull", image][..],
            &["push", image],
            &["create", "--pull", "always", image],
            &["search", "r.example:5000/box"],
        ] {
            let failed = desk.run(line, "");
            failed
                .exited(1)
                .says("Error response from daemon: nothing here");
            let asked = fake.asked();
            let sent = asked[0].header("x-registry-auth").unwrap();
            let sent = sent.replace('-', "+").replace('_', "/");
            let mut decode = Command::new("base64");
            decode.arg("--decode");
            let text = command::run(decode, sent.as_bytes());
            let auth: serde_json::Value = serde_json::from_str(text.out()).unwrap();
            assert_eq!(auth["identitytoken"], "a-token", "{line:?}");
            assert_eq!(auth["serveraddress"], "r.example:5000", "{line:?}");
        }
        // To another registry they do not go.
        desk.run(&["pull", "other.example/a"], "").exited(1);
        assert_eq!(fake.asked()[0].header("x-registry-auth"), Some("e30="));
    }
}

/// Wants to know who asks.
fn doorkeeper(asked: &Asked) -> Said {
    let message = match asked.header("x-registry-auth") {
        Some("e30=") => return (401, vec![r#"{"message":"who are you?"}"#.to_owned()]),
        _ => r#"{"message":"nothing here"}"#,
    };
    (404, vec![message.to_owned()])
}

#[test]
fn an_engine_that_asks_who_it_is_is_told() {
    if !needs::met(&["script"]) {
        return;
    }
    let engine = Engine::prepare();
    let fake = FakeEngine::listen(&engine.socket(), doorkeeper);
    let words = ["pull", "r.example:5000/a:1"];
    let told = engine.on_terminal(Client::Wharf, &words, "tester\nsecret\n");
    assert_eq!(told.code, 1);
    for text in [
        "Login prior to pull:",
        "Username:",
        "Password:",
        "Error response from daemon: nothing here",
    ] {
        assert!(told.stdout.contains(text), "{text}: {told:?}");
    }
    let sent = fake.asked()[1]
        .header("x-registry-auth")
        .unwrap()
        .to_owned();
    let mut decode = Command::new("base64");
    decode.arg("--decode");
    let sent = command::run(decode, sent.replace('-', "+").replace('_', "/").as_bytes());
    assert_eq!(
        sent.out(),
        r#"{"username":"tester","password":"secret","serveraddress":"r.example:5000"}"#
    );
    // Nothing of it is remembered: that is what a login is for.
    assert!(!engine.directory().join("config/config.json").exists());
    // Who cannot be asked is not asked for ever.
    let failed = engine.wharf(&words);
    failed.exited(1).says("Error: Non-null Username Required");
}

#[test]
fn signatures_by_notary_are_refused_by_name() {
    if !needs::met(&[]) {
        return;
    }
    let engine = Engine::prepare();
    let fake = FakeEngine::listen(&engine.socket(), token_server);
    let image = "r.example:5000/a:1";
    for (line, code) in [
        (&["pull", image][..], 1),
        (&["push", image], 1),
        (&["create", image], 1),
        (&["run", image], 125),
    ] {
        let mut by_variable = engine.client(Client::Wharf, line);
        by_variable.env("DOCKER_CONTENT_TRUST", "1");
        let by_flag = [&line[..1], &["--disable-content-trust=false"], &line[1..]].concat();
        let by_flag = engine.client(Client::Wharf, &by_flag);
        for command in [by_variable, by_flag] {
            let refused = command::run(command, b"");
            refused
                .exited(code)
                .says("content trust asks for signatures kept by notary");
        }
        // What has its digest in its name needs none, and the flag comes before the variable.
        let mut trusted = engine.client(
            Client::Wharf,
            &[&line[..1], &["--disable-content-trust"], &line[1..]].concat(),
        );
        trusted.env("DOCKER_CONTENT_TRUST", "1");
        command::run(trusted, b"").says("nothing here");
    }
    let digest = format!("r.example:5000/a@sha256:{}", "0".repeat(64));
    let mut by_digest = engine.client(Client::Wharf, &["pull", &digest]);
    by_digest.env("DOCKER_CONTENT_TRUST", "1");
    command::run(by_digest, b"").says("nothing here");
    assert!(
        fake.asked()
            .iter()
            .all(|asked| !asked.line.contains("/auth"))
    );
}
