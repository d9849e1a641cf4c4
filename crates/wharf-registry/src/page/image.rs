//! The page of one image, index or other artifact.

use wharf_oci::image::{Descriptor, ImageConfig, Index, Manifest, Platform, media_type};
use wharf_types::{Digest, Repository};

use super::html::{Html, count, size};
use super::{Page, host};
use crate::refusal::Refusal;
use crate::routes::Call;
use crate::storage::ManifestName;

/// Longest configuration that is looked into, in bytes.
const MAX_CONFIG: usize = 1024 * 1024;

/// Most rows of a table here.
const MOST_ROWS: usize = 500;

pub(super) async fn page(
    call: &Call,
    name: &Repository,
    wanted: &ManifestName,
) -> Result<Page, Refusal> {
    let (asked, by) = (name.clone(), wanted.clone());
    let manifest = call
        .blocking(move |storage| storage.manifest(&asked, &by))
        .await?;
    let separator = match wanted {
        ManifestName::Tag(_) => ":",
        ManifestName::Digest(_) => "@",
    };
    let reference = format!("{name}{separator}{wanted}");
    let mut body = Html::default();
    body.raw("<p class=\"trail\">")
        .link("/", "Repositories")
        .raw(" / ")
        .link(&format!("/-/{name}"), name.as_str())
        .raw("</p>\n<h1>")
        .text(&reference)
        .raw("</h1>\n<h2>Pull</h2>\n")
        .command(&format!("docker pull {}/{reference}", host(call)));
    let is_index = matches!(
        manifest.media_type.as_str(),
        media_type::INDEX | media_type::DOCKER_INDEX
    );
    if is_index {
        let index: Index = serde_json::from_slice(&manifest.bytes).unwrap_or_default();
        about(&mut body, manifest.digest, &manifest.media_type, None);
        platforms(call, &mut body, name, &index);
    } else {
        let image: Manifest = serde_json::from_slice(&manifest.bytes).unwrap_or_default();
        let config = config(call, name, &image.config).await;
        let bytes = image.layers.iter().map(|layer| layer.size).sum();
        about(
            &mut body,
            manifest.digest,
            &manifest.media_type,
            Some(bytes),
        );
        if let Some(config) = &config {
            settings(&mut body, config);
        }
        layers(&mut body, &image.layers);
        if let Some(config) = &config {
            history(&mut body, config);
        }
    }
    referrers(call, &mut body, name, manifest.digest).await?;
    Ok(Page {
        title: reference,
        body,
    })
}

fn about(body: &mut Html, digest: Digest, media_type: &str, bytes: Option<u64>) {
    body.raw("<h2>Manifest</h2>\n<dl>")
        .term("Digest", &digest.to_string())
        .term("Type", media_type)
        .term("Size", &bytes.map(size).unwrap_or_default())
        .raw("</dl>\n");
}

/// Reads the configuration of an image; artifacts of other kinds have something else in its place.
async fn config(call: &Call, name: &Repository, descriptor: &Descriptor) -> Option<ImageConfig> {
    let known = [media_type::CONFIG, media_type::DOCKER_CONFIG];
    if !known.contains(&descriptor.media_type.as_str()) {
        return None;
    }
    let digest: Digest = descriptor.digest.parse().ok()?;
    let name = name.clone();
    let bytes = call
        .blocking(move |storage| storage.small_blob(&name, digest, MAX_CONFIG))
        .await
        .ok()??;
    serde_json::from_slice(&bytes).ok()
}

fn settings(body: &mut Html, config: &ImageConfig) {
    let join = |words: &Option<Vec<String>>| words.as_deref().unwrap_or_default().join(" ");
    let created = config.created.as_deref().unwrap_or_default();
    let created = match created.parse::<jiff::Timestamp>() {
        Ok(time) => time.strftime("%Y-%m-%d %H:%M UTC").to_string(),
        Err(_) => created.to_owned(),
    };
    let platform = Platform {
        architecture: config.architecture.clone(),
        os: config.os.clone(),
        variant: config.variant.clone(),
        ..Platform::default()
    };
    let container = &config.config;
    let keys = |names: Vec<&String>| {
        let names: Vec<&str> = names.into_iter().map(String::as_str).collect();
        names.join(", ")
    };
    body.raw("<h2>Image</h2>\n<dl>")
        .term("Platform", &platform_text(&platform))
        .term("Created", &created)
        .term("Entrypoint", &join(&container.entrypoint))
        .term("Command", &join(&container.cmd))
        .term("User", &container.user)
        .term("Working directory", &container.working_dir)
        .term("Ports", &keys(container.exposed_ports.keys().collect()))
        .term("Volumes", &keys(container.volumes.keys().collect()))
        .raw("</dl>\n");
}

