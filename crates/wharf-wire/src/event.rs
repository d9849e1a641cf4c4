//! Events of `GET /events`, one document each.
#![expect(
    missing_docs,
    reason = "members are the Engine API's own; its specification documents them"
)]

use std::collections::BTreeMap;

use crate::go::is_zero;

documents! {
    /// Something that happened. `status`, `id` and `from` repeat action, actor and image for clients older than 1.22.
    #[derive(Eq)]
    pub struct Event {
        #[serde(rename = "status", skip_serializing_if = "is_zero")]
        pub status: String,
        #[serde(rename = "id", skip_serializing_if = "is_zero")]
        pub id: String,
        #[serde(rename = "from", skip_serializing_if = "is_zero")]
        pub from: String,
        #[serde(rename = "Type")]
        pub kind: String,
        pub action: String,
        pub actor: Actor,
        #[serde(rename = "scope", skip_serializing_if = "is_zero")]
        pub scope: String,
        #[serde(rename = "time", skip_serializing_if = "is_zero")]
        pub time: i64,
        #[serde(rename = "timeNano", skip_serializing_if = "is_zero")]
        pub time_nano: i64,
    }

    /// The object an event is about.
    #[derive(Eq)]
    pub struct Actor {
        #[serde(rename = "ID")]
        pub id: String,
        pub attributes: BTreeMap<String, String>,
    }
}
