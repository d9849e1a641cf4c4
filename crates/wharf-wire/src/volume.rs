//! Volumes as list and inspect show them.
#![expect(
    missing_docs,
    reason = "members are the Engine API's own; its specification documents them"
)]

use std::collections::BTreeMap;

use crate::go::is_zero;

documents! {
    /// Answer of `GET /volumes`.
    #[derive(Eq)]
    pub struct VolumeList {
        pub volumes: Vec<Volume>,
        pub warnings: Option<Vec<String>>,
    }

    /// One volume.
    #[derive(Eq)]
    pub struct Volume {
        #[serde(skip_serializing_if = "is_zero")]
        pub created_at: String,
        pub driver: String,
        pub labels: Option<BTreeMap<String, String>>,
        pub mountpoint: String,
        pub name: String,
        pub options: Option<BTreeMap<String, String>>,
        pub scope: String,
        #[serde(skip_serializing_if = "is_zero")]
        pub usage_data: Option<VolumeUsage>,
    }

    /// Size of a volume and number of its users, -1 when unknown.
    #[derive(Eq)]
    pub struct VolumeUsage {
        pub ref_count: i64,
        pub size: i64,
    }

    /// Body of `POST /volumes/create`.
    #[derive(Eq)]
    pub struct VolumeCreateBody {
        #[serde(skip_serializing_if = "is_zero")]
        pub name: String,
        #[serde(skip_serializing_if = "is_zero")]
        pub driver: String,
        #[serde(skip_serializing_if = "is_zero")]
        pub driver_opts: BTreeMap<String, String>,
        #[serde(skip_serializing_if = "is_zero")]
        pub labels: BTreeMap<String, String>,
        #[serde(skip_serializing_if = "is_zero")]
        pub cluster_volume_spec: Option<crate::Empty>,
    }

    /// Answer of `POST /volumes/prune`.
    #[derive(Eq)]
    pub struct VolumesPruned {
        pub volumes_deleted: Option<Vec<String>>,
        pub space_reclaimed: i64,
    }
}
