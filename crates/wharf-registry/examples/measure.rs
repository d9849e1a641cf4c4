//! The registry beside Debian's `docker-registry`, nginx and `cp`, as a table.
//!
//! `cargo run --release --example measure -p wharf-registry -- PATH-TO-WHARF`; needs docker-registry,
//! nginx, wrk, curl, cp, sha256sum and sync. It takes about a minute; the machine should have
//! nothing else to do.

#![expect(clippy::print_stdout, reason = "the table is what it is for")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use wharf_types::Digest;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const WHARF: &str = "127.0.0.1:5961";
const CNCF: &str = "127.0.0.1:5962";
const NGINX: &str = "127.0.0.1:5963";

/// Turns of each measurement; the best counts, for each peer alike.
const TURNS: usize = 3;

/// A server that ends with the value.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // By a signal that nginx hands on to its workers.
        let id = i32::try_from(self.0.id()).ok();
        if let Some(id) = id.and_then(rustix::process::Pid::from_raw) {
            rustix::process::kill_process(id, rustix::process::Signal::TERM).ok();
        }
        self.0.wait().ok();
    }
}

fn server(command: &mut Command) -> Result<Server> {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null());
    Ok(Server(quiet.stderr(Stdio::null()).spawn()?))
}

fn run(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{command:?}: {said}").into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn curl(arguments: &[&str]) -> Result<String> {
    run(Command::new("curl").arg("-sSf").args(arguments))
}

/// A file of bytes that do not compress.
fn file(path: PathBuf, megabytes: usize) -> Result<PathBuf> {
    let source = std::fs::File::open("/dev/urandom")?;
    let mut source = std::io::Read::take(source, (megabytes as u64) << 20);
    std::io::copy(&mut source, &mut std::fs::File::create(&path)?)?;
    Ok(path)
}

/// Pushes a file as a blob, as clients do: in one piece to an upload that was begun.
fn push(server: &str, repository: &str, path: &Path, digest: &str) -> Result<Duration> {
    let begin = format!("http://{server}/v2/{repository}/blobs/uploads/");
    let begun = Instant::now();
    let head = curl(&["-i", "-X", "POST", &begin])?;
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    let place = lines.find(|(name, _)| name.eq_ignore_ascii_case("location"));
    let place = place.ok_or("no Location")?.1.trim();
    let place = match place.strip_prefix('/') {
        Some(rest) => format!("http://{server}/{rest}"),
        None => place.to_owned(),
    };
    let mark = if place.contains('?') { '&' } else { '?' };
    let text = path.display().to_string();
    curl(&["-T", &text, &format!("{place}{mark}digest={digest}")])?;
    Ok(begun.elapsed())
}

/// What wrk says about a line of its report, in its own unit.
fn wrk(connections: usize, url: &str, line: &str) -> Result<f64> {
    let mut best: f64 = 0.0;
    for _ in 0..TURNS {
        let flags = [
            "-t1".to_owned(),
            format!("-c{connections}"),
            "-d2s".to_owned(),
        ];
        let report = run(Command::new("wrk").args(flags).arg(url))?;
        let found = report
            .lines()
            .find_map(|found| found.trim().strip_prefix(line));
        let text = found.ok_or("no figure")?.trim();
        let end = text
            .find(|c: char| c.is_ascii_alphabetic())
            .unwrap_or(text.len());
        let unit = match &text[end..] {
            "GB" => 1000.0,
            "KB" => 0.001,
            _ => 1.0,
        };
        best = best.max(text[..end].parse::<f64>()? * unit);
    }
    Ok(best)
}

/// The time of copying a file with its digest and a flush: what a push cannot do without either.
fn copy(path: &Path, to: &Path) -> Result<Duration> {
    let mut best = Duration::MAX;
    for _ in 0..TURNS {
        std::fs::remove_file(to).ok();
        let begun = Instant::now();
        run(Command::new("cp").args([path, to]))?;
        run(Command::new("sha256sum").arg(to))?;
        run(Command::new("sync").arg(to))?;
        best = best.min(begun.elapsed());
    }
    Ok(best)
}

