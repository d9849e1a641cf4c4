//! Registries: who somebody is there, what is pushed to them, what a search finds.
#![expect(
    missing_docs,
    reason = "members are the Engine API's own; its specification documents them"
)]

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::filters::Filters;
use crate::go::{is_zero, null_is_zero};
use crate::query::{Query, QueryError, QueryWriter};
use crate::{base64, queries};

/// Header with an [`AuthConfig`] for the registry a request is about.
pub const AUTH_HEADER: &str = "X-Registry-Auth";

/// Header with an [`AuthConfig`] for each of several registries.
pub const CONFIG_HEADER: &str = "X-Registry-Config";

/// Who somebody is at a registry, and how they prove it: body of `POST /auth`, content of [`AUTH_HEADER`],
/// entry of the client's configuration.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AuthConfig {
    #[serde(deserialize_with = "null_is_zero", skip_serializing_if = "is_zero")]
    pub username: String,
    #[serde(deserialize_with = "null_is_zero", skip_serializing_if = "is_zero")]
    pub password: String,
    /// Name and password joined by a colon, in base64; only in the client's configuration.
    #[serde(deserialize_with = "null_is_zero", skip_serializing_if = "is_zero")]
    pub auth: String,
    #[serde(deserialize_with = "null_is_zero", skip_serializing_if = "is_zero")]
    pub email: String,
    #[serde(
        rename = "serveraddress",
        deserialize_with = "null_is_zero",
        skip_serializing_if = "is_zero"
    )]
    pub server_address: String,
    /// What the registry's token service gave in place of the password.
    #[serde(
        rename = "identitytoken",
        deserialize_with = "null_is_zero",
        skip_serializing_if = "is_zero"
    )]
    pub identity_token: String,
    /// A token to be sent to the registry as it is.
    #[serde(
        rename = "registrytoken",
        deserialize_with = "null_is_zero",
        skip_serializing_if = "is_zero"
    )]
    pub registry_token: String,
}

impl fmt::Debug for AuthConfig {
    /// Shows who it is; what proves it never gets into a log.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("AuthConfig")
            .field("username", &self.username)
            .field("server_address", &self.server_address)
            .finish_non_exhaustive()
    }
}

impl AuthConfig {
    /// Returns the value of [`AUTH_HEADER`].
    #[must_use]
    pub fn to_header(&self) -> String {
        header(self)
    }

    /// Reads the value of [`AUTH_HEADER`]; empty is nobody. Nothing when it is not what it should be.
    #[must_use]
    pub fn from_header(text: &str) -> Option<Self> {
        read_header(text)
    }
}

/// Returns the value of [`CONFIG_HEADER`].
#[must_use]
pub fn configs_to_header(configs: &BTreeMap<String, AuthConfig>) -> String {
    header(configs)
}

/// Reads the value of [`CONFIG_HEADER`]; empty is nobody anywhere. Nothing when it is not what it should be.
#[must_use]
pub fn configs_from_header(text: &str) -> Option<BTreeMap<String, AuthConfig>> {
    read_header(text)
}

/// A document as base64 in the alphabet of addresses (RFC 4648, section 5), with padding, as Go's clients have it.
fn header(document: &impl Serialize) -> String {
    let json = serde_json::to_vec(document).expect("maps of text are written as JSON");
    base64::encode(&json).replace('+', "-").replace('/', "_")
}

/// Reads either alphabet, with padding and without.
fn read_header<T: Default + serde::de::DeserializeOwned>(text: &str) -> Option<T> {
    let text = text.trim();
    if text.is_empty() {
        return Some(T::default());
    }
    let bytes = base64::decode(&text.replace('-', "+").replace('_', "/"))?;
    serde_json::from_slice(&bytes).ok()
}

documents! {
    /// Answer of `POST /auth`.
    #[derive(Eq)]
    pub struct AuthResult {
        pub status: String,
        /// What to send in place of the password from now on; empty when the password stays.
        pub identity_token: String,
    }

    /// One repository of `GET /images/search`.
    #[derive(Eq)]
    pub struct SearchResult {
        #[serde(rename = "star_count")]
        pub star_count: i64,
        #[serde(rename = "is_official")]
        pub is_official: bool,
        #[serde(rename = "name")]
        pub name: String,
        #[serde(rename = "is_automated")]
        pub is_automated: bool,
        #[serde(rename = "description")]
        pub description: String,
    }
}

