//! `images --tree`: images with the platforms they are for.

use serde_json::Value;

use crate::format::listing::columns;
use crate::format::{text, units};

/// The least width of a column, and the blanks between two.
const COLUMN: (usize, usize) = (10, 3);

/// Shows images as the engine describes them with their manifests; an image that has none is its own.
pub(super) fn tree(mut images: Vec<Value>) -> std::io::Result<String> {
    images.sort_by_key(|image| std::cmp::Reverse(image["Created"].as_i64()));
    let mut lines = "IMAGE\tID\tDISK USAGE\tCONTENT SIZE\tEXTRA\n".to_owned();
    for image in &images {
        let platforms: Vec<&Value> = image["Manifests"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|manifest| manifest["Kind"] == "image")
            .collect();
        let content: i64 = platforms
            .iter()
            .filter_map(|platform| platform["Size"]["Content"].as_i64())
            .sum();
        let content = (!platforms.is_empty()).then_some(content);
        let used = image["Containers"].as_i64().is_some_and(|count| count > 0);
        let names: Vec<&str> = image["RepoTags"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let first = names.first().copied().unwrap_or("<untagged>");
        lines.push_str(&line(
            first,
            &image["Id"],
            image["Size"].as_i64(),
            content,
            used,
        ));
        for name in names.iter().skip(1) {
            lines.push_str(&format!("{name}\t\t\t\t\n"));
        }
        for (index, platform) in platforms.iter().enumerate() {
            let branch = if index + 1 == platforms.len() {
                "└─"
            } else {
                "├─"
            };
            let containers = &platform["ImageData"]["Containers"];
            lines.push_str(&line(
                &format!("{branch} {}", name(&platform["ImageData"]["Platform"])),
                &platform["ID"],
                platform["Size"]["Total"].as_i64(),
                platform["Size"]["Content"].as_i64(),
                containers.as_array().is_some_and(|list| !list.is_empty()),
            ));
        }
    }
    columns(&lines, COLUMN.0, COLUMN.1)
}

fn line(name: &str, id: &Value, disk: Option<i64>, content: Option<i64>, used: bool) -> String {
    let size = |bytes: Option<i64>| bytes.map_or("N/A".to_owned(), units::size);
    format!(
        "{name}\t{}\t{}\t{}\t{}\n",
        text::short_id(id.as_str().unwrap_or_default()),
        size(disk),
        size(content),
        if used { "U" } else { "" }
    )
}

fn name(platform: &Value) -> String {
    ["os", "architecture", "variant"]
        .iter()
        .filter_map(|part| platform[part].as_str())
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_hang_below_their_image() {
        let image = serde_json::json!({
            "Id": "sha256:0123456789abcdef", "RepoTags": ["a:1", "b:1"], "Size": 2000, "Containers": 1, "Created": 5,
            "Manifests": [{
                "ID": "sha256:fedcba9876543210", "Kind": "image", "Size": {"Total": 2000, "Content": 1000},
                "ImageData": {"Platform": {"os": "linux", "architecture": "amd64"}, "Containers": ["x"]},
            }],
        });
        let plain = serde_json::json!({ "Id": "sha256:ffffffffffffffff", "Size": 3, "Created": 4 });
        let shown = tree(vec![plain, image]).expect("a table");
        let lines: Vec<&str> = shown.lines().map(str::trim_end).collect();
        assert_eq!(
            lines,
            [
                "IMAGE            ID             DISK USAGE   CONTENT SIZE   EXTRA",
                "a:1              0123456789ab   2kB          1kB            U",
                "b:1",
                "└─ linux/amd64   fedcba987654   2kB          1kB            U",
                "<untagged>       ffffffffffff   3B           N/A",
            ]
        );
    }
}