fn start(wharf: &str, directory: &Path) -> Result<Vec<Server>> {
    let root = |name: &str| directory.join(name).display().to_string();
    let configuration = directory.join("cncf.yml");
    std::fs::write(
        &configuration,
        format!(
            "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\nhttp: {{addr: {CNCF}}}\n\
             storage: {{filesystem: {{rootdirectory: {}}}, cache: {{blobdescriptor: inmemory}}}}\n",
            root("cncf")
        ),
    )?;
    let nginx = directory.join("nginx.conf");
    std::fs::write(
        &nginx,
        format!(
            "daemon off; worker_processes 2; pid {0}/nginx.pid; error_log {0}/nginx.log;\nevents {{}}\n\
             http {{ access_log off; sendfile on; tcp_nopush on; server {{ listen {NGINX}; root {0}; }} }}\n",
            directory.display()
        ),
    )?;
    let servers = vec![
        server(Command::new(wharf).args([
            "registry",
            "serve",
            "--log-level",
            "warn",
            "--listen",
            WHARF,
            "--root",
            &root("wharf"),
        ]))?,
        server(
            Command::new("docker-registry")
                .arg("serve")
                .arg(&configuration),
        )?,
        server(Command::new("nginx").arg("-c").arg(&nginx))?,
    ];
    let begun = Instant::now();
    for address in [WHARF, CNCF] {
        while curl(&[&format!("http://{address}/v2/")]).is_err() {
            if begun.elapsed() > Duration::from_secs(10) {
                return Err(format!("{address} does not answer").into());
            }
        }
    }
    Ok(servers)
}

fn main() -> Result<()> {
    let wharf = std::env::args().nth(1).ok_or("which wharf?")?;
    let directory = tempfile::tempdir_in("/var/tmp")?;
    let _servers = start(&wharf, directory.path())?;
    let blob = file(directory.path().join("blob"), 20)?;
    let digest = Digest::of(&std::fs::read(&blob)?).to_string();
    let manifest = directory.path().join("manifest");
    let text = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{digest}","size":20971520}},"layers":[]}}"#
    );
    std::fs::write(&manifest, text)?;
    for server in [WHARF, CNCF] {
        push(server, "app", &blob, &digest)?;
        let kind = "Content-Type: application/vnd.oci.image.manifest.v1+json";
        let to = format!("http://{server}/v2/app/manifests/1");
        curl(&["-H", kind, "-T", &manifest.display().to_string(), &to])?;
    }
    let manifests = |server| {
        wrk(
            16,
            &format!("http://{server}/v2/app/manifests/1"),
            "Requests/sec:",
        )
    };
    let (ours, theirs) = (manifests(WHARF)?, manifests(CNCF)?);
    println!(
        "manifest GET   wharf {ours:.0}/s   docker-registry {theirs:.0}/s   {:.1} times",
        ours / theirs
    );
    let ours = wrk(
        2,
        &format!("http://{WHARF}/v2/app/blobs/{digest}"),
        "Transfer/sec:",
    )?;
    let theirs = wrk(2, &format!("http://{NGINX}/blob"), "Transfer/sec:")?;
    println!(
        "blob GET       wharf {ours:.0} MB/s   nginx {theirs:.0} MB/s   {:.2} of it",
        ours / theirs
    );
    let (mut ours, mut theirs) = (Duration::MAX, Duration::MAX);
    let to = directory.path().join("copy");
    let mut copied = Duration::MAX;
    for turn in 0..TURNS {
        // Each turn has content of its own: what a registry has already costs it nothing.
        let large = file(directory.path().join("large"), 200)?;
        let digest = Digest::of(&std::fs::read(&large)?).to_string();
        ours = ours.min(push(WHARF, &format!("push{turn}"), &large, &digest)?);
        theirs = theirs.min(push(CNCF, &format!("push{turn}"), &large, &digest)?);
        copied = copied.min(copy(&large, &to)?);
    }
    println!(
        "200 MB push    wharf {ours:.2?}   docker-registry {theirs:.2?}   cp, sha256sum, sync {copied:.2?}"
    );
    Ok(())
}
