//! The OCI runtime and image formats as plain types.
//!
//! [`runtime`] is the runtime specification 1.2 (`config.json`, the state document, `features`),
//! [`image`] the image specification 1.1 (descriptor, manifest, index, configuration, layout).
//! The types only carry data: what a value means, and whether it is acceptable, is decided by
//! whoever acts on it. Members these types do not know are ignored, as both specifications ask.
//! Maps are ordered, so that writing a document twice gives the same bytes.

#![forbid(unsafe_code)]

pub mod image;
pub mod runtime;
