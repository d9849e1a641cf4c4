//! The first page: the repositories, or those a search finds.

use super::html::{Html, count, size};
use super::{Page, host, sign_in};
use crate::refusal::Refusal;
use crate::routes::Call;
use wharf_types::Repository;
use wharf_wire::query::QueryWriter;

/// Repositories of one page.
const MOST: usize = 100;

pub(super) fn page(call: &Call) -> Result<Page, Refusal> {
    let term = call.query.text("q").trim().to_lowercase();
    let last = call.query.get("last");
    let sees = |name: &Repository| name.as_str().contains(&term) && call.sees(name);
    let (names, more) = call.registry.storage.repositories(last, MOST, sees);
    if names.is_empty() && call.caller.name.is_none() && call.registry.access.users.is_some() {
        return Err(sign_in(call));
    }
    let mut body = Html::default();
    let title = if term.is_empty() {
        "Repositories".to_owned()
    } else {
        format!("Repositories with “{term}”")
    };
    body.raw("<h1>").text(&title).raw("</h1>\n");
    if names.is_empty() {
        nothing(call, &mut body, &term);
        return Ok(Page { title, body });
    }
    let number = count(names.len(), "repository", "repositories");
    let (before, after) = match (last, more) {
        (None, false) => ("", ""),
        (_, true) => ("", ", and there are more"),
        (Some(_), false) => ("the last ", ""),
    };
    body.raw("<p class=\"lead\">")
        .raw(before)
        .text(&number)
        .raw(after)
        .raw("</p>\n");
    table(call, &mut body, &names);
    if let Some(last) = names.last().filter(|_| more) {
        let query = QueryWriter::new().text("q", &term).with("last", last);
        body.raw("<p class=\"more\">")
            .link(&format!("/{}", query.finish()), "More repositories")
            .raw("</p>\n");
    }
    Ok(Page { title, body })
}

fn table(call: &Call, body: &mut Html, names: &[String]) {
    body.raw("<div class=\"wide\"><table><caption>Repositories</caption><thead><tr><th scope=\"col\">Name</th>")
        .raw("<th scope=\"col\" class=\"number\">Tags</th><th scope=\"col\" class=\"number\">Manifests</th>")
        .raw("<th scope=\"col\" class=\"number\">Size</th></tr></thead><tbody>\n");
    for name in names {
        let Some(summary) = call.registry.storage.summary(name) else {
            continue;
        };
        body.raw("<tr><td class=\"name\">")
            .link(&format!("/-/{name}"), name)
            .raw("</td><td class=\"number\">")
            .text(&summary.tags.to_string())
            .raw("</td><td class=\"number\">")
            .text(&summary.manifests.to_string())
            .raw("</td><td class=\"number\">")
            .text(&size(summary.bytes))
            .raw("</td></tr>\n");
    }
    body.raw("</tbody></table></div>\n");
}

fn nothing(call: &Call, body: &mut Html, term: &str) {
    body.raw("<div class=\"empty\">");
    if term.is_empty() {
        let host = host(call);
        body.raw("<p>Nothing has been pushed yet. To push an image:</p>")
            .command(&format!("docker tag hello-world {host}/hello-world"))
            .command(&format!("docker push {host}/hello-world"));
    } else {
        body.raw("<p>No repository has this in its name. ")
            .link("/", "All repositories")
            .raw("</p>");
    }
    body.raw("</div>\n");
}
