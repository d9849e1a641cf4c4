//! Local images: list, inspect, history, removal.
#![expect(
    missing_docs,
    reason = "members are the Engine API's own; its specification documents them"
)]

use std::collections::BTreeMap;

use crate::go::is_zero;
use crate::{Empty, HealthConfig, Words};

documents! {
    /// One image of `GET /images/json`.
    pub struct ImageSummary {
        /// Number of containers using the image, -1 when it was not asked for.
        pub containers: i64,
        pub created: i64,
        pub id: String,
        pub labels: Option<BTreeMap<String, String>>,
        pub parent_id: String,
        #[serde(skip_serializing_if = "is_zero")]
        pub descriptor: Option<ImageDescriptor>,
        pub repo_digests: Vec<String>,
        pub repo_tags: Vec<String>,
        /// Bytes shared with other images, -1 when it was not asked for.
        pub shared_size: i64,
        pub size: i64,
        /// Same as `size`; answered to clients older than 1.44 only.
        #[serde(skip_serializing_if = "is_zero")]
        pub virtual_size: i64,
    }

    /// An OCI descriptor. Its members are written as OCI writes them.
    #[derive(Eq)]
    pub struct ImageDescriptor {
        #[serde(rename = "mediaType")]
        pub media_type: String,
        #[serde(rename = "digest")]
        pub digest: String,
        #[serde(rename = "size")]
        pub size: i64,
        #[serde(rename = "annotations", skip_serializing_if = "is_zero")]
        pub annotations: BTreeMap<String, String>,
        #[serde(rename = "platform", skip_serializing_if = "is_zero")]
        pub platform: Option<ImagePlatform>,
    }

    /// An OCI platform.
    #[derive(Eq)]
    pub struct ImagePlatform {
        #[serde(rename = "architecture")]
        pub architecture: String,
        #[serde(rename = "os")]
        pub os: String,
        #[serde(rename = "os.version", skip_serializing_if = "is_zero")]
        pub os_version: String,
        #[serde(rename = "os.features", skip_serializing_if = "is_zero")]
        pub os_features: Vec<String>,
        #[serde(rename = "variant", skip_serializing_if = "is_zero")]
        pub variant: String,
    }

    /// Answer of `GET /distribution/{name}/json`.
    #[derive(Eq)]
    pub struct DistributionInspect {
        pub descriptor: ImageDescriptor,
        pub platforms: Vec<ImagePlatform>,
    }

    /// Answer of `GET /images/{name}/json`.
    pub struct ImageInspect {
        pub id: String,
        pub repo_tags: Vec<String>,
        pub repo_digests: Vec<String>,
        pub parent: String,
        pub comment: String,
        #[serde(skip_serializing_if = "is_zero")]
        pub created: String,
        pub docker_version: String,
        pub author: String,
        pub config: Option<ImageConfig>,
        pub architecture: String,
        #[serde(skip_serializing_if = "is_zero")]
        pub variant: String,
        pub os: String,
        #[serde(skip_serializing_if = "is_zero")]
        pub os_version: String,
        pub size: i64,
        /// Same as `size`; answered to clients older than 1.44 only.
        #[serde(skip_serializing_if = "is_zero")]
        pub virtual_size: i64,
        pub graph_driver: GraphDriver,
        #[serde(rename = "RootFS")]
        pub root_fs: RootFs,
        pub metadata: ImageMetadata,
        #[serde(skip_serializing_if = "is_zero")]
        pub descriptor: Option<ImageDescriptor>,
    }

    /// What an image sets for its containers.
    pub struct ImageConfig {
        #[serde(skip_serializing_if = "is_zero")]
        pub user: String,
        #[serde(skip_serializing_if = "is_zero")]
        pub exposed_ports: BTreeMap<String, Empty>,
        #[serde(skip_serializing_if = "is_zero")]
        pub env: Vec<String>,
        #[serde(skip_serializing_if = "is_zero")]
        pub entrypoint: Option<Words>,
        #[serde(skip_serializing_if = "is_zero")]
        pub cmd: Option<Words>,
        #[serde(skip_serializing_if = "is_zero")]
        pub volumes: BTreeMap<String, Empty>,
        #[serde(skip_serializing_if = "is_zero")]
        pub working_dir: String,
        #[serde(skip_serializing_if = "is_zero")]
        pub labels: BTreeMap<String, String>,
        #[serde(skip_serializing_if = "is_zero")]
        pub stop_signal: String,
        #[serde(skip_serializing_if = "is_zero")]
        pub args_escaped: bool,
        #[serde(skip_serializing_if = "is_zero")]
        pub healthcheck: Option<HealthConfig>,
        #[serde(skip_serializing_if = "is_zero")]
        pub on_build: Vec<String>,
        #[serde(skip_serializing_if = "is_zero")]
        pub shell: Option<Words>,
    }

    /// How the storage driver keeps an image or a container.
    #[derive(Eq)]
    pub struct GraphDriver {
        pub data: Option<BTreeMap<String, String>>,
        pub name: String,
    }

    /// Layers of an image, by the digests of their uncompressed archives.
    #[derive(Eq)]
    pub struct RootFs {
        #[serde(rename = "Type")]
        pub kind: String,
        #[serde(skip_serializing_if = "is_zero")]
        pub layers: Vec<String>,
    }

    /// What the engine knows of an image beside the image itself.
    #[derive(Eq)]
    pub struct ImageMetadata {
        /// RFC 3339, [`crate::ZERO_TIME`] when the image was never tagged here.
        pub last_tag_time: String,
    }

    /// One line of `GET /images/{name}/history`.
    #[derive(Eq)]
    pub struct ImageHistoryItem {
        pub comment: String,
        pub created: i64,
        pub created_by: String,
        pub id: String,
        pub size: i64,
        pub tags: Option<Vec<String>>,
    }

    /// Answer of `POST /images/prune`.
    #[derive(Eq)]
    pub struct ImagesPruned {
        pub images_deleted: Option<Vec<ImageDelete>>,
        pub space_reclaimed: u64,
    }

    /// One step of removing an image.
    #[derive(Eq)]
    pub struct ImageDelete {
        #[serde(skip_serializing_if = "is_zero")]
        pub untagged: String,
        #[serde(skip_serializing_if = "is_zero")]
        pub deleted: String,
    }
}
