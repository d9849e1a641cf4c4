//! Refusals, with the specification's codes ("Error Codes") and the statuses that go with them.

use http::StatusCode;
use serde_json::{Value, json};

use crate::storage::{StorageError, UploadError};

/// Why a request is refused.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    code: &'static str,
    message: String,
    /// What `WWW-Authenticate` asks for.
    pub(crate) challenge: Option<String>,
    /// How many bytes an upload has, for a client that goes on.
    pub(crate) offset: Option<u64>,
    /// Seconds after which to try again.
    pub(crate) retry_after: Option<u64>,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            challenge: None,
            offset: None,
            retry_after: None,
        }
    }

    pub(crate) fn name(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "NAME_INVALID", message)
    }

    pub(crate) fn digest(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "DIGEST_INVALID", message)
    }

    pub(crate) fn tag(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "TAG_INVALID", message)
    }

    pub(crate) fn unsupported(message: impl Into<String>) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", message)
    }

    pub(crate) fn denied(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "DENIED", message)
    }

    pub(crate) fn unauthorized(challenge: String) -> Self {
        let mut refusal = Self::new(
            StatusCode::UNAUTHORIZED,
            "UNAUTHORIZED",
            "authentication required",
        );
        refusal.challenge = Some(challenge);
        refusal
    }

    /// Something that should not happen; the text says what, and has nothing in it that a client must not see.
    pub(crate) fn unknown(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN", message)
    }

    pub(crate) fn not_found() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "UNSUPPORTED",
            "there is nothing at this path",
        )
    }

    pub(crate) fn body(&self) -> Vec<u8> {
        let document: Value = json!({"errors": [{"code": self.code, "message": self.message}]});
        document.to_string().into_bytes()
    }
}

impl From<StorageError> for Refusal {
    fn from(error: StorageError) -> Self {
        let (status, code) = match &error {
            StorageError::NoRepository(_) => (StatusCode::NOT_FOUND, "NAME_UNKNOWN"),
            StorageError::NoManifest { .. } => (StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN"),
            StorageError::NoBlob { .. } => (StatusCode::NOT_FOUND, "BLOB_UNKNOWN"),
            StorageError::Incomplete { .. } => (StatusCode::BAD_REQUEST, "MANIFEST_BLOB_UNKNOWN"),
            StorageError::InUse { .. }
            | StorageError::TagExists { .. }
            | StorageError::Quota(_) => (StatusCode::FORBIDDEN, "DENIED"),
            StorageError::Digest { .. } => (StatusCode::BAD_REQUEST, "DIGEST_INVALID"),
            StorageError::Document(_) => (StatusCode::BAD_REQUEST, "MANIFEST_INVALID"),
            StorageError::File(_) => return internal(&error),
            StorageError::Upload(_) => {
                let StorageError::Upload(error) = error else {
                    return internal(&error);
                };
                return error.into();
            }
        };
        Self::new(status, code, error.to_string())
    }
}

impl From<UploadError> for Refusal {
    fn from(error: UploadError) -> Self {
        let (status, code) = match &error {
            UploadError::Unknown(_) => (StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN"),
            UploadError::Busy(_) => (StatusCode::CONFLICT, "BLOB_UPLOAD_INVALID"),
            UploadError::Foreign(_) | UploadError::Quota(_) => (StatusCode::FORBIDDEN, "DENIED"),
            UploadError::Offset { .. } | UploadError::Length { .. } => {
                (StatusCode::RANGE_NOT_SATISFIABLE, "BLOB_UPLOAD_INVALID")
            }
            UploadError::Digest { .. } => (StatusCode::BAD_REQUEST, "DIGEST_INVALID"),
            UploadError::Body(_) => (StatusCode::BAD_REQUEST, "BLOB_UPLOAD_INVALID"),
            UploadError::File(_) => return internal(&error),
        };
        let mut refusal = Self::new(status, code, error.to_string());
        if let UploadError::Offset { offset, .. } = error {
            refusal.offset = Some(offset);
        }
        refusal
    }
}

/// What went wrong here is for the log, not for the client.
fn internal(error: &dyn std::error::Error) -> Refusal {
    tracing::error!(error = chain(error), "a request failed");
    Refusal::unknown("the registry could not do this; its log says why")
}

/// Returns the text of an error with those of its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        text = format!("{text}: {source}");
        cause = source.source();
    }
    text
}
