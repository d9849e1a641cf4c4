//! The client of the Engine API: HTTP/1.1 on plain connections, no pool but the connections that are idle.
//!
//! Every request names the newest API version we speak; an engine that finds it too new says which it
//! speaks, and the request is made again in that one. So the engine of the same release, which is the one that
//! is nearly always there, is asked nothing beforehand.
//!
//! The program is over in milliseconds, so a connection is kept for the next request and opened when none
//! is idle: `run` needs three, since being attached and waiting each hold one.

pub(crate) mod connect;
mod documents;
mod error;
mod file_body;
mod reply;

pub(crate) use documents::Documents;
pub(crate) use error::ClientError;
pub(crate) use file_body::FileBody;
pub(crate) use reply::Reply;

use std::cell::{Cell, RefCell};
use std::io;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, UPGRADE, USER_AGENT};
use hyper::upgrade::Upgraded;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::grammar::Demand;
use crate::program::Program;
use crate::settings::{Address, Host};
use connect::Connection;

type Body = UnsyncBoxBody<Bytes, io::Error>;
pub(super) type Sender = SendRequest<Body>;

/// A version of the API, 1.x.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Minor(u32);

impl Minor {
    /// Reads `1.51`.
    fn parse(text: &str) -> Option<Self> {
        text.strip_prefix("1.")?.parse().ok().map(Self)
    }
}

/// A client of one engine.
pub(crate) struct Client {
    host: Host,
    program: Program,
    version: Cell<Minor>,
    settled: Cell<bool>,
    /// Whether the user chose the version, which then stays whatever the engine says.
    fixed: bool,
    idle: RefCell<Vec<Sender>>,
    trace: bool,
    headers: Vec<(String, String)>,
    demands: Vec<Demand>,
}

/// How a client talks, beyond to whom.
#[derive(Debug, Default)]
pub(crate) struct Manner {
    /// The API version to speak, whatever the engine's is.
    pub(crate) version: Option<String>,
    /// Headers of every request.
    pub(crate) headers: Vec<(String, String)>,
    /// What the flags on the line ask of the engine.
    pub(crate) demands: Vec<Demand>,
    /// Whether each request is told.
    pub(crate) trace: bool,
}

/// Headers of one request: names and values.
type Headers<'a> = &'a [(&'a str, &'a str)];

/// What a request carries.
#[derive(Clone)]
enum Content {
    Nothing,
    /// A document, and its type.
    Document(&'static str, Bytes),
}

impl Client {
    /// Returns a client; it connects when it is first used.
    pub(crate) fn new(host: Host, program: Program, manner: Manner) -> Self {
        let newest = Minor::parse(wharf_wire::API_VERSION).unwrap_or(Minor(24));
        let Manner {
            version,
            headers,
            demands,
            trace,
        } = manner;
        let chosen = version.as_deref().and_then(Minor::parse);
        Self {
            host,
            program,
            version: Cell::new(chosen.unwrap_or(newest)),
            settled: Cell::new(chosen.is_some()),
            fixed: chosen.is_some(),
            idle: RefCell::default(),
            trace,
            headers,
            demands,
        }
    }

    /// Where the engine is.
    pub(crate) fn address(&self) -> &Address {
        &self.host.address
    }

    /// Whether the API version spoken is at least that one.
    pub(crate) fn speaks(&self, minor: u32) -> bool {
        self.version.get() >= Minor(minor)
    }

    /// The API version spoken, `1.51`.
    pub(crate) fn api_version(&self) -> String {
        format!("1.{}", self.version.get().0)
    }

    /// Asks for a document.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.call(Method::GET, path).await?.json().await
    }

