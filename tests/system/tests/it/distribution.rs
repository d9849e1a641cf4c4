//! Our registry client at real registries: our own, and the CNCF's as Debian packages it.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, tcp};
use wharf_distribution::{
    Client, Credentials, Error, Kind, Limits, Progress, Repository, Settings, Target, Uploaded,
};
use wharf_tests_system::{Registry, needs, wait};
use wharf_types::Digest;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const LAYER: usize = 3_000_000;

/// The CNCF's registry on a port of its own; its directory goes with it.
struct Cncf {
    directory: tempfile::TempDir,
    process: Child,
}

impl Cncf {
    /// Starts it with some more lines of configuration for `http` and `auth`.
    fn start(http: &str, auth: &str, prepare: impl FnOnce(&Path)) -> Self {
        let directory = tempfile::tempdir().expect("directory");
        let at = directory.path().display().to_string();
        prepare(directory.path());
        let (http, auth) = (http.replace("DIR", &at), auth.replace("DIR", &at));
        let configuration = format!(
            "version: 0.1\nlog:\n  level: info\nstorage:\n  delete:\n    enabled: true\n  filesystem:\n    rootdirectory: {at}/root\nhttp:\n  addr: 127.0.0.1:0\n{http}{auth}"
        );
        let file = directory.path().join("config.yml");
        std::fs::write(&file, configuration).expect("configuration");
        let log = File::create(directory.path().join("log")).expect("log");
        let process = Command::new("docker-registry")
            .arg("serve")
            .arg(&file)
            // It would write its traces somewhere on the network.
            .env("OTEL_TRACES_EXPORTER", "none")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("docker-registry starts");
        let registry = Self { directory, process };
        wait::until_true("docker-registry's socket", || {
            registry.log().contains("listening on 127.0.0.1:")
        });
        registry
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    fn address(&self) -> String {
        let log = self.log();
        let rest = log.split("listening on ").nth(1).expect("it listens");
        let end = rest.find([',', '"']).expect("an end");
        rest[..end].to_owned()
    }
}

impl Drop for Cncf {
    fn drop(&mut self) {
        self.process.kill().expect("our child");
        self.process.wait().expect("our child");
    }
}

fn settings() -> Settings {
    Settings {
        host_directories: Vec::new(),
        limits: Limits {
            first_pause: Duration::from_millis(5),
            longest_pause: Duration::from_millis(50),
            ..Limits::default()
        },
        ..Settings::default()
    }
}

fn repository(address: &str, name: &str, credentials: Credentials) -> Repository {
    let client = Client::new(settings()).expect("settings");
    let name = format!("{address}/{name}").parse().expect("name");
    client.repository(&name, credentials)
}

fn tag(name: &str) -> Target {
    Target::Tag(name.parse().expect("tag"))
}

/// Content of a length that no compression makes shorter, the same each time.
fn content(length: usize) -> Bytes {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[0]
        })
        .collect()
}

fn silent() -> Progress {
    Arc::new(|_| {})
}

async fn push(repository: &Repository, blob: &Bytes) -> Uploaded {
    repository
        .upload(&Digest::of(blob), blob.len() as u64, &[], blob, silent())
        .await
        .expect("upload")
}

async fn pull(repository: &Repository, digest: &Digest, size: usize) -> Vec<u8> {
    let stream = repository.blob(digest, Some(size as u64), 0).await;
    let mut stream = stream.expect("blob").verified();
    let mut all = Vec::new();
    while let Some(bytes) = stream.next().await.expect("bytes") {
        all.extend_from_slice(&bytes);
    }
    all
}

fn manifest(layer: &Bytes) -> String {
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{}","size":2}},"layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"{}","size":{}}}]}}"#,
        Digest::of(b"{}"),
        Digest::of(layer),
        layer.len()
    )
}

