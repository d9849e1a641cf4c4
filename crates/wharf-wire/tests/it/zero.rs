//! What each answer is when nothing is set: which members are there all the same, and whether as `null`, `[]` or a zero.
//! Clients depend on all three, and a member that comes or goes shows here.
//!
//! `WHARF_UPDATE_GOLDEN=1` writes the files anew.

use std::path::Path;

use serde::Serialize;

/// Compares a document with its file, or writes the file.
fn check<T: Default + Serialize>(name: &str) -> Result<(), String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("testdata/zero/{name}.json"));
    let text = serde_json::to_string_pretty(&T::default()).unwrap() + "\n";
    if std::env::var_os("WHARF_UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).map_err(|error| format!("{name}: {error}"))?;
    if text == expected {
        Ok(())
    } else {
        Err(format!("{name} is now\n{text}"))
    }
}

#[test]
fn nothing_is_written_as_before() {
    let checked = [
        check::<wharf_wire::ContainerCreated>("container_created"),
        check::<wharf_wire::ContainerConfig>("container_config"),
        check::<wharf_wire::ContainerInspect>("container_inspect"),
        check::<wharf_wire::ContainerSummary>("container_summary"),
        check::<wharf_wire::DiskUsage>("disk_usage"),
        check::<wharf_wire::EndpointSettings>("endpoint_settings"),
        check::<wharf_wire::Event>("event"),
        check::<wharf_wire::ExecInspect>("exec_inspect"),
        check::<wharf_wire::HostConfig>("host_config"),
        check::<wharf_wire::ImageInspect>("image_inspect"),
        check::<wharf_wire::ImageSummary>("image_summary"),
        check::<wharf_wire::NetworkInspect>("network_inspect"),
        check::<wharf_wire::NetworkSettings>("network_settings"),
        check::<wharf_wire::SystemInfo>("info"),
        check::<wharf_wire::TopResult>("top"),
        check::<wharf_wire::Version>("version"),
        check::<wharf_wire::Volume>("volume"),
        check::<wharf_wire::VolumeList>("volume_list"),
        check::<wharf_wire::WaitResult>("wait"),
    ];
    let wrong: Vec<String> = checked.into_iter().filter_map(Result::err).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
