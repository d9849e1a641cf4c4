//! Finds the route of a request.
//!
//! A pattern is matched segment by segment on the path as it was sent, and what a parameter caught is unescaped
//! afterwards, so that `%2F` may stand in a name. `{name}` is one segment; `{name...}` is one or more, because names of
//! images hold slashes. Routes that Docker has and this engine does not yet are listed in `unserved.txt`, which may
//! only shrink; they are answered apart from paths that mean nothing.

use std::sync::LazyLock;

use futures_util::future::BoxFuture;
use http::Method;

use crate::answer::{Answer, Failure};
use crate::call::Call;
use crate::routes;
use crate::version::{self, ApiVersion, VersionError};

/// Answers the requests of a route.
pub(crate) type Handler = fn(Call) -> BoxFuture<'static, Result<Answer, Failure>>;

/// One route.
pub(crate) struct Route {
    pub(crate) method: Method,
    pub(crate) pattern: &'static str,
    /// First version of the API that has it.
    pub(crate) since: ApiVersion,
    pub(crate) handler: Handler,
}

/// One row of a table of routes: method, pattern, first version, function.
macro_rules! route {
    ($method:ident $pattern:literal since ($major:literal, $minor:literal) => $function:path) => {
        crate::router::Route {
            method: http::Method::$method,
            pattern: $pattern,
            since: crate::version::ApiVersion::new($major, $minor),
            handler: |call| Box::pin($function(call)),
        }
    };
}
pub(crate) use route;

/// What a request is for.
pub(crate) enum Found {
    /// A route of ours.
    Route {
        route: &'static Route,
        version: ApiVersion,
        params: Params,
    },
    /// A route of Docker's that is not served yet.
    Unserved(&'static Unserved),
    /// Nothing.
    Nothing,
}

/// A line of `unserved.txt`.
pub(crate) struct Unserved {
    pub(crate) method: Method,
    pub(crate) pattern: &'static str,
}

/// What the parameters of a pattern caught, in its order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Params(Vec<String>);

impl Params {
    /// Returns the first parameter: the container, the image, the exec. Empty for patterns without one.
    pub(crate) fn name(&self) -> &str {
        self.0.first().map_or("", String::as_str)
    }
}

static UNSERVED: LazyLock<Vec<Unserved>> = LazyLock::new(|| {
    let lines = include_str!("unserved.txt").lines();
    let rows = lines.filter_map(|line| line.split_once(' '));
    rows.filter_map(|(method, pattern)| {
        Some(Unserved {
            method: method.parse().ok()?,
            pattern,
        })
    })
    .collect()
});

/// Returns all routes.
pub(crate) fn all() -> impl Iterator<Item = &'static Route> {
    routes::TABLES.iter().copied().flatten()
}

/// Finds what a method and a path ask for.
pub(crate) fn find(method: &Method, path: &str) -> Result<Found, VersionError> {
    let (version, path) = version::split(path)?;
    for route in all().filter(|route| route.method == *method) {
        if let Some(params) = capture(route.pattern, path) {
            return Ok(Found::Route {
                route,
                version,
                params,
            });
        }
    }
    let unserved = UNSERVED
        .iter()
        .find(|row| row.method == *method && capture(row.pattern, path).is_some());
    Ok(unserved.map_or(Found::Nothing, Found::Unserved))
}

/// Matches a path with a pattern and returns what the parameters caught, unescaped.
fn capture(pattern: &str, path: &str) -> Option<Params> {
    let pattern: Vec<&str> = pattern.split('/').collect();
    let path: Vec<&str> = path.split('/').collect();
    let mut params = Vec::new();
    let mut at = 0;
    for (index, segment) in pattern.iter().enumerate() {
        let take = match segment.strip_suffix("...}") {
            // As much as the rest of the pattern leaves.
            Some(_) => path
                .len()
                .checked_sub(at)?
                .checked_sub(pattern.len() - index - 1)?,
            None => 1,
        };
        let caught = path
            .get(at..at + take)
            .filter(|caught| !caught.is_empty())?;
        at += take;
        if segment.starts_with('{') {
            let text = caught.join("/");
            if text.is_empty() {
                return None;
            }
            params.push(wharf_wire::query::decode_path(&text).ok()?);
        } else if caught != [*segment] {
            return None;
        }
    }
    (at == path.len()).then_some(Params(params))
}

#[cfg(test)]
mod tests;
