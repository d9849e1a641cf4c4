//! The page of a repository: its tags.

use http::StatusCode;
use wharf_types::Repository;
use wharf_wire::query::QueryWriter;

use super::html::{Html, count, size};
use super::{Page, host};
use crate::refusal::Refusal;
use crate::routes::Call;
use crate::storage::ManifestName;

/// Tags of one page.
const MOST: usize = 100;

pub(super) fn page(call: &Call, name: &Repository) -> Result<Page, Refusal> {
    let storage = &call.registry.storage;
    let (tags, more) = storage.tags(name, call.query.get("last"), MOST)?;
    let summary = storage.summary(name.as_str()).ok_or_else(|| {
        Refusal::new(
            StatusCode::NOT_FOUND,
            "NAME_UNKNOWN",
            "there is no such repository",
        )
    })?;
    let mut body = Html::default();
    body.raw("<p class=\"trail\">")
        .link("/", "Repositories")
        .raw("</p>\n<h1>")
        .text(name.as_str())
        .raw("</h1>\n");
    body.raw("<p class=\"lead\">")
        .text(&count(summary.tags, "tag", "tags"))
        .raw(" · ")
        .text(&count(summary.manifests, "manifest", "manifests"))
        .raw(" · ")
        .text(&size(summary.bytes))
        .raw("</p>\n");
    if let Some(tag) = tags.iter().find(|tag| *tag == "latest").or(tags.first()) {
        body.raw("<h2>Pull</h2>\n");
        body.command(&format!("docker pull {}/{name}:{tag}", host(call)));
    }
    body.raw("<h2>Tags</h2>\n");
    if tags.is_empty() {
        body.raw(
            "<div class=\"empty\">No manifest has a tag; they can be pulled by digest.</div>\n",
        );
    } else {
        table(call, &mut body, name, &tags);
    }
    if let Some(last) = tags.last().filter(|_| more) {
        let query = QueryWriter::new().with("last", last);
        body.raw("<p class=\"more\">")
            .link(&format!("/-/{name}{}", query.finish()), "More tags")
            .raw("</p>\n");
    }
    Ok(Page {
        title: name.to_string(),
        body,
    })
}

fn table(call: &Call, body: &mut Html, name: &Repository, tags: &[String]) {
    body.raw("<div class=\"wide\"><table><caption>Tags</caption><thead><tr><th scope=\"col\">Tag</th><th scope=\"col\">Kind</th>")
        .raw("<th scope=\"col\">Digest</th><th scope=\"col\" class=\"number\">Size</th></tr></thead><tbody>\n");
    for tag in tags {
        let Ok(wanted) = tag.parse().map(ManifestName::Tag) else {
            continue;
        };
        let Some(overview) = call.registry.storage.overview(name, &wanted) else {
            continue;
        };
        let kind = match overview.manifests {
            0 => count(overview.layers, "layer", "layers"),
            manifests => count(manifests, "platform", "platforms"),
        };
        body.raw("<tr><td class=\"name\">")
            .link(&format!("/-/{name}:{tag}"), tag)
            .raw("</td><td>")
            .text(&kind)
            .raw("</td><td>")
            .code(&overview.digest.short())
            .raw("</td><td class=\"number\">")
            .text(&size(overview.bytes))
            .raw("</td></tr>\n");
    }
    body.raw("</tbody></table></div>\n");
}
