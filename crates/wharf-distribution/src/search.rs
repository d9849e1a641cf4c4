//! Search, by the first version of the registry API.

use serde::Deserialize;

/// An image that was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct SearchResult {
    /// Its name.
    pub name: String,
    /// What it is.
    pub description: String,
    /// How many people starred it.
    pub star_count: i64,
    /// Whether it is an official image.
    pub is_official: bool,
    /// Whether it is built by the index; obsolete, always false at Docker's.
    pub is_automated: bool,
}
