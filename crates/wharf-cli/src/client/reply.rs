//! An answer, and the connection it came on.

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::upgrade::Upgraded;
use hyper::{Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use wharf_wire::ErrorBody;

use super::{Client, ClientError, Sender};

/// An answer whose body is still to be read.
pub(crate) struct Reply<'a> {
    client: &'a Client,
    sender: Sender,
    response: Response<Incoming>,
}

impl<'a> Reply<'a> {
    pub(super) fn new(client: &'a Client, sender: Sender, response: Response<Incoming>) -> Self {
        Self {
            client,
            sender,
            response,
        }
    }

    /// The status.
    pub(crate) fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// A header's text.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        self.response
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned)
    }

    /// Whether the body is a multiplexed stream, as newer engines say of logs.
    pub(crate) fn is_multiplexed(&self) -> Option<bool> {
        match self.header("Content-Type")?.as_str() {
            "application/vnd.docker.multiplexed-stream" => Some(true),
            "application/vnd.docker.raw-stream" => Some(false),
            _ => None,
        }
    }

    /// Turns a refusal into an error. "Not modified" is none: what was asked for is so already.
    pub(super) async fn checked(self) -> Result<Self, ClientError> {
        let status = self.status();
        if !status.is_client_error() && !status.is_server_error() {
            return Ok(self);
        }
        let bytes = self.bytes().await?;
        let message = match serde_json::from_slice::<ErrorBody>(&bytes) {
            Ok(body) if !body.message.is_empty() => body.message,
            _ => {
                let text = String::from_utf8_lossy(&bytes).trim().to_owned();
                if text.is_empty() {
                    status.to_string()
                } else {
                    text
                }
            }
        };
        Err(ClientError::Engine { status, message })
    }

    /// The whole body; the connection is kept for the next request.
    pub(crate) async fn bytes(self) -> Result<Bytes, ClientError> {
        let Self {
            client,
            sender,
            response,
        } = self;
        let body = response
            .into_body()
            .collect()
            .await
            .map_err(|source| client.broken(source))?;
        client.keep(sender);
        Ok(body.to_bytes())
    }

    /// The whole body as a document.
    pub(crate) async fn json<T: DeserializeOwned>(self) -> Result<T, ClientError> {
        serde_json::from_slice(&self.bytes().await?).map_err(ClientError::Decode)
    }

    /// The next piece of the body; `None` at its end.
    pub(crate) async fn piece(&mut self) -> Result<Option<Bytes>, ClientError> {
        loop {
            match self.response.body_mut().frame().await {
                None => return Ok(None),
                Some(Err(source)) => return Err(self.client.broken(source)),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }

    /// The connection itself, once the engine has handed it over.
    pub(super) async fn into_stream(self) -> Result<TokioIo<Upgraded>, ClientError> {
        let status = self.status();
        if status != StatusCode::SWITCHING_PROTOCOLS {
            return Err(ClientError::NoUpgrade(status.as_u16()));
        }
        let client = self.client;
        hyper::upgrade::on(self.response)
            .await
            .map(TokioIo::new)
            .map_err(|source| client.broken(source))
    }
}
