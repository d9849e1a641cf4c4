//! A registry for tests: some manifests and blobs, and clients that do not wait long.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use wharf_distribution::{BlobStream, Client, Credentials, Error, Limits, Repository, Settings};
use wharf_types::Digest;

use crate::server::{Reply, Request, Server};

/// Settings of a client that knows this machine alone and does not wait long.
pub(crate) fn settings() -> Settings {
    Settings {
        host_directories: Vec::new(),
        root_certificates: Vec::new(),
        hosts_file: "/nonexistent/hosts".into(),
        resolv_conf: "/nonexistent/resolv.conf".into(),
        limits: Limits {
            answer: Duration::from_millis(500),
            idle: Duration::from_millis(500),
            first_pause: Duration::from_millis(2),
            longest_pause: Duration::from_millis(10),
            longest_retry_after: Duration::from_secs(2),
            ..Limits::default()
        },
        ..Settings::default()
    }
}

pub(crate) fn client(settings: Settings) -> Client {
    Client::new(settings).expect("settings")
}

/// The repository `app` at a server.
pub(crate) fn app(server: &Server) -> Repository {
    app_with(server, settings(), Credentials::None)
}

pub(crate) fn app_with(
    server: &Server,
    settings: Settings,
    credentials: Credentials,
) -> Repository {
    let name = format!("{}/app", server.name()).parse().expect("name");
    client(settings).repository(&name, credentials)
}

/// Content of a length, the same each time.
pub(crate) fn content(length: usize) -> Bytes {
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

/// Reads a stream to its end.
pub(crate) async fn read(mut stream: BlobStream) -> Result<Vec<u8>, Error> {
    let mut all = Vec::new();
    while let Some(bytes) = stream.next().await? {
        all.extend_from_slice(&bytes);
    }
    Ok(all)
}

/// Reads a stream to its end and checks it.
pub(crate) async fn read_verified(stream: BlobStream) -> Result<Vec<u8>, Error> {
    let mut stream = stream.verified();
    let mut all = Vec::new();
    while let Some(bytes) = stream.next().await? {
        all.extend_from_slice(&bytes);
    }
    Ok(all)
}

/// A manifest with a configuration and one layer.
pub(crate) fn manifest() -> String {
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{{"mediaType":"c","digest":"{}","size":2}},"layers":[{{"mediaType":"l","digest":"{}","size":5}}]}}"#,
        Digest::of(b"{}"),
        Digest::of(b"layer")
    )
}

/// The type of that manifest.
pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// What a simple registry has, by path below `/v2/app/`.
#[derive(Debug, Default, Clone)]
pub(crate) struct Content(HashMap<String, (String, Vec<u8>)>);

impl Content {
    /// The manifest of [`manifest`] under a tag, and its blobs.
    pub(crate) fn image(tag: &str) -> Self {
        let mut content = Self::default();
        let manifest = manifest();
        let digest = Digest::of(manifest.as_bytes());
        for name in [tag, &digest.to_string()] {
            content.put(&format!("manifests/{name}"), MANIFEST, manifest.as_bytes());
        }
        for blob in [b"{}".as_slice(), b"layer"] {
            let path = format!("blobs/{}", Digest::of(blob));
            content.put(&path, "application/octet-stream", blob);
        }
        content
    }

    pub(crate) fn put(&mut self, path: &str, media_type: &str, bytes: &[u8]) {
        self.0.insert(
            format!("/v2/app/{path}"),
            (media_type.to_owned(), bytes.to_vec()),
        );
    }

    pub(crate) fn answer(&self, request: &Request) -> Reply {
        let path = request.path.split('?').next().expect("path");
        match self.0.get(path) {
            None if path == "/v2/" => Reply::ok(""),
            None => Reply::refusal(404, "MANIFEST_UNKNOWN", "manifest unknown"),
            Some((media_type, bytes)) => Reply::ranged(request, bytes)
                .with("Content-Type", media_type)
                .with("Docker-Content-Digest", Digest::of(bytes)),
        }
    }
}