/// Parameters of `POST /images/{name}/push`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImagePushQuery {
    /// The tag; empty for all of them.
    pub tag: String,
    /// The one platform to push, as a JSON document; empty for the whole image.
    pub platform: String,
}

impl ImagePushQuery {
    /// Reads the parameters.
    #[must_use]
    pub fn read(query: &Query) -> Self {
        Self {
            tag: query.text("tag"),
            platform: query.text("platform"),
        }
    }

    /// Writes the parameters.
    #[must_use]
    pub fn write(&self) -> String {
        QueryWriter::new()
            .text("tag", &self.tag)
            .text("platform", &self.platform)
            .finish()
    }
}

/// Parameters of `GET /images/search`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageSearchQuery {
    pub term: String,
    pub limit: Option<i64>,
    pub filters: Filters,
}

impl ImageSearchQuery {
    /// Reads the parameters.
    ///
    /// # Errors
    /// The limit is no number, or the filters are not what filters are.
    pub fn read(query: &Query) -> Result<Self, QueryError> {
        Ok(Self {
            term: query.text("term"),
            limit: query.number("limit")?,
            filters: queries::read_filters(query)?,
        })
    }

    /// Writes the parameters.
    #[must_use]
    pub fn write(&self) -> String {
        QueryWriter::new()
            .with("term", &self.term)
            .number("limit", self.limit)
            .filters(&self.filters)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_carries_who_somebody_is() {
        assert_eq!(AuthConfig::default().to_header(), "e30=");
        let somebody = AuthConfig {
            username: "me".to_owned(),
            password: "p?>~ÿ".to_owned(),
            server_address: "r:5000".to_owned(),
            ..AuthConfig::default()
        };
        let text = somebody.to_header();
        assert_eq!(
            text,
            "eyJ1c2VybmFtZSI6Im1lIiwicGFzc3dvcmQiOiJwPz5-w78iLCJzZXJ2ZXJhZGRyZXNzIjoicjo1MDAwIn0="
        );
        assert_eq!(AuthConfig::from_header(&text), Some(somebody.clone()));
        let plain = text.trim_end_matches('=').replace('-', "+");
        assert_eq!(AuthConfig::from_header(&plain), Some(somebody.clone()));
        assert_eq!(AuthConfig::from_header(""), Some(AuthConfig::default()));
        assert_eq!(AuthConfig::from_header("{}"), None);
        assert_eq!(AuthConfig::from_header("AAAA"), None);
        assert!(!format!("{somebody:?}").contains("p?>"));
        let all = BTreeMap::from([("r:5000".to_owned(), somebody)]);
        assert_eq!(configs_from_header(&configs_to_header(&all)), Some(all));
    }

    #[test]
    fn what_the_client_writes_the_server_reads() {
        let reread = |written: &str| Query::parse(written.trim_start_matches('?')).expect("ours");
        let push = ImagePushQuery {
            tag: "1".to_owned(),
            platform: r#"{"os":"linux"}"#.to_owned(),
        };
        assert_eq!(ImagePushQuery::read(&reread(&push.write())), push);
        let mut filters = Filters::default();
        filters.add("stars", "3");
        let search = ImageSearchQuery {
            term: "a b".to_owned(),
            limit: Some(5),
            filters,
        };
        let read = ImageSearchQuery::read(&reread(&search.write())).expect("ours");
        assert_eq!(read, search);
    }

    #[test]
    fn documents_are_dockers() {
        let found: SearchResult = serde_json::from_str(
            r#"{"star_count":7,"is_official":true,"name":"n","is_automated":false,"description":null}"#,
        )
        .expect("a document");
        assert_eq!((found.star_count, found.is_official), (7, true));
        assert_eq!(
            serde_json::to_string(&AuthResult::default()).expect("a document"),
            r#"{"Status":"","IdentityToken":""}"#
        );
    }
}
