//! `features`.

use wharf_oci::runtime::{
    ApparmorFeature, CgroupFeature, Features, IdmapFeature, IntelRdtFeature, LinuxFeatures,
    MountExtensions, SeccompFeature, SelinuxFeature,
};
use wharf_sys::seccomp::FilterFlags;

use super::{Outcome, print_json};
use crate::{labels, mounts};

/// Flags of filters, by the configuration's names.
const FLAGS: [(&str, FilterFlags); 4] = [
    ("SECCOMP_FILTER_FLAG_TSYNC", FilterFlags::TSYNC),
    ("SECCOMP_FILTER_FLAG_SPEC_ALLOW", FilterFlags::SPEC_ALLOW),
    ("SECCOMP_FILTER_FLAG_LOG", FilterFlags::LOG),
    (
        "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
        FilterFlags::WAIT_KILLABLE_RECV,
    ),
];

/// `features`.
pub(super) fn features() -> Outcome {
    print_json(&describe())
}

fn describe() -> Features {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    // Remounting is known, and refused.
    let options = mounts::option_names().filter(|name| *name != "remount");
    Features {
        oci_version_min: "1.0.0".to_owned(),
        oci_version_max: wharf_oci::runtime::VERSION.to_owned(),
        hooks: words(&[
            "prestart",
            "createRuntime",
            "createContainer",
            "startContainer",
            "poststart",
            "poststop",
        ]),
        mount_options: options.map(str::to_owned).collect(),
        linux: Some(LinuxFeatures {
            namespaces: words(&[
                "cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts",
            ]),
            capabilities: words(&wharf_oci::runtime::CAPABILITY_NAMES),
            cgroup: CgroupFeature {
                v1: true,
                v2: true,
                ..CgroupFeature::default()
            },
            seccomp: seccomp(),
            apparmor: ApparmorFeature {
                enabled: labels::app_armor_is_on(),
            },
            selinux: SelinuxFeature {
                enabled: labels::selinux_is_on(),
            },
            intel_rdt: IntelRdtFeature { enabled: false },
            mount_extensions: MountExtensions {
                idmap: IdmapFeature { enabled: true },
            },
        }),
        annotations: std::collections::BTreeMap::new(),
        potentially_unsafe_config_annotations: Vec::new(),
    }
}

fn seccomp() -> SeccompFeature {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let supported = FLAGS
        .iter()
        .filter(|(_, flag)| wharf_sys::seccomp::supports(*flag));
    SeccompFeature {
        enabled: true,
        actions: words(&[
            "SCMP_ACT_ALLOW",
            "SCMP_ACT_ERRNO",
            "SCMP_ACT_KILL",
            "SCMP_ACT_KILL_PROCESS",
            "SCMP_ACT_KILL_THREAD",
            "SCMP_ACT_LOG",
            "SCMP_ACT_NOTIFY",
            "SCMP_ACT_TRACE",
            "SCMP_ACT_TRAP",
        ]),
        operators: words(&[
            "SCMP_CMP_EQ",
            "SCMP_CMP_GE",
            "SCMP_CMP_GT",
            "SCMP_CMP_LE",
            "SCMP_CMP_LT",
            "SCMP_CMP_MASKED_EQ",
            "SCMP_CMP_NE",
        ]),
        archs: words(&["SCMP_ARCH_X32", "SCMP_ARCH_X86", "SCMP_ARCH_X86_64"]),
        known_flags: FLAGS.iter().map(|(name, _)| (*name).to_owned()).collect(),
        supported_flags: supported.map(|(name, _)| (*name).to_owned()).collect(),
    }
}