/// Everything that is done to a repository, once.
async fn everything(address: &str) {
    let app = repository(address, "team/app", Credentials::None);
    let (layer, configuration) = (content(LAYER), Bytes::from_static(b"{}"));
    let digest = Digest::of(&layer);
    assert_eq!(push(&app, &layer).await, Uploaded::Sent);
    assert_eq!(push(&app, &configuration).await, Uploaded::Sent);
    assert_eq!(push(&app, &layer).await, Uploaded::Existed);
    let document = manifest(&layer);
    let put = app
        .put_manifest(&tag("1"), MANIFEST, document.clone().into())
        .await
        .expect("put");
    assert_eq!(put, Digest::of(document.as_bytes()));
    let found = app.resolve(&tag("1")).await.expect("manifest");
    assert_eq!(
        (found.bytes.as_ref(), found.digest),
        (document.as_bytes(), put)
    );
    let head = app.head(&tag("1")).await.expect("head").expect("there");
    assert_eq!(
        (head.digest, head.size),
        (put.to_string(), document.len() as u64)
    );
    assert_eq!(app.head(&tag("2")).await.expect("head"), None);
    assert_eq!(pull(&app, &digest, LAYER).await, layer);
    assert_eq!(app.tags().await.expect("tags"), ["1"]);

    let other = repository(address, "team/other", Credentials::None);
    let mounted = other
        .upload(
            &digest,
            LAYER as u64,
            &["team/app".parse().expect("name")],
            &layer,
            silent(),
        )
        .await
        .expect("mount");
    assert_eq!(mounted, Uploaded::Mounted("team/app".to_owned()));
    assert_eq!(pull(&other, &digest, LAYER).await, layer);

    let artifact = document.replace(
        r#""layers""#,
        &format!(
            r#""artifactType":"sig/x","subject":{{"mediaType":"{MANIFEST}","digest":"{put}","size":{}}},"layers""#,
            document.len()
        ),
    );
    let referrer = Target::Digest(Digest::of(artifact.as_bytes()));
    app.put_manifest(&referrer, MANIFEST, artifact.into())
        .await
        .expect("referrer");
    app.referrers(&put, Some("sig/x")).await.expect("referrers");

    app.delete_manifest(&put.into()).await.expect("delete");
    let error = app.resolve(&tag("1")).await.expect_err("gone");
    let words = format!("manifest for {address}/team/app:1 not found: manifest unknown: manifest ");
    assert!(error.to_string().starts_with(&words), "{error}");
}

fn block_on(future: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("runtime")
        .block_on(future);
}

#[test]
fn everything_is_done_at_our_registry() {
    let mut registry = Registry::prepare();
    registry.launch(&[]);
    block_on(async {
        everything(&registry.address()).await;
    });
}

#[test]
fn everything_is_done_at_the_cncfs_registry() {
    if !needs::met(&["docker-registry"]) {
        return;
    }
    let registry = Cncf::start("", "", |_| {});
    block_on(async {
        everything(&registry.address()).await;
    });
}

/// A line to a registry that breaks after so many bytes, each way, again and again.
struct BrokenLine {
    address: String,
    shared: Arc<Carried>,
    task: tokio::task::JoinHandle<()>,
}

struct Carried {
    /// After how many bytes it breaks.
    after: u64,
    /// How often at most.
    times: u64,
    bytes: AtomicU64,
    breaks: AtomicU64,
}

impl BrokenLine {
    async fn start(to: &str, after: u64, times: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let address = listener.local_addr().expect("address").to_string();
        let shared = Arc::new(Carried {
            after,
            times,
            bytes: AtomicU64::new(0),
            breaks: AtomicU64::new(0),
        });
        let to: std::net::SocketAddr = to.parse().expect("address");
        let carried = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            let mut lines = tokio::task::JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.expect("accept");
                let server = TcpStream::connect(to).await.expect("connect");
                let carried = Arc::clone(&carried);
                lines.spawn(async move {
                    let (from_client, to_client) = client.into_split();
                    let (from_server, to_server) = server.into_split();
                    tokio::select! {
                        () = carry(from_client, to_server, &carried) => {}
                        () = carry(from_server, to_client, &carried) => {}
                    }
                });
            }
        });
        Self {
            address,
            shared,
            task,
        }
    }

    /// Bytes that went over it, both ways.
    fn carried(&self) -> u64 {
        self.shared.bytes.load(Ordering::SeqCst)
    }

    /// How often it broke.
    fn broken(&self) -> u64 {
        self.shared.breaks.load(Ordering::SeqCst)
    }
}

