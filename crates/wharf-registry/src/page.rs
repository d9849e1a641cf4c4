//! The pages for people: which repositories there are, what is in them, how to pull it.
//!
//! They are whole when they arrive: no script, nothing from elsewhere, every link and field reached
//! with the tab key, the reader's choice of light or dark. What they show is what their reader may
//! pull. All text in them comes from whoever pushed: it is escaped by [`html::Html`], and the browser
//! is told to run nothing (`Content-Security-Policy`).

mod html;
mod image;
mod repositories;
mod repository;

use base64::Engine as _;
use http::header::{self, HeaderValue};
use http::{Method, Response, StatusCode};

use self::html::Html;
use crate::body;
use crate::refusal::Refusal;
use crate::routes::{Answer, Call, bare, value};
use crate::target::PageTarget;

const STYLE: &str = include_str!("page/style.css");

/// A page without what all pages have.
struct Page {
    title: String,
    body: Html,
}

/// Answers with a page.
pub(crate) async fn answer(call: &Call, target: PageTarget) -> Result<Answer, Refusal> {
    let accepted = call.header(header::ACCEPT).unwrap_or_default();
    let for_people = accepted.contains("text/html");
    if target == PageTarget::Repositories && !for_people {
        // What balancers ask to see whether somebody is there.
        return Ok(bare(StatusCode::OK));
    }
    if call.query.get("sign-in").is_some() && call.caller.name.is_none() {
        return Err(sign_in(call));
    }
    let page = match target {
        PageTarget::Repositories => repositories::page(call)?,
        PageTarget::Repository(name) => repository::page(call, &name)?,
        PageTarget::Image(name, wanted) => image::page(call, &name, &wanted).await?,
    };
    let text = whole(call, page);
    let length = text.len();
    let mut answer = if call.method == Method::HEAD {
        bare(StatusCode::OK)
    } else {
        Response::new(body::full(text))
    };
    let style = ring::digest::digest(&ring::digest::SHA256, STYLE.as_bytes());
    let style = base64::engine::general_purpose::STANDARD.encode(style);
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{style}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    );
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_LENGTH, length.into());
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/html; charset=utf-8"),
    );
    headers.insert(header::CONTENT_SECURITY_POLICY, value(policy));
    headers.insert(
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(
        header::VARY,
        HeaderValue::from_static("Accept, Authorization"),
    );
    Ok(answer)
}

/// Has the browser ask for a name and password.
fn sign_in(call: &Call) -> Refusal {
    Refusal::unauthorized(call.registry.access.password_challenge())
}

/// The host as clients are to write it in a reference.
fn host(call: &Call) -> String {
    let origin = call.origin();
    match origin.split_once("://") {
        Some((_, host)) => host.to_owned(),
        None => origin,
    }
}

fn whole(call: &Call, page: Page) -> String {
    let mut html = Html::default();
    html.raw("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n")
        .raw("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>")
        .text(&page.title)
        .raw(" · registry</title>\n<style>")
        .raw(STYLE)
        .raw("</style>\n</head>\n<body>\n<a class=\"skip\" href=\"#content\">Skip to content</a>\n<header>\n")
        .raw("<a class=\"home\" href=\"/\"><svg viewBox=\"0 0 24 24\" fill=\"none\" stroke=\"currentColor\" stroke-width=\"2\" aria-hidden=\"true\">")
        .raw("<path d=\"M3 15h18l-2 5H5zM6 11h5v4H6zM13 11h5v4h-5zM9.5 6h5v4h-5z\" stroke-linejoin=\"round\"/></svg>")
        .text(&host(call))
        .raw("</a>\n<form action=\"/\" role=\"search\"><label class=\"skip\" for=\"q\">Search repositories</label>")
        .raw("<input id=\"q\" name=\"q\" type=\"search\" placeholder=\"Search repositories\" value=\"")
        .text(&call.query.text("q"))
        .raw("\"><button>Search</button></form>\n");
    match &call.caller.name {
        Some(name) => {
            html.raw("<span>Signed in as <b>")
                .text(name)
                .raw("</b></span>");
        }
        None if call.registry.access.users.is_some() => {
            html.raw("<a href=\"/?sign-in\">Sign in</a>");
        }
        None => {}
    }
    html.raw("\n</header>\n<main id=\"content\">\n");
    let mut text = html.finish();
    text.push_str(&page.body.finish());
    text.push_str(
        "\n</main>\n<footer>Wharf registry · OCI distribution 1.1</footer>\n</body>\n</html>\n",
    );
    text
}
