//! `GET /token`: the token service.

use http::StatusCode;
use http::header::{self, HeaderValue};
use jiff::Timestamp;
use serde_json::json;

use crate::refusal::Refusal;
use crate::routes::{Answer, Call, json};

/// Gives a token to who asks, for what the policy allows of what is asked. Clients that would rather
/// post a form (OAuth 2) get `405`, and fall back to this.
pub(super) fn issue(call: &Call) -> Result<Answer, Refusal> {
    let tokens = call.registry.access.tokens.as_ref();
    let tokens = tokens
        .filter(|tokens| tokens.issues())
        .ok_or_else(Refusal::not_found)?;
    // A token does not beget another: it would never end.
    if call.caller.grants.is_some() {
        return Err(Refusal::unauthorized(
            call.registry.access.password_challenge(),
        ));
    }
    if let Some(service) = call.query.get("service")
        && service != tokens.service()
    {
        return Err(Refusal::new(
            StatusCode::BAD_REQUEST,
            "UNSUPPORTED",
            format!("tokens are given out for {:?} here", tokens.service()),
        ));
    }
    let name = call.caller.name.as_deref();
    let scopes = call.query.all("scope").join(" ");
    let policy = call.registry.access.policy();
    let issued = tokens
        .issue(name, &scopes, &policy, Timestamp::now())
        .ok_or_else(|| Refusal::unknown("no token could be signed"))?;
    let document = json!({
        "token": issued.token,
        "access_token": issued.token,
        "expires_in": issued.lifetime.as_secs(),
        "issued_at": issued.issued_at.to_string(),
    });
    let mut answer = json(StatusCode::OK, document.to_string());
    answer
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(answer)
}