impl Drop for BrokenLine {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Carries bytes one way until there were too many, or either side ends.
async fn carry(mut from: tcp::OwnedReadHalf, mut to: tcp::OwnedWriteHalf, carried: &Carried) {
    let mut buffer = vec![0; 16 * 1024];
    let mut left = carried.after;
    loop {
        let wanted = usize::try_from(left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let Ok(length) = from.read(&mut buffer[..wanted]).await else {
            return;
        };
        if length == 0 || to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
        carried.bytes.fetch_add(length as u64, Ordering::SeqCst);
        left -= length as u64;
        if left > 0 {
            continue;
        }
        if carried.breaks.load(Ordering::SeqCst) < carried.times {
            carried.breaks.fetch_add(1, Ordering::SeqCst);
            // What the other side has not read yet is not lost: the line ends in order.
            drop(to.shutdown().await);
            return;
        }
        left = u64::MAX;
    }
}

/// A pull over a line that breaks every 200,000 bytes, and what it costs.
async fn pull_over_a_broken_line(address: &str, layer: &Bytes) {
    let digest = Digest::of(layer);
    let line = BrokenLine::start(address, 200_000, u64::MAX).await;
    let app = repository(&line.address, "team/app", Credentials::None);
    assert_eq!(pull(&app, &digest, LAYER).await, *layer);
    assert!(line.broken() >= 14, "{} breaks", line.broken());
    let (carried, most) = (line.carried(), LAYER as u64 * 102 / 100);
    assert!(carried <= most, "the pull carried {carried} bytes");
}

#[test]
fn a_line_to_our_registry_may_break_all_the_time() {
    let mut registry = Registry::prepare();
    registry.launch(&[]);
    block_on(async {
        let address = registry.address();
        let layer = content(LAYER);
        let line = BrokenLine::start(&address, 200_000, u64::MAX).await;
        let app = repository(&line.address, "team/app", Credentials::None);
        assert_eq!(push(&app, &layer).await, Uploaded::Sent);
        assert!(line.broken() >= 14, "{} breaks", line.broken());
        let (carried, most) = (line.carried(), LAYER as u64 * 102 / 100);
        assert!(carried <= most, "the push carried {carried} bytes");
        pull_over_a_broken_line(&address, &layer).await;
    });
}

/// That registry forgets an upload whose line broke in the middle of a request, so it begins anew.
#[test]
fn a_line_to_the_cncfs_registry_may_break_sometimes() {
    if !needs::met(&["docker-registry"]) {
        return;
    }
    let registry = Cncf::start("", "", |_| {});
    block_on(async {
        let address = registry.address();
        let layer = content(LAYER);
        let line = BrokenLine::start(&address, 200_000, 3).await;
        let app = repository(&line.address, "team/app", Credentials::None);
        assert_eq!(push(&app, &layer).await, Uploaded::Sent);
        assert_eq!(line.broken(), 3);
        pull_over_a_broken_line(&address, &layer).await;
    });
}

#[test]
fn passwords_are_checked_at_the_cncfs_registry() {
    if !needs::met(&["docker-registry"]) {
        return;
    }
    let auth = "auth:\n  htpasswd:\n    realm: test\n    path: DIR/htpasswd\n";
    let registry = Cncf::start("", auth, |directory| {
        // The password is `pw`.
        let entry = "me:$2b$05$abcdefghijklmnopqrstuuHIrMEWpUCQe2YqFR3sXwQ75u4od..9q\n";
        std::fs::write(directory.join("htpasswd"), entry).expect("htpasswd");
    });
    let address = registry.address();
    block_on(async {
        let client = Client::new(settings()).expect("settings");
        let good = Credentials::basic("me", "pw");
        client.login(&address, &good).await.expect("login");
        let bad = Credentials::basic("me", "no");
        let error = client.login(&address, &bad).await.expect_err("no");
        assert_eq!(error.kind(), Kind::Unauthorized, "{error}");
        let app = repository(&address, "app", good);
        let blob = content(1000);
        assert_eq!(push(&app, &blob).await, Uploaded::Sent);
        let nobody = repository(&address, "app", Credentials::None);
        let error = nobody.blob(&Digest::of(&blob), None, 0).await;
        let error = error.expect_err("nobody in particular");
        assert!(
            error.to_string().ends_with("no basic auth credentials"),
            "{error}"
        );
    });
}

#[test]
fn the_cncfs_registry_is_certified_by_a_file() {
    if !needs::met(&["docker-registry", "openssl"]) {
        return;
    }
    let tls = "  tls:\n    certificate: DIR/cert.pem\n    key: DIR/key.pem\n";
    let registry = Cncf::start(tls, "", |directory| {
        let made = Command::new("openssl")
            .current_dir(directory)
            .args(
                "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=registry -addext basicConstraints=critical,CA:FALSE -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout key.pem -out cert.pem"
                    .split(' '),
            )
            .output()
            .expect("openssl");
        assert!(made.status.success(), "{made:?}");
    });
    block_on(async {
        // Loopback need not prove who it is.
        let app = repository(&registry.address(), "app", Credentials::None);
        let blob = content(1000);
        assert_eq!(push(&app, &blob).await, Uploaded::Sent);
        assert_eq!(pull(&app, &Digest::of(&blob), 1000).await, blob);
        let error: Error = app.resolve(&tag("1")).await.expect_err("no such tag");
        assert_eq!(error.kind(), Kind::NotFound);
    });
}
