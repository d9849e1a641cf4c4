//! What a runtime can do (`features.md`, `features-linux.md`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The document `features` prints.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Features {
    /// Lowest `ociVersion` understood.
    pub oci_version_min: String,
    /// Highest `ociVersion` understood.
    pub oci_version_max: String,
    /// Hook points.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<String>,
    /// Mount options.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mount_options: Vec<String>,
    /// Linux part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub linux: Option<LinuxFeatures>,
    /// Annotations about the runtime itself.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Annotations that change behaviour and must not come from strangers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub potentially_unsafe_config_annotations: Vec<String>,
}

/// Linux part of [`Features`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LinuxFeatures {
    /// Namespace kinds.
    pub namespaces: Vec<String>,
    /// Capabilities known.
    pub capabilities: Vec<String>,
    /// cgroup support.
    pub cgroup: CgroupFeature,
    /// Seccomp support.
    pub seccomp: SeccompFeature,
    /// AppArmor support.
    pub apparmor: ApparmorFeature,
    /// SELinux support.
    pub selinux: SelinuxFeature,
    /// Intel RDT support.
    pub intel_rdt: IntelRdtFeature,
    /// Mount extensions.
    pub mount_extensions: MountExtensions,
}

/// cgroup support.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CgroupFeature {
    /// cgroup v1.
    pub v1: bool,
    /// cgroup v2.
    pub v2: bool,
    /// Through systemd.
    pub systemd: bool,
    /// Through the user's systemd.
    #[serde(rename = "systemdUser")]
    pub systemd_user: bool,
    /// RDMA controller.
    pub rdma: bool,
}

/// Seccomp support.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SeccompFeature {
    /// Whether filters work at all.
    pub enabled: bool,
    /// Actions.
    pub actions: Vec<String>,
    /// Comparisons.
    pub operators: Vec<String>,
    /// Architectures.
    pub archs: Vec<String>,
    /// Flags known.
    pub known_flags: Vec<String>,
    /// Flags the kernel supports.
    pub supported_flags: Vec<String>,
}

/// AppArmor support.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ApparmorFeature {
    /// Whether profiles are applied.
    pub enabled: bool,
}

/// SELinux support.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SelinuxFeature {
    /// Whether labels are applied.
    pub enabled: bool,
}

/// Intel RDT support.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct IntelRdtFeature {
    /// Whether it is applied.
    pub enabled: bool,
}

/// Mount extensions.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MountExtensions {
    /// Id-mapped mounts.
    pub idmap: IdmapFeature,
}

/// Id-mapped mounts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct IdmapFeature {
    /// Whether they are made.
    pub enabled: bool,
}