fn layers(body: &mut Html, layers: &[Descriptor]) {
    if layers.is_empty() {
        return;
    }
    let total: u64 = layers.iter().map(|layer| layer.size).sum();
    body.raw("<h2>")
        .text(&count(layers.len(), "layer", "layers"))
        .raw("</h2>\n<div class=\"wide\"><table><caption>Layers</caption><thead><tr><th scope=\"col\" class=\"number\">#</th>")
        .raw("<th scope=\"col\">Digest</th><th scope=\"col\">Type</th><th scope=\"col\">Share</th>")
        .raw("<th scope=\"col\" class=\"number\">Size</th></tr></thead><tbody>\n");
    for (index, layer) in layers.iter().take(MOST_ROWS).enumerate() {
        body.raw("<tr><td class=\"number\">")
            .text(&(index + 1).to_string())
            .raw("</td><td>")
            .code(short(&layer.digest))
            .raw("</td><td>")
            .text(&layer.media_type)
            .raw("</td><td><meter min=\"0\" max=\"")
            .text(&total.max(1).to_string())
            .raw("\" value=\"")
            .text(&layer.size.to_string())
            .raw("\"></meter></td><td class=\"number\">")
            .text(&size(layer.size))
            .raw("</td></tr>\n");
    }
    body.raw("</tbody></table></div>\n");
}

fn history(body: &mut Html, config: &ImageConfig) {
    if config.history.is_empty() {
        return;
    }
    body.raw("<h2>History</h2>\n<div class=\"wide\"><table><caption>History</caption><thead><tr><th scope=\"col\" class=\"number\">#</th>")
        .raw("<th scope=\"col\">Step</th></tr></thead><tbody>\n");
    for (index, step) in config.history.iter().take(MOST_ROWS).enumerate() {
        body.raw("<tr><td class=\"number\">")
            .text(&(index + 1).to_string())
            .raw("</td><td class=\"step\">")
            .code(&step.created_by)
            .raw("</td></tr>\n");
    }
    body.raw("</tbody></table></div>\n");
}

fn platforms(call: &Call, body: &mut Html, name: &Repository, index: &Index) {
    body.raw("<h2>Platforms</h2>\n<div class=\"wide\"><table><caption>Manifests</caption><thead><tr><th scope=\"col\">Platform</th>")
        .raw("<th scope=\"col\">Type</th><th scope=\"col\">Digest</th><th scope=\"col\" class=\"number\">Size</th></tr></thead><tbody>\n");
    for item in index.manifests.iter().take(MOST_ROWS) {
        let wanted = item.digest.parse().map(ManifestName::Digest);
        let overview = wanted.map(|wanted| call.registry.storage.overview(name, &wanted));
        let bytes = overview.ok().flatten().map(|overview| overview.bytes);
        let platform = item.platform.as_ref().map(platform_text);
        let text = platform.filter(|text| text != "unknown/unknown" && !text.is_empty());
        body.raw("<tr><td class=\"name\">")
            .link(
                &format!("/-/{name}@{}", item.digest),
                text.as_deref().unwrap_or("other"),
            )
            .raw("</td><td>")
            .text(&item.media_type)
            .raw("</td><td>")
            .code(short(&item.digest))
            .raw("</td><td class=\"number\">")
            .text(&bytes.map(size).unwrap_or_default())
            .raw("</td></tr>\n");
    }
    body.raw("</tbody></table></div>\n");
}

/// Signatures, bills of material and the like.
async fn referrers(
    call: &Call,
    body: &mut Html,
    name: &Repository,
    digest: Digest,
) -> Result<(), Refusal> {
    let asked = name.clone();
    let found = call
        .blocking(move |storage| Ok::<_, Refusal>(storage.referrers(&asked, digest, None)))
        .await?;
    if found.manifests.is_empty() {
        return Ok(());
    }
    body.raw("<h2>About this image</h2>\n<div class=\"wide\"><table><caption>Referrers</caption><thead><tr><th scope=\"col\">Type</th>")
        .raw("<th scope=\"col\">Digest</th></tr></thead><tbody>\n");
    for item in found.manifests.iter().take(MOST_ROWS) {
        let kind = item.artifact_type.as_deref().unwrap_or(&item.media_type);
        body.raw("<tr><td class=\"name\">")
            .link(&format!("/-/{name}@{}", item.digest), kind)
            .raw("</td><td>")
            .code(short(&item.digest))
            .raw("</td></tr>\n");
    }
    body.raw("</tbody></table></div>\n");
    Ok(())
}

fn platform_text(platform: &Platform) -> String {
    let parts = [
        Some(&platform.os),
        Some(&platform.architecture),
        platform.variant.as_ref(),
    ];
    let parts: Vec<&str> = parts
        .into_iter()
        .flatten()
        .map(String::as_str)
        .filter(|part| !part.is_empty())
        .collect();
    parts.join("/")
}

/// The beginning of a digest, which is enough for the eye.
fn short(digest: &str) -> &str {
    let hex = digest.split_once(':').map_or(digest, |(_, hex)| hex);
    hex.get(..12).unwrap_or(hex)
}
