//! The registry's page, in a browser.

use std::process::Command;

use wharf_tests_system::command::{self, Ran};
use wharf_tests_system::{Registry, needs};

/// What the browser has made of a page.
fn browse(registry: &Registry, flags: &[&str], path: &str) -> Ran {
    let profile = registry.beside("profile");
    std::fs::remove_dir_all(&profile).ok();
    let mut command = Command::new("chromium");
    command
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--window-size=1100,900",
        ])
        .arg(format!("--user-data-dir={}", profile.display()))
        .args(flags)
        .arg(format!("http://{}{path}", registry.address()));
    command::run(command, b"")
}

fn curl(arguments: &[&str]) -> Ran {
    let mut command = Command::new("curl");
    command.args(["-sf"]).args(arguments);
    command::run(command, b"")
}

#[test]
fn a_browser_renders_the_pages_in_both_schemes() {
    if !needs::met(&["chromium", "curl"]) {
        return;
    }
    let mut registry = Registry::prepare();
    registry.launch(&[]);
    let base = format!("http://{}", registry.address());
    // A tag whose manifest has a type with markup in it, which is to be shown and not obeyed.
    let digest = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
    let upload = format!("{base}/v2/team/app/blobs/uploads/?digest={digest}");
    curl(&["-X", "POST", "--data-binary", "{}", &upload]).succeeded();
    let manifest = format!(
        r#"{{"schemaVersion":2,"config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{digest}","size":2}},
            "layers":[{{"mediaType":"<script>document.title='run'</script>","digest":"{digest}","size":2}}]}}"#
    );
    let put = format!("{base}/v2/team/app/manifests/1.0");
    let kind = "Content-Type: application/vnd.oci.image.manifest.v1+json";
    curl(&["-X", "PUT", "-H", kind, "--data-binary", &manifest, &put]).succeeded();
    let first = browse(&registry, &["--dump-dom"], "/");
    first.tells("href=\"/-/team/app\"");
    let image = browse(&registry, &["--dump-dom"], "/-/team/app:1.0");
    image.tells("<title>team/app:1.0 · registry</title>");
    image.tells("&lt;script&gt;document.title='run'&lt;/script&gt;");
    let mut pictures = Vec::new();
    for scheme in [&[][..], &["--blink-settings=preferredColorScheme=0"]] {
        let picture = registry.beside("page.png");
        let shot = format!("--screenshot={}", picture.display());
        browse(&registry, &[scheme, &[&shot]].concat(), "/").succeeded();
        pictures.push(std::fs::read(&picture).expect("a picture"));
    }
    // An empty page of this size packs into less.
    assert!(pictures.iter().all(|picture| picture.len() > 15_000));
    assert_ne!(pictures[0], pictures[1], "light and dark differ");
}
