//! Answers: documents, empty ones, streams, refusals; and the headers all of them carry.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, SERVER};
use http::{Response, StatusCode};
use serde::Serialize;
use wharf_wire::query::QueryError;
use wharf_wire::{API_VERSION, ErrorBody};

use crate::body::Body;

/// A response of ours.
pub(crate) type Answer = Response<Body>;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Why a request is refused: the status and what its sender is told.
#[derive(Debug)]
pub(crate) struct Failure {
    status: StatusCode,
    message: String,
}

impl Failure {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
        }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(crate) fn not_implemented(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, message)
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn into_answer(self) -> Answer {
        if self.status == StatusCode::NOT_MODIFIED {
            return empty(self.status);
        }
        let mut answer = json(&ErrorBody {
            message: self.message,
        });
        *answer.status_mut() = self.status;
        answer
    }
}

impl From<wharf_engine::Error> for Failure {
    fn from(error: wharf_engine::Error) -> Self {
        let status =
            StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self::new(status, error.to_string())
    }
}

impl From<QueryError> for Failure {
    fn from(error: QueryError) -> Self {
        Self::invalid(error.to_string())
    }
}

/// Returns a document.
pub(crate) fn json<T: Serialize>(document: &T) -> Answer {
    json_with(StatusCode::OK, document)
}

/// Returns a document with a status of its own.
pub(crate) fn json_with<T: Serialize>(status: StatusCode, document: &T) -> Answer {
    match line(document) {
        Ok(text) => typed(status, JSON, Body::full(text)),
        Err(error) => {
            tracing::error!(%error, "an answer could not be written as JSON");
            typed(
                StatusCode::INTERNAL_SERVER_ERROR,
                JSON,
                Body::full("{\"message\":\"internal error\"}\n"),
            )
        }
    }
}

/// Returns documents as they come, one a line.
pub(crate) fn json_stream(body: Body) -> Answer {
    typed(StatusCode::OK, JSON, body)
}

/// Returns an answer of the given type.
pub(crate) fn typed(status: StatusCode, content_type: HeaderValue, body: Body) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, content_type);
    answer
}

/// Returns an answer without a body.
pub(crate) fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = status;
    answer
}

/// Returns a document as one line, as Go's encoder writes it.
pub(crate) fn line<T: Serialize>(document: &T) -> Result<Bytes, serde_json::Error> {
    let mut text = serde_json::to_vec(document)?;
    text.push(b'\n');
    Ok(text.into())
}

/// Returns the headers that every answer carries.
pub(crate) fn common_headers() -> [(HeaderName, HeaderValue); 4] {
    [
        (
            HeaderName::from_static("api-version"),
            HeaderValue::from_static(API_VERSION),
        ),
        (
            HeaderName::from_static("docker-experimental"),
            HeaderValue::from_static("false"),
        ),
        (
            HeaderName::from_static("ostype"),
            HeaderValue::from_static("linux"),
        ),
        (
            SERVER,
            HeaderValue::from_static(concat!("Wharf/", env!("CARGO_PKG_VERSION"), " (linux)")),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_a_document_with_its_status() {
        let answer = Failure::new(StatusCode::NOT_FOUND, "page not found").into_answer();
        assert_eq!(answer.status(), StatusCode::NOT_FOUND);
        assert_eq!(answer.headers()[CONTENT_TYPE], "application/json");
        assert_eq!(
            answer.body().as_full().map(|body| &body[..]),
            Some(&b"{\"message\":\"page not found\"}\n"[..])
        );
    }

    #[test]
    fn not_modified_has_no_body() {
        let answer = Failure::new(StatusCode::NOT_MODIFIED, "started already").into_answer();
        assert_eq!(answer.status(), StatusCode::NOT_MODIFIED);
        assert_eq!(answer.body().as_full(), None);
    }
}
