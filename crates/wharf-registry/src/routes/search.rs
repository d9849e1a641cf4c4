//! `GET /v1/search`: what `docker search host/term` asks.
//!
//! Source: the first registry protocol's search, the one part of it that clients still speak.

use http::StatusCode;
use serde_json::{Value, json};

use crate::refusal::Refusal;
use crate::routes::{Answer, Call, json};

/// Most results of a page; clients ask for 25 and at most 100.
const MOST: usize = 100;

/// Answers a search for repositories with the term in their name.
pub(super) fn search(call: &Call) -> Result<Answer, Refusal> {
    let number = |name: &'static str, default: usize| {
        let number = call.query.number::<usize>(name);
        let number = number.map_err(|error| {
            Refusal::new(
                StatusCode::BAD_REQUEST,
                "PAGINATION_NUMBER_INVALID",
                error.to_string(),
            )
        })?;
        Ok::<usize, Refusal>(number.unwrap_or(default))
    };
    let size = number("n", 25)?.clamp(1, MOST);
    let page = number("page", 1)?.max(1);
    let term = call.query.text("q").to_lowercase();
    let found = call.registry.storage.search(&term, |name| call.sees(name));
    let pages = found.len().div_ceil(size);
    let shown = found
        .iter()
        .skip((page - 1).saturating_mul(size))
        .take(size);
    let results: Vec<Value> = shown
        .map(|name| {
            json!({
                "name": name.as_str(), "description": "", "star_count": 0,
                "is_official": false, "is_automated": false, "is_trusted": false,
            })
        })
        .collect();
    let document = json!({
        "num_pages": pages, "num_results": found.len(), "page": page, "page_size": size,
        "query": call.query.text("q"), "results": results,
    });
    Ok(json(StatusCode::OK, document.to_string()))
}
