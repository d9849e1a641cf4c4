//! Progress of long work: a stream of JSON documents, one a line.
#![expect(
    missing_docs,
    reason = "members are the Engine API's own; its specification documents them"
)]

use serde::{Deserialize, Serialize};

use crate::go::is_zero;

documents! {
    /// One line of progress: text (`stream`), a step's state (`status`, `id`), a failure, or a result (`aux`).
    pub struct Progress {
        #[serde(rename = "stream", skip_serializing_if = "is_zero")]
        pub stream: String,
        #[serde(rename = "status", skip_serializing_if = "is_zero")]
        pub status: String,
        #[serde(rename = "progressDetail", skip_serializing_if = "is_zero")]
        pub progress_detail: Option<ProgressDetail>,
        /// The bar as text, for clients that draw none.
        #[serde(rename = "progress", skip_serializing_if = "is_zero")]
        pub progress: String,
        #[serde(rename = "id", skip_serializing_if = "is_zero")]
        pub id: String,
        #[serde(rename = "errorDetail", skip_serializing_if = "is_zero")]
        pub error_detail: Option<ProgressError>,
        #[serde(rename = "error", skip_serializing_if = "is_zero")]
        pub error: String,
        #[serde(rename = "aux", skip_serializing_if = "is_zero")]
        pub aux: Option<serde_json::Value>,
    }

    /// How far a step has come.
    #[derive(Eq)]
    pub struct ProgressDetail {
        #[serde(rename = "current", skip_serializing_if = "is_zero")]
        pub current: i64,
        #[serde(rename = "total", skip_serializing_if = "is_zero")]
        pub total: i64,
        /// When the step began, in seconds of the epoch.
        #[serde(rename = "start", skip_serializing_if = "is_zero")]
        pub start: i64,
        /// Whether the numbers beside the bar are left out.
        #[serde(rename = "hidecounts", skip_serializing_if = "is_zero")]
        pub hide_counts: bool,
        #[serde(rename = "units", skip_serializing_if = "is_zero")]
        pub units: String,
    }

    /// Why the work failed.
    #[derive(Eq)]
    pub struct ProgressError {
        #[serde(rename = "code", skip_serializing_if = "is_zero")]
        pub code: i64,
        #[serde(rename = "message", skip_serializing_if = "is_zero")]
        pub message: String,
    }
}

impl Progress {
    /// Returns a line of plain text.
    #[must_use]
    pub fn stream(text: impl Into<String>) -> Self {
        Self {
            stream: text.into(),
            ..Self::default()
        }
    }

    /// Returns a line that tells a state.
    #[must_use]
    pub fn status(text: impl Into<String>) -> Self {
        Self {
            status: text.into(),
            ..Self::default()
        }
    }

    /// Returns the line that ends failed work.
    #[must_use]
    pub fn failure(message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            error_detail: Some(ProgressError {
                code: 0,
                message: message.clone(),
            }),
            error: message,
            ..Self::default()
        }
    }
}

/// Body of every answer that is an error.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ErrorBody {
    pub message: String,
}
