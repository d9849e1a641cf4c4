//! A request on its way to the engine: what it carries, and how it is decoded.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use serde::de::DeserializeOwned;
use wharf_engine::{Caller, Engine};
use wharf_wire::query::Query;

use crate::answer::Failure;
use crate::body::BodyReader;
use crate::link::Link;
use crate::router::Params;
use crate::version::ApiVersion;

/// Longest document a request may carry.
pub(crate) const MAX_DOCUMENT: usize = 4 * 1024 * 1024;

/// A request, matched with its route.
pub(crate) struct Call {
    pub(crate) engine: Engine,
    pub(crate) version: ApiVersion,
    pub(crate) params: Params,
    pub(crate) query: Query,
    pub(crate) request: Request<Incoming>,
}

impl Call {
    /// Returns the name in the path.
    pub(crate) fn name(&self) -> &str {
        self.params.name()
    }

    /// Returns who asks, as far as the connection tells.
    pub(crate) fn caller(&self) -> Option<Caller> {
        self.request.extensions().get::<Link>()?.caller()
    }

    /// Reads the body as a document.
    pub(crate) async fn document<T: DeserializeOwned>(&mut self) -> Result<T, Failure> {
        let bytes = self.bytes().await?;
        document(self.request.headers(), &bytes)
    }

    /// Reads the body as a document, which may be missing or `null`.
    pub(crate) async fn optional_document<T: DeserializeOwned>(
        &mut self,
    ) -> Result<Option<T>, Failure> {
        let bytes = self.bytes().await?;
        if matches!(bytes.trim_ascii(), b"" | b"null") {
            return Ok(None);
        }
        document(self.request.headers(), &bytes).map(Some)
    }

    /// Takes the body as a blocking reader.
    pub(crate) fn into_reader(self) -> BodyReader {
        BodyReader::new(self.request.into_body())
    }

    /// Refuses parameters of Docker's that would change the answer and that this engine does not know yet.
    pub(crate) fn refuse(&self, parameters: &[&str]) -> Result<(), Failure> {
        match parameters
            .iter()
            .find(|name| self.query.non_empty(name).is_some())
        {
            None => Ok(()),
            Some(name) => Err(Failure::not_implemented(format!(
                "the parameter {name} is not supported by this engine"
            ))),
        }
    }

    /// Whether the request has a body longer than `length`, or one of unknown length.
    pub(crate) fn has_body_beyond(&self, length: u64) -> bool {
        let hint = self.request.body().size_hint();
        hint.upper().is_none_or(|upper| upper > length)
    }

    async fn bytes(&mut self) -> Result<Bytes, Failure> {
        let limited = Limited::new(self.request.body_mut(), MAX_DOCUMENT);
        match limited.collect().await {
            Ok(collected) => Ok(collected.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => Err(Failure::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("the request's body is longer than {MAX_DOCUMENT} bytes"),
            )),
            Err(error) => Err(Failure::invalid(format!(
                "the request's body could not be read: {error}"
            ))),
        }
    }
}

/// Reads a document, which must say that it is one.
pub(crate) fn document<T: DeserializeOwned>(
    headers: &HeaderMap,
    bytes: &[u8],
) -> Result<T, Failure> {
    check_content_type(
        headers
            .get(CONTENT_TYPE)
            .map_or(b"", |value| value.as_bytes()),
        bytes.is_empty(),
    )?;
    if bytes.is_empty() {
        return Err(Failure::invalid(
            "invalid JSON: got EOF while reading request body",
        ));
    }
    // serde would read a list as an object's members in their order.
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        return Err(Failure::invalid("invalid JSON: not an object"));
    }
    serde_json::from_slice(bytes)
        .map_err(|error| Failure::invalid(format!("invalid JSON: {error}")))
}

/// A body of another type than JSON is refused: forms of web pages cannot have it, so they cannot make requests.
fn check_content_type(value: &[u8], nothing_sent: bool) -> Result<(), Failure> {
    let value = String::from_utf8_lossy(value);
    let kind = value.split(';').next().unwrap_or_default().trim();
    if kind.eq_ignore_ascii_case("application/json") || (kind.is_empty() && nothing_sent) {
        return Ok(());
    }
    Err(Failure::invalid(format!(
        "unsupported Content-Type header ({value}): must be 'application/json'"
    )))
}

/// Runs work that blocks (reading a store, walking a tree) on a thread for it.
pub(crate) async fn blocking<T: Send + 'static>(
    name: &'static str,
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => {
            tracing::error!(work = name, %error, "blocking work did not end well");
            Err(Failure::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                format!("internal error in {name}"),
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use wharf_wire::ExecStartBody;

    use super::*;

    fn read(content_type: Option<&'static str>, body: &str) -> Result<ExecStartBody, String> {
        let headers = content_type.map(|value| (CONTENT_TYPE, HeaderValue::from_static(value)));
        let headers: HeaderMap = headers.into_iter().collect();
        document(&headers, body.as_bytes()).map_err(|failure| failure.message().to_owned())
    }

    #[test]
    fn a_document_says_that_it_is_json() {
        let tty = ExecStartBody {
            tty: true,
            ..Default::default()
        };
        for kind in ["application/json", "Application/JSON; charset=utf-8"] {
            assert_eq!(
                read(Some(kind), r#"{"Tty":true}"#),
                Ok(tty.clone()),
                "{kind}"
            );
        }
        assert_eq!(
            read(Some("text/plain"), "{}"),
            Err(
                "unsupported Content-Type header (text/plain): must be 'application/json'"
                    .to_owned()
            )
        );
        assert_eq!(
            read(None, "{}"),
            Err("unsupported Content-Type header (): must be 'application/json'".to_owned())
        );
    }

    #[test]
    fn a_broken_document_is_refused() {
        for body in ["", "{", "[]", "{} {}", r#"{"Tty":1}"#] {
            let message = read(Some("application/json"), body).expect_err(body);
            assert!(message.starts_with("invalid JSON: "), "{body}: {message}");
        }
    }
}