    /// Posts without content.
    pub(crate) async fn post(&self, path: &str) -> Result<Reply<'_>, ClientError> {
        self.call(Method::POST, path).await
    }

    /// Posts a document.
    pub(crate) async fn post_json(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<Reply<'_>, ClientError> {
        self.send(Method::POST, path, json(body)?, &[]).await
    }

    /// Makes a request without content.
    pub(crate) async fn call(&self, method: Method, path: &str) -> Result<Reply<'_>, ClientError> {
        self.send(method, path, Content::Nothing, &[]).await
    }

    /// The same, telling the engine who the user is at a registry.
    pub(crate) async fn call_as(
        &self,
        method: Method,
        path: &str,
        auth: &str,
    ) -> Result<Reply<'_>, ClientError> {
        let headers = [(wharf_wire::AUTH_HEADER, auth)];
        self.send(method, path, Content::Nothing, &headers).await
    }

    /// Posts a file's content.
    pub(crate) async fn post_file(
        &self,
        path: &str,
        kind: &'static str,
        file: FileBody,
    ) -> Result<Reply<'_>, ClientError> {
        self.send_file(Method::POST, path, kind, file).await
    }

    /// Sends a few bytes.
    pub(crate) async fn send_bytes(
        &self,
        method: Method,
        path: &str,
        kind: &'static str,
        bytes: Vec<u8>,
    ) -> Result<Reply<'_>, ClientError> {
        self.send(method, path, Content::Document(kind, bytes.into()), &[])
            .await
    }

    /// Sends a file's content. It cannot be sent twice, so that an engine that may be older is asked first.
    pub(crate) async fn send_file(
        &self,
        method: Method,
        path: &str,
        kind: &'static str,
        file: FileBody,
    ) -> Result<Reply<'_>, ClientError> {
        self.settle().await?;
        let path = self.versioned(path);
        let request = self
            .request(method, &path)
            .header(CONTENT_TYPE, kind)
            .body(file.boxed_unsync());
        self.exchange(request.map_err(ClientError::Request)?)
            .await?
            .checked()
            .await
    }

    /// Posts and takes the connection over for a stream in both directions.
    pub(crate) async fn upgrade(
        &self,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<TokioIo<Upgraded>, ClientError> {
        let content = body.map(json).transpose()?.unwrap_or(Content::Nothing);
        let headers = [(CONNECTION.as_str(), "Upgrade"), (UPGRADE.as_str(), "tcp")];
        let reply = self.send(Method::POST, path, content, &headers).await?;
        reply.into_stream().await
    }

    /// Finds the version to speak, unless it is known.
    pub(crate) async fn settle(&self) -> Result<(), ClientError> {
        if self.settled.replace(true) {
            return Ok(());
        }
        let request = self
            .request(Method::GET, "/_ping")
            .body(empty())
            .map_err(ClientError::Request)?;
        let reply = self.exchange(request).await?;
        if let Some(theirs) = reply
            .header("Api-Version")
            .and_then(|text| Minor::parse(&text))
        {
            self.speak(self.version.get().min(theirs))?;
        }
        reply.bytes().await?;
        Ok(())
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        content: Content,
        headers: Headers<'_>,
    ) -> Result<Reply<'_>, ClientError> {
        loop {
            let spoken = self.version.get();
            let versioned = self.versioned(path);
            let mut request = self.request(method.clone(), &versioned);
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let body = match &content {
                Content::Nothing => empty(),
                Content::Document(kind, bytes) => {
                    request = request.header(CONTENT_TYPE, *kind);
                    full(bytes.clone())
                }
            };
            let request = request.body(body).map_err(ClientError::Request)?;
            let reply = self.exchange(request).await?;
            match reply.checked().await {
                Err(ClientError::Engine {
                    status: StatusCode::BAD_REQUEST,
                    message,
                }) if self.step_down(spoken, &message)? => {}
                other => return other,
            }
        }
    }

    /// Goes back to the version an engine offers when it finds the one spoken too new; true when there is one to
    /// try. Of requests made at the same time each finds it out for itself.
    fn step_down(&self, spoken: Minor, message: &str) -> Result<bool, ClientError> {
        let offered = message
            .contains("is too new")
            .then(|| message.split("Maximum supported API version is ").nth(1))
            .flatten()
            .and_then(|text| Minor::parse(text.split([' ', ',']).next()?.trim_end_matches('.')));
        match offered {
            Some(minor) if minor < spoken && !self.fixed => {
                self.speak(minor.min(self.version.get()))?;
                self.settled.set(true);
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Speaks a version from here on, unless a flag on the line needs a newer one.
    fn speak(&self, version: Minor) -> Result<(), ClientError> {
        self.version.set(version);
        let refusal = self
            .demands
            .iter()
            .find_map(|demand| demand.refusal(version.0));
        refusal.map_or(Ok(()), |text| Err(ClientError::TooOld(text)))
    }

    fn versioned(&self, path: &str) -> String {
        format!("/v1.{}{path}", self.version.get().0)
    }

    fn request(&self, method: Method, path: &str) -> hyper::http::request::Builder {
        let host = match &self.host.address {
            Address::Unix(_) | Address::Ssh(_) => "api.wharf",
            Address::Tcp(address) => &address.text,
        };
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, host)
            .header(USER_AGENT, concat!("wharf/", env!("CARGO_PKG_VERSION")));
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        request
    }

    async fn exchange(&self, request: Request<Body>) -> Result<Reply<'_>, ClientError> {
        let what = self
            .trace
            .then(|| format!("{} {}", request.method(), request.uri()));
        if let Some(what) = &what {
            crate::printer::trace(what);
        }
        // A connection that is to be taken over must be a new one: the engine hands it to the container's own process, and can do
        // that only while nothing else has been on it.
        let mut sender = if request.headers().contains_key(UPGRADE) {
            self.connect().await?
        } else {
            self.connection().await?
        };
        let response = sender
            .send_request(request)
            .await
            .map_err(|source| self.broken(source))?;
        if let Some(what) = &what {
            crate::printer::trace(&format!("{what}: {}", response.status()));
        }
        Ok(Reply::new(self, sender, response))
    }

    fn broken(&self, source: hyper::Error) -> ClientError {
        let address = self.host.address.to_string();
        match self.host.address {
            Address::Ssh(_) => ClientError::Remote { address, source },
            Address::Unix(_) | Address::Tcp(_) => ClientError::Exchange { address, source },
        }
    }

    /// Keeps a connection for the next request.
    fn keep(&self, sender: Sender) {
        self.idle.borrow_mut().push(sender);
    }

    async fn connection(&self) -> Result<Sender, ClientError> {
        loop {
            let idle = self.idle.borrow_mut().pop();
            match idle {
                Some(mut sender) => {
                    // The engine may have closed it meanwhile.
                    if sender.ready().await.is_ok() {
                        return Ok(sender);
                    }
                }
                None => return self.connect().await,
            }
        }
    }

    async fn connect(&self) -> Result<Sender, ClientError> {
        let stream = connect::dial(&self.host, self.program).await?;
        handshake(stream)
            .await
            .map_err(|source| self.broken(source))
    }
}

async fn handshake(stream: Box<dyn Connection>) -> Result<Sender, hyper::Error> {
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Ends with the connection; what goes wrong on it is told to the request that waits for its answer.
    tokio::spawn(connection.with_upgrades());
    Ok(sender)
}

fn json(body: &impl Serialize) -> Result<Content, ClientError> {
    serde_json::to_vec(body)
        .map(|bytes| Content::Document("application/json", bytes.into()))
        .map_err(ClientError::Encode)
}

fn empty() -> Body {
    full(Bytes::new())
}

fn full(bytes: Bytes) -> Body {
    Full::new(bytes)
        .map_err(|never| match never {})
        .boxed_unsync()
}

#[cfg(test)]
mod tests;
