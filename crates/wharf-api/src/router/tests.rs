use std::collections::BTreeSet;

use super::*;

fn caught(pattern: &str, path: &str) -> Option<Vec<String>> {
    capture(pattern, path).map(|params| params.0)
}

#[test]
fn patterns_catch_segments() {
    for (pattern, path, expected) in [
        ("/info", "/info", Some(vec![])),
        ("/info", "/info/", None),
        ("/info", "/information", None),
        (
            "/containers/{id}/json",
            "/containers/a/json",
            Some(vec!["a"]),
        ),
        ("/containers/{id}/json", "/containers//json", None),
        ("/containers/{id}/json", "/containers/a/b/json", None),
        ("/images/{name...}/json", "/images/a/json", Some(vec!["a"])),
        (
            "/images/{name...}/json",
            "/images/h:5000/a/b:1/json",
            Some(vec!["h:5000/a/b:1"]),
        ),
        (
            "/images/{name...}/json",
            "/images/h%3A5000%2Fa/json",
            Some(vec!["h:5000/a"]),
        ),
        ("/images/{name...}/json", "/images/json", None),
        ("/images/{name...}/json", "/images/a%zz/json", None),
        ("/images/{name...}", "/images/a/b", Some(vec!["a/b"])),
        ("/images/{name...}", "/images/", None),
    ] {
        let expected = expected.map(|words| words.into_iter().map(str::to_owned).collect());
        assert_eq!(caught(pattern, path), expected, "{pattern} {path}");
    }
}

fn pattern_of(method: Method, path: &str) -> Option<&'static str> {
    match find(&method, path) {
        Ok(Found::Route { route, .. }) => Some(route.pattern),
        _ => None,
    }
}

#[test]
fn the_narrower_route_comes_first() {
    for (path, expected) in [
        ("/v1.41/images/json", "/images/json"),
        ("/images/get", "/images/get"),
        ("/images/json/json", "/images/{name...}/json"),
        ("/images/a/b/history", "/images/{name...}/history"),
        ("/containers/json", "/containers/json"),
        ("/containers/json/json", "/containers/{id}/json"),
    ] {
        assert_eq!(pattern_of(Method::GET, path), Some(expected), "{path}");
    }
}

#[test]
fn routes_not_served_are_told_from_nothing() {
    assert!(matches!(
        find(&Method::POST, "/v1.51/build"),
        Ok(Found::Unserved(_))
    ));
    assert!(matches!(
        find(&Method::POST, "/v1.51/zzz"),
        Ok(Found::Nothing)
    ));
    assert!(matches!(
        find(&Method::PUT, "/v1.51/info"),
        Ok(Found::Nothing)
    ));
}

/// Every route of the published description is served or listed as unserved, and nothing is both. To serve a route is
/// to delete its line; the list may not grow.
#[test]
fn unserved_routes_are_listed_and_only_they() {
    const UNSERVED_WHEN_LAST_COUNTED: usize = 67;

    let one_name = |pattern: &str| pattern.replace("{name...}", "{name}");
    let described: BTreeSet<String> = include_str!("described.txt")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(str::to_owned)
        .collect();
    let served: BTreeSet<String> = all()
        .map(|route| format!("{} {}", route.method, one_name(route.pattern)))
        .collect();
    let unserved: BTreeSet<String> = UNSERVED
        .iter()
        .map(|row| format!("{} {}", row.method, one_name(row.pattern)))
        .collect();

    assert_eq!(
        served.intersection(&unserved).collect::<Vec<_>>(),
        Vec::<&String>::new(),
        "served, and listed as not"
    );
    let known: BTreeSet<String> = served.union(&unserved).cloned().collect();
    assert_eq!(
        described.difference(&known).collect::<Vec<_>>(),
        Vec::<&String>::new(),
        "neither served nor listed"
    );
    assert_eq!(
        known.difference(&described).collect::<Vec<_>>(),
        Vec::<&String>::new(),
        "not in the description"
    );
    assert!(
        unserved.len() <= UNSERVED_WHEN_LAST_COUNTED,
        "the list grew to {}",
        unserved.len()
    );
}
